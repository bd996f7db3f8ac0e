"""How the derivatives of units change: second derivatives of a cell, along a direction, from its own two functions.

    d/dε  backward(u, s + ε v_s, s_next(ε), saved(ε)),   s_next, saved = forward(x + ε v_x, r + ε v_r, s + ε v_s)

With dual numbers, so exactly, where the functions run on arrays; otherwise by central differences, to some 1e-10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .base import spec
from .dual_numbers import dual, slope_of
from .on_arrays import on_arrays

Array = np.ndarray
Values = tuple[Array, ...]
STEP = 6e-6  # about eps^(1/3): what a central difference leaves out is as large as what it rounds off
CORNER = 1e-7  # relative jump of a slope within a step: a smooth one changes by 1e-10 there


def change_of_cotangents(
    cell: Any, cotangent: Values, x: Values, r: Values, s: Values, direction: tuple[Values, Values, Values]
) -> tuple[Values, Values, Values]:
    """How what `backward` gives for a `cotangent` of the next states changes along (v_x, v_r, v_s): likewise for x, r
    and s. All arrays of one shape, one number for each unit. At a corner, such as a rectifier's at 0, it is the change
    beside it.

    >>> from throughtime.cells import Tanh
    >>> one, zero, u = np.ones(1), np.zeros(1), np.array([0.5])
    >>> _, by_r, _ = change_of_cotangents(Tanh(), (one,), (zero,), (u,), (zero,), ((zero,), (one,), (zero,)))
    >>> bool(np.isclose(by_r[0][0], -2 * np.tanh(0.5) * (1 - np.tanh(0.5) ** 2)))        # d²tanh/du²
    True
    """
    point, G = (*x, *r, *s), len(x)

    def back(numbers: Values, cotangent: Values) -> Values:
        x, r, s = numbers[:G], numbers[G : 2 * G], numbers[2 * G :]
        s_next, saved = cell.forward(x, r, s)
        found = cell.backward(cotangent, s, s_next, saved)
        return tuple(value for part in found for value in part)

    found = _along(back, point, tuple(value for part in direction for value in part), cotangent)
    return found[:G], found[G : 2 * G], found[2 * G :]


def change_of_slopes(cell: Any, s: Values, direction: Values) -> Values:
    """How de/ds of what units send changes along a direction of their states: an array for each state."""
    if not spec(cell).emits:
        return tuple(np.zeros_like(value) for value in s)
    return _along(lambda s, _: cell.emit_slope(s), s, direction, ())


def _along(function: Callable[[Values, Values], Values], point: Values, direction: Values, held: Values) -> Values:
    try:
        found = function(tuple(dual(value, slope) for value, slope in zip(point, direction, strict=True)), held)
        return tuple(np.broadcast_to(slope_of(value), point[0].shape) for value in found)
    except (TypeError, ValueError):  # it branches, or calls what is for numbers only
        return _by_differences(function, point, direction, held)


def _by_differences(
    function: Callable[[Values, Values], Values], point: Values, direction: Values, held: Values
) -> Values:
    """The same by central differences; where the slopes on both sides differ, the side without the corner."""
    length = np.max(np.abs(direction), axis=0)
    step = STEP * np.maximum(1.0, np.max(np.abs(point), axis=0)) / np.where(length > 0.0, length, 1.0)

    def at(side: float) -> Array:
        moved = tuple(value + side * step * slope for value, slope in zip(point, direction, strict=True))
        (found,) = on_arrays(lambda *groups: (function(*groups),), (moved, held))
        return np.array([np.broadcast_to(value, step.shape) for value in found])

    below, here, above = at(-1.0), at(0.0), at(1.0)
    central, left, right = (above - below) / (2.0 * step), (here - below) / step, (above - here) / step
    jump = np.abs(above - 2.0 * here + below) > CORNER * (np.abs(above) + np.abs(here) + np.abs(below))
    return tuple(np.where(jump, np.where(np.abs(left) < np.abs(right), left, right), central))
