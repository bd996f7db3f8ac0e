"""The norm of a gradient: one compiled pass, as training asks for it at every step."""

from __future__ import annotations

from functools import cache
from typing import Any

from ..jit import specialise
from ..network import norms


def norm(gradient: Any) -> float:
    """The norm of a vector (P,) of float32 or float64, summed in float64; NaN and inf as they come, also where squares
    overflow or vanish.

    >>> import numpy as np
    >>> norm(np.array([3e200, 4e200])) / 1e200
    5.0
    """
    square = _compiled()(gradient)
    return square**0.5 if norms.SMALLEST < square < norms.LARGEST else norms.norm(gradient)


@cache
def _compiled() -> Any:
    return specialise(sum_of_squares, "sum_of_squares")


def sum_of_squares(x):
    # eight sums side by side: one alone would wait for each of its additions
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
