"""Closed loops: against the model stepped by hand, central differences, and exponents known in closed form."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import pytest
from networks import Staged

import throughtime as tt
from throughtime.models import Chain, Dropout, LayerNorm, Readout, Residual
from throughtime.scalar import tanh, tanh_slope

B, WARM, STEPS = 3, 6, 12


def net(cell, inputs=2, units=5, seed=0, **options):
    return tt.Network(cell, inputs, units, seed=seed, **options)


def out(units=5, outputs=2, seed=1, **options):
    return Readout(units, outputs, seed=seed, **options)


def gated(cell, seed):
    return Residual([LayerNorm(5), net(cell, 5, seed=seed)])


@tt.cell(parameters=("slope",))
class Tuned(NamedTuple):
    """h' = (1 − leak) h + leak tanh(slope u): plain but for a parameter of each unit."""

    leak: float = 0.5

    def forward(cell, x, r, s, p):
        u = x[0] + r[0]
        return (s[0] + cell.leak * (tanh(p[0] * u) - s[0]),), (u,)

    def backward(cell, ds, s, s_next, saved, p):
        d = cell.leak * tanh_slope(p[0] * saved[0]) * ds[0]
        du = (d * p[0],)
        return du, du, (ds[0] - cell.leak * ds[0],), (d * saved[0],)

    def initial(cell, units, rng):
        return (rng.uniform(0.5, 1.5, units),)


MODELS = {
    "a leak and a slope of each unit": lambda: Chain([net(Tuned(np.linspace(0.3, 0.7, 5))), out()]),
    "a stage": lambda: Chain([net(Staged(0.8)), out()]),
    "two layers with stages": lambda: Chain([net(Staged(0.8), num_layers=2), out()]),
    "tanh": lambda: Chain([net("tanh"), out()]),
    "relu": lambda: Chain([net("relu"), out()]),
    "sigmoid without bias": lambda: Chain([net("sigmoid", bias=False), out(bias=False)]),
    "rate": lambda: Chain([net("rate"), out()]),
    "leaky": lambda: Chain([net(tt.LeakyTanh(leak=0.4)), Dropout(0.5), out()]),
    "lstm between linear maps": lambda: Chain([out(2, 3, 4), net("lstm", 3), out(5, 4, 5), out(4, 2, 6)]),
    "gru": lambda: Chain([net("gru"), out()]),
    "gru alone": lambda: Chain([net("gru", 5)]),
    "three layers of lstm": lambda: Chain([net("lstm", num_layers=3), out()]),
    "two layers of rate": lambda: Chain([net("rate", num_layers=2), LayerNorm(5), out()]),
    "skips from end to end": lambda: Chain([out(2, 5, 4), gated("gru", 3), gated("rate", 7), out()]),
    "skips inside": lambda: Chain([net("lstm"), gated("gru", 3), Residual([out(5, 5, 6)]), out()]),
    "chains in a chain": lambda: Chain(
        [Chain([net("tanh"), out(5, 3)]), Chain([net("gru", 3), net("lstm", 5)]), out()]
    ),
}
NETWORKS = {
    "a leak and a slope of each unit",
    "tanh",
    "relu",
    "sigmoid without bias",
    "rate",
    "leaky",
    "lstm between linear maps",
}
EVERY = pytest.mark.parametrize("name", MODELS)


def heard(model):
    return np.random.default_rng(0).normal(size=(WARM, B, model.sizes[0]))


def shaken(model):
    model.flat += 0.2 * np.random.default_rng(1).standard_normal(model.flat.size).astype(model.dtype)
    return model


@EVERY
def test_the_loop_is_the_model_stepped_by_hand(name):
    model = shaken(MODELS[name]())
    loop, x = model.closed_loop(), heard(model)
    run = loop.unroll(STEPS, x=x)
    by_hand = model.unroll(x)
    said, states = [by_hand.output[-1]], [[part.states[-1] for part in by_hand.networks.values()]]
    for _ in range(STEPS):
        by_hand = model.unroll(said[-1][None], by_hand.final_state)
        said.append(by_hand.output[0])
        states.append([part.states[1] for part in by_hand.networks.values()])
    expected = np.array([np.concatenate(parts, axis=1) for parts in states])
    if loop.carries_input:
        expected = np.concatenate([expected, said], axis=2)
    # bit by bit, but for what a network of other weights rounds in so many steps
    allowed = 0 if name not in NETWORKS else 1e-13
    np.testing.assert_allclose(run.states, expected, rtol=allowed, atol=allowed)
    np.testing.assert_allclose(run.output, said, rtol=allowed, atol=allowed)
    np.testing.assert_allclose(loop.forecast(x, STEPS + 1), said, rtol=allowed, atol=allowed)
    assert loop.carries_input == (name == "skips from end to end")
    assert (loop.network is not None) == (name in NETWORKS)


@EVERY
def test_what_is_said_is_a_function_of_the_state(name):
    loop = shaken(MODELS[name]()).closed_loop()
    run = loop.unroll(STEPS, x=heard(loop.model))
    # the same numbers, but for tanh of a rate unit in NumPy and in compiled code
    np.testing.assert_allclose(loop.said(run.states), run.output, rtol=1e-14, atol=1e-15)


@EVERY
def test_jacobians_are_finite_differences_of_second_order(name):
    """Errors of central differences fall by four when the step is halved: an entry that is wrong would not."""
    loop = shaken(MODELS[name]()).closed_loop()
    run = loop.unroll(STEPS, x=heard(loop.model))
    jacobians = run.jacobians()
    assert jacobians.shape == (STEPS, B, loop.state_size, loop.state_size)

    def differences(t, b, step):
        around = run.states[t - 1, b] + step * np.concatenate([np.eye(loop.state_size), -np.eye(loop.state_size)])
        plus, minus = np.split(loop.unroll(1, state=around).states[1], 2)
        return (plus - minus).T / (2 * step)

    for t, b in ((1, 0), (STEPS, 2)):
        np.testing.assert_array_equal(run.jacobian(t), jacobians[t - 1])
        far, near = (np.abs(differences(t, b, step) - jacobians[t - 1, b]).max() for step in (2e-3, 1e-3))
        assert near < 1e-5
        # third derivatives vanish for relu: rounding of 1e-16/1e-3 is all that is left
        assert near < 1e-12 or far / near == pytest.approx(4, rel=0.05)


def test_jacobians_of_single_precision():
    for name, make in (("deep", lambda d: [net("lstm", num_layers=2, dtype=d), LayerNorm(5, dtype=d)]),
                       ("tanh", lambda d: [net("tanh", dtype=d)])):  # fmt: skip
        double, single = (Chain([*make(d), out(dtype=d)]).closed_loop() for d in ("float64", "float32"))
        state = np.random.default_rng(2).normal(size=(B, double.state_size)).astype("float32")
        found = single.unroll(3, state=state)
        assert found.states.dtype == found.jacobian(1).dtype == np.float32, name
        np.testing.assert_allclose(found.jacobian(1), double.unroll(3, state=state).jacobian(1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_network_of_a_loop_takes_an_input_on_top(name):
    """loop.network driven by e is the model that hears y + e."""
    model = shaken(MODELS[name]())
    loop, e = model.closed_loop(), heard(model)
    first = np.random.default_rng(3).normal(size=(B, loop.state_size))
    states, y = [first], loop.said(first)
    for t in range(WARM):
        run = model.unroll((y + e[t])[None], states[-1])
        states.append(next(iter(run.networks.values())).states[1])
        y = run.output[0]
    np.testing.assert_allclose(loop.network.unroll(e, state=first).states, states, rtol=1e-13, atol=1e-13)


def test_exponents_of_a_linear_loop_are_those_of_its_matrix():
    """One layer: W_hh + W_ih W. Two layers, h1' = A1 h1 + B1 y, h2' = A2 h2 + B2 h1', y = C h2: by blocks."""
    one = Chain([net("linear", bias=False), out(bias=False)])
    p = one.parameters
    matrix = p["0.weight_hh_l0"] + p["0.weight_ih_l0"] @ p["1.weight"]
    two = Chain([net("linear", num_layers=2, bias=False), out(bias=False)])
    p = two.parameters
    upper = np.hstack([p["0.weight_hh_l0"], p["0.weight_ih_l0"] @ p["1.weight"]])
    below = p["0.weight_ih_l1"] @ upper + np.hstack([np.zeros((5, 5)), p["0.weight_hh_l1"]])
    for model, whole in ((one, matrix), (two, np.vstack([upper, below]))):
        loop, size = model.closed_loop(), len(whole)
        np.testing.assert_allclose(loop.unroll(1).jacobian(1)[0], whole, rtol=1e-13, atol=1e-15)
        found = tt.analysis.lyapunov_spectrum(loop, steps=2000, warmup=0, seed=0)
        expected = np.sort(np.log(np.abs(np.linalg.eigvals(whole))))[::-1]
        assert found.exponents.shape == (size,)
        # the direction of each exponent turns on in the counted steps by O(1), which 1800 steps divide
        np.testing.assert_allclose(found.exponents, expected, atol=5 / 1800)
        assert found.sum_rule_residual < 1e-13 * size


@pytest.mark.parametrize("name", ["gru", "skips from end to end", "lstm between linear maps", "chains in a chain"])
def test_exponents_are_those_of_the_jacobians(name):
    loop = shaken(MODELS[name]()).closed_loop()
    start = np.random.default_rng(4).normal(size=(2, loop.state_size))
    options = {"discard": 20, "seed": 0}
    found = tt.analysis.lyapunov_spectrum(loop, steps=150, warmup=30, state=start, **options)
    matrices = loop.unroll(180, state=start).jacobians()
    for b in range(2):
        alone = tt.analysis.lyapunov_from_jacobians(matrices[:, b], warmup=30, **options)
        np.testing.assert_allclose(found.exponents[b], alone.exponents, rtol=1e-9, atol=1e-9)
    assert found.warmup == 30
    assert found.sum_rule_residual.max() < 1e-12


def test_a_trained_wave_goes_on_by_itself_and_its_first_exponent_is_zero():
    """A limit cycle: λ₁ = 0, the phase; all others negative. A GRU that forecasts a sine, its loop left alone."""
    t = np.arange(400)[:, None, None] + np.array([0, 7, 13])[:, None]
    wave = np.sin(2 * np.pi * t / 25)
    model = Chain([net("gru", 1, 16), out(16, 1)])
    optimiser = tt.training.Adam(0.01, transforms=(tt.training.ClipNorm(1.0),))
    tt.training.fit(model, [(wave[:-1], wave[1:])] * 300, "mean_squared_error", optimiser, steps=300)
    loop = model.closed_loop()
    run = loop.unroll(2000, x=wave)
    late = run.output[1000:, 0, 0]
    assert late.std() > 0.5
    crossings = np.flatnonzero((late[:-1] < 0) & (late[1:] >= 0))
    assert np.diff(crossings).mean() == pytest.approx(25, rel=0.05)
    spectrum = tt.analysis.lyapunov_spectrum(loop, steps=1500, warmup=0, k=2, state=run.final_state[:1], seed=0)
    # along a closed orbit ln‖δ‖ comes back: the mean is what is left of one period, O(1)/steps
    assert abs(spectrum.exponents[0]) < 3 / 1350
    assert spectrum.exponents[1] < -0.005


def test_states_come_in_every_form():
    two = shaken(MODELS["chains in a chain"]())
    loop, x = two.closed_loop(), heard(two)
    last = two.unroll(x).final_state
    flat = loop.flat_state(last)
    np.testing.assert_array_equal(flat, loop.unroll(0, x=x).final_state)
    np.testing.assert_array_equal(loop.unroll(3, state=last).states, loop.unroll(3, state=flat).states)
    one = shaken(MODELS["three layers of lstm"]())
    h, c = one.unroll(x[:, 0]).final_state  # (L, N): one sequence
    assert one.closed_loop().flat_state((h, c)).shape == (1, 30)
    np.testing.assert_array_equal(
        one.closed_loop().unroll(2, state=(h, c)).states, one.closed_loop().unroll(2, x=x[:, :1]).states
    )
    begun = loop.unroll(2, x=x[3:], state=two.unroll(x[:3]).final_state)  # heard in two parts
    np.testing.assert_array_equal(begun.states, loop.unroll(2, x=x).states)
    assert loop.unroll(2).states.shape == (3, 1, loop.state_size)
    assert not loop.unroll(2).states[0].any()


def test_one_sequence_has_no_batch_axis_in_the_output():
    loop = MODELS["gru"]().closed_loop()
    x = heard(loop.model)
    assert loop.unroll(4, x=x[:, 0]).output.shape == (5, 2)
    assert loop.unroll(4, x=x[:, 0]).states.shape == (5, 1, 5)
    np.testing.assert_array_equal(loop.forecast(x[:, 0], 4), loop.forecast(x[:, :1], 4)[:, 0])


def test_a_loop_keeps_the_parameters_as_they_were():
    model = MODELS["gru"]()
    loop, before = model.closed_loop(), copy.deepcopy(model)
    model.flat += 1.0
    np.testing.assert_array_equal(loop.unroll(5).states, before.closed_loop().unroll(5).states)
    assert not np.array_equal(loop.unroll(5).states, model.closed_loop().unroll(5).states)
    with pytest.raises(ValueError, match="read-only"):
        loop.unroll(5).states[...] = 0


def test_nan_stays_in_its_own_sequence():
    loop = MODELS["gru"]().closed_loop()
    state = np.zeros((3, 5))
    state[1, 2] = np.nan
    run = loop.unroll(4, state=state)
    assert np.isfinite(run.states[:, [0, 2]]).all()
    assert np.isnan(run.states[1:, 1]).all()


TOKENS = tt.models.language_model("gru", 5, hidden_size=4, embedding=2, seed=0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TOKENS.closed_loop(), "reads tokens.*sampled.*no derivative.*tt.models.generate"),
        (lambda: Chain([net("gru"), out(5, 3)]).closed_loop(), "takes 2 numbers at a step and gives 3"),
        (lambda: Chain([net("gru"), tt.models.last, out()]).closed_loop(), "one vector for a sequence"),
        (lambda: Chain([out(2, 2)]).closed_loop(), "no recurrent piece"),
        (lambda: Chain([net("gru", bidirectional=True), out(10)]).closed_loop(), "bidirectional"),
        (lambda: tt.models.ClosedLoop(net("gru")), r"`model` is a network; .*tt.models.Chain\(\[net"),
        (lambda: tt.models.ClosedLoop(3), r"`model` is 3 \(int\)"),
        (lambda: MODELS["gru"]().closed_loop().unroll(-1), "`steps` is -1"),
        (lambda: MODELS["gru"]().closed_loop().unroll(3, x=np.ones((4, 2, 3))), r"`x` has shape \(4, 2, 3\).*batch, 2"),
        (lambda: MODELS["gru"]().closed_loop().unroll(3, x=np.ones((0, 2, 2))), "at least one step"),
        (lambda: MODELS["gru"]().closed_loop().unroll(3, state=np.ones((2, 3, 4))), "`state` has shape"),
        (lambda: MODELS["gru"]().closed_loop().unroll(3).jacobian(4), "for t = 1 to 3"),
        (lambda: MODELS["gru"]().closed_loop().unroll(3).jacobians(2, 1), "start <= stop"),
        (lambda: MODELS["gru"]().closed_loop().said(np.ones(4)), r"expected \(…, 5\)"),
        (lambda: MODELS["skips from end to end"]().closed_loop().unroll(2, state=np.ones((1, 3, 5))), "carries what"),
        (lambda: MODELS["gru"]().closed_loop().unroll(10**12), "needs .*GiB"),
        (lambda: tt.analysis.lyapunov_spectrum(MODELS["gru"]().closed_loop(), np.ones((9, 2))), "hears itself.*no `x`"),
        (
            lambda: tt.analysis.lyapunov_spectrum(MODELS["gru"]().closed_loop(), state=np.full(5, np.nan)),
            "no meaning beyond NaN.*initial state",
        ),
        (lambda: tt.analysis.fixed_points(MODELS["gru"]().closed_loop()), r"jacobians\(\)\[:, 0\]"),
        (lambda: tt.analysis.fixed_points(MODELS["tanh"]().closed_loop()), r"this loop is one: `loop.network`"),
    ],
)
def test_refusals(make, words):
    with pytest.raises((TypeError, ValueError), match=words):
        make()
