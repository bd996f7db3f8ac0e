"""Numba's CUDA package: the only module that imports it, so that its coming change of name is one file.

The package numba-cuda stands behind `numba.cuda`; with NUMBA_ENABLE_CUDASIM=1 its simulator does, in which kernels are
plain Python and no type is ever inferred. As it comes it lacks aligned shared arrays and more: tests/gpu_sim adds them.
"""

import importlib
import importlib.metadata
import importlib.util
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numba.cuda
import numpy as np
from numba import config

cuda: Any = numba.cuda  # its stubs know nothing of what a kernel sees
SIMULATED = bool(config.ENABLE_CUDASIM)
OUT_OF_MEMORY = 2  # as the driver counts
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a sequence that fits one block is given one block on purpose


GONE = "row_stack"


def _load_compiler() -> None:
    """numba-cuda 0.30.4 asks NumPy for a function that NumPy 2.5 has no more, when it loads its own array functions."""
    vars(np)[GONE] = np.vstack
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy's dates without a unit
            importlib.import_module("numba.cuda.np.arrayobj")
    finally:
        del vars(np)[GONE]


def installed() -> bool:
    """Whether the package is there; without it Numba's own remains of it answer."""
    return importlib.util.find_spec("numba_cuda") is not None


def intrinsic(typing: Callable) -> Any:
    """A typing function as one that compiled code calls."""
    from numba.cuda.extending import intrinsic

    return intrinsic(typing)


def versions() -> str:
    """Of what compiles kernels: the package's. NVIDIA's compiler and the kind of device are in Numba's own key."""
    return importlib.metadata.version("numba-cuda")


def disk_cache() -> Any:
    """The classes by which the package keeps kernels on disk, the cache and what it writes; and what makes signatures
    of kernels from types of arguments."""
    from numba.cuda import types, typing
    from numba.cuda.dispatcher import CUDACache, CUDACacheImpl

    return CUDACache, CUDACacheImpl, lambda kinds: typing.signature(types.none, *kinds)


def out_of_memory(error: Exception) -> bool:
    """Whether the device had no room for an allocation."""
    return getattr(error, "code", None) == OUT_OF_MEMORY


def free_now() -> None:
    """Give what Numba has put off, up to ten pieces of memory or a fifth of the device's, back to the driver."""
    waiting = getattr(cuda.current_context().memory_manager, "deallocations", None)
    if waiting is not None:  # as it is without a memory manager of others
        waiting.clear()


def array_class() -> Any:
    """Numba's class of arrays on the device."""
    from numba.cuda.cudadrv.devicearray import DeviceNDArray

    return DeviceNDArray


def described(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> Any:
    """What Numba's functions know of an array without its memory."""
    from numba.cuda.cudadrv.dummyarray import Array

    return Array.from_desc(0, shape, strides, itemsize)


def pointer(address: int, size: int, owner: Any) -> Any:
    """Memory of the device as Numba's functions take it, which lives as long as its owner does."""
    from numba.cuda.cudadrv.driver import MemoryPointer, binding

    return MemoryPointer(cuda.current_context(), binding.CUdeviceptr(address), size, owner=owner)


@cache
def driver() -> Any:
    """The functions of NVIDIA's driver, each of which answers with an error and what was asked."""
    from cuda.bindings import driver

    return driver


def done(answer: tuple) -> Any:
    """What a function of the driver answered; Numba's error where it failed."""
    error, *found = answer
    if error:
        from numba.cuda.cudadrv.driver import CudaAPIError

        raise CudaAPIError(int(error), f"Call to the driver failed with {error.name}")
    return found[0] if found else None


def current() -> int:
    """The context in which this thread works; Numba's, where there is none yet or the driver has not begun."""
    error, found = driver().cuCtxGetCurrent()
    return (0 if error else int(found)) or int(cuda.current_context().handle)


def from_dlpack(x: Any, stream: int) -> Any:
    """What DLPack says of an array, whose producer makes this stream wait for its own."""
    from cuda.core.utils import StridedMemoryView

    return StridedMemoryView.from_dlpack(x, stream_ptr=stream)


if installed() and not SIMULATED and not hasattr(np, GONE):
    _load_compiler()
