"""A leak of each unit, as a field and as a trained number, beside PyTorch code of the same network."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import throughtime as tt
from throughtime.scalar import tanh, tanh_slope

T, B, I, N = 30, 3, 2, 5


@tt.cell(parameters=("leak",))
class Learnt(NamedTuple):
    """h' = h + leak (tanh(u) - h), with a leak for each unit, which is trained."""

    def initial(cell, units, rng):
        return (rng.uniform(0.1, 0.9, units),)

    def forward(cell, x, r, s, p):
        u = x[0] + r[0]
        return (s[0] + p[0] * (tanh(u) - s[0]),), (u,)

    def backward(cell, ds, s, s_next, saved, p):
        du = (p[0] * tanh_slope(saved[0]) * ds[0],)
        return du, du, (ds[0] - p[0] * ds[0],), (ds[0] * (tanh(saved[0]) - s[0]),)


def by_torch(parameters, leaks, x, g):
    """dL/dW of every parameter and dL/dleak of every layer, for L = Σ g h of the last layer."""
    torch = pytest.importorskip("torch")
    w = {name: torch.tensor(value, requires_grad=True) for name, value in parameters.items()}
    tensors = [torch.tensor(leak, requires_grad=True) for leak in leaks]
    below = list(torch.tensor(x))
    for k, leak in enumerate(tensors):
        h, sent = torch.zeros(B, N, dtype=torch.float64), []
        for given in below:
            u = given @ w[f"weight_ih_l{k}"].T + w[f"bias_ih_l{k}"] + h @ w[f"weight_hh_l{k}"].T + w[f"bias_hh_l{k}"]
            h = h + leak * (torch.tanh(u) - h)
            sent.append(h)
        below = sent
    (torch.stack(below) * torch.tensor(g)).sum().backward()
    return {name: value.grad.numpy() for name, value in w.items()}, [leak.grad.numpy() for leak in tensors]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("trained", [False, True], ids=["field", "trained"])
def test_gradients_are_pytorchs(trained, layers):
    rng = np.random.default_rng(layers)
    x, g = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, N))
    cell = Learnt() if trained else tt.LeakyTanh(leak=rng.uniform(0.1, 0.9, N))
    net = tt.Network(cell, I, N, num_layers=layers, seed=0)
    weights = {name: value for name, value in net.parameters.items() if not name.startswith("leak")}
    leaks = [net.parameters[f"leak_l{k}"] if trained else cell.leak for k in range(layers)]
    of_weights, of_leaks = by_torch(weights, leaks, x, g)
    found = net.unroll(x).backprop(g)
    for name, wanted in of_weights.items():
        np.testing.assert_allclose(found.parameters[name], wanted, rtol=1e-11, atol=1e-12)
    for k, wanted in enumerate(of_leaks):
        own = found.parameters[f"leak_l{k}"] if trained else found.cells[k].leak
        np.testing.assert_allclose(own, wanted, rtol=1e-11, atol=1e-12)
