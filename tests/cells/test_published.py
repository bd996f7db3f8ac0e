"""Cells of the literature beside the code of others: golden values, and properties that have a closed form.

Golden values: tests/golden/make_published.py. 200 roundings let 9 steps of 5 units add up badly.
"""

from __future__ import annotations

import numpy as np
import pytest
from golden import make_published as golden

import throughtime as tt

EPS = np.finfo(np.float64).eps
KINDS_OF_PEEPHOLES = ("peep_i", "peep_f", "peep_o")
MIXTURES = ("gru", "cho_gru", "mgu", "ugrnn", "minimal_rnn")  # h' = g h + (1 - g) n


def golden_case(case):
    with np.load(golden.PATH) as archive:
        return {name.removeprefix(f"{case}."): archive[name] for name in archive.files if name.startswith(f"{case}.")}


@pytest.mark.parametrize("case", golden.SHAPES)
def test_golden(case):
    known = golden_case(case)
    net = tt.Network(case.removesuffix("_started"), golden.INPUTS, golden.UNITS, seed=0)
    net.load_state_dict({name: known[name] for name in net.parameters})
    start = tuple(value[None] for value in known["start"])
    run = net.unroll(known["input"], state=start if len(start) > 1 else start[0])
    grads = run.backprop(known["grad_output"])
    ours = {"output": run.output, "gradient.input": grads.input}
    ours |= {f"gradient.{name}": value for name, value in grads.parameters.items()}
    ours["gradient.start"] = np.concatenate(grads.initial_state if len(start) > 1 else [grads.initial_state])
    if "final" in known:
        ours["final"] = np.concatenate(run.final_state if len(start) > 1 else [run.final_state])
    eps = np.finfo(np.float32).eps if case == "cho_gru" else EPS  # Keras multiplies matrices in float32
    assert set(known) == set(ours) | set(net.parameters) | {"input", "start", "grad_output"}
    for name, value in ours.items():
        np.testing.assert_allclose(value, known[name], rtol=0, atol=200 * eps * abs(known[name]).max(), err_msg=name)


def random_network(cell, units=5, seed=0, gain=1.0):
    rng = np.random.default_rng(seed)
    net = tt.Network(cell, 3, units, seed=seed)
    for value in net.parameters.values():
        value[...] = rng.normal(0, gain / np.sqrt(units), value.shape)
    return net


# ---- sLSTM: c, n and m are C e^-m, N e^-m and a free choice of m
def test_slstm_is_the_mean_with_exponential_weights():
    """C' = f C + e^i z, N' = f N + e^i, h = o C/N, as long as nothing overflows."""
    net = random_network("slstm")
    x = np.random.default_rng(1).normal(size=(60, 3))
    w = {name.removesuffix("_l0"): value for name, value in net.parameters.items()}
    h, big_c, big_n, expected = np.zeros(5), np.zeros(5), np.zeros(5), []
    for u in x:
        i, f, z, o = np.split(w["weight_ih"] @ u + w["bias_ih"] + w["weight_hh"] @ h + w["bias_hh"], 4)
        big_c = big_c / (1 + np.exp(-f)) + np.exp(i) * np.tanh(z)
        big_n = big_n / (1 + np.exp(-f)) + np.exp(i)
        h = big_c / big_n / (1 + np.exp(-o))
        expected.append(h)
    run = net.unroll(x)
    np.testing.assert_allclose(run.output, expected, rtol=0, atol=60 * 20 * EPS)
    np.testing.assert_allclose(run.states[-1, 0, 10:15] * np.exp(run.states[-1, 0, 15:]), big_n, rtol=60 * 20 * EPS)


def test_slstm_does_not_see_how_its_weights_are_scaled():
    """(c, n, m) and (c e^a, n e^a, m - a) show the same h: so dL/dm = c dL/dc + n dL/dn, at every time."""
    net, rng = random_network("slstm"), np.random.default_rng(1)
    x, delta = rng.normal(size=(40, 2, 3)), rng.normal(size=(40, 2, 5))
    start = [rng.normal(size=(1, 2, 5)), rng.normal(size=(1, 2, 5)), 1 + rng.random((1, 2, 5)), np.ones((1, 2, 5))]
    run = net.unroll(x, state=tuple(start))
    grads = run.backprop(delta)
    _, c, n, m = np.split(run.states, 4, axis=-1)
    _, dc, dn, dm = np.split(grads.states, 4, axis=-1)
    scale = abs(c * dc).max() + abs(n * dn).max()
    np.testing.assert_allclose(dm, c * dc + n * dn, rtol=0, atol=100 * EPS * scale)
    assert abs(dm).max() > 1e-3
    a = rng.normal(size=(1, 2, 5))
    other = net.unroll(x, state=(start[0], start[1] * np.exp(a), start[2] * np.exp(a), start[3] - a))
    np.testing.assert_allclose(other.output, run.output, rtol=0, atol=100 * EPS)
    assert abs(m).max() > 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_slstm_stays_finite_where_exponentials_do_not(dtype):
    """Pre-activations of ±5000, from the first step on: h is a mean of tanh(z) and stays within ±1, gradients too."""
    net = tt.Network("slstm", 1, 4, dtype=dtype, seed=0)
    net.parameters["weight_ih_l0"][...] = np.repeat([1.0, 1.0, 0.01, 0.01], 4)[:, None]
    for sign in (1, -1):
        x = sign * 5000 * np.sin(np.arange(30))[:, None] + sign * 100
        run = net.unroll(x.astype(dtype))
        grads = run.backprop(np.ones_like(run.output))
        assert np.isfinite(run.states).all()
        assert abs(run.output).max() <= 1
        assert all(np.isfinite(value).all() for value in (grads.states, *grads.parameters.values()))


# ---- LSTMs: the volume of a step
@pytest.mark.parametrize("cell", ["lstm", "lstm1997", "peephole_lstm"])
def test_volume_of_an_lstm(cell):
    """det ds'/ds = Π dc'/dc · det(diag(dh'/du_o) W_o): h acts through the gates, and on h' at fixed c' through o alone.

    dc'/dc is 1, f, or, with peepholes, f + c df/dc + g di/dc; the LSTM of 1997 shows tanh(c/2).
    """
    net, rng = random_network(cell, units=4), np.random.default_rng(3)
    x = rng.normal(size=(8, 3))
    run = net.unroll(x)
    w = {name.removesuffix("_l0"): value for name, value in net.parameters.items()}
    for t in range(2, 8):
        (h, c), (_, new) = np.split(run.states[t, 0], 2), np.split(run.states[t + 1, 0], 2)
        u = w["weight_ih"] @ x[t] + w["bias_ih"] + w["weight_hh"] @ h + w["bias_hh"]
        blocks = dict(zip("iog" if cell == "lstm1997" else "ifgo", np.split(u, len(u) // 4), strict=True))
        peeps = {gate: w.get(f"peep_{gate}", 0.0) for gate in "ifo"}
        gate = {k: 1 / (1 + np.exp(-(blocks[k] + peeps[k] * c))) for k in "if" if k in blocks}
        gate["o"] = 1 / (1 + np.exp(-(blocks["o"] + peeps["o"] * new)))
        shown = np.tanh(new / 2) if cell == "lstm1997" else np.tanh(new)
        slope = {k: value * (1 - value) for k, value in gate.items()}
        kept = gate.get("f", 1.0) + c * slope.get("f", 0.0) * peeps["f"]
        kept = kept + np.tanh(blocks["g"]) * slope["i"] * peeps["i"]
        w_o = w["weight_hh"][4:8] if cell == "lstm1997" else w["weight_hh"][12:]
        volume = np.prod(kept * np.ones(4)) * np.linalg.det((shown * slope["o"])[:, None] * w_o)
        jacobian = run.jacobian(t + 1)[0]
        size = np.prod(np.linalg.norm(jacobian, axis=1))  # what rounding in a determinant is relative to
        assert np.linalg.det(jacobian) == pytest.approx(volume, rel=1e-9, abs=100 * EPS * size)
        assert abs(volume) > 1e4 * 100 * EPS * size


def test_the_carousel_of_1997_keeps_every_error():
    """Without recurrent weights dc_T/dc_0 = 1, exactly, after any number of steps."""
    net = random_network("lstm1997")
    net.parameters["weight_hh_l0"][...] = 0
    run = net.unroll(np.random.default_rng(1).normal(size=(500, 1, 3)))
    delta = np.arange(1.0, 6.0)[None, None]
    grads = run.backprop(grad_final_state=(0 * delta, delta))
    np.testing.assert_array_equal(grads.states[:, 0, 5:], np.broadcast_to(delta[0], (501, 5)))


@pytest.mark.parametrize("cell", MIXTURES)
def test_mixtures_stay_where_they_began(cell):
    """h' lies between h and a number of modulus below 1, whatever the weights: |h'| <= max(1, |h|)."""
    net, rng = random_network(cell, gain=30.0), np.random.default_rng(1)
    run = net.unroll(30 * rng.normal(size=(200, 3)), state=3 * rng.normal(size=(1, 5)))
    most = np.maximum(1.0, abs(run.states))
    assert (abs(run.states[1:]) <= most[:-1] * (1 + 4 * EPS)).all()
    assert abs(run.states[0]).max() > 1


# ---- how they start
def started(cell, units=40):
    """The parameters of a large second layer, by kinds."""
    net = tt.Network(cell, 3, units, num_layers=2, init="published", seed=0)
    return {name.removesuffix("_l1"): value for name, value in net.parameters.items() if name.endswith("_l1")}


def test_published_initialisation_of_ugrnn():
    w = started("ugrnn")
    bound = np.sqrt(6 / (40 + 40 + 2 * 40))  # Glorot: fan in 80, input and state, fan out 80, both gates
    for name in ("weight_ih", "weight_hh"):
        assert 0.99 * bound < abs(w[name]).max() <= bound
    np.testing.assert_array_equal(w["bias_ih"], np.repeat([1.0, 0.0], 40))
    assert not w["bias_hh"].any()


def test_published_initialisation_of_lstm1997():
    w = started("lstm1997")
    np.testing.assert_array_equal(w["bias_ih"][:4], [-3, -6, -3, -6])
    assert 0.09 < abs(w["bias_ih"][40:]).max() <= 0.1
    assert 0.09 < abs(w["weight_hh"]).max() <= 0.1


def test_published_initialisation_of_slstm():
    w = started("slstm")
    i, f, z, o = np.split(w["bias_ih"] + w["bias_hh"], 4)
    np.testing.assert_allclose(f, [5 - 12 * (k / 39) ** 0.3 for k in range(40)], rtol=1e-14)
    assert not np.any([i, z, o])
    assert not w["weight_hh"].any()
    assert w["weight_ih"].std() == pytest.approx(np.sqrt(2 / (5 * 40)), rel=4 / np.sqrt(2 * 6400))


def test_published_initialisation_of_cho_gru():
    w = started("cho_gru")
    for block in np.split(w["weight_hh"], 3):
        np.testing.assert_allclose(block @ block.T, np.eye(40), rtol=0, atol=100 * EPS)
    assert w["weight_ih"].std() == pytest.approx(0.01, rel=4 / np.sqrt(2 * 4800))
    assert not w["bias_ih"].any()
    assert not w["bias_hh"].any()


def test_published_initialisation_of_peephole_lstm():
    w = started("peephole_lstm")
    for name, value in w.items():
        assert value.std() == pytest.approx(0.1, rel=4 / np.sqrt(2 * value.size)), name


# ---- peepholes beside PyTorch, any size
@pytest.mark.parametrize(("steps", "batch", "inputs", "units"), [(1, 1, 1, 1), (7, 3, 2, 5), (30, 2, 4, 17)])
@pytest.mark.parametrize("layers", [1, 2])
def test_peephole_lstm_beside_torch(steps, batch, inputs, units, layers):
    """Graves's equations in PyTorch: the output and the gradients of all parameters, peepholes among them."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(steps)
    net = tt.Network("peephole_lstm", inputs, units, num_layers=layers, seed=0)
    for value in net.parameters.values():
        value[...] = rng.normal(0, 0.7, value.shape)
    x, delta = rng.normal(size=(steps, batch, inputs)), rng.normal(size=(steps, batch, units))
    w = {name: torch.tensor(value, requires_grad=True) for name, value in net.parameters.items()}
    given = torch.tensor(x, requires_grad=True)
    below = list(given)
    for k in range(layers):
        w_ih, w_hh, p_i, p_f, p_o = (w[f"{name}_l{k}"] for name in ("weight_ih", "weight_hh", *KINDS_OF_PEEPHOLES))
        bias = w[f"bias_ih_l{k}"] + w[f"bias_hh_l{k}"]
        h = c = torch.zeros(batch, units, dtype=torch.float64)
        for t, u in enumerate(below):
            i, f, g, o = torch.chunk(u @ w_ih.T + h @ w_hh.T + bias, 4, dim=1)
            c = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
            h = torch.sigmoid(o + p_o * c) * torch.tanh(c)
            below[t] = h
    (torch.stack(below) * torch.tensor(delta)).sum().backward()
    run = net.unroll(x)
    grads = run.backprop(delta)
    theirs = {name: value.grad.numpy() for name, value in w.items()} | {"input": given.grad.numpy()}
    for name, value in (grads.parameters | {"input": grads.input}).items():
        scale = max(abs(theirs[name]).max(), 1e-3)
        np.testing.assert_allclose(value, theirs[name], rtol=0, atol=1000 * EPS * scale, err_msg=name)
    np.testing.assert_allclose(run.output, torch.stack(below).detach().numpy(), rtol=0, atol=1000 * EPS)
