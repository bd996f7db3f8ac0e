"""The LSTM reduced to gates that look at the input alone, minLSTM (Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024).

    f, i = sigma(x_f), sigma(x_i)                    x = W_ih input + b_ih, blocks f, i, n
    h' = f/(f + i) h + i/(f + i) x_n

Nothing is sent to other units, there is no W_hh, no second state and no output gate. As in min_gru.py, x_n is taken as
it is.
"""

from typing import NamedTuple

import numpy as np

from ..scalar import exp, quotient, relu, sigmoid
from .base import cell


@cell(gates=("f", "i", "n"), sends={}, forgets={"f": 1, "i": -1})
class MinLSTM(NamedTuple):
    """minLSTM: the old state and what comes in, mixed in the proportion of two gates that see the input alone.

        f, i = sigma(x_f), sigma(x_i)               gates of forgetting and of input, 0 … 1
        h' = f/(f + i) h + i/(f + i) x_n            between h and x_n

    For each of the N units; x = W_ih input + b_ih has a block of N rows for each gate, in the order f, i, n: weight_ih
    (3N, I). There is no W_hh: a unit hears no other. It has no fields. The state is h, N numbers; a step is linear in
    it, and its Lyapunov exponents are the means of ln(f/(f + i)). Section 3.2 of Feng et al., with the two gates
    normalised by their sum: no function around x_n.

    Source: Feng, Tung, Ahmed, Bengio & Hajimirsadeghi, Were RNNs all we needed?, arXiv:2410.01201, 2024.

    >>> import throughtime as tt
    >>> tt.Network("min_lstm", 3, 16, seed=0).parameters["weight_ih_l0"].shape
    (48, 3)
    """

    def forward(cell, x, r, s):
        forget, enter, new = x
        # f/i is (1 + e^-x_i)/(1 + e^-x_f); times e^-most, the largest of 0, -x_f and -x_i, no part can overflow
        most = relu(-forget) + relu(relu(-enter) - relu(-forget))
        one, to_f, to_i = exp(-most), exp(-enter - most), exp(-forget - most)
        total = (one + to_f) + (one + to_i)
        return (quotient(one + to_f, total) * s[0] + quotient(one + to_i, total) * new,), (forget, enter, new)

    def backward(cell, ds, s, s_next, saved):
        forget, enter, new = saved
        most = relu(-forget) + relu(relu(-enter) - relu(-forget))
        one, to_f, to_i = exp(-most), exp(-enter - most), exp(-forget - most)
        total = (one + to_f) + (one + to_i)
        keep, take = quotient(one + to_f, total), quotient(one + to_i, total)
        dtake = ds[0] * (new - s[0]) * keep * take
        return (-dtake * sigmoid(-forget), dtake * sigmoid(-enter), ds[0] * take), (), (ds[0] * keep,)

    def slope_bounds(cell, ranges, state_bound):
        x, _ = ranges(state_bound)
        f, i = sigmoid(x[0].high), sigmoid(x[1].low)
        return ((),), ((np.divide(f, f + i, out=np.ones_like(f), where=f + i > 0),),), (1.0,)

    def published(cell, network, rng, values):
        """Their layers are nn.Linear as PyTorch makes them: U(-1/√I, 1/√I)."""
        bound = 1.0 / np.sqrt(values["weight_ih"].shape[1])
        for value in values.values():
            value[...] = rng.uniform(-bound, bound, value.shape)
