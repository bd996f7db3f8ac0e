"""The update-gate network (Collins, Sohl-Dickstein & Sussillo 2017): an Elman unit and one gate.

    g = sigma(u_g),  n = tanh(u_n)              u = W_ih x + b_ih + W_hh h + b_hh, blocks g, n
    h' = g h + (1 - g) n

The paper writes c for n and adds a constant to u_g; here that constant is the bias. In the authors' own code,
tf.contrib.rnn.UGRNNCell, it is 1.
"""

from typing import NamedTuple

import numpy as np

from ..scalar import sigmoid, sigmoid_slope, tanh, tanh_slope
from .base import cell


@cell(gates=("g", "n"), forgets="g")
class UGRNN(NamedTuple):
    """The update-gate unit: one gate g says how much of h stays, the rest is new.

        g = sigma(u_g)                  update gate, 0 … 1: how much of the old state stays
        n = tanh(u_n)                   new state, -1 … 1
        h' = g h + (1 - g) n

    For each of the N units; u = W_ih input + b_ih + W_hh h + b_hh has a block of N rows for each gate, in the order g,
    n: weight_ih (2N, I), weight_hh (2N, N). It has no fields. The state is h alone, so that a network of N units has N
    Lyapunov exponents. Published initialisation, that of the authors' code: Glorot's uniform for the matrix of both
    gates that acts on input and state together, biases 0, that of g 1.

    Source: Collins, Sohl-Dickstein & Sussillo, ICLR 2017, arXiv:1611.09913.

    >>> import throughtime as tt
    >>> tt.Network("ugrnn", 3, 16, seed=0).parameters["weight_hh_l0"].shape
    (32, 16)
    """

    def forward(cell, x, r, s):
        gate, new = x[0] + r[0], x[1] + r[1]
        n = tanh(new)
        return (n + sigmoid(gate) * (s[0] - n),), (gate, new)

    def backward(cell, ds, s, s_next, saved):
        gate, new = saved
        dgate = ds[0] * (s[0] - tanh(new)) * sigmoid_slope(gate)
        dnew = ds[0] * sigmoid(-gate) * tanh_slope(new)  # 1 - g as sigma(-u): exact when the gate is nearly open
        du = (dgate, dnew)
        return du, du, (ds[0] * sigmoid(gate),)

    def slope_bounds(cell, ranges, state_bound):
        most = max(1.0, state_bound)  # |h| stays below it, and |h - n| below 1 + most
        x, r = ranges(most)
        gate, new = x[0] + r[0], x[1] + r[1]
        by_gate = (1.0 + most) * sigmoid_slope(gate.nearest)
        return ((by_gate, sigmoid(-gate.low) * tanh_slope(new.nearest)),), ((sigmoid(gate.high),),), (1.0,)

    def published(cell, network, rng, values):
        inputs, units = values["weight_ih"].shape[1], network.hidden_size
        bound = np.sqrt(6.0 / (inputs + 3 * units))  # of one matrix, from inputs and state to both gates
        for name, value in values.items():
            value[...] = rng.uniform(-bound, bound, value.shape) if name.startswith("weight") else 0.0
        if network.bias:
            values["bias_ih"][:units] = 1.0
