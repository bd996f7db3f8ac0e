"""Networks whose layers have different cells and sizes: against the oracle layer by layer, PyTorch, and identities."""

from __future__ import annotations

import copy
import pickle

import naive
import numpy as np
import pytest
from networks import LEAK, library_cell, oracle

import throughtime as tt

CASES = {
    "lstm-tanh": (["lstm", "tanh"], [5, 3]),
    "rate-gru-lstm": (["rate", "gru", "lstm"], [3, 17, 2]),
    "one-cell": ("gru", [1, 4]),
    "one-size": (["leaky_tanh", "relu"], 5),
    "adapting-lstm": (["adapting", "lstm"], [2, 2]),
}
T, B, I = 6, 3, 2


def made(case, **options):
    cells, sizes = CASES[case]
    cells = [library_cell(name) for name in cells] if isinstance(cells, list) else cells
    return tt.Network(cells, I, sizes, **{"seed": 1, **options})


def names_of(case):
    cells, sizes = CASES[case]
    return cells if isinstance(cells, list) else [cells] * len(sizes)


def plain(net, case, parameters, x, start, lengths):
    """The oracle layer by layer: what the last sends, all states, and the states at every sequence's own end."""
    states, finals, at = [], [], 0
    ways = 2 if net.bidirectional else 1
    for k, name in enumerate(names_of(case)):
        own = {
            key.replace(f"_l{k}", "_l0"): value
            for key, value in parameters.items()
            if key.endswith((f"_l{k}", f"_l{k}_reverse"))
        }
        leak = 0.4 if name == "adapting" else LEAK
        layer = naive.Net(oracle(name), own, 1, net.bidirectional, leak)
        found = naive.unroll(layer, x, start[:, at : at + ways * layer.block], lengths)
        at += ways * layer.block
        x = found.output
        states.append(found.states)
        finals.append(found.final)
    return x, np.concatenate(states, axis=-1), np.concatenate(finals, axis=-1)


def same(a, b):
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    assert a.tobytes() == b.tobytes()


def flat(state):
    """A state in the form of `final_state` as (B, S)."""
    layers = state if isinstance(state, list) else [state]
    rows = []
    for own in layers:
        parts = own if isinstance(own, tuple) else (own,)
        rows += [part[k] for k in range(len(parts[0])) for part in parts]
    return np.concatenate(rows, axis=-1)


def in_form(net, rows):
    """(B, S) in the form of `final_state`."""
    state, at = net.unroll(np.zeros((0, len(rows), I))).final_state, 0
    for own in state if isinstance(state, list) else [state]:
        parts = own if isinstance(own, tuple) else (own,)
        for row in range(len(parts[0])):
            for part in parts:
                part[row] = rows[:, at : at + part.shape[-1]]
                at += part.shape[-1]
    return state


def close(found, expected, dtype="float64"):
    """float64: sums of some hundred rounded products, a few steps; float32: the same of 6e-8."""
    scale = max(np.abs(expected).max(initial=0.0), 1e-30)
    assert np.abs(found - expected).max(initial=0.0) <= {"float64": 1e-12, "float32": 2e-5}[dtype] * scale


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lengths", [None, [6, 0, 4]], ids=["whole", "lengths"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "both-ways"])
@pytest.mark.parametrize("case", CASES)
def test_oracle(case, bidirectional, lengths, dtype):
    net = made(case, bidirectional=bidirectional, bias=case != "one-cell", dtype=dtype)
    rng = np.random.default_rng(2)
    x, start = (rng.standard_normal(shape).astype(dtype) for shape in ((T, B, I), (B, net.state_size)))
    state = in_form(net, start)
    run = net.unroll(x, state=state, lengths=lengths)
    double = {name: value.astype(float) for name, value in net.parameters.items()}
    output, states, final = plain(net, case, double, x.astype(float), start.astype(float), lengths)
    close(run.output, output, dtype)
    close(run.states, states, dtype)
    close(flat(run.final_state), final, dtype)

    g, at_end = (rng.standard_normal(value.shape).astype(dtype) for value in (output, final))
    grads = run.backprop(g, in_form(net, at_end))
    first, at_end, g, x = (value.astype(float) for value in (start, at_end, g, x))
    directions = {name: rng.standard_normal(value.shape) for name, value in net.parameters.items()}
    moves = {"input": rng.standard_normal(x.shape), "state": rng.standard_normal(first.shape)}

    def derivative(names=(), of_x=0.0, of_state=0.0):
        step = 1j * naive.TINY
        moved = {name: value + step * directions[name] * (name in names) for name, value in double.items()}
        output, _, final = plain(
            net, case, moved, x + step * of_x * moves["input"], first + step * of_state * moves["state"], lengths
        )
        return ((g * output).sum() + (at_end * final).sum()).imag / naive.TINY

    tolerance = {"float64": 1e-11, "float32": 2e-4}[dtype]  # of sums of some hundred such numbers

    def agree(value, **along):
        assert value == pytest.approx(derivative(**along), rel=tolerance, abs=tolerance), along

    agree((grads.input * moves["input"]).sum(), of_x=1.0)
    agree((flat(grads.initial_state) * moves["state"]).sum(), of_state=1.0)
    for name, move in directions.items():
        agree((grads.parameters[name] * move).sum(), names=(name,))


@pytest.mark.parametrize("case", CASES)
def test_products_and_jacobians(case):
    net = made(case)
    rng = np.random.default_rng(3)
    run = net.unroll(rng.standard_normal((T, B, I)), lengths=[6, 2, 5])
    S = net.state_size
    v, u = rng.standard_normal((B, S, 3)), rng.standard_normal((B, S, 3))
    forward, back = run.jvp(v, 1, T), run.vjp(u, 1, T)
    np.testing.assert_allclose((u * forward).sum(1), (back * v).sum(1), rtol=1e-11)
    for b in range(B):
        close(np.linalg.multi_dot(run.jacobians(1, T)[::-1, b]) @ v[b], forward[b])
    single = run.single_steps(1, T).vjp(np.tile(u[:, :, 0], (T - 1, 1)), 0, 1).reshape(T - 1, B, S)
    for t in range(1, T):
        close(single[t - 1], run.vjp(u[:, :, 0], t, t + 1))


@pytest.mark.parametrize("case", ["lstm-tanh", "rate-gru-lstm"])
def test_jacobian_is_the_oracles(case):
    net = made(case)
    rng = np.random.default_rng(4)
    run = net.unroll(rng.standard_normal((3, 1, I)))
    S = net.state_size
    expected = np.empty((S, S))
    for j in range(S):
        moved = run.states[1].astype(complex)
        moved[0, j] += 1j * naive.TINY
        expected[:, j] = plain(net, case, net.parameters, run.input[1:2], moved, None)[1][1, 0].imag / naive.TINY
    close(run.jacobian(2)[0], expected)


def test_pytorch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    below, above = torch.nn.GRU(I, 7, dtype=torch.float64), torch.nn.LSTM(7, 5, dtype=torch.float64)
    net = tt.Network(["gru", "lstm"], I, [7, 5])
    given = {name: value.detach() for name, value in below.named_parameters()}
    given |= {name.replace("_l0", "_l1"): value.detach() for name, value in above.named_parameters()}
    net.load_state_dict(given)
    rng = np.random.default_rng(5)
    x, g = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, 5))
    h = [rng.standard_normal((1, B, n)) for n in (7, 5, 5)]
    run = net.unroll(x, state=[h[0], (h[1], h[2])])
    grads = run.backprop(g)
    inputs = torch.tensor(x, requires_grad=True)
    first = [torch.tensor(part, requires_grad=True) for part in h]
    middle, h_gru = below(inputs, first[0])
    output, (h_last, c_last) = above(middle, (first[1], first[2]))
    (output * torch.tensor(g)).sum().backward()
    close(run.output, output.detach().numpy())
    close(run.final_state[0], h_gru.detach().numpy())
    for ours, theirs in zip(run.final_state[1], (h_last, c_last), strict=True):
        close(ours, theirs.detach().numpy())
    close(grads.input, inputs.grad.numpy())
    for ours, theirs in zip((grads.initial_state[0], *grads.initial_state[1]), first, strict=True):
        close(ours, theirs.grad.numpy())
    for k, module in enumerate((below, above)):
        for name, value in module.named_parameters():
            close(grads.parameters[name.replace("_l0", f"_l{k}")], value.grad.numpy())


@pytest.mark.parametrize("case", ["lstm-tanh", "one-cell"])
def test_lyapunov_spectrum_sums_to_the_volume(case):
    net = made(case, init=tt.init.gaussian(1.5))
    x = np.random.default_rng(6).standard_normal((300, I))
    found = tt.analysis.lyapunov_spectrum(net, x, warmup=20, discard=30, seed=0)
    J = net.unroll(x).jacobians(50)[:, 0]
    volume = np.linalg.slogdet(J)[1].mean()
    assert found.exponents.sum() == pytest.approx(volume, rel=1e-9)
    vectors = tt.analysis.covariant_vectors(net, x, warmup=20, seed=0)
    assert vectors.exponents[0] == pytest.approx(found.exponents[0], abs=0.1)
    assert tt.analysis.perturbed_twin(net, x, warmup=20, seed=0).exponent == pytest.approx(found.exponents[0], abs=0.05)


def test_lags_sum_to_the_gradient():
    net = made("rate-gru-lstm")
    rng = np.random.default_rng(7)
    run = net.unroll(rng.standard_normal((T, B, I)))
    g = rng.standard_normal(run.output.shape)
    for names in ([f"weight_hh_l{k}" for k in range(3)], list(net.parameters)):
        assert tt.analysis.gradient_by_lag(run, g, parameters=names).remainder < 1e-13


def test_omega_falls_along_its_gradient():
    """Central differences of Ω with the whole gradient, error h² and eps/h at h = 1e-6."""
    net = made("adapting-lstm")
    rng = np.random.default_rng(8)
    x, g = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, 2))
    found = tt.analysis.pascanu_omega(net.unroll(x), g, full=True)
    for name, value in net.parameters.items():
        move, h, kept = rng.standard_normal(value.shape), 1e-6, value.copy()
        at = []
        for sign in (1, -1):
            value[...] = kept + sign * h * move
            at.append(tt.analysis.pascanu_omega(net.unroll(x), g).value)
        value[...] = kept
        assert (found.parameters[name] * move).sum() == pytest.approx((at[0] - at[1]) / (2 * h), rel=1e-5, abs=1e-8)


def test_fixed_points():
    net = made("one-size")
    net.parameters["weight_hh_l1"] *= 0.3
    found = tt.analysis.fixed_points(net, starts=5, seed=0)
    assert len(found.points)
    point = found.state(0)
    again = net.unroll(np.zeros((1, I)), state=point)
    np.testing.assert_allclose(again.states[1, 0], found.points[0], atol=1e-9)
    unlike = made("lstm-tanh")
    found = tt.analysis.fixed_points(unlike, starts=5, seed=0)
    assert found.layout == ((2, 5), (1, 3))
    again = unlike.unroll(np.zeros((1, I)), state=found.state(0))
    np.testing.assert_allclose(again.states[1, 0], found.points[0], atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_kept_and_copied(case, tmp_path):
    net = made(case, bidirectional=True)
    x = np.random.default_rng(9).standard_normal((T, B, I))
    net.save(tmp_path / "net.tt")
    for other in (tt.load(tmp_path / "net.tt"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert repr(other) == repr(net)
        assert (other.cells, other.hidden_sizes) == (net.cells, net.hidden_sizes)
        same(other.unroll(x).output, net.unroll(x).output)


def test_ways_back():
    net = made("lstm-tanh")
    rng = np.random.default_rng(10)
    run = net.unroll(rng.standard_normal((T, B, I)), lengths=[6, 3, 5])
    g = rng.standard_normal(run.output.shape)
    whole = run.backprop(g, run.final_state)
    for other in (run.backprop(g, run.final_state, clip_state=1e9), run.backprop(g, run.final_state, window=T)):
        for name, value in whole.parameters.items():
            close(other.parameters[name], value)
    short = run.backprop(g, window=2)
    assert not np.allclose(short.parameters["weight_hh_l0"], whole.parameters["weight_hh_l0"])
    each = run.backprop(g, run.final_state, per_sequence=True)
    for name, value in whole.parameters.items():
        close(each.parameters[name].sum(0), value)
    again = run.backprop(g, run.final_state, out=run.backprop(g))
    for name, value in whole.parameters.items():
        same(again.parameters[name], value)
    np.testing.assert_array_equal(flat(again.initial_state), flat(whole.initial_state))


def test_the_form_of_a_state():
    net, x = made("lstm-tanh"), np.ones((T, B, I))
    run = net.unroll(x)
    assert isinstance(run.final_state, list)
    assert [np.shape(part) for part in (*run.final_state[0], run.final_state[1])] == [(1, B, 5), (1, B, 5), (1, B, 3)]
    on = net.unroll(x, state=run.final_state)
    same(on.output, net.unroll(x, state=run.states[-1]).output)
    same(on.output, net.unroll(x, state=tuple(run.final_state)).output)
    half = net.unroll(x, state=[None, run.final_state[1]])
    assert not half.states[0, :, :10].any()
    one = net.unroll(x[:, 0])
    assert [np.shape(part) for part in (*one.final_state[0], one.final_state[1])] == [(1, 5), (1, 5), (1, 3)]
    same(net.unroll(x[:, 0], state=one.final_state).output, on.output[:, 0])
    alike = tt.Network(["gru", "tanh"], I, 4, seed=0)  # states of one shape: as PyTorch has them
    assert alike.unroll(x).final_state.shape == (2, B, 4)


def test_what_a_network_says_of_itself():
    net = tt.Network(["gru", "tanh"], 3, [64, 32])
    assert repr(net).startswith("Network([GRU(), Tanh()], input_size=3, hidden_size=[64, 32], dtype=")
    assert (net.cell, net.hidden_size, net.num_layers) == ((tt.GRU(), tt.Tanh()), (64, 32), 2)
    uniform = tt.Network(["gru", "gru"], 3, [8, 8])
    assert (uniform.cell, uniform.hidden_size, uniform.cells) == (tt.GRU(), 8, (tt.GRU(), tt.GRU()))
    assert repr(uniform) == repr(tt.Network("gru", 3, 8, num_layers=2))
    for name, value in tt.Network("gru", 3, 8, num_layers=2, seed=1).parameters.items():
        same(value, tt.Network(["gru"] * 2, 3, [8] * 2, seed=1).parameters[name])
    with pytest.raises(AttributeError, match="follows from the arguments"):
        net.cells = ()
    leaks = tt.Network([tt.LeakyTanh(0.1), tt.LeakyTanh(0.2)], 3, 8)
    assert leaks.cell == (tt.LeakyTanh(0.1), tt.LeakyTanh(0.2))


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((["gru"], 3, [4, 5]), {}, "`cell` has 1 entries and `hidden_size` 2"),
        (([], 3, 4), {}, "`cell` is an empty list"),
        (("gru", 3, []), {}, "`hidden_size` is an empty list"),
        ((["gru", "gru"], 3, 4), {"num_layers": 3}, "`cell` has 2 entries.*num_layers=3; leave `num_layers` out"),
        ((["gru", "gur"], 3, 4), {}, r"Of layer 1: There is no cell \"gur\""),
        (("gru", 3, [4, 0]), {}, r"`hidden_size\[1\]` is 0"),
        (("gru", 3, [4, 10**12]), {}, "GiB"),
    ],
)
def test_refusals(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        tt.Network(*arguments, **options)


def test_refused_states_and_parameters():
    net, x = made("lstm-tanh"), np.ones((T, B, I))
    for state, words in (
        (np.zeros((2, B, 5)), "is an object of type ndarray; the layers of this network differ"),
        ([None], "has 1 entries"),
        ([np.zeros((1, B, 5)), None], r"`state\[0\]` is an object of type ndarray, but the cell LSTM has 2 states"),
        ([None, np.zeros((1, B, 5))], r"`state\[1\]` has shape \(1, 3, 5\); expected .* = \(1, 3, 3\)"),
    ):
        with pytest.raises(ValueError, match=words):
            net.unroll(x, state=state)
    with pytest.raises(ValueError, match=r"hidden_size=5\. Its layers' cells have 3 gates, this network's 4 and 1"):
        net.load_state_dict(tt.Network("gru", I, 5, num_layers=2).state_dict())
    with pytest.raises(ValueError, match=r"a network with hidden_size=\[5, 3\]. Its layers' cells have 4 and 1 gates"):
        tt.Network("gru", I, 5, num_layers=2).load_state_dict(net.state_dict())
    with pytest.raises(ValueError, match="one recurrent layer"):
        tt.analysis.pascanu_bound(net)


def test_ensembles():
    x = np.random.default_rng(11).standard_normal((60, I))
    family = tt.Ensemble(lambda seed: made("lstm-tanh", seed=seed), {"seed": range(3)})
    spectra = tt.analysis.lyapunov_spectrum(family, x, k=2, seed=0)["exponents"]
    for seed in range(3):
        own = tt.analysis.lyapunov_spectrum(made("lstm-tanh", seed=seed), x, k=2, seed=0)
        same(spectra[seed], own.exponents)
    with pytest.raises(ValueError, match="networks of one shape"):
        list(tt.Ensemble([made("lstm-tanh"), made("one-size")]))


def test_initialisers_see_each_layer():
    net = tt.Network(["lstm", "tanh"], 3, [400, 100], init=tt.init.gaussian(2.0), seed=0)
    for k, n in enumerate((400, 100)):
        assert net.parameters[f"weight_hh_l{k}"].std() == pytest.approx(2 / np.sqrt(n), rel=0.03)
    net = tt.Network(["lstm", "tanh"], 3, [4, 2], init=tt.init.forget_bias(3.0, base="orthogonal"), seed=0)
    np.testing.assert_array_equal(net.parameters["bias_ih_l0"], [0.0] * 4 + [3.0] * 4 + [0.0] * 8)
    np.testing.assert_array_equal(net.parameters["bias_ih_l1"], np.zeros(2))
    w = net.parameters["weight_hh_l1"]
    np.testing.assert_allclose(w @ w.T, np.eye(2), atol=1e-14)
    net = tt.Network(["gru", "lstm", "rate"], 3, [3, 2, 2], init=tt.init.chrono(50), seed=0)
    assert (net.parameters["bias_ih_l1"][:2] == -net.parameters["bias_ih_l1"][2:4]).all()
    assert net.parameters["bias_ih_l2"].any()  # of the base
    with pytest.raises(ValueError, match=r"gate that forgets.* none is known"):
        tt.Network(["rate", "tanh"], 3, 4, init=tt.init.forget_bias(1.0))
    with pytest.raises(ValueError, match="of 2 units"):
        tt.Network(["gru", "tanh"], 3, [4, 2], init=tt.init.sparse(3))
    net = tt.Network(["gru", "tanh"], 3, [4, 2], init=tt.init.spectral_radius(0.9), seed=0)
    assert tt.analysis.spectral_radius(net.parameters["weight_hh_l1"]) == pytest.approx(0.9)
    bound = np.abs(tt.Network(["gru", "tanh"], 3, [400, 4], seed=0).parameters["weight_hh_l1"]).max()
    assert 1 / 20 < bound <= 1 / 2


MODELS = {
    "readout": lambda seed: tt.models.many_to_many(["lstm", "rate"], 2, 2, hidden_size=[3, 4], seed=seed),
    "both-ways": lambda seed: tt.models.many_to_one(
        ["gru", "tanh"], 2, 2, hidden_size=[3, 4], bidirectional=True, seed=seed
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_models_learn_with_them(kind):
    """Central differences of the loss along a random direction: error h² and eps/h at h = 1e-6."""
    model, rng = MODELS[kind](0), np.random.default_rng(12)
    x = rng.standard_normal((T, B, 2))
    targets = rng.standard_normal(model.unroll(x).output.shape)
    _, gradient = model.value_and_gradient(x, targets, tt.training.mean_squared_error)
    move, h, at = rng.standard_normal(gradient.shape), 1e-6, []
    for sign in (1, -1):
        model.flat[...] += sign * h * move
        at.append(model.value_and_gradient(x, targets, tt.training.mean_squared_error)[0])
        model.flat[...] -= sign * h * move
    assert (gradient * move).sum() == pytest.approx((at[0] - at[1]) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("feeding", [None, "attended", "context"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_translation(feeding, bidirectional):
    model = tt.models.sequence_to_sequence(
        ["gru", "lstm"], 5, 5, hidden_size=[3, 4], embedding=2, attention="additive", feeding=feeding,
        bidirectional=bidirectional, seed=0,
    )  # fmt: skip
    rng = np.random.default_rng(13)
    source, x, targets = (rng.integers(0, 5, (T, B)) for _ in range(3))

    def at():
        return model.value_and_gradient((source, x), targets, tt.training.cross_entropy)

    _, gradient = at()
    move, h, values = rng.standard_normal(gradient.shape), 1e-6, []
    for sign in (1, -1):
        model.flat[...] += sign * h * move
        values.append(at()[0])
        model.flat[...] -= sign * h * move
    assert (gradient * move).sum() == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-6)


def test_closed_loop():
    model = tt.models.many_to_many(["rate", "lstm"], 2, 2, hidden_size=[3, 4], seed=0)
    loop, rng = model.closed_loop(), np.random.default_rng(14)
    state = rng.uniform(-1, 1, (1, loop.state_size))
    run, h = loop.unroll(1, state), 1e-6
    found = run.jacobians()[0, 0]
    for j in range(loop.state_size):
        move = h * np.eye(loop.state_size)[j]
        ahead, behind = (loop.unroll(1, state + sign * move).states[1, 0] for sign in (1, -1))
        np.testing.assert_allclose(found[:, j], (ahead - behind) / (2 * h), atol=1e-8)


def test_results_have_the_same_bits_for_any_number_of_threads():
    net = tt.Network(["gru", "lstm"], 3, [65, 33], seed=0)
    x = np.random.default_rng(15).standard_normal((7, 33, 3))
    found = []
    before = tt.get_num_threads()
    try:
        for threads in (1, 2):
            tt.set_num_threads(threads)
            run = net.unroll(x)
            found.append((run.states, run.backprop(np.ones_like(run.output)).parameters["weight_ih_l1"]))
    finally:
        tt.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        same(one, two)
