"""The cell and the units of each layer: one for all layers, or a list with one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..cells.by_name import cell_of, for_units
from ..refuse import arguments, room

NAME_BYTES = 512  # of the names, shapes and arrays of a layer's parameters, at least


def each_layer(cell: Any, hidden_size: Any, num_layers: Any) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """The cells and the sizes of all layers, from what `Network` is given; TypeError or ValueError in words."""
    given = {"cell": _listed(cell), "hidden_size": _listed(hidden_size)}
    counts = {name: len(values) for name, values in given.items() if values is not None}
    if 0 in counts.values():
        empty = next(name for name, count in counts.items() if not count)
        raise ValueError(f"`{empty}` is an empty list; expected an entry for each layer, or one value for all.")
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"`cell` has {counts['cell']} entries and `hidden_size` {counts['hidden_size']}; each list has one entry "
            "for each layer."
        )
    layers = next(iter(counts.values()), 1) if num_layers is None else arguments.size("num_layers", num_layers)
    for name, count in counts.items():
        if layers != count:
            raise ValueError(
                f"`{name}` has {count} entries, one for each layer, but num_layers={arguments.shown(layers)}; leave "
                "`num_layers` out."
            )
    cells, sizes = given["cell"], given["hidden_size"]
    one_cell = cell_of(cell) if cells is None else None
    one_size = arguments.size("hidden_size", hidden_size) if sizes is None else 0
    room.check(f"A network of num_layers={arguments.shown(layers)}", layers * NAME_BYTES // 8)
    cells = [one_cell] * layers if cells is None else [_cell(k, value) for k, value in enumerate(cells)]
    if sizes is None:
        sizes = [one_size] * layers
    else:
        sizes = [arguments.size(f"hidden_size[{k}]", value) for k, value in enumerate(sizes)]
    for own, units in zip(cells, sizes, strict=True) if counts else [(one_cell, one_size)]:
        for_units(own, units)
    return tuple(cells), tuple(sizes)


def _listed(value: Any) -> list[Any] | None:
    """The entries of a list; None for one value, which a cell is too, though a tuple."""
    plain = isinstance(value, list) or (isinstance(value, tuple) and not hasattr(value, "_fields"))
    return list(value) if plain else None


def _cell(k: int, value: Any) -> Any:
    try:
        return cell_of(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"Of layer {k}: {error}") from None


def alike(values: Sequence[Any]) -> bool:
    """Whether all layers have the same."""
    return all(value == values[0] for value in values)


def one_or_all(values: Sequence[Any]) -> Any:
    """The value that all layers have, or a tuple of those of each."""
    return values[0] if alike(values) else tuple(values)


def as_written(values: Sequence[Any]) -> str:
    """The same as it is handed in: one value, or a list."""
    return repr(values[0] if alike(values) else list(values))
