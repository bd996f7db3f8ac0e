"""The minimal gated unit (Zhou, Wu, Zhang & Zhou 2016): a GRU whose two gates are one.

    f = sigma(x_f + W_hf h + b_hf)              x = W_ih input + b_ih, blocks f, n
    n = tanh(x_n + W_hn (f h) + b_hn)
    h' = (1 - f) h + f n

The paper calls f the forget gate and lets it act before the product. Variants: Flax's MGUCell lets it act after the
product, and there f is what stays.
"""

from typing import NamedTuple

from ..scalar import sigmoid, sigmoid_slope, tanh, tanh_slope
from .base import cell


@cell(gates=("f", "n"), sends={"h": ("f",)}, stage={"gated": ("n",)}, forgets={"f": -1})
class MGU(NamedTuple):
    """The minimal gated unit: one gate f says what the new state n sees of the old one, and how much of it replaces it.

        f = sigma(x_f + W_hf h + b_hf)      forget gate, 0 … 1
        n = tanh(x_n + W_hn (f h) + b_hn)   new state, -1 … 1
        h' = (1 - f) h + f n

    For each of the N units; x = W_ih input + b_ih; blocks of N rows in the order f, n: weight_ih (2N, I), weight_hh
    (2N, N), both biases (2N,). It has no fields. The state is h alone, so that a network of N units has N Lyapunov
    exponents. The gate acts before the product, as in the paper. How all its weights are to start is not known here, so
    that there is no init="published".

    Source: Zhou, Wu, Zhang & Zhou, Int. J. Autom. Comput. 13, 226, 2016, arXiv:1603.09420.

    >>> import throughtime as tt
    >>> tt.Network("mgu", 3, 16, seed=0).parameters["weight_hh_l0"].shape
    (32, 16)
    """

    def forward(cell, x, r, s):
        gate, new = x[0] + r[0], x[1] + r[1]
        return (s[0] + sigmoid(gate) * (tanh(new) - s[0]),), (gate, new)

    def backward(cell, ds, s, s_next, saved):
        gate, new = saved
        dgate = ds[0] * (tanh(new) - s[0]) * sigmoid_slope(gate)
        du = (dgate, ds[0] * sigmoid(gate) * tanh_slope(new))
        return du, du, (ds[0] * sigmoid(-gate),)  # 1 - f as sigma(-u): exact when the gate is nearly open

    def stage(cell, x, r, s):
        return (sigmoid(x[0] + r[0]) * s[0],)

    def stage_backward(cell, da, s, saved):
        dgate = da[0] * s[0] * sigmoid_slope(saved[0])
        return (dgate, 0.0), (dgate,), (da[0] * sigmoid(saved[0]),)
