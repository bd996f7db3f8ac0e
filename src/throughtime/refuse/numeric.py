"""Anything that a user hands in as an array of real numbers, or an error in words: what arrived, what was expected, the
call to write. The wrong kind of thing is a TypeError, a wrong value or shape a ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import foreign, room
from .arguments import kind

Array = np.ndarray[tuple[Any, ...], np.dtype[Any]]


def numbers(name: str, value: Any) -> Array:
    """`value` as an array of real numbers, in the type in which it came; anything with `__array__` will do."""
    if type(value) is np.ndarray and value.dtype.kind in "biuf":  # nothing else to be asked
        return value
    if np.ma.is_masked(value):
        raise ValueError(f"`{name}` has masked entries, which would be read as numbers; fill them, or pass `lengths`.")
    try:
        found = np.asarray(value)
    except Exception as error:  # whatever another library's __array__ raises, and NumPy's own for ragged lists
        raise foreign.unreadable(name, value, error) from error
    if found.dtype.kind in "biuf":
        return found
    if words := foreign.unusual(name, found, value):
        raise TypeError(words)
    if found.dtype.kind == "c":
        raise TypeError(
            f"`{name}` has dtype {found.dtype}; networks compute with real numbers. If the imaginary part is zero, "
            f"pass `{name}.real`; if not, its real and imaginary parts as two inputs."
        )
    if found.dtype.kind == "O" and isinstance(value, int):
        raise ValueError(f"`{name}` is {kind(value)}, more than NumPy computes with.")
    if found.dtype.kind == "O" and found.ndim == 0:
        raise TypeError(f"`{name}` is {kind(value)}; expected an array of real numbers.")
    if found.dtype.kind == "O":
        inside = type(found.flat[0]).__name__ if found.size else "nothing"
        raise TypeError(
            f"`{name}` has dtype object (its first element: {inside}); expected an array of real numbers. "
            f"If every element is a number, pass `np.asarray({name}, dtype=float)`."
        )
    if found.dtype.kind in "USaT":
        raise TypeError(
            f"`{name}` holds text (dtype {found.dtype}); expected real numbers. Encode it first, "
            "the bytes of a text for instance as one of 256 inputs: `np.eye(256)[np.frombuffer(text, np.uint8)]`."
        )
    raise TypeError(f"`{name}` has dtype {found.dtype}; expected an array of real numbers.")


def array(
    name: str, value: Any, shape: Mapping[str, int | None], dtype: np.dtype[Any], *, hint: str = "", copy: bool = False
) -> Array:
    """`value` as a C-contiguous, aligned, writable array of `dtype` and `shape`; not copied if it is one already.

    `shape` names its axes: {"batch": 3, "state_size": 8}; None leaves a size free. `hint` ends the sentence about a
    wrong shape. Numbers too large for float32 become inf, NaN and inf stay what they are.
    """
    wanted = tuple(shape.values())
    if not copy and ready(value, wanted, dtype):  # analyses hand back what came out of a run, many times
        return value
    found = numbers(name, value)
    if len(wanted) != found.ndim or any(w not in (None, f) for w, f in zip(wanted, found.shape, strict=True)):
        raise ValueError(f"`{name}` has shape {found.shape}; expected {symbolic(shape)}.{hint and ' ' + hint}")
    return converted(name, found, dtype, copy)


def ready(value: Any, shape: tuple[int | None, ...], dtype: np.dtype[Any]) -> bool:
    """Whether a value is all that `array` makes of it."""
    return type(value) is np.ndarray and value.shape == shape and value.dtype == dtype and value.flags.carray


def converted(name: str, found: Array, dtype: np.dtype[Any], copy: bool) -> Array:
    """The last step of `array`, for numbers whose shape has been looked at."""
    if not room.small(found.size, dtype.itemsize):
        room.check(f"`{name}`, of shape {found.shape},", found.size, dtype.itemsize)
    if copy and type(found) is np.ndarray and found.dtype == dtype:  # no number changes
        return found.astype(dtype, order="C")
    with np.errstate(all="ignore"):  # a number too large for float32 becomes inf, as it would by arithmetic
        return compact(found.astype(dtype, order="C", copy=copy))


def compact(found: Array) -> Array:
    """A plain array, C-contiguous, aligned, writable: as it is, or a copy. Numba would compile anew for others."""
    if type(found) is np.ndarray and found.flags.carray:
        return found
    return np.require(found, requirements=["C_CONTIGUOUS", "ALIGNED", "WRITEABLE", "ENSUREARRAY"])


def symbolic(shape: Mapping[str, int | None]) -> str:
    """(batch, state_size) = (3, 8)"""
    sizes = ["any" if n is None else str(n) for n in shape.values()]
    comma = "," if len(shape) == 1 else ""
    return f"({', '.join(shape)}{comma}) = ({', '.join(sizes)}{comma})"
