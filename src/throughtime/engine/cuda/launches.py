"""Kernels started with arguments that lie ready: one packing of all numbers, and one call of the driver.

Numba's way takes about 4 microseconds for a launch and 2 to 4 more for each array. Here a kernel's arguments of one
form (arrays by dtype and axes, tuples by what is in them) share a buffer with a place of 8 bytes for each number that
the kernel takes, in the order of Numba's own `_Kernel._prepare_args`; the driver copies them at the launch. What is not
known here, views with gaps and numbers of other types, goes Numba's way.
"""

import ctypes
import struct
from typing import Any

import numpy as np
from numba import typeof

from .device_array import DeviceArray
from .toolkit import done, driver

# How a number of a type lies at its place.
PLACES: dict[type, str] = {
    int: "q", float: "d", bool: "?7x", np.bool_: "?7x", np.float32: "f4x", np.float64: "d", np.int64: "q",
    np.int32: "i4x", np.uint32: "I4x", np.uint64: "Q",
}  # fmt: skip
NUMBERS = frozenset(PLACES)
MOST_CONFIGURATIONS = 64  # of a kernel that are kept


class Buffer:
    """Room for the arguments of one launch."""

    def __init__(self, count: int) -> None:
        self.numbers = ctypes.create_string_buffer(8 * count)
        first = ctypes.addressof(self.numbers)
        self.places = (ctypes.c_void_p * count)(*range(first, first + 8 * count, 8))
        self.address = ctypes.addressof(self.places)


class Prepared:
    """A compiled kernel for arguments of one form, in one context."""

    def __init__(self, kernel: Any, arguments: tuple, places: list[str]) -> None:
        types = tuple(map(numba_type, arguments))
        kernel.compile(types)
        self.made = kernel.overloads[types]
        self.function = int(self.made.library.get_cufunc().handle)
        self.layout = struct.Struct("".join(["<", *places]))
        self.count = len(places)
        self.room: list[Buffer] = []  # append and pop are atomic: threads may launch side by side
        self.configurations: dict[tuple, Any] = {}
        self.at_once: dict[int, int] = {}

    def start(self, numbers: list, grid: tuple[int, int, int], threads: int, stream: int) -> None:
        """Queue a launch."""
        try:
            buffer = self.room.pop()
        except IndexError:
            buffer = Buffer(self.count)
        self.layout.pack_into(buffer.numbers, 0, *numbers)
        key = grid, threads, stream
        found = self.configurations.get(key)
        if found is None:
            if len(self.configurations) >= MOST_CONFIGURATIONS:
                self.configurations.clear()
            found = self.configurations[key] = self._configuration(grid, threads, stream)
        done(driver().cuLaunchKernelEx(found, self.function, buffer.address, 0))
        self.room.append(buffer)

    def _configuration(self, grid: tuple[int, int, int], threads: int, stream: int) -> Any:
        made, api = driver().CUlaunchConfig(), driver()
        made.gridDimX, made.gridDimY, made.gridDimZ = grid
        made.blockDimX, made.blockDimY, made.blockDimZ = threads, 1, 1
        made.sharedMemBytes, made.hStream, made.numAttrs = 0, stream, 0
        if self.made.cooperative:
            attribute = api.CUlaunchAttribute()
            attribute.id = api.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_COOPERATIVE
            attribute.value.cooperative = 1
            made.attrs, made.numAttrs = [attribute], 1
        return made


_prepared: dict[tuple, Prepared] = {}


def start(kernel: Any, grid: tuple[int, int, int], threads: int, arguments: tuple, place: tuple[int, int]) -> bool:
    """Queue a launch in a context and on a stream; False where the arguments are not known here."""
    made, numbers = _find(kernel, arguments, place[0])
    if made is not None:
        made.start(numbers, grid, threads, place[1])
    return made is not None


def blocks_at_once(kernel: Any, threads: int, arguments: tuple, context: int) -> int:
    """The most blocks of a kernel that the device holds at the same time."""
    made = _find(kernel, arguments, context)[0] or Prepared(kernel, arguments, [])
    if threads not in made.at_once:
        made.at_once[threads] = int(made.made.max_cooperative_grid_blocks(threads))
    return made.at_once[threads]


def _find(kernel: Any, arguments: tuple, context: int) -> tuple[Prepared | None, list]:
    """The kernel for arguments of this form, and the numbers in them; None where they are not known here."""
    form: list[Any] = [kernel, context]
    numbers: list[Any] = []
    if not _flatten(arguments, form, numbers):
        return None, numbers
    key = tuple(form)
    made = _prepared.get(key)
    if made is None:
        made = _prepared[key] = Prepared(kernel, arguments, _places(arguments))
    return made, numbers


def numba_type(value: Any) -> Any:
    """The type for which a kernel that takes this value is compiled."""
    return getattr(value, "_numba_type_", None) or typeof(value)


def _flatten(values: tuple, form: list, numbers: list) -> bool:
    """Adds to `form` what a compiled kernel depends on, and to `numbers` what it takes; whether all is known here."""
    for value in values:
        kind = type(value)
        if kind is int:
            form.append(int)
            numbers.append(value)
        elif kind is DeviceArray:
            if not value.c_contiguous:
                return False
            dtype = value.dtype
            form += (dtype, value.ndim)
            numbers += (0, 0, value.size, dtype.itemsize, value.address, *value.shape, *value.strides)
        elif kind in PLACES:
            form.append(kind)
            numbers.append(value)
        elif isinstance(value, tuple):
            kinds = tuple(map(type, value))
            form += (kind, kinds)
            if NUMBERS.issuperset(kinds):
                numbers += value
            elif not _flatten(value, form, numbers):
                return False
        else:
            return False
    return True


def _places(values: tuple) -> list[str]:
    """How the numbers lie, in the same order."""
    found: list[str] = []
    for value in values:
        if isinstance(value, DeviceArray):
            found += "q" * (5 + 2 * value.ndim)  # no owner, no parent, size, bytes of a number, address, ...
        elif isinstance(value, tuple):
            found += _places(value)
        else:
            found.append(PLACES[type(value)])
    return found
