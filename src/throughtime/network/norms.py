"""Euclidean norms at any scale: squares neither overflow nor vanish, and a norm beyond the numbers still divides.

The plain sum of squares, in float64, where that lies well inside the range; otherwise once more with everything scaled
by a power of 2, which rounds nothing. A norm then comes as m · 2^e, 1/2 ≤ m < 1, or m = 0, inf or NaN.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

Array = np.ndarray
SMALLEST, LARGEST = 1e-270, 1e300  # a sum of squares between them has lost nothing: what underflows is below 1e-308


def norm(x: Any) -> float:
    """The norm of all entries of an array; inf where it is beyond the numbers, NaN where one of them is.

    >>> norm([3e200, 4e200]) / 1e200, norm([3e-200, 4e-200]) / 1e-200
    (5.0, 5.0)
    """
    return float(_number(*split(np.asarray(x).reshape(1, -1)))[0])


def of_rows(x: Array) -> Array:
    """The norms along the last axis of (..., n), in float64."""
    return _number(*split(x))


def split(x: Array) -> tuple[Array, Array]:
    """m and e of the norms along the last axis of (..., n)."""
    x = np.abs(x) if x.dtype.kind == "c" else x
    with np.errstate(all="ignore"):
        total = np.asarray(np.einsum("...s,...s->...", x, x, dtype=np.float64))
        m, e = np.frexp(np.sqrt(total))
        again = ~((total > SMALLEST) & (total < LARGEST))
        if again.any():
            m, e, rows = np.array(m), np.array(e), np.asarray(x[again], dtype=np.float64)
            largest = np.abs(rows).max(axis=-1, initial=0.0)
            own = np.where(np.isfinite(largest), np.frexp(largest)[1], 0)
            rows = np.ldexp(rows, -own[..., None])
            root, more = np.frexp(np.sqrt(np.einsum("...s,...s->...", rows, rows)))
            m[again], e[again] = np.where(np.isfinite(largest), root, largest), own + more
    return m, e


def together(parts: Iterable[Array]) -> tuple[Array, Array]:
    """m and e of the norm of all entries of several arrays."""
    found = [split(np.asarray(part).reshape(1, -1)) for part in parts]
    if not found:
        return np.zeros(1), np.zeros(1, dtype=np.int64)
    m, e = (np.concatenate(column) for column in zip(*found, strict=True))
    top = e[m > 0.0].max(initial=-2000)
    root, more = split(np.ldexp(m, e - top)[None])
    return root, top + more


def within_range(x: Array) -> tuple[Array, float]:
    """x · 2^−e and e ln 2: e is 0, or brings what lies so near the ends of the range, where digits are lost, to 1."""
    exponent = int(np.frexp(np.abs(x).max(initial=0.0))[1])
    if abs(exponent) < 1000:
        return x, 0.0
    return np.ldexp(x, -exponent), exponent * float(np.log(2.0))


def brought_to(x: Array, limit: float, m: Array, e: Array) -> Array:
    """x · limit/(m · 2^e) in the type of x, for m · 2^e ≥ limit: right also where that factor is no number."""
    own, power = np.frexp(limit)
    with np.errstate(under="ignore"):
        return np.ldexp(x.astype(np.float64) * (0.25 * own / m), power - e + 2).astype(x.dtype)


def _number(m: Array, e: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.ldexp(m, e)
