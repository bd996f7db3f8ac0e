"""The gated recurrent unit (Cho et al. 2014) in PyTorch's variant: the reset gate acts after the matrix product.

    r = sigma(x_r + r_r),  z = sigma(x_z + r_z)          x = W_ih input + b_ih,  r = W_hh h + b_hh,  blocks r, z, n
    n = tanh(x_n + r r_n)                                so b_hn stays inside the reset
    h' = (1 - z) n + z h

The paper applies the reset to h before the product, which is cho_gru.py. z is what stays, as there; Chung et al. (2014)
write 1 - z for it.
"""

from typing import NamedTuple

from ..scalar import relu, sigmoid, sigmoid_slope, tanh, tanh_slope
from .base import cell


@cell(gates=("r", "z", "n"), forgets="z")
class GRU(NamedTuple):
    """The gated recurrent unit: a new state n and the old one h, mixed by an update gate z.

        r = sigma(x_r + r_r)            reset gate, 0 … 1: how much of the old state n sees
        z = sigma(x_z + r_z)            update gate, 0 … 1: how much of the old state stays
        n = tanh(x_n + r r_n)           new state, -1 … 1
        h' = (1 - z) n + z h

    For each of the N units; x = W_ih input + b_ih and r = W_hh h + b_hh have a block of N rows for each gate, in the
    order r, z, n: weight_ih (3N, I), weight_hh (3N, N). It has no fields. The state is h alone, so that a network of N
    units has N Lyapunov exponents. PyTorch's variant of Cho et al. 2014: the reset gate acts after the product.

    >>> import throughtime as tt
    >>> tt.Network("gru", 3, 16, seed=0).parameters["weight_hh_l0"].shape
    (48, 16)
    """

    def forward(cell, x, r, s):
        reset, update = x[0] + r[0], x[1] + r[1]
        new = x[2] + sigmoid(reset) * r[2]
        n = tanh(new)
        return (n + sigmoid(update) * (s[0] - n),), (reset, update, new, r[2])

    def backward(cell, ds, s, s_next, saved):
        reset, update, new, inner = saved
        z = sigmoid(update)
        dnew = ds[0] * sigmoid(-update) * tanh_slope(new)  # 1 - z as sigma(-u): exact when the gate is nearly closed
        dreset = dnew * inner * sigmoid_slope(reset)
        dupdate = ds[0] * (s[0] - tanh(new)) * sigmoid_slope(update)
        return (dreset, dupdate, dnew), (dreset, dupdate, dnew * sigmoid(reset)), (z * ds[0],)

    def slope_bounds(cell, ranges, state_bound):
        most = max(1.0, state_bound)  # |h| stays below it, and |h - n| below 1 + most
        x, r = ranges(most)
        reset, update, inner = x[0] + r[0], x[1] + r[1], r[2].farthest
        opened, opening = sigmoid(reset.high), sigmoid(-update.low)  # largest reset and 1 - z
        # x_n and reset r_n move apart: the range of their sum is that of reset r_n around x_n
        by_new = opening * tanh_slope(relu(abs(x[2].centre) - x[2].width - opened * inner))
        by_reset = by_new * inner * sigmoid_slope(reset.nearest)
        by_update = (1.0 + most) * sigmoid_slope(update.nearest)
        return ((by_reset, by_update, by_new * opened),), ((sigmoid(update.high),),), (1.0,)
