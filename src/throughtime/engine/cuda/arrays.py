"""Moving numbers about on the device. Arrays are Numba's device arrays.

Numba's own assignment compiles a kernel for each number of axes, synchronises, and cannot reshape a view.
"""

import math
from typing import Any

import numpy as np

from . import device
from .device import contiguous, empty, repeated, require, shaped, to_host, wrap
from .shared import share, taken
from .streams import on, stream_of
from .toolkit import cuda

__all__ = [
    "add", "changed", "compact", "contiguous", "copy", "dense", "empty", "every", "fetched", "from_host", "holds",
    "joined", "kept", "move", "multiplied", "on", "ordered", "pad", "parted", "read_only", "repeated", "require",
    "rows", "scale_rows", "shaped", "stream_of", "to_host", "wrap", "zeros",
]  # fmt: skip
holds, from_host = device.on_device, device.to_device

AXES = 4


def move_numbers(target, source, shape, t_strides, s_strides):
    """target[i, j, k, l] = source[i, j, k, l] for strides given in numbers; the last axis runs fastest."""
    n0, n1, n2, n3 = shape
    place = cuda.grid(1)
    if place < n0 * n1 * n2 * n3:
        l, k, j, i = place % n3, place // n3 % n2, place // n3 // n2 % n1, place // n3 // n2 // n1
        t = i * t_strides[0] + j * t_strides[1] + k * t_strides[2] + l * t_strides[3]
        target[t] = source[i * s_strides[0] + j * s_strides[1] + k * s_strides[2] + l * s_strides[3]]


def scale_numbers(x, factor, columns):
    """x[m] *= factor[m] for the rows of a flat array."""
    place = cuda.grid(1)
    if place < x.size:
        x[place] *= factor[place // columns]


def add_numbers(target, source):
    """target += source for flat arrays."""
    place = cuda.grid(1)
    if place < target.size:
        target[place] += source[place]


def multiply_numbers(x, factors, out):
    """out = x · factors for flat arrays; 0 where a factor is 0."""
    place = cuda.grid(1)
    if place < out.size:
        factor = factors[place]
        out[place] = x[place] * factor if factor != 0 else out.dtype.type(0)


def clear_padding(x, lengths, columns, batch):
    """x[t, b] = 0 from t = lengths[b] on."""
    place = cuda.grid(1)
    if place < x.size and place // columns // batch >= lengths[place // columns % batch]:
        x[place] = 0


def move(target: Any, source: Any) -> None:
    """target[...] = source[...] for device arrays of one shape with up to 4 axes, views and other dtypes included."""
    assert tuple(target.shape) == tuple(source.shape), (target.shape, source.shape)
    if target.dtype == source.dtype and device.contiguous(target) and device.contiguous(source):
        device.copy_numbers(target, source)
        return
    more = AXES - len(source.shape)
    shape = (1,) * more + tuple(int(n) for n in source.shape)
    strides = [(0,) * more + tuple(int(n) // a.dtype.itemsize for n in a.strides) for a in (target, source)]
    device.for_each(move_numbers, math.prod(shape), (device.flat(target), device.flat(source), shape, *strides))


def compact(source: Any, axes: tuple[int, ...] | None = None) -> Any:
    """A C-contiguous copy, its axes in another order if asked."""
    if axes is None or axes == tuple(range(len(axes))):
        return copy(source)
    out = device.empty(tuple(int(source.shape[axis]) for axis in axes), source.dtype)
    move(device.transposed(out, tuple(axes.index(axis) for axis in range(len(axes)))), source)
    return out


def dense(source: Any) -> Any:
    """C-contiguous: a copy only where it is not so already."""
    return source if device.contiguous(source) else compact(source)


def rows(x: Any) -> Any:
    """The numbers of x (…, n) row by row, (R, n); a view where the rows lie at one distance."""
    *lengths, n = (int(length) for length in x.shape)
    item, count = x.dtype.itemsize, math.prod(lengths)
    if not device.contiguous(x) and len(lengths) == 2 and count and int(x.strides[2]) == item:
        one = int(x.strides[1]) if lengths[1] > 1 else int(x.strides[0])
        if lengths[0] == 1 or lengths[1] == 1 or int(x.strides[0]) == lengths[1] * one:
            return device.in_rows(x, count, one)
    return dense(x).reshape((count, n))


def parted(own: Any, axes: tuple[int, ...]) -> Any:
    """A part of an array that nobody else has, its axes in another order; a view."""
    return device.transposed(own, axes)


def every(count: int, number: int) -> Any:
    """`number`, `count` times, in whole numbers; nobody changes it."""
    return device.constant(("every", count, number), lambda: device.to_device(np.full(count, number, np.int64)))


def kept(parameter: Any, shape: tuple[int, ...]) -> Any:
    """A copy of a network's parameter in the shape in which a run keeps it, which nobody changes: the same one for all
    runs, with all that they make of it, as long as nobody else can have changed the parameter."""
    shared = device.made_of(parameter)
    found = None if shared is None else shared.get(shape)
    if found is not None:
        return taken(found)
    found = copy(parameter).reshape(shape)
    if shared is not None:
        shared[shape] = share(found)
    return found


def changed(array: Any) -> None:
    """Tell that numbers which others may have made something of were written over: it is made anew."""
    device.forget(array)


def copy(source: Any) -> Any:
    """A C-contiguous copy."""
    out = device.empty(tuple(source.shape), source.dtype)
    move(out, source)
    return out


ordered = compact  # there are no views here that users could take for arrays of their own


def read_only(array: Any) -> Any:
    """The array: a device array cannot be protected."""
    return array


def fetched(x: Any) -> Any:
    """x, or its parts where it is a tuple or a list, in NumPy where they lie on the device."""
    if isinstance(x, (tuple, list)):
        return [fetched(part) for part in x] if isinstance(x, list) else tuple(map(fetched, x))
    return to_host(wrap(x)) if holds(x) else x


def zeros(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array of zeros."""
    out = device.empty(shape, dtype)
    device.clear(out)
    return out


def scale_rows(x: Any, factor: Any) -> None:
    """x[m] *= factor[m] for C-contiguous x (M, n)."""
    device.for_each(scale_numbers, math.prod(x.shape), (device.flat(x), factor, int(x.shape[1])))


def add(target: Any, source: Any) -> Any:
    """target += source for C-contiguous arrays of one shape; returns target."""
    device.for_each(add_numbers, target.size, (target.reshape(-1), source.reshape(-1)))
    return target


def multiplied(x: Any, factors: Any) -> Any:
    """x · factors, of one shape, factors C-contiguous; 0 where a factor is 0, whatever x is there."""
    own, out = dense(x), device.empty(tuple(x.shape), x.dtype)
    device.for_each(multiply_numbers, out.size, (own.reshape(-1), factors.reshape(-1), out.reshape(-1)))
    return out


def pad(target: Any, lengths: Any) -> Any:
    """0 in `target` (T, B, n), C-contiguous, beyond each sequence's end; returns target."""
    device.for_each(clear_padding, target.size, (target.reshape(-1), lengths, target.shape[2], target.shape[1]))
    return target


def joined(arrays: list[Any]) -> Any:
    """Arrays (T, B, n) side by side along the last axis; one alone is handed on as it is."""
    if len(arrays) == 1:
        return arrays[0]
    widths = [int(array.shape[2]) for array in arrays]
    out, at = device.empty((*(int(n) for n in arrays[0].shape[:2]), sum(widths)), arrays[0].dtype), 0
    for array, width in zip(arrays, widths, strict=True):
        move(out[:, :, at : at + width], array)
        at += width
    return out
