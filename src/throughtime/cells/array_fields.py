"""Fields of a cell that are arrays (N,), one value for each unit: what they may be, and the cell of some of the units.

Dimensions: N units.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..refuse import arguments, numeric


def checked(cell: str, field: str, value: Any) -> Any:
    """A finite real number as it is, or finite real numbers, one for each unit, as a read-only copy in float64.

    TypeError or ValueError with a sentence for anything else.
    """
    name = f"{field}` of the cell `{cell}"
    if arguments.is_real(value):
        arguments.real(name, value)
        return value
    if not isinstance(value, (np.ndarray, list, tuple)) and not hasattr(value, "__array__"):
        raise TypeError(
            f"The field `{field}` of the cell {cell} is {arguments.kind(value)}; expected a real number, or an array "
            "(N,) of one for each unit."
        )
    found = numeric.numbers(field, value)
    if found.dtype.kind == "b":
        raise TypeError(f"`{name}` holds True and False; expected a real number for each unit.")
    if found.ndim != 1 or not found.size:
        raise ValueError(f"`{name}` has shape {found.shape}; expected a number, or an array (N,) of one for each unit.")
    own = np.array(found, np.float64)
    if not np.isfinite(own).all():
        raise ValueError(f"`{name}` holds {own[~np.isfinite(own)][0]:g}; expected finite numbers.")
    own.flags.writeable = False
    return own


def has_arrays(cell: Any) -> bool:
    """Whether any field is an array."""
    return any(map(_is_array, cell))


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def of_units(cell: Any, chosen: Any) -> Any:
    """The cell of some of its units, by a number, a slice or an array of numbers of units.

    >>> from throughtime.cells import LeakyTanh
    >>> of_units(LeakyTanh(np.array([0.1, 0.2, 0.4])), 1)
    LeakyTanh(leak=0.2)
    """
    if not has_arrays(cell):
        return cell
    own = [value[chosen] if isinstance(value, np.ndarray) else value for value in cell]
    plain = [float(value) if isinstance(value, np.float64) else value for value in own]
    return tuple.__new__(type(cell), plain)


def units_of(cell: Any) -> int | None:
    """N by its arrays, None where there are none."""
    return next((len(value) for value in cell if isinstance(value, np.ndarray)), None)


def comparable(cell: Any) -> tuple:
    """The fields, to compare and to hash."""
    return tuple((value.shape, *value.tolist()) if isinstance(value, np.ndarray) else value for value in cell)


def shown(cell: Any) -> str:
    """A cell with an array on one line: LeakyTanh(leak=[0.05 … 0.5], 16 values)."""
    own = (f"{field}={_short(value)}" for field, value in zip(type(cell)._fields, cell, strict=True))
    return f"{type(cell).__name__}({', '.join(own)})"


def _short(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    if value.ndim != 1 or len(value) <= 4:
        return f"array({value.tolist()})"
    return f"array([{value[0]:.4g}, …, {value[-1]:.4g}], {len(value)} values)"
