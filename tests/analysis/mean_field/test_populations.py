"""Populations that run as long as their cells need: against networks, closed forms and mean-field theory, or a word."""

import numpy as np
import pytest

import throughtime as tt
from throughtime.analysis.mean_field.fields import Fields, quarter_circle
from throughtime.analysis.mean_field.stationarity import correlation_time, drift

mean_field = tt.analysis.mean_field


# ---------------------------------------------------------------------------------------------- the fields


def test_fields_are_products_with_a_matrix_of_the_gaussian_law():
    """Singular values of the quarter circle, eigenvalues of the circular law, moments of freely independent factors."""
    n = 500
    w = Fields(np.random.default_rng(0), np.ones(1), n, True).of(np.eye(n))[0].T
    np.testing.assert_allclose(np.linalg.svd(w, compute_uv=False), quarter_circle(n)[::-1], atol=1e-12)
    np.testing.assert_allclose((quarter_circle(n) ** [[2], [4]]).mean(axis=1), [1.0, 2.0], atol=0.01)
    modulus = np.abs(np.linalg.eigvals(w))
    for r in (0.3, 0.6, 0.9):  # counted: standard deviation of the fraction below .01 even for independent points / 2
        assert abs((modulus < r).mean() - r * r) < 0.03
    assert 0.95 < modulus.max() < 1.06
    assert abs((w**4).mean() / (w**2).mean() ** 2 - 3.0) < 0.05  # entries are Gaussian
    d = np.random.default_rng(1).uniform(-1.0, 1.0, n)
    power = np.linalg.matrix_power(w * d, 3)
    assert np.trace(power @ power.T) / n == pytest.approx((1 / 3) ** 3, rel=0.15)


def test_two_vectors_get_fields_of_their_covariance_and_gates_are_independent():
    n, rng = 4000, np.random.default_rng(0)
    fields = Fields(rng, np.array([1.0, 2.0]), n, True)
    a = rng.standard_normal(n)
    b = 0.6 * a + 0.8 * rng.standard_normal(n)
    first, second = fields.of(np.stack([a, b])), fields.of(b[None])
    np.testing.assert_array_equal(first[:, 1:], second)
    exact = (a @ b) / n
    tolerance = 6.0 / np.sqrt(n)
    for k, scale in enumerate((1.0, 4.0)):
        assert abs((first[k, 0] * second[k, 0]).mean() / scale - exact) < tolerance
    assert abs((first[0, 0] * first[1, 0]).mean() / 2.0) < tolerance


# ---------------------------------------------------------------------------------------------- durations


@pytest.mark.parametrize(("tau", "steps"), [(0.5, 400), (3.0, 2000), (20.0, 8000)])
def test_correlation_time_of_an_autoregressive_series(tau, steps):
    """ρ(lag) = a^lag has the integrated time ½ (1 + a)/(1 − a)."""
    a = (2 * tau - 1) / (2 * tau + 1)
    rng = np.random.default_rng(0)
    series = np.empty((steps, 100))
    y = rng.standard_normal(100)
    for t in range(steps):
        y = a * y + np.sqrt(1 - a * a) * rng.standard_normal(100)
        series[t] = y
    assert correlation_time(series) == pytest.approx(tau, rel=0.1)
    assert not drift(series[:, 0] + 0.0, 0.0)


def test_drift_is_seen_and_rarely_imagined():
    rng = np.random.default_rng(0)
    alarms = sum(drift(rng.standard_normal(400), 0.0) for _ in range(1000))
    assert alarms <= 10  # four standard errors, from 19 differences
    trend = np.linspace(0.0, 1.0, 400)
    assert sum(drift(rng.standard_normal(400) + 2.0 * trend, 0.0) for _ in range(50)) == 50
    assert drift(np.exp(-trend), 0.0)
    assert not drift(np.ones(400), 0.0)
    assert not drift(np.ones(3), 0.0)


# λ_1 in units of the leak: dynamic mean-field theory of τẋ = −x + g W tanh x has .1125 at g = 2, and networks of 1000
# units .1000 ± .0050 (12 % lower, references section 3); for larger leaks, of networks of 1000 units, three of each.
@pytest.mark.slow
@pytest.mark.parametrize("leak", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("cell", [tt.Rate, tt.LeakyTanh])
def test_slow_cells_are_given_the_time_that_they_need(cell, leak):
    theory = mean_field.population(cell(leak=leak), 2.0, units=1000)
    assert theory.stationary
    assert theory.steps >= 20 * theory.correlation_time
    assert theory.lyapunov / leak == pytest.approx(0.1063, abs=0.0063 + 4 * theory.lyapunov_error / leak)


def test_the_slow_rate_unit_of_a_few_hundred_units():
    """200 steps of leak .1 are too few, and say so; left to itself the population takes more."""
    short = mean_field.population(tt.Rate(leak=0.1), 2.0, units=300, steps=60)
    assert not short.stationary
    assert "60 counted steps are" in short.reason
    assert "  not stationary: 60 counted steps" in repr(short)
    found = mean_field.population(tt.Rate(leak=0.1), 2.0, units=300)
    assert found.stationary
    assert found.reason == ""
    assert found.steps >= 400
    assert found.warmup == found.steps // 2
    assert "not stationary" not in repr(found)
    assert found.lyapunov == pytest.approx(0.1 * 0.1, abs=0.002 + 4 * found.lyapunov_error)


def test_memory_of_a_slow_gate_by_itself():
    """An LSTM without recurrent weights forgets c by σ(b) per step, 150 steps at b = 5; references, section 5."""
    theory = mean_field.lstm(0.0, forget_bias=5.0, units=50)
    assert theory.stationary
    assert 2.0 * theory.timescale == pytest.approx(148.9, abs=0.05)
    assert theory.state_variance[1] < 1e-6
    hasty = mean_field.lstm(0.0, forget_bias=5.0, units=50, steps=100)
    assert not hasty.stationary


def test_growth_without_bound_is_no_stationary_state_and_has_its_rate():
    theory = mean_field.population("relu", 2.0, units=500)
    assert not theory.stationary
    assert "grew without bound" in theory.reason
    assert theory.lyapunov == pytest.approx(0.5 * np.log(2.0), abs=4 * theory.lyapunov_error + 0.01)


def test_populations_of_no_time_at_all_say_so():
    theory = mean_field.population("tanh", 2.0, units=50, steps=1, warmup=0)
    assert not theory.stationary
    assert "too few" in theory.reason
    assert np.isnan(theory.lyapunov_error)


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize(("cell", "gain"), [("gru", 2.5), ("lstm", 4.0), (tt.LeakyTanh(leak=0.5), 2.0)])
def test_gated_and_leaky_cells_against_networks(cell, gain, noise):
    """Two networks of 400 units, from states as random as the population's."""
    n, steps, states = 400, 600, 2 if cell == "lstm" else 1
    theory = mean_field.population(cell, gain, noise=noise, units=n, steps=steps)
    measured, errors = [], []
    for seed in range(2):
        init = tt.init.gaussian(gain, input_gain=noise)
        net = tt.Network(cell, 50, n, bias=False, init=init, seed=seed)
        rng = np.random.default_rng(seed)
        start = tuple(rng.uniform(-1.0, 1.0, (1, n)) for _ in range(states))
        x = rng.standard_normal((steps + 200, 50))
        found = tt.analysis.lyapunov_spectrum(net, x, k=1, warmup=200, state=start if states > 1 else start[0], seed=0)
        measured.append(found.exponents[0])
        errors.append(found.standard_error[0])
    error = np.hypot(theory.lyapunov_error, max(errors))
    assert np.mean(measured) == pytest.approx(theory.lyapunov, abs=4 * error + 0.005)


def test_the_same_population_again_and_the_bar(capsys):
    one = mean_field.population("gru", 2.0, units=100, steps=40, seed=3)
    two = mean_field.population("gru", 2.0, units=100, steps=40, seed=np.random.default_rng(3), progress=True)
    assert one.lyapunov == two.lyapunov
    assert "mean field" in capsys.readouterr().err
    assert one.autocorrelation[0] == pytest.approx(one.q, rel=1e-6)  # kept in float32
    assert {"warmup", "correlation_time", "stationary"} <= set(one.arrays())


def test_long_trajectories_are_kept_of_fewer_units(monkeypatch):
    whole = mean_field.population("tanh", 2.0, units=400, steps=200)
    monkeypatch.setitem(mean_field.population.__globals__, "KEPT", 100_000)
    part = mean_field.population("tanh", 2.0, units=400, steps=200)
    assert part.lyapunov == whole.lyapunov
    np.testing.assert_allclose(part.autocorrelation, whole.autocorrelation, atol=0.1 * whole.q)


# ---------------------------------------------------------------------------------------------- refusals

WRONG = {"text": "x", "none": None, "NaN": np.nan, "inf": np.inf, "huge": 10**400, "a dict": {}, "complex": 1j}


@pytest.mark.parametrize("given", WRONG.values(), ids=list(WRONG))
@pytest.mark.parametrize("name", ["gain", "bias_mean", "bias", "noise", "units", "tied", "progress", "cell"])
def test_populations_refuse_in_words(name, given):
    options = {"cell": "tanh", "gain": 1.0, "units": 5, "steps": 5} | {name: given}
    with pytest.raises((TypeError, ValueError), match=name):
        mean_field.population(**options)


@pytest.mark.parametrize("given", WRONG.values(), ids=list(WRONG))
def test_closed_forms_refuse_in_words(given):
    calls = (
        ("gain", mean_field.tanh),
        ("gain", mean_field.relu),
        ("noise", mean_field.critical_gain),
        ("gain", mean_field.minimal_rnn),
        ("input_gain", mean_field.minimal_rnn_critical_gain),
        ("power", lambda value: mean_field.minimal_rnn(1.0, power=value)),
        ("bias", lambda value: mean_field.minimal_rnn(1.0, bias=value)),
        ("x", mean_field.tanh(2.0).spectrum),
        ("x", mean_field.relu(2.0).spectrum),
        ("n", mean_field.tanh(2.0).finite_size),
        ("n", mean_field.relu(1.0).step_std),
    )
    for name, function in calls:
        with pytest.raises((TypeError, ValueError), match=f"{name}`"):
            function(given)


@pytest.mark.parametrize("gain", [0, 1e-300, 1.0, 1e6])
def test_extreme_gains_give_numbers_and_no_warnings(gain):
    theory = mean_field.tanh(gain)
    for name in ("chi", "entropy_rate", "kaplan_yorke_dimension", "fraction_positive", "overlap"):
        assert not np.isnan(getattr(theory, name))
    assert not np.isnan(theory.spectrum([0.0, 0.5, 1.0])).any()
    assert mean_field.minimal_rnn(gain, bias=800.0).chi == 1.0  # every gate open: nothing is forgotten
    assert mean_field.minimal_rnn_critical_gain(power=1e6) > 0.0
