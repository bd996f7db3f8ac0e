"""Loops over all parameters at once: the steps of optimisers, the norm of a gradient. One pass over memory, where NumPy
makes ten.

    flat, gradient  (P,) the parameters, changed in place, and dL/dflat; what is kept of each parameter is (P,) too
"""

from functools import cache
from typing import Any

import numpy as np

from ...jit import specialise


@cache
def loops() -> dict[str, Any]:
    """The compiled loops, by name."""
    compiled = {loop.__name__: specialise(loop, loop.__name__) for loop in (momentum, rmsprop, adam, sum_of_squares)}
    return compiled | {"plain": plain, "shrink": shrink}


def plain(flat, gradient, rate):
    """The gradient is written over."""
    gradient *= rate
    flat -= gradient


def shrink(flat, factor):
    flat *= factor


def momentum(flat, gradient, kept, rate, share, nesterov):
    for i in range(flat.size):
        kept[i] = share * kept[i] + gradient[i]
        flat[i] -= rate * (gradient[i] + share * kept[i] if nesterov else kept[i])


def rmsprop(flat, gradient, square, kept, mean, rate, smoothing, rest, epsilon, share):
    """kept, mean: empty where there is no momentum, and no centring."""
    for i in range(flat.size):
        g = gradient[i]
        square[i] = smoothing * square[i] + rest * (g * g)
        v = square[i]
        if mean.size:
            mean[i] += rest * (g - mean[i])
            v -= mean[i] * mean[i]
        moved = g / (np.sqrt(v) + epsilon)
        if kept.size:
            kept[i] = share * kept[i] + moved
            moved = kept[i]
        flat[i] -= rate * moved


def adam(flat, gradient, mean, square, largest, size, rest, smoothing, other, root, epsilon):
    """largest: empty without amsgrad. size, root: the rate and √v without the bias of the start."""
    for i in range(flat.size):
        g = gradient[i]
        mean[i] += rest * (g - mean[i])
        square[i] = smoothing * square[i] + other * (g * g)
        v = square[i]
        if largest.size:
            v = max(largest[i], v)
            largest[i] = v
        flat[i] -= size * (mean[i] / (np.sqrt(v) / root + epsilon))


def sum_of_squares(x):
    """In float64; eight sums side by side, as one alone would wait for each of its additions."""
    a = b = c = d = e = f = g = h = 0.0
    whole = x.size // 8 * 8
    for i in range(0, whole, 8):
        a += float(x[i]) * float(x[i])
        b += float(x[i + 1]) * float(x[i + 1])
        c += float(x[i + 2]) * float(x[i + 2])
        d += float(x[i + 3]) * float(x[i + 3])
        e += float(x[i + 4]) * float(x[i + 4])
        f += float(x[i + 5]) * float(x[i + 5])
        g += float(x[i + 6]) * float(x[i + 6])
        h += float(x[i + 7]) * float(x[i + 7])
    for i in range(whole, x.size):
        a += float(x[i]) * float(x[i])
    return ((a + b) + (c + d)) + ((e + f) + (g + h))
