"""`layer_norm`: what every layer reads is normalised; against NumPy by complex steps, PyTorch, and identities."""

from __future__ import annotations

import copy
import pickle

import naive
import numpy as np
import pytest
from networks import LEAK, library_cell, oracle

import throughtime as tt

CASES = {
    "tanh": (["tanh"], [5]),
    "gru-gru": (["gru", "gru"], [4, 4]),
    "lstm-rate": (["lstm", "rate"], [5, 3]),
    "adapting-leaky-lstm": (["adapting", "leaky_tanh", "lstm"], [2, 7, 3]),
}
T, B, I = 6, 3, 3


def made(case, **options):
    """A network whose normalisations do something: their w and b are drawn too."""
    cells, sizes = CASES[case]
    options = {"seed": 1, "layer_norm": True, **options}
    net = tt.Network([library_cell(name) for name in cells], I, sizes, **options)
    rng = np.random.default_rng(2)
    for name, value in net.parameters.items():
        if name.startswith("norm_"):
            value[...] = rng.standard_normal(value.shape)
    return net


def plain(net, case, parameters, x, start, lengths):
    """The oracle, each layer after its normalisation: what the last sends, and all states."""
    states, at, ways = [], 0, 2 if net.bidirectional else 1
    for k, name in enumerate(CASES[case][0]):
        centred = x - x.mean(-1, keepdims=True)
        x = centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)
        x = x * parameters[f"norm_weight_l{k}"] + parameters[f"norm_bias_l{k}"]
        own = {
            key.replace(f"_l{k}", "_l0"): value
            for key, value in parameters.items()
            if key.endswith((f"_l{k}", f"_l{k}_reverse")) and not key.startswith("norm_")
        }
        layer = naive.Net(oracle(name), own, 1, net.bidirectional, 0.4 if name == "adapting" else LEAK)
        found = naive.unroll(layer, x, start[:, at : at + ways * layer.block], lengths)
        at += ways * layer.block
        x = found.output
        states.append(found.states)
    return x, np.concatenate(states, axis=-1)


def close(found, expected, dtype="float64"):
    """float64: sums of some hundred rounded products, a few steps; float32: the same of 6e-8."""
    scale = max(np.abs(expected).max(initial=0.0), 1e-30)
    assert np.abs(found - expected).max(initial=0.0) <= {"float64": 1e-11, "float32": 2e-4}[dtype] * scale


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lengths", [None, [6, 0, 4]], ids=["whole", "lengths"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "both-ways"])
@pytest.mark.parametrize("case", CASES)
def test_oracle(case, bidirectional, lengths, dtype):
    net = made(case, bidirectional=bidirectional, bias=case != "tanh", dtype=dtype)
    rng = np.random.default_rng(3)
    x = rng.standard_normal((T, B, I)).astype(dtype)
    run = net.unroll(x, lengths=lengths)
    double = {name: value.astype(float) for name, value in net.parameters.items()}
    zeros, x = np.zeros((B, net.state_size)), x.astype(float)
    output, states = plain(net, case, double, x, zeros, lengths)
    close(run.output, output, dtype)
    close(run.states, states, dtype)

    g = rng.standard_normal(output.shape).astype(dtype)
    grads = run.backprop(g)
    each = run.backprop(g, per_sequence=True)
    assert list(grads.parameters) == list(net.shapes)
    for name, value in net.parameters.items():
        move = rng.standard_normal(value.shape)
        moved = double | {name: double[name] + 1j * naive.TINY * move}
        expected = (g * plain(net, case, moved, x, zeros, lengths)[0]).sum().imag / naive.TINY
        tolerance = {"float64": 1e-10, "float32": 1e-3}[dtype] * max(1.0, abs(expected))
        assert abs((grads.parameters[name] * move).sum() - expected) <= tolerance, name
        close(each.parameters[name].sum(0), grads.parameters[name], dtype)
    move = rng.standard_normal(x.shape)
    if lengths is not None:
        move[np.arange(T)[:, None] >= lengths] = 0
    moved = x + 1j * naive.TINY * move
    expected = (g * plain(net, case, double, moved, zeros, lengths)[0]).sum().imag / naive.TINY
    tolerance = {"float64": 1e-10, "float32": 1e-3}[dtype] * max(1.0, abs(expected))
    assert abs((grads.input * move).sum() - expected) <= tolerance


@pytest.mark.parametrize("case", CASES)
def test_jacobians_and_products(case):
    net = made(case)
    rng = np.random.default_rng(4)
    run = net.unroll(rng.standard_normal((T, B, I)), lengths=[6, 2, 5])
    S, b = net.state_size, 0
    expected = np.empty((S, S))
    for j in range(S):
        moved = run.states[2, b : b + 1].astype(complex)
        moved[0, j] += 1j * naive.TINY
        x = run.input[2:3, b : b + 1]
        expected[:, j] = plain(net, case, net.parameters, x, moved, None)[1][1, 0].imag / naive.TINY
    close(run.jacobian(3)[b], expected)
    v, u = rng.standard_normal((B, S, 3)), rng.standard_normal((B, S, 3))
    forward, back = run.jvp(v, 1, T), run.vjp(u, 1, T)
    np.testing.assert_allclose((u * forward).sum(1), (back * v).sum(1), rtol=1e-10)
    for b in range(B):
        close(np.linalg.multi_dot(run.jacobians(1, T)[::-1, b]) @ v[b], forward[b])
    single = run.single_steps(1, T).vjp(np.tile(u[:, :, 0], (T - 1, 1)), 0, 1).reshape(T - 1, B, S)
    for t in range(1, T):
        close(single[t - 1], run.vjp(u[:, :, 0], t, t + 1))


@pytest.mark.parametrize("case", CASES)
def test_lyapunov_spectrum_sums_to_the_volume(case):
    net = made(case)
    x = np.random.default_rng(5).standard_normal((300, I))
    found = tt.analysis.lyapunov_spectrum(net, x, warmup=20, discard=30, seed=0)
    J = net.unroll(x).jacobians(50)[:, 0]
    assert found.exponents.sum() == pytest.approx(np.linalg.slogdet(J)[1].mean(), rel=1e-9)


def test_pytorch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    double = {"dtype": torch.float64}
    norms = [torch.nn.LayerNorm(n, **double) for n in (I, 7)]
    layers = [torch.nn.GRU(I, 7, **double), torch.nn.LSTM(7, 5, **double)]
    for norm in norms:
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    given = {}
    for k, (norm, layer) in enumerate(zip(norms, layers, strict=True)):
        given |= {f"norm_{name}_l{k}": value.detach() for name, value in norm.named_parameters()}
        given |= {name.replace("_l0", f"_l{k}"): value.detach() for name, value in layer.named_parameters()}
    net = tt.Network(["gru", "lstm"], I, [7, 5], layer_norm=True)
    net.load_state_dict(given)
    rng = np.random.default_rng(6)
    x, g = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, 5))
    grads = net.unroll(x).backprop(g)
    inputs = torch.tensor(x, requires_grad=True)
    output = layers[1](norms[1](layers[0](norms[0](inputs))[0]))[0]
    (output * torch.tensor(g)).sum().backward()
    close(net.unroll(x).output, output.detach().numpy())
    close(grads.input, inputs.grad.numpy())
    for k, (norm, layer) in enumerate(zip(norms, layers, strict=True)):
        for name, value in norm.named_parameters():
            close(grads.parameters[f"norm_{name}_l{k}"], value.grad.numpy())
        for name, value in layer.named_parameters():
            close(grads.parameters[name.replace("_l0", f"_l{k}")], value.grad.numpy())


def test_it_is_a_layer_norm_before_a_network():
    net = made("tanh")
    norm = tt.models.LayerNorm(I)
    norm.parameters["weight"][...], norm.parameters["bias"][...] = (
        net.parameters[f"norm_{name}_l0"] for name in ("weight", "bias")
    )
    bare = tt.Network("tanh", I, 5)
    bare.load_state_dict({name: net.parameters[name] for name in bare.shapes})
    chain, rng = tt.models.Chain([norm, bare]), np.random.default_rng(7)
    x, g = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, 5))
    run, other = net.unroll(x), chain.unroll(x)
    assert run.output.tobytes() == other.output.tobytes()
    ours, theirs = run.backprop(g), other.backprop(g)
    for name, value in theirs.parameters.items():
        mine = name.replace("1.", "") if name.startswith("1.") else f"norm_{name.removeprefix('0.')}_l0"
        assert ours.parameters[mine].tobytes() == value.tobytes(), name
    assert ours.input.tobytes() == theirs.input.tobytes()


def test_ways_back():
    net = made("lstm-rate")
    rng = np.random.default_rng(8)
    run = net.unroll(rng.standard_normal((T, B, I)), lengths=[6, 3, 5])
    g = rng.standard_normal(run.output.shape)
    whole = run.backprop(g)
    again = [run.backprop(g, clip_state=1e9), run.backprop(g, window=T), run.backprop(g, out=run.backprop(2 * g))]
    for other in again:
        for name, value in whole.parameters.items():
            close(other.parameters[name], value)
    pulled = run.pullback(np.zeros((B, net.state_size)), 0, T, np.where(run.output != 0, g, 0))[1]
    for name, value in whole.parameters.items():
        close(pulled[name], value)
    some = run.backprop(g, input=False, states=False, parameters=["norm_weight_l1"])
    assert list(some.parameters) == ["norm_weight_l1"]
    close(some.parameters["norm_weight_l1"], whole.parameters["norm_weight_l1"])
    assert some.input is None
    some = run.backprop(g, input=False, parameters=["norm_bias_l0", "weight_hh_l1"])
    close(some.parameters["norm_bias_l0"], whole.parameters["norm_bias_l0"])
    for name, value in run.made_with().items():
        assert value.tobytes() == net.parameters[name].tobytes()
    heard = run.sent(0)[1:][:2]
    normal = (heard - heard.mean(-1, keepdims=True)) / np.sqrt(heard.var(-1, keepdims=True) + 1e-5)
    w, b = (net.parameters[f"norm_{name}_l1"] for name in ("weight", "bias"))
    close(run.given(1)[:2], w * normal + b)


def test_gradients_by_fields():
    """By a leak under a normalisation, central differences: h² and eps/h at h = 1e-6."""
    rng = np.random.default_rng(9)
    x, g, h = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, 3)), 1e-6

    def at(leak, **options):
        net = tt.Network([tt.LeakyTanh(leak), tt.LSTM()], I, [4, 3], layer_norm=True, seed=0)
        run = net.unroll(x)
        return run.backprop(g, **options) if options else (g * run.output).sum()

    found = at(0.3, cells=True).cells[0].leak
    assert found == pytest.approx((at(0.3 + h) - at(0.3 - h)) / (2 * h), rel=1e-6)


def test_analyses():
    net = made("lstm-rate")
    rng = np.random.default_rng(10)
    x = rng.standard_normal((T, B, I))
    run = net.unroll(x)
    g = rng.standard_normal(run.output.shape)
    assert tt.analysis.gradient_by_lag(run, g, parameters=list(net.parameters)).remainder < 1e-13
    found = tt.analysis.pascanu_omega(run, g, full=True)
    h = 1e-6
    for name, value in net.parameters.items():  # central differences: h² and eps/h
        move, kept, at = rng.standard_normal(value.shape), value.copy(), []
        for sign in (1, -1):
            value[...] = kept + sign * h * move
            at.append(tt.analysis.pascanu_omega(net.unroll(x), g).value)
        value[...] = kept
        assert (found.parameters[name] * move).sum() == pytest.approx((at[0] - at[1]) / (2 * h), rel=1e-5, abs=1e-7)
    held = tt.analysis.pascanu_omega(run, g)
    assert list(held.parameters) == list(net.shapes)
    assert not held.parameters["norm_weight_l0"].any()  # the input is no part of a Jacobian
    assert held.parameters["norm_weight_l1"].any()
    points = tt.analysis.fixed_points(net, starts=3, seed=0)
    again = net.unroll(np.zeros((1, I)), state=points.state(0))
    np.testing.assert_allclose(again.states[1, 0], points.points[0], atol=1e-9)


def test_the_bound_holds_without_one_on_the_input():
    net = tt.Network("lstm", I, 4, layer_norm=True, seed=0)
    bound = tt.analysis.pascanu_bound(net)
    run = net.unroll(1e3 * np.random.default_rng(11).standard_normal((20, I)))
    assert tt.analysis.gradient_products(run, bound=bound).holds
    with pytest.raises(ValueError, match="without one on its input"):
        tt.analysis.pascanu_bound(tt.Network("lstm", I, 4, seed=0))


def test_closed_loop():
    model = tt.models.many_to_many(["rate", "lstm"], 3, 3, hidden_size=[3, 4], layer_norm=True, seed=0)
    loop, rng = model.closed_loop(), np.random.default_rng(12)
    state = rng.uniform(-1, 1, (1, loop.state_size))
    found, h = loop.unroll(1, state).jacobians()[0, 0], 1e-6
    for j in range(loop.state_size):
        move = h * np.eye(loop.state_size)[j]
        ahead, behind = (loop.unroll(1, state + sign * move).states[1, 0] for sign in (1, -1))
        np.testing.assert_allclose(found[:, j], (ahead - behind) / (2 * h), atol=1e-7)
    one = tt.models.many_to_many("tanh", 3, 3, hidden_size=4, layer_norm=True, seed=0).closed_loop()
    assert one.network is None


def test_gradients_of_exponents():
    """Central differences of the sum of two exponents over 12 steps: h² and eps/h at h = 1e-6."""
    net = made("lstm-rate")
    rng, h = np.random.default_rng(13), 1e-6
    x = rng.standard_normal((12, I))
    found = tt.analysis.lyapunov_gradient(net.unroll(x), k=2, seed=0)
    for name, value in net.parameters.items():
        move, kept, at = rng.standard_normal(value.shape), value.copy(), []
        for sign in (1, -1):
            value[...] = kept + sign * h * move
            at.append(tt.analysis.lyapunov_gradient(net.unroll(x), k=2, seed=0).exponents.sum())
        value[...] = kept
        assert (found.parameters[name] * move).sum() == pytest.approx((at[0] - at[1]) / (2 * h), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("case", ["lstm-rate"])
def test_kept_and_copied(case, tmp_path):
    net = made(case)
    x = np.random.default_rng(14).standard_normal((T, B, I))
    net.save(tmp_path / "net.tt")
    for other in (tt.load(tmp_path / "net.tt"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert repr(other) == repr(net)
        assert other.layer_norm
        assert other.unroll(x).output.tobytes() == net.unroll(x).output.tobytes()
    model = tt.models.many_to_one("gru", I, 2, hidden_size=4, layer_norm=True, seed=0)
    model.save(tmp_path / "model.tt")
    assert tt.load(tmp_path / "model.tt").predict(x).tobytes() == model.predict(x).tobytes()


@pytest.mark.parametrize("init", ["uniform", "orthogonal", tt.init.gaussian(2.0, bias_std=1.0), tt.init.irnn()])
def test_it_begins_as_pytorchs(init):
    net = tt.Network("gru", 3, 4, num_layers=2, layer_norm=True, init=init, seed=0)
    for k, n in enumerate((3, 4)):
        np.testing.assert_array_equal(net.parameters[f"norm_weight_l{k}"], np.ones(n))
        np.testing.assert_array_equal(net.parameters[f"norm_bias_l{k}"], np.zeros(n))
    if init == "uniform":  # what else is drawn is what is drawn without
        bare = tt.Network("gru", 3, 4, num_layers=2, seed=0)
        for name, value in bare.parameters.items():
            assert value.tobytes() == net.parameters[name].tobytes()


def test_training_learns_it():
    model = tt.models.many_to_many("tanh", 2, 1, hidden_size=6, layer_norm=True, seed=0)
    rng = np.random.default_rng(15)
    x = 100 * rng.standard_normal((10, 8, 2))  # a scale at which a plain network saturates
    y = np.sign(x[..., :1])
    first = tt.training.mean_squared_error(model.unroll(x).output, y)[0]
    optimiser = tt.training.Adam(0.03)
    for _ in range(200):
        _, gradient = model.value_and_gradient(x, y, tt.training.mean_squared_error)
        optimiser.step(model.flat, gradient)
    assert tt.training.mean_squared_error(model.unroll(x).output, y)[0] < 0.3 * first
    assert np.abs(model.parameters["0.norm_weight_l0"] - 1).max() > 0.01


def test_what_is_not_finite_stays_in_its_sequence():
    net = made("lstm-rate")
    x = np.random.default_rng(16).standard_normal((T, B, I))
    whole = net.unroll(x)
    x[2, 1, 0] = np.nan
    run = net.unroll(x)
    assert np.isnan(run.output[2:, 1]).all()
    assert run.output[:, [0, 2]].tobytes() == whole.output[:, [0, 2]].tobytes()
    short = net.unroll(x, lengths=[T, 2, T])  # the NaN lies in the padding
    grads = short.backprop(np.ones_like(short.output))
    assert all(np.isfinite(value).all() for value in grads.parameters.values())
    same = tt.Network("tanh", 1, 3, layer_norm=True, seed=0)  # one number has no variance: it reads b
    assert np.isfinite(same.unroll(np.ones((3, 1))).output).all()


def test_refusals():
    net = made("lstm-rate")
    with pytest.raises(TypeError, match="`layer_norm` is 1 "):
        tt.Network("gru", 3, 4, layer_norm=1)
    with pytest.raises(ValueError, match="has layer_norm, and kernels take"):
        tt.kernels.of(net)
    with pytest.raises(ValueError, match="a network with layer_norm=False"):
        tt.Network("gru", 3, 4, layer_norm=True).load_state_dict(tt.Network("gru", 3, 4).state_dict())
    with pytest.raises(AttributeError, match=r"tt.Network\(…, layer_norm=…\)"):
        net.layer_norm = False
    with pytest.raises(ValueError, match="networks of one shape"):
        list(tt.Ensemble([tt.Network("gru", 3, 4, layer_norm=flag) for flag in (True, False)]))
    with pytest.raises(ValueError, match="norm_"):
        tt.cell(parameters=("norm_weight",))(type(tt.Tanh()))
