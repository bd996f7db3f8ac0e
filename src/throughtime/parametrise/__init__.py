"""Weights as functions of free parameters. A network made with `parametrise={"weight_hh": …}` holds and trains the
free parameters; its cells compute with the weights that follow from them.

    antisymmetric, symmetric    W = V − Vᵀ − γ·1, W = Wᵀ
    orthogonal                  W = e^A or (1 + A)⁻¹(1 − A), with A = −Aᵀ
    low_rank, diagonal          W = U Vᵀ, and with a fixed part; W = diag(w)
    masked, sparse, dale        weights where a pattern has them, or of given signs

A key is a kind of weights for all layers and directions, "weight_hh" or "weight_ih", or the name of one array,
"weight_hh_l0", which goes before. The square blocks of several gates are parametrised one by one. In `net.parameters`,
state dicts, gradients and models the free parameters stand in place of the weights, under the weights' name with a
point and their own: "weight_hh_l0.skew". `net.weights()` has the weights themselves, by PyTorch's names. An initialiser
draws weights, and the parametrisation begins as near to them as it says; one of your own may return the free parameters
in place of the weights.

>>> import numpy as np, throughtime as tt
>>> net = tt.Network("tanh", 3, 8, parametrise={"weight_hh": tt.parametrise.orthogonal()}, seed=0)
>>> {name: value.shape for name, value in net.parameters.items()}
{'weight_ih_l0': (8, 3), 'weight_hh_l0.skew': (28,), 'bias_ih_l0': (8,), 'bias_hh_l0': (8,)}
>>> grads = net.unroll(np.ones((20, 3))).backprop(np.ones((20, 8)))
>>> for name, gradient in grads.parameters.items():
...     net.parameters[name] -= 0.01 * gradient
>>> w = net.weights()["weight_hh_l0"]
>>> bool(np.abs(w.T @ w - np.eye(8)).max() < 1e-14)
True
"""

from .connectivity import dale, masked, sparse
from .low_rank import diagonal, low_rank
from .rotation import orthogonal
from .skew import antisymmetric, symmetric

__all__ = ["antisymmetric", "dale", "diagonal", "low_rank", "masked", "orthogonal", "sparse", "symmetric"]
