"""Kernels compiled to machine code for the H100 without a GPU and without a driver, and what they take of it.

The way is that of a launch (types, libNVVM, link-time optimisation, nvJitLink to a cubin for sm_90a), with three of
numba-cuda's private functions replaced: they ask the driver which device there is, and leave out the linker's report.
Hence the pinned version; another one may call them otherwise, and then this fails loudly.

The engine itself runs, on NumPy arrays that are never filled: where it would launch a kernel, the kernel and the types
of its arguments are written down (`recorded`).
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

import numba.cuda.codegen
import numba.cuda.cudadrv.driver
import numba.cuda.dispatcher
import numpy as np

from throughtime.engine.cuda import arrays, device

TARGET = (9, 0, "a")


class Resources(NamedTuple):
    """What one kernel takes, and what is among its instructions."""

    registers: int  # of a thread
    stack: int  # bytes of a thread's memory outside its registers
    spill: int  # bytes stored and loaded because registers ran out
    shared: tuple[int, ...]  # bytes of each shared array
    doubles: int  # instructions on float64
    approximate: int  # instructions that trade accuracy for speed: tanh.approx
    cooperative: bool  # blocks meet across the grid
    cluster: int  # blocks that start side by side


class Device:
    id = 0
    compute_capability = TARGET[:2]


def install() -> None:
    """Make numba-cuda compile for the target without looking for a device."""
    numba.cuda.dispatcher.get_current_device = lambda: Device
    numba.cuda.codegen.CUDACodeLibrary._ensure_cc = lambda self, capability: capability or TARGET
    linker: Any = numba.cuda.cudadrv.driver._Linker
    options = linker._get_linker_options

    def with_report(self, ptx):
        found = options(self, ptx)
        found.ptxas_options = ["-v"]
        return found

    linker._get_linker_options = with_report


REPORT = (
    r"Function properties for {}\s*\n[^\n]*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    r"\n[^\n]*?Used (\d+) registers"
)


def resources(kernel: Any, arguments: tuple) -> Resources:
    """Those of a kernel for the types of these arguments."""
    types = tuple(kernel.typeof_pyval(value) for value in arguments)
    made = numba.cuda.dispatcher._Kernel(kernel.py_func, types, **kernel.targetoptions)
    library = made._codelibrary
    library.get_cubin(cc=TARGET)
    log = library.get_linkerinfo(TARGET)
    log = log if isinstance(log, str) else log.decode()
    found = re.search(REPORT.format(re.escape(made.entry_name)), log)
    assert found, f"the linker reports nothing about {made.entry_name}: {log[-400:]}"
    assembly = library.get_asm_str(cc=TARGET)
    # The linker leaves out the shared memory of kernels that meet across the grid.
    shared = re.findall(r"\.shared \.align \d+ \.b8 \w+\[(\d+)\]", assembly)
    return Resources(
        registers=int(found[4]),
        stack=int(found[1]),
        spill=int(found[2]) + int(found[3]),
        shared=tuple(map(int, shared)),
        doubles=len(re.findall(r"^\s+(?:@\S+\s+)?[a-z][\w.]*\.f64", assembly, re.MULTILINE)),
        approximate=assembly.count("tanh.approx"),
        cooperative=made.cooperative,
        cluster=int((re.findall(r"\.reqnctapercluster (\d+), 1, 1", assembly) or [1])[0]),
    )


class Launched(NamedTuple):
    kernel: Any
    grid: tuple[int, int, int]
    threads: int
    arguments: tuple


@contextmanager
def recorded():
    """Inside, the engine's arrays are NumPy's and nothing is launched; yields the list of what would have been."""
    launches: list[Launched] = []

    def rows(array):
        item, row = array.itemsize, array.strides[1] // array.itemsize
        size = (int(np.prod(array.shape[:2])) - 1) * row + array.shape[2] if array.size else 0
        return np.lib.stride_tricks.as_strided(array, (size,), (item,)), row

    def launch(kernel, *rest):
        if kernel is not device.plain(arrays.move_numbers):  # what copies what a pass is given is no part of it
            launches.append(Launched(kernel, *rest))

    with mock.patch.multiple(
        device,
        empty=np.empty,
        to_device=np.ascontiguousarray,
        to_host=np.asarray,
        rows=rows,
        shaped=np.reshape,
        at_vector=lambda array: array.ctypes.data % 16 == 0,
        contiguous=lambda array: array.flags.c_contiguous,
        copy_numbers=lambda target, source: None,
        clear=lambda array: array.fill(0),
        constant=lambda key, make: make(),
        made_of=lambda array: None,
        _view=lambda like, shape, strides: np.lib.stride_tricks.as_strided(like, shape, strides),
        launch=launch,
        blocks_at_once=lambda *_: MULTIPROCESSORS,
        multiprocessors=lambda: MULTIPROCESSORS,
        clusters=lambda: MULTIPROCESSORS // 12,
    ):
        yield launches


MULTIPROCESSORS = 132
