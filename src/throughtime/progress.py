"""The progress bar of what was asked to show one."""

from contextlib import nullcontext
from typing import Any


class _Unseen:
    total = None

    def update(self, steps: int = 1) -> None:
        """Nothing."""

    def refresh(self) -> None:
        """Nothing."""

    def set_postfix_str(self, words: str, refresh: bool = True) -> None:
        """Nothing."""


def progress_bar(wanted: bool, total: int | None, what: str) -> Any:
    """A bar that counts steps while it is open; one that shows nothing where none is wanted, without loading tqdm."""
    if not wanted:
        return nullcontext(_Unseen())
    from tqdm import tqdm  # late: loading it takes longer than many an analysis does

    return tqdm(total=total, unit="step", desc=what)
