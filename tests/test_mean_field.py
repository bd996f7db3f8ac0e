"""Mean-field theory of the tanh network against the published table, limits and simulation of its integrals."""

import numpy as np
import pytest

import throughtime as tt

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
        assert np.log(mean_field.tanh(np.sqrt(variance), bias=np.sqrt(0.05)).chi) == pytest.approx(slope, abs=1e-3)


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
