"""How steep a cell can be: bounds on the derivatives of one step of one unit, the γ of Pascanu's bound, cell by cell.

Dimensions: G gates, P states of a unit, N units; a bound may be the same for all units (last axis 1).
"""

from typing import Any, NamedTuple

import numpy as np

from ...cells import CELLS
from ...cells.base import spec
from ...scalar import sigmoid, sigmoid_slope, tanh, tanh_slope
from ..results import Array

ONE_GATE = {"Tanh": 1.0, "Relu": 1.0, "Linear": 1.0, "Sigmoid": 0.25}  # the largest |φ'|


class SlopeBounds(NamedTuple):
    """Upper bounds on |derivatives| of one step of one unit, valid wherever the network can be.

    gamma    (P, G) or (P, G, N): |∂s'_i/∂r_g|, r the recurrent part of the pre-activations
    carried  (P, P) or (P, P, N): |∂s'_i/∂s_j| at fixed r
    sent     (P,) or (P, N): |∂e/∂s_j|, e what the unit sends
    """

    gamma: Any
    carried: Any
    sent: Any


def slope_bounds(net: Any, input_bound: float, state_bound: float) -> SlopeBounds:
    """The bounds of a cell of the library in a network of one layer; ValueError where there are none."""
    cell, known = net.cell, type(net.cell) in CELLS.values()
    name = spec(cell).name
    if known and name in ONE_GATE:
        return SlopeBounds([[ONE_GATE[name]]], [[0.0]], [1.0])
    if known and name in ("LeakyTanh", "Rate"):
        return SlopeBounds([[abs(cell.leak)]], [[abs(1.0 - cell.leak)]], [1.0])
    if known and name == "GRU":
        return _gru(net, input_bound, state_bound)
    if known and name == "LSTM":
        return _lstm(net, input_bound, state_bound)
    raise ValueError(
        f"the γ of the cell {name} is not known: no bound on its slopes comes with a cell of your own. Work out the "
        "largest |∂s'/∂r|, |∂s'/∂s| and |∂e/∂s| of one unit and pass slopes=SlopeBounds(gamma, carried, sent)"
    )


def _ranges(net: Any, input_bound: float, sent: float) -> tuple[Array, Array, Array, Array]:
    """Centre and half width of W_ih x + b_ih and of W_hh h + b_hh for |x| ≤ input_bound, |h| ≤ sent: (G, N) each."""
    w_ih, w_hh, b_ih, b_hh = (a.astype(np.float64) for a in net.layer(0))
    weight = np.abs(w_ih).sum(axis=1)
    width = np.zeros_like(weight)
    width[weight > 0.0] = input_bound * weight[weight > 0.0]  # 0·inf is 0 here: an input without weight does nothing
    shape = (spec(net.cell).gates, net.hidden_size)
    width_h = sent * np.abs(w_hh).sum(axis=1)
    return b_ih.reshape(shape), width.reshape(shape), b_hh.reshape(shape), width_h.reshape(shape)


def _nearest(centre: Array, width: Array) -> Array:
    """Least |u| in the interval: even slopes that fall with |u| are largest there."""
    return np.maximum(np.abs(centre) - width, 0.0)


def _gru(net: Any, input_bound: float, state_bound: float) -> SlopeBounds:
    """h' = (1−z) n + z h stays in |h| ≤ max(1, |h_0|) = H, so |h − n| ≤ 1 + H."""
    most = max(1.0, state_bound)
    b_x, width_x, b_h, width_h = _ranges(net, input_bound, most)
    centre, width = b_x + b_h, width_x + width_h
    inner = np.abs(b_h[2]) + width_h[2]
    reset, opening = sigmoid(centre[0] + width[0]), sigmoid(-(centre[1] - width[1]))  # largest r and 1 − z
    # x_n and r·(W h + b) move apart: the range of their sum is that of r·inner around x_n
    new = tanh_slope(np.maximum(np.abs(b_x[2]) - width_x[2] - reset * inner, 0.0))
    by_new = opening * new
    gamma = np.stack(
        [
            by_new * inner * sigmoid_slope(_nearest(centre[0], width[0])),
            (1.0 + most) * sigmoid_slope(_nearest(centre[1], width[1])),
            by_new * reset,
        ]
    )
    return SlopeBounds(gamma[None], sigmoid(centre[1] + width[1])[None, None], [1.0])


def _lstm(net: Any, input_bound: float, state_bound: float) -> SlopeBounds:
    """|h| ≤ max(1, |h_0|); |c| ≤ max(|c_0|, i g/(1−f)) with the largest gates, which needs a bound on the input."""
    b_x, width_x, b_h, width_h = _ranges(net, input_bound, max(1.0, state_bound))
    centre, width = b_x + b_h, width_x + width_h
    high, near = centre + width, _nearest(centre, width)
    i, f, o = (sigmoid(high[k]) for k in (0, 1, 3))
    g = tanh(np.abs(centre[2]) + width[2])
    closing = sigmoid(-high[1])  # 1 − f without cancellation
    if not (closing > 0.0).all():
        raise ValueError(
            "an LSTM has no bound without one on its input: its forget gate can come to 1, then its cell state c grows "
            "without bound, and ∂c'/∂h = c σ'(f) W_f with it. Pass input_bound= (the largest |x| of any input), or "
            "compare along one run with gradient_products(run)"
        )
    c = np.maximum(state_bound, i * g / closing)
    slopes = [sigmoid_slope(near[k]) for k in (0, 1, 3)]
    to_c = np.stack([g * slopes[0], c * slopes[1], i * tanh_slope(near[2]), np.zeros_like(c)])
    to_h = o * to_c
    to_h[3] = tanh(c) * slopes[2]
    zero = np.zeros_like(f)
    carried = np.array([[zero, o * f], [zero, f]])
    return SlopeBounds(np.stack([to_h, to_c]), carried, [1.0, 0.0])
