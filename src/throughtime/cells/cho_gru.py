"""The gated recurrent unit as it was published (Cho et al. 2014): the reset gate acts before the matrix product.

    r = sigma(x_r + W_hr h + b_hr),  z = sigma(x_z + W_hz h + b_hz)        x = W_ih input + b_ih, blocks r, z, n
    n = tanh(x_n + W_hn (r h) + b_hn)
    h' = z h + (1 - z) n

z is what stays, as in the paper's equation 7, in PyTorch and in Keras; Chung et al. (2014) and Bahdanau et al. (2015)
write 1 - z for it. It is Keras's GRU with reset_after=False, whose blocks stand in the order z, r, n; gru.py is the
other variant, reset_after=True. The paper has no biases.
"""

from typing import NamedTuple

import numpy as np

from ..scalar import sigmoid, sigmoid_slope, tanh, tanh_slope
from .base import cell


@cell(gates=("r", "z", "n"), sends={"h": ("r", "z")}, stage={"reset": ("n",)}, forgets="z")
class ChoGRU(NamedTuple):
    """The GRU of the paper: the reset gate chooses of h before the product, not of the product.

        r = sigma(x_r + W_hr h + b_hr)      reset gate, 0 … 1: how much of the old state n sees
        z = sigma(x_z + W_hz h + b_hz)      update gate, 0 … 1: how much of the old state stays
        n = tanh(x_n + W_hn (r h) + b_hn)   new state, -1 … 1
        h' = z h + (1 - z) n

    For each of the N units; x = W_ih input + b_ih; blocks of N rows in the order r, z, n: weight_ih (3N, I), weight_hh
    (3N, N), both biases (3N,). It has no fields. The state is h alone, so that a network of N units has N Lyapunov
    exponents. Cho et al. 2014 with biases, which is Keras's reset_after=False with its blocks z, r, n in another order;
    `gru` is PyTorch's variant. Published initialisation: W_ih N(0, 0.01²), the blocks of W_hh orthogonal, biases 0.

    Source: Cho et al., EMNLP 2014, arXiv:1406.1078.

    >>> import throughtime as tt
    >>> tt.Network("cho_gru", 3, 16, seed=0).parameters["weight_hh_l0"].shape
    (48, 16)
    """

    def forward(cell, x, r, s):
        update, new = x[1] + r[1], x[2] + r[2]
        n = tanh(new)
        return (n + sigmoid(update) * (s[0] - n),), (x[0] + r[0], update, new)

    def backward(cell, ds, s, s_next, saved):
        _, update, new = saved
        dupdate = ds[0] * (s[0] - tanh(new)) * sigmoid_slope(update)
        dnew = ds[0] * sigmoid(-update) * tanh_slope(new)  # 1 - z as sigma(-u): exact when the gate is nearly open
        du = (0.0, dupdate, dnew)
        return du, du, (ds[0] * sigmoid(update),)

    def stage(cell, x, r, s):
        return (sigmoid(x[0] + r[0]) * s[0],)

    def stage_backward(cell, da, s, saved):
        dreset = da[0] * s[0] * sigmoid_slope(saved[0])
        return (dreset, 0.0, 0.0), (dreset, 0.0), (da[0] * sigmoid(saved[0]),)

    def published(cell, network, rng, values):
        units = network.hidden_size
        for name, value in values.items():
            value[...] = rng.normal(0.0, 0.01, value.shape) if name == "weight_ih" else 0.0
        for gate in range(3):  # the left singular vectors of a Gaussian matrix
            block = np.linalg.svd(rng.standard_normal((units, units)))[0]
            values["weight_hh"][gate * units : (gate + 1) * units] = block
