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
from .on_arrays import applied

Array = np.ndarray
Values = tuple[Array, ...]
Function = Callable[[Any, Values, Values], Values]  # of the cell, numbers that move, and numbers that do not
STEP = 6e-6  # about eps^(1/3): what a central difference leaves out is as large as what it rounds off
CORNER = 1e-7  # relative jump of a slope within a step: a smooth one changes by 1e-10 there


def change_of_cotangents(
    cell: Any,
    cotangent: Values,
    x: Values,
    r: Values,
    s: Values,
    direction: tuple[Values, Values, Values],
    p: Values = (),
) -> tuple[Values, ...]:
    """How what `backward` gives for a `cotangent` of the next states changes along (v_x, v_r, v_s): likewise for x, r
    and s, and for the parameters p of a cell that has some. All arrays of one shape, one number for each unit. At a
    corner, such as a rectifier's at 0, it is the change beside it.

    >>> from throughtime.cells import Tanh
    >>> one, zero, u = np.ones(1), np.zeros(1), np.array([0.5])
    >>> _, by_r, _ = change_of_cotangents(Tanh(), (one,), (zero,), (u,), (zero,), ((zero,), (one,), (zero,)))
    >>> bool(np.isclose(by_r[0][0], -2 * np.tanh(0.5) * (1 - np.tanh(0.5) ** 2)))        # d²tanh/du²
    True
    """

    def back(cell: Any, x: Values, r: Values, s: Values, u: Values, own: tuple[Values, ...]) -> tuple[Values, ...]:
        s_next, saved = cell.forward(x, r, s, *own)
        return cell.backward(u, s, s_next, saved, *own)

    return _of_step(cell, back, (x, r, s), direction, cotangent, p, len(r))


def change_of_stage_cotangents(
    cell: Any,
    cotangent: Values,
    x: Values,
    r: Values,
    s: Values,
    direction: tuple[Values, Values, Values],
    p: Values = (),
) -> tuple[Values, ...]:
    """The same of what `stage_backward` gives for a `cotangent` of the stage's signals: for x, the parts of r that the
    state feeds, s, and any parameters. r and v_r are of all parts."""

    def back(cell: Any, x: Values, r: Values, s: Values, u: Values, own: tuple[Values, ...]) -> tuple[Values, ...]:
        return cell.stage_backward(u, s, cell.forward(x, r, s, *own)[1], *own)

    return _of_step(cell, back, (x, r, s), direction, cotangent, p, spec(cell).first)


def _of_step(
    cell: Any,
    back: Callable[..., tuple[Values, ...]],
    point: tuple[Values, Values, Values],
    direction: tuple[Values, Values, Values],
    cotangent: Values,
    p: Values,
    parts: int,
) -> tuple[Values, ...]:
    """The change of back(cell, x, r, s, cotangent, (p,) or ()), as a tuple for each side: `parts` numbers of r."""
    G, R, S = map(len, point)

    def flat(cell: Any, numbers: Values, held: Values) -> Values:
        u, own = held[: len(cotangent)], held[len(cotangent) :]
        found = back(cell, numbers[:G], numbers[G : G + R], numbers[G + R :], u, (own,) if own else ())
        return tuple(value for part in found for value in part)

    ways = tuple(value for part in direction for value in part)
    found = _along(cell, flat, tuple(value for part in point for value in part), ways, (*cotangent, *p))
    sides, at = list[Values](), 0
    for count in (G, parts, S, *((len(p),) if p else ())):
        sides.append(found[at : at + count])
        at += count
    return tuple(sides)


def change_of_slopes(cell: Any, s: Values, direction: Values, signal: int = 0) -> Values:
    """How the slopes of a signal that units send, by default the first, change along a direction of their states: an
    array for each state."""
    record = spec(cell)
    if not record.emits:
        return tuple(np.zeros_like(value) for value in s)

    def slopes(cell: Any, s: Values, _: Values) -> Values:
        found = cell.emit_slope(s)
        return found if record.signals == 1 else found[signal]

    return _along(cell, slopes, s, direction, ())


def _along(cell: Any, function: Function, point: Values, direction: Values, held: Values) -> Values:
    try:
        found = function(cell, tuple(dual(value, slope) for value, slope in zip(point, direction, strict=True)), held)
        return tuple(np.broadcast_to(slope_of(value), point[0].shape) for value in found)
    except (TypeError, ValueError):  # it branches, or calls what is for numbers only
        return _by_differences(cell, function, point, direction, held)


def _by_differences(cell: Any, function: Function, point: Values, direction: Values, held: Values) -> Values:
    """The same by central differences; where the slopes on both sides differ, the side without the corner."""
    length = np.max(np.abs(direction), axis=0)
    step = STEP * np.maximum(1.0, np.max(np.abs(point), axis=0)) / np.where(length > 0.0, length, 1.0)

    def at(side: float) -> Array:
        moved = tuple(value + side * step * slope for value, slope in zip(point, direction, strict=True))
        (found,) = applied(cell, lambda own, *groups: (function(own, *groups),), (moved, held))
        return np.array([np.broadcast_to(value, step.shape) for value in found])

    below, here, above = at(-1.0), at(0.0), at(1.0)
    central, left, right = (above - below) / (2.0 * step), (here - below) / step, (above - here) / step
    jump = np.abs(above - 2.0 * here + below) > CORNER * (np.abs(above) + np.abs(here) + np.abs(below))
    return tuple(np.where(jump, np.where(np.abs(left) < np.abs(right), left, right), central))
