"""Numba's CUDA simulator with our scheduler in it: `cuda` as a kernel sees it, and how a kernel is started.

Beyond Numba's: blocks that meet, warps and shuffles, cache hints, memory that is watched (watched.py), and arrays that
nobody has filled hold NaN. What is not here (most atomics, dynamic shared memory) no kernel of ours uses.
"""

from __future__ import annotations

import sys
from typing import Any

import greenlet
import numpy as np
import scheduler
from numba import cuda
from numba.cuda import types
from numba.cuda.errors import normalize_kernel_dimensions
from numba.cuda.np import numpy_support
from numba.cuda.simulator import kernel as numba_kernel
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
from numba.cuda.simulator.kernelapi import FakeCUDAModule
from watched import Local, Tracked, poison


class Shared:
    def array(self, shape, dtype, alignment=None):
        """The array of this block for this place in the kernel; nothing in it may be read before it is written."""
        frame, thread = sys._getframe(1), greenlet.getcurrent()
        key, dtype, shared = (frame.f_code, frame.f_lasti), _dtype(dtype), thread.block.shared
        if key not in shared:
            shared[key] = np.empty(shape, dtype)
        assert shared[key].size == np.prod(shape), "threads of a block ask for different sizes of one shared array"
        return Tracked(shared[key], "shared array", written_first=True)


class Locals:
    def array(self, shape, dtype):
        return Local(np.empty(shape, _dtype(dtype)), "local array")


def _dtype(dtype):
    return numpy_support.as_dtype(dtype) if isinstance(dtype, types.Type) else np.dtype(dtype)


class Grid:
    def sync(self):
        thread = greenlet.getcurrent()
        blocks = len({id(member.block) for member in thread.launch.grid.members})
        if blocks > scheduler.BLOCKS_AT_ONCE:
            raise scheduler.Stuck(
                f"{blocks} blocks meet, of which at most {scheduler.BLOCKS_AT_ONCE} fit on the device at once"
            )
        thread.meet(thread.launch.grid)


class Cooperative:
    def this_grid(self):
        return Grid()


class Atomic:
    """Numbers through which blocks meet: release and acquire, others run in between."""

    def add(self, array, i, value):
        greenlet.getcurrent().let_others_go()
        i = array.atomic(i)
        before = array.array[i]
        with np.errstate(over="ignore"):  # unsigned numbers wrap around
            array.array[i] += array.dtype.type(value)
        return before


class Module(FakeCUDAModule):
    """`cuda` as a kernel sees it."""

    cg, shared, local, atomic = Cooperative(), Shared(), Locals(), Atomic()
    threadIdx = property(lambda self: greenlet.getcurrent().threadIdx)
    blockIdx = property(lambda self: greenlet.getcurrent().blockIdx)
    laneid = property(lambda self: greenlet.getcurrent().lane)

    def __init__(self, grid, block):
        super().__init__(grid, block, 0)
        self.seen = {}

    def enter(self, function):
        """Put this module in the place of `numba.cuda` among the globals of a kernel or a part of one, and in the place
        of the parts that it calls their plain functions, which are called a million times."""
        names = function.__globals__
        if id(names) in self.seen:
            return
        here = {name: self for name, value in names.items() if value is cuda}
        parts = {name: value.fn for name, value in names.items() if _is_part(value)}
        self.seen[id(names)] = names, {name: names[name] for name in (*here, *parts)}
        names.update(here | parts)
        for part in parts.values():
            self.enter(part)

    def leave(self):
        for names, changed in self.seen.values():
            names.update(changed)

    def syncthreads(self):
        thread = greenlet.getcurrent()
        thread.meet(thread.block)

    def syncwarp(self, mask=0xFFFFFFFF):
        thread = greenlet.getcurrent()
        thread.meet(thread.warp.lanes(mask))

    def _exchange(self, mask, value, source):
        """The value of lane `source`; orders nothing in memory, like the device's shuffles."""
        thread = greenlet.getcurrent()
        turn, thread.exchanges = thread.exchanges % 2, thread.exchanges + 1
        thread.sent[turn] = value
        lanes = thread.warp.lanes(mask)
        thread.meet(lanes, orders=False)
        other = thread.warp.lane(source)
        if other is not None and other in lanes:
            return other.sent[turn]
        raise IndexError(f"{thread} asks lane {source}, which does not take part in the shuffle")

    def shfl_sync(self, mask, value, source):
        return self._exchange(mask, value, source % 32)

    def shfl_xor_sync(self, mask, value, other):
        return self._exchange(mask, value, self.laneid ^ other)

    def shfl_down_sync(self, mask, value, delta):
        lane = self.laneid
        return self._exchange(mask, value, lane + delta if lane + delta < 32 else lane)

    def shfl_up_sync(self, mask, value, delta):
        lane = self.laneid
        return self._exchange(mask, value, lane - delta if lane >= delta else lane)

    def to_cluster(self, array, i, value):
        """Into a shared array of every block of the row, which is the cluster here."""
        thread, row = greenlet.getcurrent(), self.blockIdx.y
        (key,) = [key for key, own in thread.block.shared.items() if own is array.array]
        for block in {id(m.block): m.block for m in thread.launch.grid.members if m.blockIdx.y == row}.values():
            Tracked(block.shared[key], "shared array of the cluster")[i] = value

    def ldcg(self, array, i):
        greenlet.getcurrent().let_others_go()
        return array[i]

    def stcg(self, array, i, value):
        array[i] = value


def _is_part(value):
    return isinstance(value, numba_kernel.FakeCUDAKernel) and value._device


def _call(kernel, *arguments):
    if numba_kernel._kernel_context is not None:  # a part of a kernel, called from one
        numba_kernel._kernel_context.enter(kernel.fn)
        return kernel.fn(*arguments)
    grid, block = normalize_kernel_dimensions(kernel.grid_dim, kernel.block_dim)
    module = Module(grid, block)
    with numba_kernel._push_kernel_context(module):
        try:
            module.enter(kernel.fn)
            scheduler.Launch(kernel.fn, grid, block, [_on_device(value) for value in arguments]).run()
        finally:
            module.leave()


def _on_device(value):
    if isinstance(value, FakeCUDAArray):
        return Tracked(value._ary, "array")
    if isinstance(value, np.ndarray):
        raise TypeError("a kernel was given a NumPy array, which Numba copies back and forth; use device.to_device")
    if isinstance(value, tuple):
        parts = [_on_device(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def _configured(kernel, configuration):
    """kernel[grid, threads]: a new object, so that a configuration that was put aside stays what it was."""
    made = numba_kernel.FakeCUDAKernel(kernel.fn, kernel._device)
    made.grid_dim, made.block_dim = normalize_kernel_dimensions(*configuration[:2])
    return made


def _poisoned(*arguments, **options):
    array = device_array(*arguments, **options)
    poison(array._ary)
    return array


device_array = cuda.device_array
NUMBAS = {name: getattr(numba_kernel.FakeCUDAKernel, name) for name in ("__call__", "__getitem__")}


def install() -> None:
    """Run every kernel of this process with this scheduler; arrays that nobody has filled hold NaN."""
    _put({"__call__": _call, "__getitem__": _configured}, _poisoned)


def uninstall() -> None:
    """Give kernels back to Numba's own simulator."""
    _put(NUMBAS, device_array)


def _put(methods: dict[str, Any], empty: Any) -> None:
    cuda.device_array = empty
    for name, method in methods.items():
        setattr(numba_kernel.FakeCUDAKernel, name, method)
