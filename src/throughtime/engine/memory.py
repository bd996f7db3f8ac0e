"""Arrays whose memory is used again.

The first touch of fresh memory costs more than the arithmetic done in it: 0.3 to 1.6 ms per megabyte, measured on a
virtual machine, so a forward pass that takes 25 ms would spend 50 ms on being given its arrays. Freed blocks are
therefore kept, up to KEPT_BYTES in all, and given to the next array of about their size; the oldest go first.
"""

import math
from collections import deque
from operator import attrgetter
from typing import Any

import numpy as np

SMALLEST = 1 << 16  # bytes; below, the C library does the same
KEPT_BYTES = 1 << 28
# Bytes: blocks begin with a cache line; one that begins 16 further on, as NumPy's do, takes half as long again.
LINE = 64

# A deque because its methods are atomic: blocks come back from any thread, and from the garbage collector.
_free: deque[np.ndarray] = deque()
_bytes = attrgetter("nbytes")


class _Lease:
    """Owns a block while any array looks at it: what an array was made from is, in NumPy, the base of all its views."""

    __slots__ = ("__array_interface__", "block")

    def __init__(self, block: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.block = block
        address = block.__array_interface__["data"][0]
        self.__array_interface__ = {"shape": shape, "typestr": dtype.str, "data": (address, False), "version": 3}

    def __del__(self) -> None:
        room: Any = _free
        if room is None:  # the interpreter ends, and its modules have been emptied
            return
        room.append(self.block)
        while sum(map(_bytes, tuple(_free))) > KEPT_BYTES:
            try:
                _free.popleft()
            except IndexError:  # another thread was quicker
                break


def empty(shape: Any, dtype: Any) -> np.ndarray:
    """np.empty, in memory that has been used before if there is some."""
    if type(shape) is not tuple:
        shape = tuple(shape) if isinstance(shape, list) else (int(shape),)
    dtype = dtype if isinstance(dtype, np.dtype) else np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < SMALLEST:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(_block(size), shape, dtype))


def zeros(shape: Any, dtype: Any) -> np.ndarray:
    """np.zeros, likewise."""
    if type(shape) is tuple and isinstance(dtype, np.dtype) and math.prod(shape) * dtype.itemsize < SMALLEST:
        return np.zeros(shape, dtype)
    out = empty(shape, dtype)
    out.fill(0)
    return out


def copy(array: np.ndarray) -> np.ndarray:
    """A C-contiguous copy, likewise."""
    if array.nbytes < SMALLEST:  # in one call of NumPy
        return array.copy() if type(array) is np.ndarray else np.array(array, order="C")
    out = empty(array.shape, array.dtype)
    out[...] = array
    return out


def release() -> None:
    """Give all kept memory back to the system."""
    _free.clear()


def _block(size: int) -> np.ndarray:
    for _ in range(len(_free)):
        try:
            block = _free.popleft()
        except IndexError:
            break
        if size <= block.nbytes <= size + size // 8 + 4096:
            return block
        _free.append(block)
    room = -(-size // 4096) * 4096
    block = np.empty(room + LINE, np.uint8)
    first = -block.__array_interface__["data"][0] % LINE
    return block[first : first + room]
