"""The minimal RNN (Chen 2017): the input becomes a candidate by itself, and one gate mixes it with the state.

    z = tanh(W_ih input + b_ih)
    u = sigma(U_h h + U_z z + b)
    h' = u h + (1 - u) z

The candidate z does not see the state, so that each unit moves between -1 and 1 in coordinates that the input fixes.
"""

from typing import NamedTuple

from ..scalar import sigmoid, sigmoid_slope, tanh, tanh_slope
from .base import cell


@cell(gates=("z",), sends={"h": ("u",)}, stage={"z": ("u",)}, forgets="u")
class MinimalRNN(NamedTuple):
    """The minimal RNN: h moves towards a candidate z that the input alone makes, by a gate u that sees both.

        z = tanh(W_ih input + b_ih)         candidate, -1 … 1
        u = sigma(U_h h + U_z z + b)        update gate, 0 … 1: how much of the old state stays
        h' = u h + (1 - u) z

    For each of the N units. weight_ih (N, I); weight_hh (2N, N) is U_h above U_z, which acts on z of the same step;
    bias_hh (2N,) holds two numbers for every unit, whose sum is b. It has no fields. The state is h alone, so that a
    network of N units has N Lyapunov exponents. How all its weights are to start is not known here, so that there is no
    init="published".

    Source: Chen 2017, arXiv:1711.06788; Chen, Pennington & Schoenholz, ICML 2018, for its mean field.

    >>> import throughtime as tt
    >>> tt.Network("minimal_rnn", 3, 16, seed=0).parameters["weight_hh_l0"].shape
    (32, 16)
    """

    def forward(cell, x, r, s):
        gate, z = r[0] + r[1], tanh(x[0])
        return (z + sigmoid(gate) * (s[0] - z),), (x[0], gate)

    def backward(cell, ds, s, s_next, saved):
        candidate, gate = saved
        dgate = ds[0] * (s[0] - tanh(candidate)) * sigmoid_slope(gate)
        dz = ds[0] * sigmoid(-gate)  # 1 - u as sigma(-u): exact when the gate is nearly open
        return (dz * tanh_slope(candidate),), (dgate, dgate), (ds[0] * sigmoid(gate),)

    def stage(cell, x, r, s):
        return (tanh(x[0]),)

    def stage_backward(cell, da, s, saved):
        return (da[0] * tanh_slope(saved[0]),), (0.0,), (0.0,)
