"""The cell that a user means: by the name of one of the library's, or as an instance of a registered class."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..refuse import arguments
from . import CELLS, array_fields
from .base import registered, spec


def cell_of(value: Any) -> Any:
    """An instance of a registered cell class as it is, a name of CELLS as that cell with its default fields."""
    if isinstance(value, str):
        if value in registered() and value not in CELLS:
            own = next((f'write "{name}"' for name, cls in CELLS.items() if cls.__name__ == value), "")
            raise TypeError(f'`cell` is "{value}", the name of a class; {own or f"pass an instance of it: {value}()"}.')
        return CELLS[arguments.known("cell", value, CELLS)]()
    if isinstance(value, type):
        raise TypeError(f"`cell` is the class {value.__name__}; pass an instance: {value.__name__}().")
    try:
        name = spec(value).name
    except TypeError as error:
        raise TypeError(
            f"`cell` is {arguments.kind(value)}; expected a name ({', '.join(CELLS)}) or an instance of a cell. Your "
            "own cell is a NamedTuple class with `forward` and `backward`, registered with the decorator "
            "@throughtime.cell(gates=…, states=…)."
        ) from error
    fields = [array_fields.checked(name, field, own) for field, own in value._asdict().items()]
    if any(own is not given for own, given in zip(fields, value, strict=True)):
        value = value._make(fields)
    check_range(value)
    return value


def check_range(cell: Any) -> None:
    """ValueError of the cell's `valid` if it has one and the fields, or those of one of the units, are not."""
    if callable(getattr(type(cell), "valid", None)):
        for unit in range(array_fields.units_of(cell) or 1):
            array_fields.of_units(cell, unit).valid()


def for_units(cell: Any, units: int) -> Any:
    """The cell, if its arrays have a value for each of so many units; ValueError otherwise."""
    for field, value in cell._asdict().items():
        if np.ndim(value) and len(value) != units:
            raise ValueError(
                f"The field `{field}` of the cell {type(cell).__name__} has {len(value)} values, one for each unit, "
                f"and hidden_size={arguments.shown(units)}; pass an array of {arguments.shown(units)}, or one number."
            )
    return cell
