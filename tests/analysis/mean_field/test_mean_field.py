"""Mean-field theory against published tables, limits, simulation of its integrals and networks of 1000 units."""

from typing import NamedTuple

import numpy as np
import pytest
from matplotlib import pyplot

import throughtime as tt
from throughtime.scalar import sigmoid, sigmoid_slope

mean_field = tt.analysis.mean_field

# g: q, chi, ½ ln chi, kappa, fraction > 0, entropy/N, D_KY/N, mean, λ(.25), λ(.5), λ(.75)
TABLE = {
    1.5: (0.352602, 1.139323, 0.065217, 1.4721, 0.08432, 0.002795, 0.16581, -0.71435, -0.1505, -0.4662, -1.0252),
    2.0: (0.530368, 1.362673, 0.154724, 2.0893, 0.13343, 0.010683, 0.25756, -1.14902, -0.1667, -0.6893, -1.7001),
    3.0: (0.700599, 1.859855, 0.310249, 3.3639, 0.15289, 0.025196, 0.28772, -2.27281, -0.2716, -1.4160, -3.5401),
    5.0: (0.827975, 2.900421, 0.532428, 5.9359, 0.13408, 0.039082, 0.24648, -4.90677, -0.7804, -3.5257, -7.6674),
}
DIGITS = (6, 6, 6, 4, 5, 6, 5, 5, 4, 4, 4)


@pytest.mark.parametrize("gain", TABLE)
def test_the_whole_table_to_the_last_printed_digit(gain):
    theory = mean_field.tanh(gain)
    found = (
        theory.q,
        theory.chi,
        theory.lyapunov,
        theory.kappa,
        theory.fraction_positive,
        theory.entropy_rate,
        theory.kaplan_yorke_dimension,
        theory.mean_exponent,
        *theory.spectrum([0.25, 0.5, 0.75]),
    )
    for value, expected, digits in zip(found, TABLE[gain], DIGITS, strict=True):
        assert abs(value - expected) <= 0.51 * 10.0**-digits


@pytest.mark.parametrize("gain", [0.3, 0.9, 1.0])
def test_quiet_network_has_the_spectrum_of_its_matrix(gain):
    """Slopes are 1, so the closed form is the circular law: r² = g² (1 − x)."""
    theory = mean_field.tanh(gain)
    x = np.array([0.0, 0.25, 0.9])
    assert theory.q == 0.0
    np.testing.assert_allclose(theory.spectrum(x), np.log(gain) + 0.5 * np.log(1.0 - x), atol=1e-12)
    assert theory.mean_exponent == pytest.approx(np.log(gain) - 0.5, abs=1e-12)
    assert theory.entropy_rate == theory.kaplan_yorke_dimension == 0.0


def test_spectrum_meets_its_ends_and_integrates_to_the_mean():
    theory = mean_field.tanh(2.0)
    assert theory.spectrum(0.0) == pytest.approx(theory.lyapunov, abs=1e-12)
    assert theory.spectrum(1.0) == -np.inf
    nodes, weights = np.polynomial.legendre.leggauss(400)
    x = 1.0 - (0.5 * (nodes + 1.0)) ** 2  # the logarithm at x = 1 is smoothed by the substitution
    assert 0.5 * weights @ (theory.spectrum(x) * (nodes + 1.0)) == pytest.approx(theory.mean_exponent, abs=1e-4)


def test_noise_suppresses_chaos():
    assert mean_field.tanh(1.549674, noise=0.5).lyapunov == pytest.approx(0.0, abs=1e-6)
    assert mean_field.tanh(0.8, noise=0.5).finite_size(1000) == pytest.approx(-0.4531, abs=1e-4)


def test_critical_line_with_bias():
    """Schoenholz et al. 2017: σ_w² = 1.760955 is critical at σ_b² = 0.05."""
    assert mean_field.tanh(np.sqrt(1.760955), bias=np.sqrt(0.05)).chi == pytest.approx(1.0, abs=1e-6)
    for variance, slope in ((1.3, -0.1276), (2.5, 0.1253)):  # of the squared norm of the gradient, per layer
        assert np.log(mean_field.tanh(np.sqrt(variance), bias=np.sqrt(0.05)).chi) == pytest.approx(slope, abs=5.1e-5)


def test_finite_size_terms():
    theory = mean_field.tanh(2.0)
    assert theory.finite_size(500) == pytest.approx(0.154724 - (3 * 2.0893 - 1) / 2000, abs=2e-6)
    assert theory.step_std(500) == pytest.approx(0.5 * np.sqrt((3 * 2.0893 - 1) / 500), rel=1e-4)


@pytest.mark.parametrize("gain", [1.0 + 1e-9, 1.001, 20.0, 1000.0, 0.0])
def test_extreme_gains_stay_finite(gain):
    theory = mean_field.tanh(gain)
    assert 0.0 <= theory.q < 1.0
    assert not np.isnan(theory.lyapunov)
    if gain > 10.0:  # √v z is nearly flat over the slope: E sech⁴ = 4/3 / √(2π v)
        assert theory.chi == pytest.approx(gain * 4 / 3 / np.sqrt(2 * np.pi * theory.q), rel=0.01)


@pytest.mark.parametrize(
    "bad", [{"gain": -1.0}, {"gain": np.nan}, {"gain": 1.0, "noise": -0.1}, {"gain": 1.0, "bias": np.inf}]
)
def test_refuses_what_is_no_standard_deviation(bad):
    with pytest.raises(ValueError, match="standard deviation"):
        mean_field.tanh(**bad)


def test_refuses_fractions_outside_the_unit_interval():
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_field.tanh(2.0).spectrum(1.5)


def test_result_prints_and_converts():
    theory = mean_field.tanh(2.0)
    assert "0.154724" in repr(theory)
    assert theory.arrays()["chi"] == theory.chi


# ---------------------------------------------------------------- critical line, overlap, relu


def test_critical_gain_of_the_published_points():
    assert mean_field.critical_gain() == 1.0
    assert mean_field.critical_gain(noise=0.5) == pytest.approx(1.549674, abs=1e-6)
    assert mean_field.critical_gain(bias=np.sqrt(0.05)) ** 2 == pytest.approx(1.760955, abs=1e-6)
    assert mean_field.critical_gain(0.3, 0.4) == pytest.approx(mean_field.critical_gain(0.5), abs=1e-12)


def test_overlap_of_two_states():
    assert mean_field.tanh(2.0).overlap == 0.0
    quiet = mean_field.tanh(1.2, bias=0.5)
    assert quiet.overlap == 1.0
    assert quiet.overlap_length == quiet.correlation_length
    theory = mean_field.tanh(1.8, bias=0.3)
    rng = np.random.default_rng(0)  # the same average by sampling
    shared, own = rng.standard_normal(400_000), rng.standard_normal((2, 400_000))
    std = np.sqrt(1.8**2 * theory.q + 0.09)
    h = np.tanh(std * (np.sqrt(theory.overlap) * shared + np.sqrt(1 - theory.overlap) * own))
    assert (1.8**2 * (h[0] * h[1]).mean() + 0.09) / std**2 == pytest.approx(theory.overlap, abs=5e-3)


def test_overlap_length_is_the_rate_at_which_two_trajectories_approach_it():
    theory = mean_field.tanh(np.sqrt(1.3), bias=np.sqrt(0.05))
    assert theory.overlap_length == pytest.approx(1 / 0.1276, abs=0.06)  # Schoenholz et al.: slope −.1276 per layer
    near = mean_field.tanh(mean_field.critical_gain(bias=0.3) * (1 + 1e-4), bias=0.3)
    assert near.overlap_length > 1000.0  # it diverges at the edge of chaos, from both sides
    assert mean_field.tanh(mean_field.critical_gain(bias=0.3) * (1 - 1e-4), bias=0.3).overlap_length > 1000.0


def test_relu_closed_forms():
    theory = mean_field.relu(1.0, noise=0.3, bias=0.4)
    assert theory.q == pytest.approx(0.25)
    assert theory.lyapunov == theory.spectrum(0.0) == pytest.approx(0.5 * np.log(0.5))
    assert theory.correlation_length == pytest.approx(1 / np.log(2))
    assert mean_field.relu(np.sqrt(2.0)).correlation_length == np.inf
    assert mean_field.relu(1.5, noise=1.0).q == np.inf
    assert "√2" in repr(theory)
    with pytest.raises(ValueError, match="standard deviation"):
        mean_field.relu(-1.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        theory.spectrum(-0.1)


def test_relu_against_a_network_of_1000_units():
    net = tt.Network("relu", 200, 1000, bias=False, init=tt.init.gaussian(1.0, input_gain=0.5), seed=0)
    x = np.random.default_rng(1).standard_normal((260, 200))
    theory = mean_field.relu(1.0, noise=0.5)
    states = net.unroll(x).states[60:, 0]
    assert (states**2).mean() == pytest.approx(theory.q, rel=0.1)  # ‖W‖² varies by √(2/N), amplified by 1/(1 − g²/2)
    found = tt.analysis.lyapunov_spectrum(net, x, k=1, warmup=60, seed=0)
    assert found.exponents[0] == pytest.approx(theory.finite_size(1000), abs=4 * found.standard_error[0] + 0.01)


# ---------------------------------------------------------------- minimal RNN


class _Minimal(NamedTuple):
    """h' = u h + (1 − u) x, u = σ(x_0 + r_0), x the input part of the second gate."""

    def forward(cell, x, r, s):
        e = x[0] + r[0]
        return (x[1] + sigmoid(e) * (s[0] - x[1]),), (e, x[1])

    def backward(cell, ds, s, s_next, saved):
        e, x = saved
        de = ds[0] * (s[0] - x) * sigmoid_slope(e)
        return (de, ds[0] * sigmoid(-e)), (de, 0.0 * e), (ds[0] * sigmoid(e),)


Minimal = tt.cell(gates=2)(_Minimal)
SIGMA_V, POWER = 1.39, 0.46
PAPER = {"gain": (6.8913, 0.0), "noise": (SIGMA_V * np.sqrt(POWER), np.sqrt(POWER))}


def minimal_network(gain, n, seed):
    """W in the first gate, the input itself in the second."""
    net = tt.Network(Minimal(), n, n, bias=False, seed=seed)
    rng = np.random.default_rng(seed)
    net.parameters["weight_hh_l0"][...] = 0.0
    net.parameters["weight_hh_l0"][:n] = gain / np.sqrt(n) * rng.standard_normal((n, n))
    net.parameters["weight_ih_l0"][:n] = SIGMA_V / np.sqrt(n) * rng.standard_normal((n, n))
    net.parameters["weight_ih_l0"][n:] = np.eye(n)
    return net


def test_minimal_rnn_is_critical_where_the_paper_says():
    """Chen, Pennington & Schoenholz 2018: σ_w = 6.8913 at σ_v = 1.39, R = .46, μ_b = 0 (they print 6.88)."""
    assert mean_field.minimal_rnn_critical_gain(SIGMA_V, POWER) == pytest.approx(6.8913, abs=1e-4)
    theory = mean_field.minimal_rnn(4.0, SIGMA_V, POWER)
    assert theory.timescale == pytest.approx(-1 / np.log(theory.chi))
    assert "timescale" in repr(theory)
    assert mean_field.minimal_rnn(4.0, SIGMA_V, POWER, bias=2.0).timescale > 3.0


def test_minimal_rnn_of_1000_units_with_weights_drawn_anew():
    """The theory's own assumption: σ_w and V new at every step; second moments of state and Jacobian."""
    n, steps = 1000, 24
    state, rng, power, moment = np.zeros((1, n)), np.random.default_rng(0), [], []
    for t in range(steps):
        run = minimal_network(6.8913, n, seed=t).unroll(np.sqrt(POWER) * rng.standard_normal((1, n)), state=state)
        state = run.final_state
        if t >= 8:
            power.append((state**2).mean())
            moment.append((run.jacobian(1) ** 2).sum() / n)
    theory = mean_field.minimal_rnn(6.8913, SIGMA_V, POWER)
    assert np.mean(power) == pytest.approx(theory.q, rel=0.03)
    assert np.mean(moment) == pytest.approx(1.0, abs=0.03)


def test_minimal_rnn_by_population():
    """With weights drawn anew the population finds the quadrature; with fixed ones, the network of 1000 units."""
    theory = mean_field.minimal_rnn(6.8913, SIGMA_V, POWER)
    untied = mean_field.population(Minimal(), **PAPER, tied=False, units=4000, steps=100)
    assert untied.q == pytest.approx(theory.q, rel=0.02)
    assert untied.jacobian_moment == pytest.approx(1.0, abs=0.02)
    assert untied.chi == pytest.approx(1.0, abs=4 * untied.chi_error + 0.01)
    tied = mean_field.population(Minimal(), **PAPER, steps=120)
    net = minimal_network(6.8913, 1000, seed=1)
    x = np.sqrt(POWER) * np.random.default_rng(2).standard_normal((180, 1000))
    compare(tied, net, x)


# ---------------------------------------------------------------- populations


def compare(theory, net, x, warmup=60):
    """Stationary power, one-step second moment and λ_1 of a network against the population."""
    run = net.unroll(x)
    n = net.hidden_size
    assert (run.states[warmup:, 0, :n] ** 2).mean() == pytest.approx(theory.q, rel=0.06)
    moment = (run.jacobian(run.steps) ** 2).sum() / net.state_size
    assert moment == pytest.approx(theory.jacobian_moment, rel=0.06)
    found = tt.analysis.lyapunov_spectrum(net, x, k=1, warmup=warmup, seed=0)
    assert found.exponents[0] == pytest.approx(
        theory.lyapunov, abs=4 * np.hypot(found.standard_error[0], theory.lyapunov_error) + 0.01
    )


def drive(steps, inputs, seed=1):
    return np.random.default_rng(seed).standard_normal((steps, inputs))


def test_gru_of_1000_units():
    net = tt.Network("gru", 200, 1000, bias=False, init=tt.init.gaussian(1.5, input_gain=0.5), seed=0)
    compare(mean_field.gru(1.5, noise=0.5, steps=120), net, drive(180, 200))


def test_lstm_of_1000_units_with_forget_bias():
    base = tt.init.gaussian(1.5, input_gain=0.5)
    net = tt.Network("lstm", 200, 1000, init=tt.init.forget_bias(1.0, base), seed=0)
    theory = mean_field.lstm(1.5, forget_bias=1.0, noise=0.5, steps=120)
    compare(theory, net, drive(180, 200))
    c = net.unroll(drive(180, 200)).states[60:, 0, 1000:]
    assert c.var(axis=1).mean() == pytest.approx(theory.state_variance[1], rel=0.06)


def test_the_population_of_a_tanh_network_is_its_closed_form():
    for options in ({"gain": 2.0}, {"gain": 0.8, "noise": 0.5}, {"gain": 0.9, "bias": 0.5}):
        theory, law = mean_field.population("tanh", **options, units=3000, steps=120), mean_field.tanh(**options)
        assert theory.q == pytest.approx(law.q, rel=0.08)  # 3000 biases, amplified near the edge of chaos
        assert theory.lyapunov == pytest.approx(law.lyapunov, abs=4 * theory.lyapunov_error + 0.005)
        assert theory.jacobian_moment == pytest.approx(law.chi, rel=0.04)


def test_memory_of_an_lstm_without_recurrent_weights_is_that_of_its_gate():
    """∂c_t/∂c_0 = Π f: the mean square falls by σ(b)² per step."""
    theory = mean_field.lstm(0.0, forget_bias=2.0, units=50, steps=40, warmup=150)
    assert theory.lyapunov == pytest.approx(-np.log1p(np.exp(-2.0)), abs=1e-6)
    assert 2.0 * theory.timescale == pytest.approx(7.879, abs=1e-3)


def test_a_population_prints_plots_and_refuses():
    theory = mean_field.population("rate", 1.5, units=100, steps=20)
    assert "timescale" in repr(theory)
    assert theory.arrays()["autocorrelation"].shape == (11,)
    _, ax = pyplot.subplots()
    assert theory.plot(ax=ax)["curve"]
    assert mean_field.minimal_rnn(5.0).plot(ax=ax)["curve"]
    assert mean_field.relu(1.0, noise=1.0).plot(ax=ax)["theory"]
    pyplot.close()
    with pytest.raises(ValueError, match=r"4 gate\(s\): pass one number, or 4"):
        mean_field.population("lstm", (1.0, 2.0))
    with pytest.raises(ValueError, match="standard deviation"):
        mean_field.population("gru", -1.0)
    with pytest.raises(ValueError, match="finite numbers"):
        mean_field.gru(1.0, update_bias=np.inf)
    with pytest.raises(ValueError, match="no cell"):
        mean_field.population("transformer")
