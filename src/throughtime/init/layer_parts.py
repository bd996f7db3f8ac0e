"""A network's parameters as initialisers see them: for each layer and direction by kinds, and those of the units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cells.base import spec
from ..cells.initial_values import initial_values
from ..network.parameters import MATRICES, first_of_norm, layer_of

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


def unit_parameters(cell: Any, units: int, rng: np.random.Generator) -> Values:
    """How the parameters of a cell's units start, by name: by its `initial(cell, units, rng)`, or from U(−1/√N, 1/√N).

    >>> from throughtime.cells import GRU
    >>> unit_parameters(GRU(), 3, np.random.default_rng(0))
    {}
    """
    names = spec(cell).parameters
    return dict(zip(names, initial_values(cell, units, rng), strict=True)) if names else {}


def norm_values(network: Any) -> Values:
    """How the normalisations of what the layers read start: with ones and zeros, as PyTorch's."""
    firsts = ((name, first_of_norm(name)) for name in network.shapes)
    return {name: np.full(network.shapes[name], first) for name, first in firsts if first is not None}


def in_order(part: LayerPart, drawn: Values) -> Values:
    """What was drawn by kinds, by the names of the network."""
    return {kind + part.end: drawn[kind] for kind in part.shapes}
