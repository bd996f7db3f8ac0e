"""The sLSTM (Beck et al. 2024): gates that are exponentials, kept in range by a state for their logarithm.

    i = exp(u_i),  f = sigma(u_f),  z = tanh(u_z),  o = sigma(u_o)         u = W_ih x + b_ih + W_hh h + b_hh
    C' = f C + i z,  N' = f N + i                                          C = c e^m,  N = n e^m
    h' = o C'/N' = o c'/n'

C and N would overflow; c, n and m do not:

    m' = max(u_i, ln f + m)                        u_i alone as long as n = 0, at the start of a sequence
    c' = exp(ln f + m - m') c + exp(u_i - m') z,   n' = exp(ln f + m - m') n + exp(u_i - m')

That is the official code, slstm_forward_pointwise of xlstm 2.0.6 (github.com/NX-AI/xlstm): blocks i, f, z, o, states h
(there y), c, n, m, f a sigmoid, where the paper also allows an exponential, neither exponential above 1, and gradients
that flow through the maximum. Variants: its recurrent matrices are block-diagonal, one block to a head, and here full,
which is one head; whether n = 0 is asked of each unit, as its CUDA kernels do. What stands around the cell there (a
convolution in front of i and f, a norm of each head behind h) is no part of it.
"""

from typing import NamedTuple

import numpy as np

from ..scalar import exp, relu, relu_slope, sigmoid, sigmoid_slope, softplus, tanh, tanh_slope
from .base import cell


@cell(gates=("i", "f", "z", "o"), states=4, forgets="f")
class SLSTM(NamedTuple):
    """The sLSTM of xLSTM: an LSTM whose input gate is exp(u_i), and which shows a weighted mean of what has entered.

        m' = max(u_i, ln f + m)                             the largest weight, as a logarithm; u_i where n = 0
        i, f = exp(u_i - m'), exp(ln sigma(u_f) + m - m')   gates of input and forgetting, one of them 1
        c' = f c + i tanh(u_z)                              what has entered, by its weights
        n' = f n + i                                        the sum of the weights
        h' = sigma(u_o) c'/n'

    For each of the N units; u = W_ih input + b_ih + W_hh h + b_hh has a block of N rows for each gate, in the order i,
    f, z, o: weight_ih (4N, I), weight_hh (4N, N). It has no fields. The state is (h, c, n, m), so that a network of N
    units has 4N Lyapunov exponents. Only c/n and n e^m matter: (c, n, m) and (c e^a, n e^a, m - a) show the same h for
    ever, so that dL/dm = c dL/dc + n dL/dn, and N of the exponents are minus infinity once every unit's m has come to
    u_i. Full recurrent matrices: the official code's are block-diagonal, by heads. Published initialisation, that of
    the official code: recurrent weights 0, those of the input N(0, 2/(5 I)), biases 0, in the forget gate from 5 to
    -7, 5 - 12 (k/(N - 1))^0.3.

    Source: Beck et al., xLSTM, NeurIPS 2024, arXiv:2405.04517.

    >>> import throughtime as tt
    >>> tt.Network("slstm", 3, 16, seed=0).state_size
    64
    """

    def forward(cell, x, r, s):
        i, f, z, o = x[0] + r[0], x[1] + r[1], x[2] + r[2], x[3] + r[3]
        kept = s[3] - softplus(-f)  # ln sigma(f) + m
        m = i + relu_slope(s[2]) * relu(kept - i)
        forget, enter = exp(-relu(m - kept)), exp(i - m)
        c, n = forget * s[1] + enter * tanh(z), forget * s[2] + enter
        return (sigmoid(o) * c / n, c, n, m), (i, f, z, o)

    def backward(cell, ds, s, s_next, saved):
        i, f, z, o = saved
        _, c, n, m = s_next
        kept = s[3] - softplus(-f)
        forget, enter = exp(-relu(m - kept)), exp(i - m)
        mean = c / n
        dc = ds[1] + ds[0] * sigmoid(o) / n
        dn = ds[2] - ds[0] * sigmoid(o) / n * mean
        by_forget = (dc * s[1] + dn * s[2]) * forget * relu_slope(m - kept)
        by_enter = (dc * tanh(z) + dn) * enter
        old = relu_slope(s[2]) * relu_slope(kept - i)  # 1 where m' = ln f + m, so that forget is 1 whatever kept is
        new = 1.0 - old
        di, dkept = new * (ds[3] - by_forget) + old * by_enter, old * (ds[3] - by_enter) + new * by_forget
        dz, do = dc * enter * tanh_slope(z), ds[0] * mean * sigmoid_slope(o)
        du = (di, dkept * sigmoid(-f), dz, do)
        return du, du, (0.0, dc * forget, dn * forget, dkept)

    def published(cell, network, rng, values):
        inputs, units = values["weight_ih"].shape[1], network.hidden_size
        for value in values.values():
            value[...] = 0.0
        values["weight_ih"][...] = rng.normal(0.0, np.sqrt(2.0 / (5.0 * inputs)), values["weight_ih"].shape)
        if network.bias:
            values["bias_ih"][units : 2 * units] = 5.0 - 12.0 * np.linspace(0.0, 1.0, units) ** 0.3
