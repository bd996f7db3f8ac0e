"""Numba's CUDA package: the only module that imports it, so that its coming change of name is one file.

The package numba-cuda stands behind `numba.cuda`; with NUMBA_ENABLE_CUDASIM=1 its simulator does, in which kernels are
plain Python and no type is ever inferred.
"""

import types
from collections.abc import Callable
from functools import cache
from typing import Any

import numba.cuda
import numpy as np
from numba import config, njit

from ...jit import in_precision

cuda: Any = numba.cuda  # its stubs know nothing of what a kernel sees
SIMULATED = bool(config.ENABLE_CUDASIM)
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a sequence that fits one block is given one block on purpose


# ------------------------------------------------------------------------------------------------------- code


def primitive(python: Callable) -> Callable:
    """Decorator of a typing function that emits LLVM's language; in the simulator `python` stands in for it."""

    def decorate(typing: Callable) -> Any:
        if SIMULATED:
            return python
        from numba.cuda.extending import intrinsic

        return intrinsic(typing)

    return decorate


def kernel(function: Callable, name: str, threads: int, blocks: int = 1, **names: Any) -> Any:
    """A copy of a kernel that sees `names` as globals, for blocks of at most `threads` threads.

    Registers are given out so that `blocks` of them fit on a multiprocessor.

    Compiled at its first launch in each process. It is not cached on disk: Numba refuses to keep a kernel that meets
    across blocks, because a library is linked to it.
    """
    copy = _copy(function, name, names)
    return cuda.jit(copy) if SIMULATED else cuda.jit(launch_bounds=(threads, blocks))(copy)


def part(function: Callable, name: str, **names: Any) -> Any:
    """A part of a kernel, a copy that sees `names` as globals; inlined, so that its arrays stay in registers."""
    copy = _copy(function, name, names)
    return cuda.jit(device=True)(copy) if SIMULATED else cuda.jit(device=True, forceinline=True)(copy)


def cell_function(function: Callable, real: type) -> Callable:
    """A cell's function for use in kernels. Not inlined by Numba, which numba-cuda does not survive; LLVM does it."""
    return function if SIMULATED else njit(in_precision(function, real))


def _copy(function: Callable, name: str, names: dict[str, Any]) -> Any:
    copy = types.FunctionType(function.__code__, {**function.__globals__, **names}, function.__name__)
    copy.__qualname__, copy.__module__ = f"{function.__name__}-{name}", function.__module__
    return copy


# --------------------------------------------------------------------------------------------- arrays and launches


def empty(shape: Any, dtype: Any) -> Any:
    """A C-contiguous array on the device, not filled."""
    return cuda.device_array(shape, dtype)


def to_device(array: np.ndarray) -> Any:
    """A copy of a NumPy array on the device."""
    return cuda.to_device(np.ascontiguousarray(array))


def to_host(array: Any) -> np.ndarray:
    """A copy of a device array in NumPy."""
    return np.asarray(array.copy_to_host())


def flat(array: Any) -> Any:
    """The numbers from the first of `array` to its last as a flat array; what a view leaves out lies in between."""
    size, item = int(np.prod(array.shape)), array.dtype.itemsize
    reach = 1 + sum((n - 1) * stride // item for n, stride in zip(array.shape, array.strides, strict=True))
    return _view(array, (reach if size else 0,), (item,))


def rows(array: Any) -> tuple[Any, int]:
    """The numbers of `array` (T, B, n) as in `flat`, and how many from row to row (t, b) to the next."""
    return flat(array), int(array.strides[1]) // array.dtype.itemsize


def transposed(array: Any, axes: tuple[int, ...]) -> Any:
    """A view with the axes in another order."""
    shape, strides = tuple(array.shape), tuple(array.strides)
    return _view(array, tuple(shape[axis] for axis in axes), tuple(strides[axis] for axis in axes))


def _view(array: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    if SIMULATED:
        return type(array)(np.lib.stride_tricks.as_strided(array._ary, shape, strides))
    from numba.cuda.cudadrv.devicearray import DeviceNDArray

    return DeviceNDArray(shape, strides, array.dtype, stream=array.stream, gpu_data=array.gpu_data)


def at_vector(array: Any) -> bool:
    """Whether an array begins at a multiple of 16 bytes, as all do that are not views."""
    pointer = array._ary.ctypes.data if SIMULATED else array.device_ctypes_pointer.value
    return (pointer or 0) % 16 == 0


def launch(kernel: Any, grid: tuple[int, int, int], threads: int, arguments: tuple) -> None:
    """Start a kernel; every launch of the engine goes through here."""
    kernel[grid, threads](*arguments)


@cache
def plain(function: Callable) -> Any:
    """A kernel without constants of its own, for blocks of EACH threads."""
    return kernel(function, "plain", EACH)


EACH = 256


def for_each(function: Callable, count: int, arguments: tuple) -> None:
    """Launch such a kernel with a thread for each of `count` numbers, and with those that fill up the last block."""
    if count:
        launch(plain(function), (-(-count // EACH), 1, 1), EACH, arguments)


def blocks_at_once(kernel: Any, threads: int, arguments: tuple) -> int:
    """The most blocks of a kernel that the device holds at the same time, which those that meet must not exceed."""
    if SIMULATED:
        return SIMULATED_BLOCKS
    kernel.compile(tuple(map(_numba_type, arguments)))
    return int(kernel.overloads[tuple(map(_numba_type, arguments))].max_cooperative_grid_blocks(threads))


SIMULATED_BLOCKS = 6


def _numba_type(value: Any) -> Any:
    from numba import typeof

    return getattr(value, "_numba_type_", None) or typeof(value)
