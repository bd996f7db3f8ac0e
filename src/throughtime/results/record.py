"""What every result of this package shares: the array type, conversion to a dictionary of arrays, short printing."""

from dataclasses import fields, replace
from inspect import isfunction
from typing import Any, ClassVar, Self

import numpy as np

from ..engine.blas import hold_methods
from ..refuse import arguments
from ..refuse.expected import checking

Array = np.ndarray[tuple[Any, ...], np.dtype[Any]]


class Result:
    """Base of the frozen result records: every field that is an array or a number comes out of `.arrays()`."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Every public method says in words which arguments it cannot take, by their annotations, and holds BLAS."""
        super().__init_subclass__(**options)
        for name, member in list(vars(cls).items()):
            if isfunction(member) and not name.startswith("_"):
                setattr(cls, name, checking(member))
        hold_methods(cls)

    picture: ClassVar[str | dict[str, str]] = {}  # the function of `plots` that draws it; of several, by their kind
    dimensions: ClassVar[dict[str, str]] = {}  # what the axes of fields mean: "time sequence": "log_norm other_field"
    along_batch: ClassVar[dict[str, int]] = {}  # the fields that tell sequences apart, and on which axis

    @checking
    def of_sequences(self, places: range) -> Self:
        """The result of some of the sequences, those whose numbers are in the range `places`."""
        for name, axis in self.along_batch.items():
            count = np.shape(getattr(self, name))[axis]
            if len(places) and not 0 <= min(places) <= max(places) < count:
                raise ValueError(f"`places` is {places}, but there are the sequences 0 to {count - 1}.")
        parts = {name: np.take(getattr(self, name), places, axis) for name, axis in self.along_batch.items()}
        return replace(self, **parts)  # type: ignore[type-var]

    def arrays(self) -> dict[str, Array]:
        """The numeric fields as arrays, ready for `np.savez(path, **result.arrays())`."""
        found = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, (np.ndarray, float, int, bool, np.generic)):
                found[field.name] = np.asarray(value)
        return found

    @checking
    def plot(self, ax: Any = None, kind: str | None = None, **options: Any) -> Any:
        """Draw it by the function of `throughtime.plots` that `picture` names, on `ax` and with its options.

        kind : which of several pictures, by default the first. ValueError for another.
        """
        from .. import plots  # late: plots stands above the analyses, and Matplotlib is slow to load

        pictures = self.picture if isinstance(self.picture, dict) else {self.picture: self.picture}
        if not pictures:
            raise AttributeError(f"A {type(self).__name__} has no picture; its numbers are in `.arrays()`.")
        kind = next(iter(pictures)) if kind is None else kind
        if kind not in pictures:
            raise ValueError(
                f"`kind` is {arguments.kind(kind)}; of this result there is {' and '.join(map(repr, pictures))}."
            )
        return getattr(plots, pictures[kind])(self, ax=ax, **options)


def short(values: Array | float, shown: int = 6, digits: int = 4) -> str:
    """The first and last entries of a vector on one line, for printing results.

    >>> short(np.arange(10.0), shown=4)
    '0, 1, …, 8, 9'
    """
    flat = np.asarray(values).ravel()
    text = [f"{value:.{digits}g}" for value in flat]
    if len(text) > shown:
        text = [*text[: shown // 2], "…", *text[-(shown // 2) :]]
    return ", ".join(text)
