"""A cell's functions on arrays, in plain Python: what units do, send, and their derivatives, of many units at once.

Dimensions, of one unit: G gates, S states, R parts of r of which the state feeds R0, E signals of the state, A of the
stage, P parameters. The last axis of an array is the units, (N,); the others are steps and sequences.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import array_fields
from .base import spec

Values = tuple[np.ndarray, ...]


class Numbers(np.ndarray):
    """An array that `e *= 2.0` leaves as it is, as it leaves a number: e is then another."""


for _operator in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(Numbers, f"__i{_operator}__", getattr(np.ndarray, f"__{_operator}__"))


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Numbers) else value


def on_arrays(function: Any, groups: tuple[Values, ...]) -> tuple:
    """A cell's function, `cell.forward` say, on tuples of arrays whose last axis is the units: its tuples of arrays.

    Unit by unit, which is slow, if it branches as arrays cannot; each unit then sees its own number of an array field.
    """
    cell = getattr(function, "__self__", None)
    if cell is None:
        return applied((), lambda _, *given: function(*given), groups)
    return applied(cell, function.__func__, groups)


def applied(cell: Any, function: Any, groups: tuple[Values, ...]) -> tuple:
    """The same of function(cell, *groups), which gives tuples of numbers; cell: () where it needs none."""
    given = tuple(tuple(map(np.asarray, group)) for group in groups)
    arrays = [value for group in given for value in group]
    if array_fields.has_arrays(cell):  # in the precision of the rest, as compiled code has them
        dtype = np.result_type(*arrays)
        own = [value.astype(dtype).view(Numbers) if isinstance(value, np.ndarray) else value for value in cell]
        cell = tuple.__new__(type(cell), own)
    try:
        found = function(cell, *(tuple(value.view(Numbers) for value in group) for group in given))
        return tuple(tuple(_plain(value) for value in part) for part in found)
    except (TypeError, ValueError):
        shape, dtype = np.broadcast_shapes(*(value.shape for value in arrays)), arrays[0].dtype
        wide = [[np.broadcast_to(value, shape) for value in group] for group in given]
        each = [
            function(array_fields.of_units(cell, place[-1]), *(tuple(a[place] for a in group) for group in wide))
            for place in np.ndindex(shape)
        ]
        return tuple(
            tuple(np.array([value[k][j] for value in each], dtype).reshape(shape) for j in range(len(part)))
            for k, part in enumerate(each[0])
        )


def unit_derivatives(cell: Any, s: Values, s_next: Values, saved: Values, p: Values = ()) -> Iterator[tuple]:
    """The derivatives of each next state of every unit by x, r and s, from `backward` and unit cotangents.

    Three tuples of arrays, or of numbers where the cell returns such, for each state; of a cell with parameters of its
    units, of which p are the values, four.
    """
    own = (p,) if spec(cell).parameters else ()
    for ds in _units_of(len(s), s[0]):
        yield on_arrays(cell.backward, (ds, s, s_next, saved, *own))


def stage_derivatives(cell: Any, s: Values, saved: Values, p: Values = ()) -> Iterator[tuple]:
    """The same of each signal of the stage, from `stage_backward`: by x, the R0 parts of r that the state feeds, s and,
    where there are any, p."""
    own = (p,) if spec(cell).parameters else ()
    for da in _units_of(spec(cell).staged, s[0]):
        yield on_arrays(cell.stage_backward, (da, s, saved, *own))


def _units_of(count: int, like: np.ndarray) -> Iterator[Values]:
    """Each of the unit vectors, as arrays."""
    one, zero = np.ones_like(like), np.zeros_like(like)
    return (tuple(one if j == i else zero for j in range(count)) for i in range(count))


def emitted(cell: Any, s: Values) -> Values:
    """The signals of the state, E arrays; the first is what the next layer hears."""
    record = spec(cell)
    if not record.emits:
        return s[: record.signals]
    one = record.signals == 1
    return applied(cell, lambda own, s: ((own.emit(s),) if one else own.emit(s),), (s,))[0]


def signal_slopes(cell: Any, s: Values) -> tuple[tuple, ...]:
    """For each signal of the state its derivatives by the S states: arrays, or the numbers 1 and 0 of a cell without
    `emit`, whose signal k is s[k]."""
    record = spec(cell)
    if not record.emits:
        return tuple(tuple(float(j == k) for j in range(len(s))) for k in range(record.signals))
    one = record.signals == 1
    return applied(cell, lambda own, s: (own.emit_slope(s),) if one else own.emit_slope(s), (s,))


def staged(cell: Any, x: Values, r: Values, s: Values, p: Values = ()) -> Values:
    """The signals of the stage, A arrays, from x, the R0 parts of r that the state feeds, and s."""
    own = (p,) if spec(cell).parameters else ()
    return applied(cell, lambda own, *given: (own.stage(*given),), (x, r, s, *own))[0] if spec(cell).stage else ()


def sent_slopes(cell: Any, s: Values) -> tuple:
    """de/ds of what every unit sends to the next layer and the output, its first signal: an array for each of its
    states; the numbers 1, 0, … where that is s[0]."""
    if not spec(cell).emits:
        return (1.0,) + (0.0,) * (len(s) - 1)
    return signal_slopes(cell, s)[0]
