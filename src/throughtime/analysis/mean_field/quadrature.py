"""Averages over standard Gaussians that resolve steep functions, and the arguments of mean-field theories."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...refuse import arguments, numeric
from ...results import Array

NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)


def gaussian_rule(std: float) -> tuple[Array, Array]:
    """Nodes z ≥ 0 and weights of a rule for E f(|z|), z a standard Gaussian, where f bends on the scale 1/std.

    Gauss–Legendre panels no wider than 1/std where f bends; error about 1e-15. (201-point Gauss–Hermite is off by 2 %
    for the slopes of tanh at std 4.5.)

    >>> z, weights = gaussian_rule(1.0)
    >>> round(float(weights @ z**4), 12)
    3.0
    """
    edges = np.linspace(0.0, 12.0, 13)
    if std > 1.0:
        edges = np.unique(np.concatenate([edges, np.minimum(np.arange(0.0, 21.0) / std, 12.0)]))
    half = 0.5 * np.diff(edges)[:, None]
    z = (edges[:-1, None] + half * (NODES + 1.0)).ravel()
    return z, (half * WEIGHTS).ravel() * np.exp(-0.5 * z**2) * np.sqrt(2.0 / np.pi)


LARGEST = 1e6  # of weights, biases and noise, beyond which no rule here resolves a slope


def number(name: str, value: Any, meaning: str = "a finite number") -> float:
    """One finite number from −1e6 to 1e6: TypeError for what is no number, ValueError for what is too large."""
    given: Any = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not arguments.is_real(given):
        raise TypeError(f"`{name}` is {arguments.kind(value)}; expected one number: {meaning}")
    size: Any = given
    if not -LARGEST <= size <= LARGEST:  # nor is NaN
        raise ValueError(
            f"`{name}` is {arguments.kind(value)}, but a finite number up to {LARGEST:g} is needed: {meaning}"
        )
    return float(given)


def deviation(name: str, value: Any) -> float:
    """A number from 0 to 1e6, or a sentence that says so."""
    found = number(name, value, "a standard deviation ≥ 0")
    if found < 0.0:
        raise ValueError(f"{name}={found!r}, but a finite number ≥ 0 is needed: it is a standard deviation")
    return found


def fractions(x: Any) -> Array:
    """Fractions of exponents counted from the top, of any shape."""
    found = numeric.numbers("x", x).astype(np.float64)
    if not np.all((found >= 0.0) & (found <= 1.0)):
        raise ValueError("`x` is the fraction of exponents counted from the top: numbers between 0 and 1")
    return np.asarray(found)


def deviations(name: str, value: Any, gates: int) -> Array:
    """(G,) such numbers, from one for all gates or one for each."""
    return np.array([deviation(name, number) for number in finite_numbers(name, value, gates, False)])


def finite_numbers(name: str, value: Any, gates: int, finite: bool = True) -> Array:
    """(G,) numbers, from one for all gates or one for each; finite ones, if so asked."""
    given = np.atleast_1d(numeric.numbers(name, value).astype(np.float64))
    if given.ndim != 1 or given.size not in (1, gates):
        raise ValueError(
            f"`{name}` has shape {given.shape}, but this cell has {gates} gate(s): pass one number, or {gates}"
        )
    if finite and not np.isfinite(given).all():
        raise ValueError(f"`{name}` is {arguments.kind(value)}, but finite numbers are needed")
    return np.broadcast_to(given, gates).copy()


def crossing(chi: Callable[[float], float], low: float, most: float = 0.5 * LARGEST) -> float:
    """The gain at which χ(gain) passes 1, searched from `low` down where χ is above 1, and up where it is not; inf if
    there is none below `most`."""
    from scipy.optimize import brentq

    while chi(low) > 1.0:
        low *= 0.5
    high = 2.0 * low
    while chi(high) <= 1.0:
        low, high = high, 2.0 * high
        if high > most:
            return float("inf")
    return float(brentq(lambda gain: chi(gain) - 1.0, low, high, xtol=1e-12, rtol=1e-13))
