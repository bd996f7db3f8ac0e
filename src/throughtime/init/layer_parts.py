"""A network's parameters as initialisers see them: for each layer and direction by kinds, and those of the units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cells.base import spec
from ..network.parameters import MATRICES, layer_of
from ..refuse import arguments, numeric
from ..refuse.called import told

Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class LayerPart:
    """One layer and direction: how the names of its parameters end, its cell and sizes, and the shapes of its
    parameters by kinds, `weight_ih` and so on; without biases and without W_hh there are no such kinds."""

    end: str
    cell: Any
    hidden_size: int
    input_size: int
    bias: bool
    shapes: dict[str, tuple[int, ...]]


def layer_parts(network: Any) -> list[LayerPart]:
    """Every layer and direction, in the order of the parameters."""
    found = []
    for first in (name for name in network.shapes if name.startswith("weight_ih_l")):
        end, k = first.removeprefix("weight_ih"), layer_of(first)
        cell, n = network.cells[k], network.hidden_sizes[k]
        names = {kind: f"{kind}{end}" for kind in (*MATRICES, *spec(cell).parameters)}
        shapes = {kind: network.shapes[name] for kind, name in names.items() if name in network.shapes}
        found.append(LayerPart(end, cell, n, shapes["weight_ih"][1], network.bias, shapes))
    return found


def told_cells(parts: list[LayerPart]) -> str:
    """The cells of all layers, each once."""
    return " and ".join(dict.fromkeys(repr(part.cell) for part in parts))


def unit_parameters(part: LayerPart, rng: np.random.Generator) -> Values:
    """How a cell's own parameters start, by kinds: by its `initial(cell, units, rng)`, or from U(−1/√N, 1/√N).

    >>> import throughtime as tt
    >>> unit_parameters(layer_parts(tt.Network("gru", 2, 3))[0], np.random.default_rng(0))
    {}
    """
    names, n = spec(part.cell).parameters, part.hidden_size
    if not names:
        return {}
    if not hasattr(part.cell, "initial"):
        bound = 1 / np.sqrt(n)
        return {name: rng.uniform(-bound, bound, n) for name in names}
    given = part.cell.initial(n, rng)
    wanted = f"expected {len(names)} arrays ({n},) or numbers, of {', '.join(names)}"
    what = f"`{type(part.cell).__name__}.initial(cell, units, rng)` returned"
    if not isinstance(given, (tuple, list)) or len(given) != len(names):
        count = f" of {len(given)}" if isinstance(given, (tuple, list)) else ""
        raise TypeError(f"{what} {arguments.kind(given) if not count else type(given).__name__ + count}; {wanted}.")
    found = {}
    for name, value in zip(names, given, strict=True):
        own = numeric.numbers(name, value)
        if own.shape not in ((), (n,)):
            raise ValueError(f"{what} for {name} {told(value)}; {wanted}.")
        if not np.isfinite(own).all():
            raise ValueError(f"{what} for {name} numbers that are not finite; {wanted}.")
        found[name] = np.array(np.broadcast_to(own, (n,)), np.float64)
    return found


def in_order(part: LayerPart, drawn: Values) -> Values:
    """What was drawn by kinds, by the names of the network."""
    return {kind + part.end: drawn[kind] for kind in part.shapes}
