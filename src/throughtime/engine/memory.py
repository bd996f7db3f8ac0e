"""Arrays whose memory is used again.

The first touch of fresh memory costs more than the arithmetic done in it: 0.3 to 1.6 ms per megabyte, measured on a
virtual machine, so a forward pass that takes 25 ms would spend 50 ms on being given its arrays. Freed blocks are
therefore kept, up to KEPT_BYTES in all, and given to the next array of about their size; the oldest go first.
"""

import math
import mmap
from collections import deque
from contextlib import suppress
from itertools import count
from typing import Any

import numpy as np

SMALLEST = 1 << 16  # bytes; below, the C library does the same
KEPT_BYTES = 1 << 28
# Bytes: arrays begin with a cache line; one that begins 16 further on, as NumPy's do, takes half as long again.
LINE = 64
PAGE = 4096  # arrays that all begin with a page meet in the same lines of the first cache
LARGE = 1 << 20
HUGE = 1 << 22  # bytes from which NumPy, too, asks for large pages
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
BYTE = np.dtype(np.uint8)

_made = count()


class _Block(mmap.mmap):
    """Memory of the system's own. Of NumPy's the owner could not be told from the arrays that look at it."""

    first: int  # where the array begins in it

    @classmethod
    def of(cls, size: int) -> "_Block":
        block = cls(-1, size, **PRIVATE)
        block.first = next(_made) * 37 * LINE % PAGE
        if size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):
                block.madvise(mmap.MADV_HUGEPAGE)
        return block


# Blocks by their size. What is done to a dict or a deque is atomic: blocks come back from any thread, and from the
# garbage collector. The sum may be wrong by a block that two threads counted at once; see _forget.
_free: dict[int, deque[_Block]] = {}
_last: dict[int, int] = {}  # when one of the size came back
_kept = 0
_returned = count(1)


class _Lease(np.ndarray):
    """Owns a block while any array looks at it: what an array was made from is, in NumPy, the base of all its views."""

    __slots__ = ()

    def __del__(self) -> None:
        global _kept
        room: Any = _free
        if room is None:  # the interpreter ends, and its modules have been emptied
            return
        block: Any = self.base
        size = len(block)
        if size not in room:
            room.setdefault(size, deque())
        room[size].append(block)
        _kept += size
        _last[size] = turn = next(_returned)
        if _kept > KEPT_BYTES or turn % 256 == 0:
            _forget()


def kept() -> int:
    """Bytes that are kept for the next array."""
    return sum(size * len(blocks) for size, blocks in tuple(_free.items()))


def _forget() -> None:
    """Count what is kept, and let go of what is too much: blocks of the size that has not come back for longest."""
    global _kept
    for size in [size for size, blocks in tuple(_free.items()) if not blocks]:
        _free.pop(size, None)  # one that comes back at this moment is not kept
        _last.pop(size, None)
    _kept = kept()
    while _kept > KEPT_BYTES:
        sizes = [size for size, blocks in tuple(_free.items()) if blocks]
        try:
            size = min(sizes, key=lambda size: _last.get(size, 0))
            _free[size].popleft()
        except (ValueError, KeyError, IndexError):  # another thread was quicker
            break
        _kept -= size


def empty(shape: Any, dtype: Any) -> np.ndarray:
    """np.empty, in memory that has been used before if there is some."""
    if type(shape) is not tuple:
        shape = tuple(shape) if isinstance(shape, list) else (int(shape),)
    dtype = dtype if isinstance(dtype, np.dtype) else np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < SMALLEST:
        return np.empty(shape, dtype)
    try:
        block = _block(size)
    except (OSError, ValueError, OverflowError):
        return np.empty(shape, dtype)  # NumPy says what cannot be had
    return np.ndarray(shape, dtype, _Lease(len(block), BYTE, block), block.first)


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
    global _kept
    _free.clear()
    _kept = 0


def _block(size: int) -> _Block:
    """One that is kept, as large or up to an eighth larger, or a new one. Smaller sizes are rounded up to quarters of a
    power of two, and found at once."""
    global _kept
    step = PAGE if size >= LARGE else 1 << max(12, (size - 1).bit_length() - 3)
    whole = -(-size // step) * step + PAGE
    fitting = [whole] if size < LARGE else sorted(n for n in tuple(_free) if whole <= n <= whole + whole // 8)
    for found in fitting:
        with suppress(KeyError, IndexError):  # none is there, or another thread was quicker
            block = _free[found].pop()
            _kept -= found
            return block
    return _Block.of(whole)
