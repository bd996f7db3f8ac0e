"""The LSTM with peepholes (Gers & Schmidhuber 2000), in the form of Graves (2013).

    i, f = sigma(u_i + p_i c), sigma(u_f + p_f c),  g = tanh(u_g)       u = W_ih x + b_ih + W_hh h + b_hh
    c' = f c + i g
    o = sigma(u_o + p_o c'),  h' = o tanh(c')

The gates look at the cell, each through one weight: those of input and forgetting at the old c, that of the output at
the new one. Gers & Schmidhuber let the gates of a block look at all of its cells, and have no tanh on c'; with one cell
to a block and tanh it is Graves's LSTM, the "vanilla LSTM" of Greff et al. (2017).
"""

from typing import NamedTuple

from ..scalar import sigmoid, sigmoid_slope, tanh, tanh_slope
from .base import cell


@cell(gates=("i", "f", "g", "o"), states=2, parameters=("peep_i", "peep_f", "peep_o"), forgets={"f": 1, "i": -1})
class PeepholeLSTM(NamedTuple):
    """The LSTM whose gates look at its cell c, each through a weight of its own for every unit.

        i, f = sigma(u_i + peep_i c), sigma(u_f + peep_f c)     gates of input and forgetting, 0 … 1
        g = tanh(u_g)                                           what may enter, -1 … 1
        c' = f c + i g
        o = sigma(u_o + peep_o c')                              gate of the output: it sees the new cell
        h' = o tanh(c')

    For each of the N units; u = W_ih input + b_ih + W_hh h + b_hh has a block of N rows for each gate, in the order i,
    f, g, o: weight_ih (4N, I), weight_hh (4N, N); peep_i, peep_f, peep_o (N,) are trained with them. It has no fields.
    The state is (h, c), so that a network of N units has 2N Lyapunov exponents. Graves's form: one cell to a block.
    Published initialisation, that of Greff et al.: everything N(0, 0.1²).

    Source: Gers & Schmidhuber, IJCNN 2000; Graves 2013, arXiv:1308.0850; Greff et al., IEEE Trans. Neural Netw. 28,
    2222, 2017.

    >>> import throughtime as tt
    >>> tt.Network("peephole_lstm", 3, 16, seed=0).parameters["peep_o_l0"].shape
    (16,)
    """

    def forward(cell, x, r, s, p):
        i, f, g = x[0] + r[0] + p[0] * s[1], x[1] + r[1] + p[1] * s[1], x[2] + r[2]
        c = sigmoid(f) * s[1] + sigmoid(i) * tanh(g)
        o = x[3] + r[3] + p[2] * c
        return (sigmoid(o) * tanh(c), c), (i, f, g, o)

    def backward(cell, ds, s, s_next, saved, p):
        i, f, g, o = saved
        c = s_next[1]
        do = ds[0] * tanh(c) * sigmoid_slope(o)
        dc = ds[1] + ds[0] * sigmoid(o) * tanh_slope(c) + do * p[2]
        di = dc * tanh(g) * sigmoid_slope(i)
        df = dc * s[1] * sigmoid_slope(f)
        dg = dc * sigmoid(i) * tanh_slope(g)
        du = (di, df, dg, do)
        return du, du, (0.0, dc * sigmoid(f) + di * p[0] + df * p[1]), (di * s[1], df * s[1], do * c)

    def published(cell, network, rng, values):
        for value in values.values():
            value[...] = rng.normal(0.0, 0.1, value.shape)
