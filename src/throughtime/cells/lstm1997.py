"""The first long short-term memory (Hochreiter & Schmidhuber 1997), which cannot forget.

    i, o = sigma(u_i), sigma(u_o),  g = 2 tanh(u_g/2)         u = W_ih x + b_ih + W_hh h + b_hh, blocks i, o, g
    c' = c + i g
    h' = o tanh(c'/2)

The paper's squashing functions are 4 sigma(u) - 2 = 2 tanh(u/2) and 2 sigma(c) - 1 = tanh(c/2). Variant: one cell to a
block, and the gradient whole: its truncation, by which the paper keeps errors from flowing back through the gates and
their inputs, belonged to its learning rule and is not part of the cell.
"""

from typing import NamedTuple

from ..scalar import sigmoid, sigmoid_slope, tanh, tanh_slope
from .base import cell


@cell(gates=("i", "o", "g"), states=2)
class LSTM1997(NamedTuple):
    """The LSTM without a forget gate: what has entered the cell c stays, and dc'/dc = 1.

        i, o = sigma(u_i), sigma(u_o)           gates of input and output, 0 … 1
        g = 2 tanh(u_g/2)                       what may enter, -2 … 2
        c' = c + i g                            the constant error carousel
        h' = o tanh(c'/2)

    For each of the N units; u = W_ih input + b_ih + W_hh h + b_hh has a block of N rows for each gate, in the order i,
    o, g: weight_ih (3N, I), weight_hh (3N, N). It has no fields. The state is (h, c), so that a network of N units has
    2N Lyapunov exponents; c has no bound. One cell to a block, and the gradient is not truncated at the gates, as the
    paper's learning rule does. Published initialisation, that of the paper's adding problem: all weights and biases
    U(-0.1, 0.1), but gates of the input start nearly shut, with biases -3 and -6 for its two blocks; here by turns.

    Source: Hochreiter & Schmidhuber, Neural Computation 9, 1735, 1997.

    >>> import throughtime as tt
    >>> tt.Network("lstm1997", 3, 16, seed=0).state_size
    32
    """

    def forward(cell, x, r, s):
        i, o, g = x[0] + r[0], x[1] + r[1], x[2] + r[2]
        c = s[1] + 2.0 * sigmoid(i) * tanh(0.5 * g)
        return (sigmoid(o) * tanh(0.5 * c), c), (i, o, g)

    def backward(cell, ds, s, s_next, saved):
        i, o, g = saved
        half = 0.5 * s_next[1]
        dc = ds[1] + 0.5 * ds[0] * sigmoid(o) * tanh_slope(half)
        di = 2.0 * dc * tanh(0.5 * g) * sigmoid_slope(i)
        do = ds[0] * tanh(half) * sigmoid_slope(o)
        dg = dc * sigmoid(i) * tanh_slope(0.5 * g)
        du = (di, do, dg)
        return du, du, (0.0, dc)

    def slope_bounds(cell, ranges, state_bound):
        x, r = ranges(max(1.0, state_bound))  # |h| stays below it; |c| has no bound, so that tanh(c/2) comes to 1
        i, o, g = (x[k] + r[k] for k in range(3))
        showing = 0.5 * sigmoid(o.high)
        by_i, by_g = (
            2.0 * tanh(0.5 * g.farthest) * sigmoid_slope(i.nearest),
            sigmoid(i.high) * tanh_slope(0.5 * g.nearest),
        )
        to_h = (showing * by_i, sigmoid_slope(o.nearest), showing * by_g)
        return (to_h, (by_i, 0.0, by_g)), ((0.0, showing), (0.0, 1.0)), (1.0, 0.0)

    def published(cell, network, rng, values):
        for value in values.values():
            value[...] = rng.uniform(-0.1, 0.1, value.shape)
        if network.bias:
            values["bias_ih"][: network.hidden_size : 2] = -3.0
            values["bias_ih"][1 : network.hidden_size : 2] = -6.0
