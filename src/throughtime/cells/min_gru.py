"""The minimal gated unit that looks at its input alone, minGRU (Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024).

    z = sigma(x_z),  h' = (1 - z) h + z x_n          x = W_ih input + b_ih, blocks z, n

Nothing is sent to other units: there is no W_hh. In the paper's section 3.1 the new state x_n is taken as it is; its
appendix for the arithmetic in logarithms puts a positive function g around it.
"""

from typing import NamedTuple

import numpy as np

from ..scalar import sigmoid, sigmoid_slope
from .base import cell


@cell(gates=("z", "n"), sends={}, forgets={"z": -1})
class MinGRU(NamedTuple):
    """minGRU: a running mean of what comes in, whose weight a gate sets that sees the input alone.

        z = sigma(x_z)                  update gate, 0 … 1
        h' = (1 - z) h + z x_n          between h and x_n

    For each of the N units; x = W_ih input + b_ih has a block of N rows for each gate, in the order z, n: weight_ih
    (2N, I). There is no W_hh: a unit hears no other. It has no fields. The state is h, N numbers; a step is linear in
    it, and its Lyapunov exponents are the means of ln(1 - z). Section 3.1 of Feng et al.: no function around x_n.

    Source: Feng, Tung, Ahmed, Bengio & Hajimirsadeghi, Were RNNs all we needed?, arXiv:2410.01201, 2024.

    >>> import throughtime as tt
    >>> list(tt.Network("min_gru", 3, 16, seed=0).parameters)
    ['weight_ih_l0', 'bias_ih_l0']
    """

    def forward(cell, x, r, s):
        update, new = x
        return (sigmoid(-update) * s[0] + sigmoid(update) * new,), (update, new)

    def backward(cell, ds, s, s_next, saved):
        update, new = saved
        dupdate = ds[0] * (new - s[0]) * sigmoid_slope(update)
        return (dupdate, ds[0] * sigmoid(update)), (), (ds[0] * sigmoid(-update),)  # 1 - z as sigma(-u), see gru.py

    def slope_bounds(cell, ranges, state_bound):
        x, _ = ranges(state_bound)
        return ((),), ((sigmoid(-x[0].low),),), (1.0,)

    def published(cell, network, rng, values):
        """Their layers are nn.Linear as PyTorch makes them: U(-1/√I, 1/√I)."""
        bound = 1.0 / np.sqrt(values["weight_ih"].shape[1])
        for value in values.values():
            value[...] = rng.uniform(-bound, bound, value.shape)
