"""Long short-term memory (Hochreiter & Schmidhuber 1997) in PyTorch's variant, nn.LSTM.

    i, f, g, o = sigma(u_i), sigma(u_f), tanh(u_g), sigma(u_o)      u = W_ih x + b_ih + W_hh h + b_hh, blocks i, f, g, o
    c' = f c + i g
    h' = o tanh(c')

It has the forget gate of Gers et al. (2000) and no peepholes. The state of the unit is (h, c). The Jacobian of h alone
is not the Jacobian of the recursion.
"""

from typing import NamedTuple

import numpy as np

from ..scalar import sigmoid, sigmoid_slope, tanh, tanh_slope
from .base import cell


@cell(gates=("i", "f", "g", "o"), states=2, forgets={"f": 1, "i": -1})
class LSTM(NamedTuple):
    """Long short-term memory: a cell c that gates open and close, and what it shows of it, h.

        i, f, o = sigma(u_i), sigma(u_f), sigma(u_o)    gates of input, forgetting and output, 0 … 1
        g = tanh(u_g)                                   what may enter, -1 … 1
        c' = f c + i g
        h' = o tanh(c')

    For each of the N units; u = W_ih input + b_ih + W_hh h + b_hh has a block of N rows for each gate, in the order i,
    f, g, o: weight_ih (4N, I), weight_hh (4N, N). It has no fields. The state is (h, c), so that a network of N units
    has 2N Lyapunov exponents. PyTorch's variant of Hochreiter & Schmidhuber 1997: with forget gate, without peepholes.

    >>> import throughtime as tt
    >>> tt.Network("lstm", 3, 16, seed=0).state_size
    32
    """

    def forward(cell, x, r, s):
        i, f, g, o = x[0] + r[0], x[1] + r[1], x[2] + r[2], x[3] + r[3]
        c = sigmoid(f) * s[1] + sigmoid(i) * tanh(g)
        return (sigmoid(o) * tanh(c), c), (i, f, g, o)

    def backward(cell, ds, s, s_next, saved):
        i, f, g, o = saved
        c = s_next[1]
        do = ds[0] * tanh(c) * sigmoid_slope(o)
        dc = ds[1] + ds[0] * sigmoid(o) * tanh_slope(c)
        di = dc * tanh(g) * sigmoid_slope(i)
        df = dc * s[1] * sigmoid_slope(f)
        dg = dc * sigmoid(i) * tanh_slope(g)
        du = (di, df, dg, do)
        return du, du, (0.0, dc * sigmoid(f))

    def slope_bounds(cell, ranges, state_bound):
        x, r = ranges(max(1.0, state_bound))  # |h| stays below it
        i, f, g, o = (x[k] + r[k] for k in range(4))
        entering, keeping, showing = sigmoid(i.high), sigmoid(f.high), sigmoid(o.high)
        new, closing = tanh(g.farthest), sigmoid(-f.high)  # 1 - f without cancellation
        # |c| stays below max(|c_0|, i g/(1 - f)), which has no bound where the forget gate can come to 1
        c = np.maximum(state_bound, entering * new / closing)
        to_c = new * sigmoid_slope(i.nearest), c * sigmoid_slope(f.nearest), entering * tanh_slope(g.nearest), 0.0
        to_h = *(showing * slope for slope in to_c[:3]), tanh(c) * sigmoid_slope(o.nearest)
        return (to_h, to_c), ((0.0, showing * keeping), (0.0, keeping)), (1.0, 0.0)
