"""A file that is complete or not there at all: written beside its place, which it then takes in one step."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def atomic_file(target: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A binary file to write to; once the block has ended it is `target`, whose permissions it keeps.

    If the block raises, nothing of it is left, and `target` is what it was. durable : whether it shall outlive a crash
    of the machine too, which costs some milliseconds.
    """
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(temporary, "xb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())  # or a crash could leave the new name with no contents
        if target.is_file():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
