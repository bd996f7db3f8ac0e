"""What every parametrisation says: its free parameters, the weights they make, and the way back from these.

Dimensions: G blocks of R rows and C columns, one below the other, as the gates lie in weight_hh (R = C = N).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..refuse import numeric

Array = np.ndarray
Values = dict[str, Array]


class Size(NamedTuple):
    """Of the weights that are parametrised: G blocks, the rows and the columns of each."""

    blocks: int
    rows: int
    columns: int

    def split(self, w: Array) -> Array:
        """(…, G*R, C) as (…, G, R, C)."""
        return w.reshape(*w.shape[:-2], *self)


@dataclass(frozen=True, eq=False, repr=False)
class Parametrisation:
    """W as a function of free parameters, block by block; what `tt.parametrise.…(…)` returns.

    `square` says whether it is only for square blocks. Arrays w, g are (G, R, C), of the gradients with any axes before
    these; free parameters are as `shapes` says them.
    """

    name: ClassVar[str]  # of the function of `tt.parametrise` that makes it
    square: ClassVar = True

    def shapes(self, size: Size) -> dict[str, tuple[int, ...]]:
        """The free parameters, name to shape. ValueError, in words, for weights that it does not fit."""
        raise NotImplementedError

    def start(self, w: Array) -> Values:
        """The free parameters with which to begin, given the weights that an initialiser has drawn."""
        raise NotImplementedError

    def weight(self, size: Size, free: Values) -> tuple[Array, Any]:
        """The weights (G, R, C), and whatever `pullback` wants to find again."""
        raise NotImplementedError

    def pullback(self, free: Values, kept: Any, g: Array) -> Values:
        """The gradient g of the weights as that of the free parameters."""
        raise NotImplementedError

    def places(self, size: Size) -> Array | None:
        """(G*R, C), True where a weight can be other than 0; None where all can."""
        return None

    def fields(self) -> dict[str, Any]:
        """What it was made with, by the names of its arguments."""
        return {own.name: getattr(self, own.name) for own in fields(self)}

    def __eq__(self, other: Any) -> bool:
        if self is other or type(self) is not type(other):
            return self is other
        theirs = other.fields()
        return all(np.array_equal(value, theirs[name]) for name, value in self.fields().items())

    def __hash__(self) -> int:
        return hash((self.name, *(getattr(value, "shape", value) for value in self.fields().values())))

    def __repr__(self) -> str:
        told = [f"{name}={_short(value)}" for name, value in self.fields().items() if value is not None]
        return f"{self.name}({', '.join(told)})"


def _short(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    if value.dtype.kind == "b":
        return f"<{np.count_nonzero(value)} of {value.size}>"
    return f"<array {value.shape}>"


def fitting(name: str, value: Array, size: Size) -> Array:
    """An array for every block, (R, C), or for all of them, (G*R, C), as (G, R, C)."""
    blocks, rows, columns = size
    if value.shape == (rows, columns):
        return np.broadcast_to(value, size)
    if value.shape == (blocks * rows, columns):
        return size.split(value)
    several = f", or {(blocks * rows, columns)} for the {blocks} blocks of the gates" if blocks > 1 else ""
    raise ValueError(f"`{name}` has shape {value.shape}; expected {(rows, columns)}{several}.")


def zeros_and_ones(name: str, value: Any) -> Array:
    """A pattern, (R, C), as an array of True and False."""
    found = numeric.numbers(name, value.toarray() if hasattr(value, "toarray") else value)
    if found.ndim != 2:
        raise ValueError(f"`{name}` has shape {found.shape}; expected a matrix of 0 and 1, such as `w != 0`.")
    if not ((found == 0) | (found == 1)).all():
        raise ValueError(f"`{name}` holds {found[(found != 0) & (found != 1)][0]}; expected 0 and 1, as of `w != 0`.")
    return read_only(found != 0)


def read_only(value: Array) -> Array:
    """A copy that stays what it is."""
    own = np.array(value, order="C")
    own.setflags(write=False)
    return own
