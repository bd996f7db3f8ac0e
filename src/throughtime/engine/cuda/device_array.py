"""Arrays on the device that are made and cut in a microsecond.

Numba's own array, cut so that it is no longer contiguous, lists all its contiguous pieces first: 1.2 to 1.6
microseconds for each row over time and batch, beside an H100 up to a hundred times what the kernels take. This one is
Numba's to everybody else, and holds no more than an address, a shape and strides.
"""

import math
from functools import cache, cached_property
from typing import Any

import numpy as np
from numba import from_dtype, types

from .pool import Lease
from .toolkit import SIMULATED, array_class, current, described, done, driver, pointer

_Base: Any = object if SIMULATED else array_class()


class DeviceArray(_Base):
    """Numbers on the device from `address` on, as long as `owner` keeps them; strides in bytes."""

    def __init__(
        self, shape: Any, strides: Any, dtype: Any, stream: Any = 0, gpu_data: Any = None, *,
        address: int | None = None, owner: Any = None,
    ) -> None:  # fmt: skip
        if address is None:  # as Numba makes a view of one
            address, owner = int(gpu_data.device_pointer), gpu_data
        self.shape = shape if type(shape) is tuple else (int(shape),) if isinstance(shape, int) else tuple(shape)
        self.strides = strides if type(strides) is tuple else (strides,) if isinstance(strides, int) else tuple(strides)
        self.dtype = dtype if isinstance(dtype, np.dtype) else np.dtype(dtype)
        self.ndim, self.size = len(self.shape), math.prod(self.shape)
        self.address, self.owner, self.stream = address, owner, stream
        self.dense: bool | None = None  # as `c_contiguous`, once it has been asked

    @property
    def gpu_data(self) -> Any:
        """The memory as Numba's functions take it. Whoever has it may use it on any stream."""
        if isinstance(self.owner, Lease):
            self.owner.lent = True
        return pointer(self.address if self.size else 0, self.alloc_size, self.owner)

    @property
    def alloc_size(self) -> int:
        """Bytes from the first number to the last."""
        if not self.size:
            return 0
        reach = sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        return int(reach) + int(self.dtype.itemsize)

    @property
    def c_contiguous(self) -> bool:
        """Whether the numbers lie in the order of the axes, without gaps."""
        if self.dense is None:
            self.dense = not self.size or gapless(self.shape, self.strides, self.dtype.itemsize)
        return self.dense

    def is_c_contiguous(self) -> bool:
        return self.c_contiguous

    @cached_property
    def _dummy(self) -> Any:
        """What Numba's functions know of the array's shape."""
        return described(self.shape, self.strides, self.dtype.itemsize)

    @cached_property
    def _numba_type_(self) -> Any:
        return numba_type(self.dtype, self.ndim) if self.c_contiguous else super()._numba_type_

    def __getitem__(self, item: Any) -> Any:
        found = cut(self.shape, self.strides, item if type(item) is tuple else (item,))
        if found is None or not found[1]:  # a single number, which is fetched, or what only Numba's own way knows
            return super().__getitem__(item)
        offset, shape, strides = found
        return self.view_of(shape, strides, offset)

    def copy_to_host(self, ary: Any = None, stream: Any = 0) -> np.ndarray:
        """The numbers in NumPy, when all that was queued before on `stream`, or the array's own, is done."""
        if ary is not None or any(stride < 0 for stride in self.strides):
            return super().copy_to_host(ary, stream)
        stream, whole = stream or self.stream, np.empty(self.alloc_size, np.uint8)
        if whole.size:
            current()
            handle = int(stream.handle) if stream else 0
            done(driver().cuMemcpyDtoHAsync(whole.ctypes.data, self.address, whole.size, handle))
            done(driver().cuStreamSynchronize(handle))
        return np.ndarray(self.shape, self.dtype, whole, strides=self.strides if whole.size else None)

    def view_of(self, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> "DeviceArray":
        """The same memory, `offset` bytes further on, in another shape."""
        return made(shape, strides, self.dtype, self.stream, self.address + offset, self.owner)

    def reshape(self, *shape: Any, **order: Any) -> Any:
        """A view in another shape, on the same stream."""
        if shape in FLAT and not order and self.c_contiguous:
            size, item = self.size, self.dtype.itemsize
            return made((size,), (item,), self.dtype, self.stream, self.address, self.owner, True)
        wanted = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        if order or not self.c_contiguous:
            found = super().reshape(wanted, **order)
            found.stream = self.stream
            return found
        if -1 in wanted and (known := math.prod(n for n in wanted if n >= 0)):
            wanted = tuple(self.size // known if n < 0 else int(n) for n in wanted)
        if min(wanted, default=0) < 0 or math.prod(wanted) != self.size:
            raise ValueError(f"an array of shape {self.shape} has no shape {wanted}")
        strides = along(wanted, self.dtype.itemsize)
        return made(wanted, strides, self.dtype, self.stream, self.address, self.owner, True)


FLAT = (-1,), ((-1,),)


def made(
    shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype, stream: Any, address: int, owner: Any,
    dense: bool | None = None,
) -> DeviceArray:  # fmt: skip
    """An array of these."""
    array = DeviceArray.__new__(DeviceArray)
    array.shape, array.strides, array.dtype, array.stream = shape, strides, dtype, stream
    array.ndim, array.size = len(shape), math.prod(shape)
    array.address, array.owner, array.dense = address, owner, dense
    return array


def gapless(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    """Whether numbers with these strides lie in the order of the axes, without gaps."""
    step = itemsize
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n > 1 and stride != step:
            return False
        step *= n
    return True


@cache
def numba_type(dtype: np.dtype, axes: int) -> Any:
    """Of arrays without gaps."""
    return types.Array(from_dtype(dtype), axes, "C")


def along(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Strides of numbers in the order of the axes."""
    strides, step = [], itemsize
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def cut(shape: tuple[int, ...], strides: tuple[int, ...], items: tuple) -> tuple[int, tuple, tuple] | None:
    """Offset in bytes, shape and strides of what these indices cut out, or None for others than whole numbers, slices
    that go forward, and `...`."""
    if any(item is Ellipsis for item in items):
        at = next(k for k, item in enumerate(items) if item is Ellipsis)
        items = (*items[:at], *(slice(None),) * (len(shape) + 1 - len(items)), *items[at + 1 :])
    if len(items) > len(shape):
        return None
    offset, lengths, steps = 0, [], []
    for item, n, stride in zip(items, shape, strides, strict=False):
        if isinstance(item, slice):
            start, stop, step = item.indices(n)
            if step < 0:
                return None
            offset += start * stride
            lengths.append(max(0, -(-(stop - start) // step)))
            steps.append(step * stride)
        elif isinstance(item, (int, np.integer)) and not isinstance(item, bool):
            if not -n <= item < n:
                raise IndexError(f"index {item} of an axis of {n}")
            offset += int(item) % n * stride
        else:
            return None
    return offset, (*lengths, *shape[len(items) :]), (*steps, *strides[len(items) :])
