"""Numba's CUDA package: the only module that imports it, so that its coming change of name is one file.

The package numba-cuda stands behind `numba.cuda`; with NUMBA_ENABLE_CUDASIM=1 its simulator does, in which kernels are
plain Python and no type is ever inferred. As it comes it lacks aligned shared arrays and more: tests/gpu_sim adds them.
"""

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import numba.cuda
import numpy as np
from numba import config

cuda: Any = numba.cuda  # its stubs know nothing of what a kernel sees
SIMULATED = bool(config.ENABLE_CUDASIM)
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


def device_array(like: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """The memory of a device array in another shape."""
    from numba.cuda.cudadrv.devicearray import DeviceNDArray

    return DeviceNDArray(shape, strides, like.dtype, stream=like.stream, gpu_data=like.gpu_data)


def from_dlpack(x: Any, stream: int) -> Any:
    """What DLPack says of an array, whose producer makes this stream wait for its own."""
    from cuda.core.utils import StridedMemoryView

    return StridedMemoryView.from_dlpack(x, stream_ptr=stream)


if installed() and not SIMULATED and not hasattr(np, GONE):
    _load_compiler()
