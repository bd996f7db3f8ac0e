"""Gradients of Lyapunov exponents: closed forms, differences of the whole exponent, and PyTorch through its QR."""

from __future__ import annotations

import networks
import numpy as np
import pytest

import throughtime as tt

gradient = tt.analysis.lyapunov_gradient
LENGTHS = [14, 9, 0]
WAYS = {"every step": {"k": 3}, "seldom": {"k": 4, "interval": 3, "warmup": 3, "discard": 2}}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", networks.CELLS)
def test_is_the_derivative_of_the_exponents(cell, layers, way):
    """Along a random direction of each parameter, and of the initial state: differences of fourth order, h⁴ = 1e-16
    beside fifth derivatives, which frames that turn fast make as large as 1e8; of a rectifier between its corners."""
    options = WAYS[way]
    p = networks.problem(cell, 14, 3, 2, 14 if cell == "relu" else 6, layers=layers, lengths=LENGTHS)
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((3, options["k"]))
    if cell == "ind_rnn":  # units that do not hear each other: one that is off takes its direction away
        with pytest.raises(ValueError, match="has no gradient"):
            gradient(p.unroll(), weights, **options)
        return
    found = gradient(p.unroll(), weights, **options)
    assert np.isnan(found.exponents[2]).all()
    h = 1e-7 if cell == "relu" else 2e-5 if cell == "ugrnn" else 1e-4

    def loss():
        return (weights[:2] * gradient(p.unroll(), 0.0 * weights, **options).exponents[:2]).sum()

    def check(value, by, places=...):
        original, v = value.copy(), np.zeros_like(value)
        v[places] = rng.standard_normal(v[places].shape)

        def at(e):
            value[...] = original + e * v
            return loss()

        expected = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        value[...] = original
        np.testing.assert_allclose((by * v).sum(), expected, rtol=1e-7, atol=1e-7)

    for name, value in p.net.parameters.items():
        check(value, found.parameters[name])
    check(p.start, found.states[0], slice(2))


def test_a_linear_network_has_closed_forms():
    """λ_1 of W = diag(.9, .5) from aligned frames is ln .9: ∂λ/∂W = diag(1/.9, 0), for λ_1 + λ_2 W⁻ᵀ."""
    net = tt.Network("linear", 1, 2, bias=False, seed=0)
    net.parameters["weight_hh_l0"][...] = [[0.9, 0.2], [0.1, 0.5]]
    run = net.unroll(np.zeros((300, 1)))
    first, second = np.linalg.eigvals(net.parameters["weight_hh_l0"])
    both = gradient(run, k=2, discard=0)  # ln |det W|, whatever the frame
    np.testing.assert_allclose(both.exponents.sum(), np.log(first * second), rtol=1e-12)
    expected = np.linalg.inv(net.parameters["weight_hh_l0"]).T
    np.testing.assert_allclose(both.parameters["weight_hh_l0"], expected, rtol=1e-10)
    values, right = np.linalg.eig(net.parameters["weight_hh_l0"])
    i = np.abs(values).argmax()
    left = np.linalg.inv(right)[i]
    one = gradient(run, discard=100)  # (e_2/e_1)^100 = 1e-34: the frame is the eigenvector, ∂e/∂W = l rᵀ, ∂ ln e = /e
    np.testing.assert_allclose(one.exponents, np.log(values[i]), rtol=1e-12)
    # the last vectors of the run still turn: what that adds to the average is of order 1/200 times (e_2/e_1)
    whole = np.outer(left, right[:, i]) / values[i]
    np.testing.assert_allclose(one.parameters["weight_hh_l0"], whole, rtol=0, atol=0.02)


def test_exponents_are_those_of_lyapunov_spectrum():
    net = tt.Network("gru", 2, 20, seed=0)
    x = np.random.default_rng(0).standard_normal((200, 2, 2))
    options = {"k": 5, "warmup": 30, "discard": 20, "interval": 1, "seed": 3}
    found = gradient(net.unroll(x), **options).exponents
    spectrum = tt.analysis.lyapunov_spectrum(net, x, **options).exponents
    np.testing.assert_allclose(np.sort(found)[:, ::-1], spectrum, rtol=0, atol=1e-13)


def torch_step(torch, name, w, x, s):
    """One step of torch's own formula for a state (S,) and an input (I,)."""
    n = w["weight_hh_l0"].shape[1]
    a = w["weight_ih_l0"] @ x + w["bias_ih_l0"]
    r = w["weight_hh_l0"] @ s[:n] + w["bias_hh_l0"]
    if name == "tanh":
        return torch.tanh(a + r)
    if name == "gru":
        reset, update = torch.sigmoid(a[:n] + r[:n]), torch.sigmoid(a[n : 2 * n] + r[n : 2 * n])
        new = torch.tanh(a[2 * n :] + reset * r[2 * n :])
        return (1 - update) * new + update * s
    i, f, g, o = (a + r).reshape(4, n)
    c = torch.sigmoid(f) * s[n:] + torch.sigmoid(i) * torch.tanh(g)
    return torch.cat([torch.sigmoid(o) * torch.tanh(c), c])


@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru"])
def test_is_what_torch_finds_through_its_qr(cell):
    torch = pytest.importorskip("torch")
    net, k, T, discard = tt.Network(cell, 2, 8, seed=0), 5, 20, 4
    for name, value in net.parameters.items():
        value[...] *= 3.0 if name.startswith("weight_hh") else 1.0
    x = np.random.default_rng(0).standard_normal((T, 1, 2))
    run = net.unroll(x)
    found = gradient(run, lambda e: 2 * (e - 0.1), k=k, discard=discard, seed=5)
    w = {name: torch.tensor(value, requires_grad=True) for name, value in net.parameters.items()}
    from throughtime.analysis.lyapunov.measure import random_frame

    q = torch.tensor(random_frame(1, run.states.shape[2], k, 5, np.float64)[0])
    s, total = torch.zeros(run.states.shape[2], dtype=torch.float64), 0.0
    for t in range(T):
        inputs = torch.tensor(x[t, 0])
        step = lambda s, inputs=inputs: torch_step(torch, cell, w, inputs, s)  # noqa: E731
        jacobian = torch.func.jacrev(step)(s)
        s = step(s)
        q, r = torch.linalg.qr(jacobian @ q)
        if t >= discard:
            total = total + torch.log(torch.abs(torch.diagonal(r)))
    exponents = total / (T - discard)
    ((exponents - 0.1) ** 2).sum().backward()
    np.testing.assert_allclose(found.exponents, exponents.detach().numpy(), rtol=0, atol=1e-12)
    for name, value in w.items():
        theirs = value.grad.numpy()
        np.testing.assert_allclose(found.parameters[name], theirs, rtol=0, atol=1e-10 * np.abs(theirs).max())


def test_long_saturated_runs_stay_accurate():
    """300 steps under strong input: lengths of e^−2000 on the way, where a plain product would be 0."""
    p = networks.problem("tanh", 300, 1, 2, 6, gain=1.0)
    p = p._replace(x=5.0 * p.x)
    found = gradient(p.unroll(), k=6)
    rng = np.random.default_rng(0)
    way = {name: rng.standard_normal(value.shape) for name, value in p.net.parameters.items()}
    first = {name: value.copy() for name, value in p.net.parameters.items()}

    def at(e):
        for name, value in p.net.parameters.items():
            value[...] = first[name] + e * way[name]
        return gradient(p.unroll(), np.zeros(6), k=6).exponents.sum()

    h = 1e-4
    expected = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    slope = sum((found.parameters[name] * way[name]).sum() for name in way)
    np.testing.assert_allclose(slope, expected, rtol=1e-7)


def test_one_sequence_among_others():
    """Of a batch each sequence has what it has alone, and the gradient is the sum."""
    p = networks.problem("lstm", 12, 3, 2, 4)
    whole = gradient(p.unroll(), k=2)
    alone = [gradient(p.net.unroll(p.x[:, b], state=p.start[b]), k=2) for b in range(3)]
    np.testing.assert_allclose(whole.exponents, [one.exponents for one in alone], rtol=1e-12)
    for name, value in whole.parameters.items():
        np.testing.assert_allclose(value, sum(one.parameters[name] for one in alone), rtol=1e-10, atol=1e-12)
    assert "exponents" in repr(whole)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 5}, "the state has 4 numbers"),
        ({"k": 0}, "k"),
        ({"warmup": 20}, "the run has 20 steps"),
        ({"discard": 20}, "at least one must count"),
        ({"interval": 0}, "interval"),
        ({"grad_exponents": np.ones(3), "k": 2}, "`grad_exponents` has shape"),
    ],
)
def test_refused(options, said):
    run = tt.Network("tanh", 2, 4, seed=0).unroll(np.ones((20, 2)))
    with pytest.raises(ValueError, match=said):
        gradient(run, **options)


def test_what_has_no_gradient_is_refused():
    both = tt.Network("tanh", 2, 4, bidirectional=True).unroll(np.ones((20, 2)))
    with pytest.raises(ValueError, match="bidirectional"):
        gradient(both)
    net = tt.Network("relu", 1, 4, bias=False, seed=0)
    net.parameters["weight_hh_l0"][...] = np.diag([1.0, 1.0, -1.0, -1.0])
    net.parameters["weight_ih_l0"][...] = 1e-3
    run = net.unroll(np.ones((20, 1)), state=np.ones((1, 4)))
    assert np.isfinite(gradient(run, k=2, seed=1).exponents).all()
    with pytest.raises(ValueError, match="has no gradient; ask for k=2 or fewer"):
        gradient(run, k=3, seed=1)
