"""The engine without any driver: its arrays are NumPy's, its kernels run on the CPU (machine.py)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any
from unittest import mock

import machine
import numba.cuda.codegen
import numba.cuda.dispatcher
import numpy as np

from throughtime.engine.cuda import device

BLOCKS_AT_ONCE = 132


def empty(shape: Any, dtype: Any) -> np.ndarray:
    """Full of what no result can hide: NaN, or the lowest whole number."""
    dtype = np.dtype(dtype)
    return np.full(shape, np.nan if dtype.kind == "f" else np.iinfo(dtype).min, dtype)


def copied(array: Any) -> np.ndarray:
    return np.array(array, order="C")


class Device:
    id = 0
    compute_capability = (9, 0)


ARRAYS = {
    "empty": empty,
    "to_device": copied,
    "to_host": copied,
    "_view": lambda array, shape, strides: np.lib.stride_tricks.as_strided(array, shape, strides),
    "shaped": np.reshape,
    "copy_numbers": lambda target, source: np.copyto(target, source.reshape(target.shape)),
    "clear": lambda array: array.fill(0),
    "constant": lambda key, make: make(),
    "made_of": lambda array: None,
    "wrap": lambda array: array,
    "contiguous": lambda array: array.flags.c_contiguous,
    "at_vector": lambda array: array.ctypes.data % 16 == 0,
    "launch": lambda *launch: machine.run(*launch),
    "clusters": lambda: True,
    "multiprocessors": lambda: 132,
    "blocks_at_once": lambda *_: BLOCKS_AT_ONCE,
}


@contextmanager
def engine(*modules: Any):
    """Inside, the engine runs so, and `modules` that have taken these names from device.py see them too.

    numba-cuda makes kernels although there is no device to ask, and nothing is compiled for one.
    """
    library = numba.cuda.codegen.CUDACodeLibrary
    with (
        mock.patch.object(numba.cuda.dispatcher, "get_current_device", return_value=Device),
        mock.patch.object(library, "get_asm_str", return_value=""),
        mock.patch.multiple(device, **ARRAYS),
    ):
        taken = [
            mock.patch.object(module, name, ARRAYS[name])
            for module in modules
            for name in ARRAYS
            if hasattr(module, name)
        ]
        for each in taken:
            each.start()
        try:
            yield
        finally:
            for each in taken:
                each.stop()
