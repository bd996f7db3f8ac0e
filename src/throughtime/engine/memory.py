"""Arrays whose memory is used again.

The first touch of fresh memory costs more than the arithmetic done in it: 0.3 to 1.6 ms per megabyte, measured on a
virtual machine, so a forward pass that takes 25 ms would spend 50 ms on being given its arrays. Freed blocks are
therefore kept, up to KEPT_BYTES in all, and given to the next array of about their size; those of a size that has not
come back for longest go first.
"""

import math
from collections import deque
from itertools import count
from pickle import PickleBuffer
from typing import Any

import numpy as np

SMALLEST = 1 << 16  # bytes; below, the C library does the same
LARGE = 1 << 20  # bytes of a block that is found by a search
KEPT_BYTES = 1 << 28
# Bytes: arrays begin with a cache line; one that begins 16 further on, as NumPy's do, takes half as long again.
LINE = 64
PAGE = 4096  # bytes; arrays that all begin at the same place of a page meet in the same lines of the first cache
BYTE = np.dtype(np.uint8)

# Blocks by their size. What is done to a dict or a deque is atomic: blocks come back from any thread, and from the
# garbage collector. `_kept`, bytes, may be wrong for some time, by what two threads counted at once; see _forget.
_free: dict[int, deque[Any]] = {}
_last: dict[int, int] = {}  # when one of the size came back
_kept = 0
_returned, _made = count(1), count()


class _Lease(np.ndarray):
    """Owns a block while any array looks at it: what an array was made from is, in NumPy, the base of all its views.

    It looks at the block by way of a PickleBuffer, which is neither an array nor a memoryview: of these NumPy would
    take what lies behind for the base, and drop the lease.
    """

    __slots__ = ()

    def __del__(self) -> None:
        global _kept
        room: Any = _free
        block: Any = self.base
        if room is None or type(block) is not PickleBuffer:  # the interpreter ends; or this is a view, or a copy
            return
        size = self.nbytes
        if size > KEPT_BYTES:
            return
        blocks = room.get(size)
        if blocks is None:
            blocks = room.setdefault(size, deque())
        blocks.append(block)
        _kept += size
        _last[size] = turn = next(_returned)
        if _kept > KEPT_BYTES or turn % 256 == 0:
            _forget()


def kept() -> int:
    """Bytes that are kept for the next array."""
    return sum(size * len(blocks) for size, blocks in tuple(_free.items()))


def _forget() -> None:
    """Count what is kept, and let go of what is too much."""
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
    whole, block = _block(size)
    return np.ndarray(shape, dtype, _Lease(whole, BYTE, block))


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
    _last.clear()
    _kept = 0


def _block(size: int) -> tuple[int, Any]:
    """A block and its bytes, one that is kept or a new one. Sizes below LARGE are rounded up to quarters of a power of
    two, and found at once; of larger ones a kept block may be up to an eighth larger."""
    global _kept
    step = LINE if size >= LARGE else 1 << max(12, (size - 1).bit_length() - 3)
    whole = -(-size // step) * step
    fitting = (whole,) if size < LARGE else sorted(n for n in tuple(_free) if whole <= n <= whole + whole // 8)
    for found in fitting:
        try:
            block = _free[found].pop()
        except (KeyError, IndexError):  # none is there, or another thread was quicker
            continue
        _kept -= found
        return found, block
    room: Any = np.empty(whole + PAGE + LINE, BYTE)
    first = -room.__array_interface__["data"][0] % LINE + next(_made) * 37 * LINE % PAGE
    return whole, PickleBuffer(room[first : first + whole])
