"""The initial parameters with which a cell was published, where it has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..refuse import words
from ..refuse.called import told
from .draws import Initialiser, Layout
from .layer_parts import LayerPart, Values, layer_parts, told_cells
from .named import NAMED, drawn, initialiser


@dataclass(frozen=True)
class _Published:
    base: Initialiser

    def __call__(self, network: Layout, rng: np.random.Generator) -> Values:
        parts = layer_parts(network)
        having = [part for part in parts if hasattr(part.cell, "published")]
        if not having:
            raise ValueError(
                "init=published(…) takes a cell's own `published(cell, network, rng, values)`, and "
                f'{told_cells(parts)} has none: choose another, such as init="uniform". A cell of your own may have it '
                "as a method."
            )
        values = drawn(self.base, network, rng)
        for part in having:
            own = {kind: values[kind + part.end] for kind in part.shapes}
            returned = part.cell.published(part, rng, own)
            _check(part, own, returned)
            values |= {kind + part.end: np.asarray(value, np.float64) for kind, value in own.items()}
        return values


def _check(part: LayerPart, own: Values, returned: object) -> None:
    """Raises unless the parameters of the layer are still there, in their shapes."""
    what = f"`{type(part.cell).__name__}.published(cell, network, rng, values)`"
    if returned is not None:
        raise TypeError(f'{what} returned {told(returned)}; it changes `values`, `values["bias_ih"][...] = 0.0`.')
    wanted = ", ".join(f"{kind} {shape}" for kind, shape in part.shapes.items())
    found = {kind: np.shape(value) for kind, value in own.items()}
    if found != part.shapes:
        there = ", ".join(f"{kind} {shape}" for kind, shape in found.items())
        raise ValueError(f"{what} left in `values` {there or 'nothing'}; expected {wanted}.")


@words.explained
def published(base: Initialiser | str = "uniform") -> Initialiser:
    """The initialisation with which a cell was published, as its class says in `published`; all else as `base`.

        published(cell, network, rng, values)     changes `values`, of one layer and direction at a time

    values: the arrays of that layer by kinds, weight_ih, weight_hh, bias_ih, bias_hh and the units' parameters, as far
    as there are such, as `base` has drawn them. network: that layer, with .hidden_size, .input_size, .bias and
    .shapes. Layers and directions have draws of their own. Where layers have different cells, those of a cell without
    are as `base` has them. ValueError from Network if no layer's cell says how it was published, and where `values` are
    not what they have to be.

        >>> from typing import NamedTuple
        >>> import throughtime as tt
        >>> @tt.cell()
        ... class Small(NamedTuple):
        ...     def forward(cell, x, r, s):
        ...         return (x[0] + r[0],), ()
        ...     def backward(cell, ds, s, s_next, saved):
        ...         return ds, ds, (0.0,)
        ...     def published(cell, network, rng, values):
        ...         values["weight_hh"][...] = 0.01 * rng.standard_normal(values["weight_hh"].shape)
        >>> net = tt.Network(Small(), 3, 100, init="published", seed=0)
        >>> round(float(net.parameters["weight_hh_l0"].std()), 3)
        0.01
    """
    return _Published(initialiser(base, name="base"))


NAMED["published"] = published  # by name too; it takes a `base` and so cannot stand among those that are drawn
