"""How what a cell makes depends on its fields: derivatives by one field, from the cell's own functions.

    d/df  forward(cell(f), x, r, s),   d/df  emit(cell(f), s)      with x, r and s held fixed

With dual numbers, so exactly, where the functions run on arrays; otherwise by differences of fourth order in the field,
to some 1e-11.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import on_arrays
from .dual_numbers import dual, slope_of

Function = Callable[..., tuple]  # of a cell and its groups of numbers: a tuple of numbers
STEP = 1e-3  # of the field, or itself where the field is 0: what is left out is of its fourth power
STENCIL = ((-2.0, 1.0), (-1.0, -8.0), (1.0, 8.0), (2.0, -1.0))  # Σ weight f(place h) = 12 h f'(0)


def by_field(cell: Any, field: str, function: Function, groups: tuple[on_arrays.Values, ...]) -> on_arrays.Values:
    """The derivative by a field of each of the numbers that `function(cell, *groups)` gives: arrays, a number for each
    unit, or the number 0.0. Where the field has a value for each unit, along the last axis, by each unit's own.

    >>> from throughtime.cells import LeakyTanh
    >>> half = (np.full(1, 0.5),)
    >>> (slope,) = by_field(LeakyTanh(), "leak", lambda cell, x, r, s: cell.forward(x, r, s)[0], (half, half, half))
    >>> bool(np.isclose(slope[0], np.tanh(1.0) - 0.5))
    True
    """
    shape = np.broadcast_shapes(*(part.shape for group in groups for part in group))
    value = np.asarray(getattr(cell, field), np.float64)
    numbers = [tuple(part.view(on_arrays.Numbers) for part in group) for group in groups]
    try:
        found = function(cell._replace(**{field: dual(np.broadcast_to(value, shape), 1.0)}), *numbers)
        return tuple(slope_of(part) for part in found)
    except (TypeError, ValueError):  # it branches, or calls what is for numbers only
        return _by_differences(cell, field, function, groups)


def _by_differences(
    cell: Any, field: str, function: Function, groups: tuple[on_arrays.Values, ...]
) -> on_arrays.Values:
    value = np.asarray(getattr(cell, field), np.float64)
    step = STEP * np.where(value != 0.0, np.abs(value), 1.0)

    def at(place: float) -> tuple:
        moved = cell._replace(**{field: (value + place * step)[()]})
        return on_arrays.applied(moved, lambda own, *given: (function(own, *given),), groups)[0]

    each = [[weight * part for part in at(place)] for place, weight in STENCIL]
    return tuple(sum(parts) / (12.0 * step) for parts in zip(*each, strict=True))
