"""The independently recurrent unit (Li, Li, Cook, Zhu & Gao 2018): every unit hears itself alone.

    h' = max(x + recurrent h, 0)                     x = W_ih input + b_ih

`recurrent` is one trainable number of each unit, in place of the matrix W_hh; layers above mix the units.
"""

from typing import NamedTuple

import numpy as np

from ..scalar import relu, relu_slope
from .base import cell


@cell(sends={}, parameters=("recurrent",))
class IndRNN(NamedTuple):
    """The independently recurrent unit: h' = max(x + recurrent h, 0).

    For each of the N units; x = W_ih input + b_ih: weight_ih (N, I). Trainable number of each unit: recurrent (N,), in
    place of W_hh. It has no fields. The state is h, N numbers. Over T steps the gradient of a unit is at most
    |recurrent|^T, and so at most 2 while |recurrent| ≤ 2^(1/T), to which the paper clips it; at the start it is drawn
    from U(0, 1). Their code's variant: max(u, 0), without batch normalisation.

    Source: Li, Li, Cook, Zhu & Gao, Independently recurrent neural network, CVPR 2018, arXiv:1803.04831.

    >>> import throughtime as tt
    >>> tt.Network("ind_rnn", 3, 16, seed=0).parameters["recurrent_l0"].shape
    (16,)
    """

    def forward(cell, x, r, s, p):
        u = x[0] + p[0] * s[0]
        return (relu(u),), (u,)

    def backward(cell, ds, s, s_next, saved, p):
        du = ds[0] * relu_slope(saved[0])
        return (du,), (), (p[0] * du,), (s[0] * du,)

    def slope_bounds(cell, ranges, state_bound, p):
        return ((),), ((abs(p[0]),),), (1.0,)

    def initial(cell, units, rng):
        return (rng.uniform(0.0, 1.0, units),)

    def published(cell, network, rng, values):
        """Their stacked network: He's uniform weights with a = 8, U(-b, b) with b² = 6/(65 I), and no bias."""
        inputs = values["weight_ih"].shape[1]
        bound = np.sqrt(6.0 / (65.0 * inputs))
        values["weight_ih"][...] = rng.uniform(-bound, bound, values["weight_ih"].shape)
        if "bias_ih" in values:
            values["bias_ih"][...] = 0.0
