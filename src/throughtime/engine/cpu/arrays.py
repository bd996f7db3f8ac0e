"""What the host does with arrays, under the names of cuda/arrays.py: NumPy, and no copy where a view serves."""

from __future__ import annotations

import contextlib
from functools import lru_cache
from typing import Any

import numpy as np

from ..memory import copy, empty, zeros

__all__ = [
    "add", "changed", "compact", "copy", "empty", "every", "fetched", "from_host", "holds", "joined", "move",
    "multiplied", "on", "ordered", "pad", "parted", "read_only", "repeated", "rows", "shaped", "stream_of",
    "to_host", "zeros",
]  # fmt: skip

Array = np.ndarray
_HERE = contextlib.nullcontext()


def on(stream: Any) -> Any:
    """A context for work on a stream, of which there are none here."""
    return _HERE


def stream_of(x: Any) -> Any:
    return 0


def holds(x: Any) -> bool:
    """Whether x lies on a machine of its own, and not where NumPy reads it."""
    return False


def fetched(x: Any) -> Any:
    """x, or its parts, as NumPy reads them."""
    return x


def from_host(array: Array) -> Array:
    """A NumPy array as the engine takes it."""
    return array


def to_host(array: Array) -> Array:
    return array


def move(target: Array, source: Array) -> None:
    """target[...] = source[...]"""
    target[...] = source


def compact(source: Array, axes: tuple[int, ...] | None = None) -> Array:
    """C-contiguous, its axes in another order if asked; as it is if it is so already."""
    return np.ascontiguousarray(source if axes is None else source.transpose(axes))


def ordered(source: Array, axes: tuple[int, ...]) -> Array:
    """A view with the axes in another order."""
    return source.transpose(axes)


def parted(own: Array, axes: tuple[int, ...]) -> Array:
    """A part of an array that nobody else has, its axes in another order; C-contiguous."""
    return compact(own, axes)


@lru_cache(maxsize=64)
def every(count: int, number: int) -> Array:
    """`number`, `count` times, in whole numbers; nobody writes to it."""
    return np.full(count, number, np.int64)


def shaped(array: Array, shape: tuple[int, ...]) -> Array:
    """The same numbers in another shape."""
    return array.reshape(shape)


def rows(x: Array) -> Array:
    """The numbers of x (…, n) row by row, (R, n)."""
    return x.reshape(-1, x.shape[-1])


def changed(array: Array) -> None:
    """Tell that numbers which others may have made something of were written over; here nobody keeps such things."""


def repeated(array: Array, times: int) -> Array:
    """A view with a first axis along which all is the same."""
    return np.broadcast_to(array, (times, *array.shape))


def read_only(array: Array) -> Array:
    """A view that cannot be written."""
    view = array.view()
    view.flags.writeable = False
    return view


def add(target: Array, source: Array) -> Array:
    """target += source; returns target."""
    target += source
    return target


def multiplied(x: Array, factors: Array) -> Array:
    """x · factors, of one shape; 0 where a factor is 0, whatever x is there."""
    return np.where(factors == 0, x.dtype.type(0), x * factors)


def pad(target: Array, lengths: Array) -> Array:
    """0 in `target` (T, B, n) beyond each sequence's end; returns target."""
    target[np.arange(len(target))[:, None] >= lengths] = 0
    return target


def joined(arrays: list[Array]) -> Array:
    """Arrays (T, B, n) side by side along the last axis; one alone is handed on as it is."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=2)
