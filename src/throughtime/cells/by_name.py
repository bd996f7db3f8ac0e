"""The cell that a user means: by the name of one of the library's, or as an instance of a registered class."""

from __future__ import annotations

from typing import Any

from ..refuse import arguments
from . import CELLS
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
    for field, number in value._asdict().items():
        if not arguments.is_real(number):
            raise TypeError(
                f"The field `{field}` of the cell {name} is {arguments.kind(number)}; expected a real number."
            )
        arguments.real(f"{field}` of the cell `{name}", number)
    if callable(getattr(type(value), "valid", None)):
        value.valid()
    return value
