"""Memory of the device that is used again, in the order of a stream.

cuMemAlloc takes 129 microseconds beside an H100, and cuMemFree 105 and waits for the device besides: two or three of
them are more than the kernels of a small run. A block belongs to a stream: when the last array on it is gone, the next
array of that stream may have it, since all that the stream had to do with it comes first.

Who was told an address (`Lease.lent`) may use it on a stream of which nobody here knows, and a run on one stream may
have looked at an array of another (`Lease.abroad`). Such a block waits until the whole device has been waited for, as
cuMemFree does; here once for many of them.
"""

import gc
import threading
from collections import deque
from typing import Any

from .toolkit import cuda, free_now, out_of_memory

SMALLEST = 512  # bytes
KEPT = 8  # of the device's memory at most one part in so many is kept for arrays to come
LARGE, MANY = 1 << 20, 64  # bytes and blocks that are put into their place at once, not by the next who takes some
LENT = 64  # blocks that were lent are waited for when there are so many, or hold a quarter of what may be kept

Home = tuple[int, int]  # a context and a stream


class Block:
    """A piece of the device's memory."""

    __slots__ = ("address", "home", "memory", "size")

    def __init__(self, memory: Any, size: int, home: Home) -> None:
        self.memory, self.size, self.home = memory, size, home
        self.address = int(memory.device_ctypes_pointer.value)


class Lease:
    """Owns a block while an array looks at it."""

    __slots__ = ("abroad", "address", "block", "derived", "lent")

    def __init__(self, block: Block) -> None:
        self.block, self.address = block, block.address
        self.lent = False  # whether somebody else may read or write here
        self.abroad = False  # whether work on another stream of ours has looked here
        self.derived: dict[tuple, dict] | None = None

    def of(self, *view: Any) -> dict:
        """Room for what depends on nothing but the numbers that an array has here; view: where and how they lie."""
        if self.derived is None:
            self.derived = {}
        return self.derived.setdefault(view, {})

    def __reduce__(self) -> Any:
        raise TypeError("an array on the GPU is neither pickled nor copied deeply; take `numpy.asarray(...)` of it")

    def __del__(self) -> None:
        room: Any = _back
        if room is not None:  # else the interpreter ends, and its modules have been emptied
            room.append((self.block, self.lent or self.abroad))
            if self.block.size < LARGE and len(room) < MANY:
                return
            if _lock.acquire(blocking=False):  # it may be the garbage collector that interrupts one who holds it
                try:
                    _settle()
                finally:
                    _lock.release()


_lock = threading.Lock()
# All of them, by address, which so are never garbage: Numba frees what is in the garbage of a circle of references
# before `Lease.__del__` can save it.
_blocks: dict[int, Block] = {}
_back: deque[tuple[Block, bool]] = deque()  # its methods are atomic: blocks come back from any thread
_idle: dict[tuple[Home, int], list[Block]] = {}  # by size, those that were last used at the end
_lent: list[Block] = []
_held = {"idle": 0, "lent": 0}  # bytes
_limits: dict[int, int] = {}  # of a context, bytes that may be kept


def take(size: int, home: Home) -> Lease:
    """At least `size` bytes for work on this stream."""
    size = rounded(size)
    with _lock:
        if _back:
            _settle()
        if _lent and (len(_lent) >= LENT or 4 * _held["lent"] > _limits.get(home[0], 0)):
            _wait_for_lent(home[0])
        found = _idle.get((home, size))
        if found:
            _held["idle"] -= size
            return Lease(found.pop())
    return Lease(_new(size, home))


def rounded(size: int) -> int:
    """The next of eight sizes between a power of 2 and the next."""
    step = max(SMALLEST, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step


def release() -> None:
    """Give all memory that no array uses back to the device."""
    with _lock:
        _settle()
        unused = [block.address for same in (_lent, *_idle.values()) for block in same]
        for address in unused:
            del _blocks[address]
        _lent.clear()
        _idle.clear()
        _held.update(idle=0, lent=0)
    if unused:
        free_now()


def _new(size: int, home: Home) -> Block:
    context = cuda.current_context()
    if home[0] not in _limits:
        _limits[home[0]] = int(context.get_memory_info()[1]) // KEPT
    try:
        memory = context.memalloc(size)
    except Exception as error:
        if not out_of_memory(error):
            raise
        gc.collect()  # runs in circles of references, which hold memory until then
        release()
        memory = context.memalloc(size)
    block = Block(memory, size, home)
    _blocks[block.address] = block
    return block


def _settle() -> None:
    """What came back to its place; beyond what may be kept, what was not used for longest to the device."""
    while _back:
        block, lent = _back.popleft()
        if lent:
            _lent.append(block)
            _held["lent"] += block.size
        else:
            _put(block)


def _put(block: Block) -> None:
    key = block.home, block.size
    same = _idle[key] = _idle.pop(key, [])  # at the end of the dictionary
    same.append(block)
    _held["idle"] += block.size
    while _held["idle"] > _limits[block.home[0]]:
        oldest = next(iter(_idle))
        if _idle[oldest]:
            given_back = _idle[oldest].pop(0)
            _held["idle"] -= given_back.size
            del _blocks[given_back.address]
        if not _idle[oldest]:
            del _idle[oldest]


def _wait_for_lent(context: int) -> None:
    """Wait for the whole device; nobody can have begun anything with them since they came back."""
    mine = [block for block in _lent if block.home[0] == context]
    if mine:
        cuda.synchronize()
    _lent[:] = [block for block in _lent if block.home[0] != context]
    _held["lent"] -= sum(block.size for block in mine)
    for block in mine:
        _put(block)
