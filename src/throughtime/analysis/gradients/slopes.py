"""How steep the units of a network can be: bounds on the derivatives of one step, the γ of Pascanu's bound.

Dimensions: G gates, P states of a unit, N units; a bound may be the same for all units (last axis 1).
"""

from typing import Any, NamedTuple

import numpy as np

from ...cells.base import spec
from ...cells.ranges import Range
from ...network.parameters import NORM
from ...results import Array


class SlopeBounds(NamedTuple):
    """Upper bounds on |derivatives| of one step of one unit, valid wherever the network can be.

    gamma    (P, G) or (P, G, N): |∂s'_i/∂r_g|, r the recurrent part of the pre-activations, as many as a cell has
    carried  (P, P) or (P, P, N): |∂s'_i/∂s_j| at fixed r
    sent     (P,) or (P, N): |∂e/∂s_j|, e what the unit sends
    """

    gamma: Any
    carried: Any
    sent: Any


def slope_bounds(net: Any, input_bound: float, state_bound: float) -> SlopeBounds:
    """The bounds that the cell of a network of one layer has of its own; ValueError where there are none."""
    name, own = spec(net.cell).name, getattr(net.cell, "slope_bounds", None)
    if own is None:
        raise ValueError(
            f"the γ of the cell {name} is not known: its class has no method `slope_bounds`. Work out the largest "
            "|∂s'/∂r|, |∂s'/∂s| and |∂e/∂s| of one unit and pass slopes=SlopeBounds(gamma, carried, sent)"
        )
    p = tuple(value.astype(np.float64) for value in net.layer(0)[4:])
    with np.errstate(all="ignore"):  # a state without a bound
        own_p = (p,) if p else ()
        gamma, carried, sent = own(lambda reached: _ranges(net, input_bound, reached), state_bound, *own_p)
    bounds = SlopeBounds(_joined(gamma), _joined(carried), _joined((sent,))[0])
    if not all(np.isfinite(part).all() for part in bounds):
        raise ValueError(
            f"a network of the cell {name} has no bound without one on its input: a state of its units can grow for "
            "ever, and their slopes with it. Pass input_bound= (the largest |x| of any input), or compare along one "
            "run with gradient_products(run)"
        )
    return bounds


def _ranges(net: Any, input_bound: float, sent: float) -> tuple[list[Range], list[Range]]:
    """Where W_ih x + b_ih and W_hh e + b_hh can be for |x| ≤ input_bound and |e| ≤ sent, gate by gate."""
    w_ih, w_hh, b_ih, b_hh = (a.astype(np.float64) for a in net.layer(0)[:4])
    weight = np.abs(w_ih).sum(axis=1)
    width = np.zeros_like(weight)
    width[weight > 0.0] = input_bound * weight[weight > 0.0]  # 0·inf is 0 here: an input without weight does nothing
    if net.layer_norm:  # of I numbers of mean 0 and variance 1 none is above √(I−1), and their norm is √I at most
        weight, bias = (net.parameters[f"{kind}_l0"].astype(np.float64) for kind in NORM)
        rows = np.abs(w_ih * weight)
        inputs = rows.shape[1]
        b_ih = b_ih + w_ih @ bias
        width = np.minimum(rows.sum(axis=1) * np.sqrt(inputs - 1), np.sqrt(inputs) * np.linalg.norm(rows, axis=1))
    sides = ((b_ih, width), (b_hh, sent * np.abs(w_hh).sum(axis=1)))
    n = net.hidden_size
    of_x, of_r = ([*map(Range, centre.reshape(-1, n), half.reshape(-1, n))] for centre, half in sides)
    return of_x, of_r


def _joined(rows: Any) -> Array:
    """A tuple of tuples of numbers or arrays (N,) as one array, (rows, columns, 1) or (rows, columns, N)."""
    parts = np.broadcast_arrays(*(np.atleast_1d(value) for row in rows for value in row))
    if not parts:
        return np.zeros((len(rows), 0, 1))
    return np.stack(parts).reshape(len(rows), -1, parts[0].size)
