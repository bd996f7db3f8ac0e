"""Moving numbers about on the device: strided copies, sums and padding. Arrays are Numba's device arrays.

Numba's own assignment compiles a kernel for each number of axes, synchronises, and cannot reshape a view.
"""

from functools import cache
from typing import Any

import numpy as np

from . import device
from .device import cuda

THREADS = 4 if device.SIMULATED else 256
AXES = 4


def move_kernel(target, source, shape, t_strides, s_strides):
    """target[i, j, k, l] = source[i, j, k, l] for strides given in numbers; the last axis runs fastest."""
    n0, n1, n2, n3 = shape
    for place in range(cuda.grid(1), n0 * n1 * n2 * n3, cuda.gridsize(1)):
        l, rest = place % n3, place // n3
        k, rest = rest % n2, rest // n2
        i, j = rest // n1, rest % n1
        t = i * t_strides[0] + j * t_strides[1] + k * t_strides[2] + l * t_strides[3]
        target[t] = source[i * s_strides[0] + j * s_strides[1] + k * s_strides[2] + l * s_strides[3]]


def add_kernel(target, source, shape):
    """target += source for flat arrays."""
    for place in range(cuda.grid(1), shape[0], cuda.gridsize(1)):
        target[place] += source[place]


def fill_kernel(target, value, shape):
    """target = value for a flat array."""
    for place in range(cuda.grid(1), shape[0], cuda.gridsize(1)):
        target[place] = value


def pad_kernel(target, lengths, shape):
    """0 in a (T, B, n) array wherever t >= lengths[b]."""
    T, B, n = shape
    for place in range(cuda.grid(1), T * B * n, cuda.gridsize(1)):
        if place // n // B >= lengths[place // n % B]:
            target[place] = 0


@cache
def _kernel(function: Any) -> Any:
    return device.kernel(function, "array", THREADS)


def _launch(function: Any, count: int, *arguments: Any) -> None:
    if count:
        blocks = 2 if device.SIMULATED else min(-(-count // THREADS), 1024)
        device.launch(_kernel(function), (blocks, 1, 1), THREADS, arguments)


def move(target: Any, source: Any) -> None:
    """target[...] = source[...] for device arrays of one shape, views included."""
    if tuple(target.shape) != tuple(source.shape):
        raise ValueError(f"{tuple(source.shape)} into {tuple(target.shape)}")
    size = source.dtype.itemsize
    more = AXES - len(source.shape)
    shape = (1,) * more + tuple(int(n) for n in source.shape)
    strides = [(0,) * more + tuple(n // size for n in array.strides) for array in (target, source)]
    count = int(np.prod(shape))
    if count:
        _launch(move_kernel, count, device.flat(target), device.flat(source), shape, *strides)


def compact(source: Any, axes: tuple[int, ...] | None = None) -> Any:
    """A C-contiguous copy, its axes in another order if asked."""
    order = tuple(range(len(source.shape))) if axes is None else axes
    out = device.empty(tuple(int(source.shape[axis]) for axis in order), source.dtype)
    back = tuple(np.argsort(order).tolist())
    move(device.transposed(out, back), source)
    return out


def zeros(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array of zeros."""
    out = device.empty(shape, dtype)
    _launch(fill_kernel, int(np.prod(shape)), device.flat(out), np.dtype(dtype).type(0), (int(np.prod(shape)),))
    return out


def add(target: Any, source: Any) -> Any:
    """target += source for C-contiguous arrays of one shape; returns target."""
    count = int(np.prod(target.shape))
    _launch(add_kernel, count, device.flat(target), device.flat(source), (count,))
    return target


def pad(target: Any, lengths: Any) -> Any:
    """0 in `target` (T, B, n), C-contiguous, beyond each sequence's end; returns target."""
    shape = tuple(int(n) for n in target.shape)
    _launch(pad_kernel, int(np.prod(shape)), device.flat(target), lengths, shape)
    return target


def joined(arrays: list[Any]) -> Any:
    """Arrays (T, B, n) side by side along the last axis; one alone is handed on as it is."""
    if len(arrays) == 1:
        return arrays[0]
    widths = [int(array.shape[2]) for array in arrays]
    out, at = device.empty((*arrays[0].shape[:2], sum(widths)), arrays[0].dtype), 0
    for array, width in zip(arrays, widths, strict=True):
        move(out[:, :, at : at + width], array)
        at += width
    return out
