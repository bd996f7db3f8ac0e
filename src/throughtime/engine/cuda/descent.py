"""The steps of optimisers on the device, under the names of cpu/descent.py: one thread for each parameter.

flat, gradient  (P,) the parameters, changed in place, and dL/dflat; what is kept of each parameter is (P,) too
broken          (1,) not 0 where nothing may be changed any more
"""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from . import arrays, device, sums
from .number import Number
from .sums import THREADS
from .toolkit import cuda

from .kernel_names import norm_of_parts  # isort: skip


@cache
def loops() -> dict[str, Callable]:
    """The steps, by name, each with the arguments of the CPU's, and `broken=`."""
    return {step.__name__: partial(_step, step) for step in (plain, shrink, momentum, rmsprop, adam)}


def sum_of_squares(x: Any) -> Number:
    """In float64."""
    out = device.empty(1, np.float64)
    device.launch(sums.kernel_of(square_of_norm), (1, 1, 1), THREADS, (sums.squares(x), out))
    return Number(out)


def _step(step: Callable, flat: Any, *arguments: Any, broken: Any = None) -> None:
    broken = device.constant(("whole",), lambda: arrays.zeros((1,), np.float64)) if broken is None else broken
    device.for_each(step, flat.size, (flat, *arguments, broken))


def plain(flat, gradient, rate, broken):
    i = cuda.grid(1)
    if i < flat.size and broken[0] == 0:
        flat[i] -= gradient[i] * rate


def shrink(flat, factor, broken):
    i = cuda.grid(1)
    if i < flat.size and broken[0] == 0:
        flat[i] *= factor


def momentum(flat, gradient, kept, rate, share, nesterov, broken):
    i = cuda.grid(1)
    if i < flat.size and broken[0] == 0:
        kept[i] = share * kept[i] + gradient[i]
        flat[i] -= rate * (gradient[i] + share * kept[i] if nesterov else kept[i])


def rmsprop(flat, gradient, square, kept, mean, rate, smoothing, rest, epsilon, share, broken):
    """kept, mean: empty where there is no momentum, and no centring."""
    i = cuda.grid(1)
    if i < flat.size and broken[0] == 0:
        g = gradient[i]
        square[i] = smoothing * square[i] + rest * (g * g)
        v = square[i]
        if mean.size > 0:
            mean[i] += rest * (g - mean[i])
            v -= mean[i] * mean[i]
        moved = g / (math.sqrt(v) + epsilon)
        if kept.size > 0:
            kept[i] = share * kept[i] + moved
            moved = kept[i]
        flat[i] -= rate * moved


def adam(flat, gradient, mean, square, largest, size, rest, smoothing, other, root, epsilon, broken):
    """largest: empty without amsgrad. size, root: the rate and √v without the bias of the start."""
    i = cuda.grid(1)
    if i < flat.size and broken[0] == 0:
        g = gradient[i]
        mean[i] += rest * (g - mean[i])
        square[i] = smoothing * square[i] + other * (g * g)
        v = square[i]
        if largest.size > 0:
            v = max(largest[i], v)
            largest[i] = v
        flat[i] -= size * (mean[i] / (math.sqrt(v) / root + epsilon))


def square_of_norm(parts, out):
    shared = cuda.shared.array(THREADS, parts.dtype)
    norm = norm_of_parts(parts, shared)
    if cuda.threadIdx.x == 0:
        out[0] = norm * norm
