"""Lyapunov spectra of products of matrices: closed forms, identities, the verdict, what follows from the exponents."""

import numpy as np
import pytest
from numba import njit
from scipy.signal import lfilter
from scipy.special import polygamma, psi

from throughtime.analysis import kaplan_yorke_dimension, lyapunov_from_jacobians
from throughtime.analysis.statistics import batch_means_error


@pytest.mark.parametrize(("n", "steps", "seed"), [(10, 4000, 1), (100, 400, 2)])
@pytest.mark.parametrize("interval", ["auto", 1])
def test_newman_exponents_of_gaussian_products(n, steps, seed, interval):
    """λ_i = ½[ψ((N−i+1)/2) + ln(2/N)], standard error exactly ½ √(ψ'((N−i+1)/2)/T) (Newman 1986)."""
    rng = np.random.default_rng(seed)
    spectrum = lyapunov_from_jacobians(
        (rng.standard_normal((n, n)) / np.sqrt(n) for _ in range(steps)), seed=0, interval=interval
    )
    half = (n - np.arange(n)) / 2
    exact = 0.5 * (psi(half) + np.log(2 / n))
    error = 0.5 * np.sqrt(polygamma(1, half) / steps)
    z = (spectrum.exponents - exact) / error
    assert spectrum.steps == steps
    assert np.abs(z).max() < 4.5
    assert 0.5 < np.mean(z**2) < 2.5
    assert np.mean(spectrum.standard_error**2 / error**2) == pytest.approx(1.0, abs=0.4)  # batch means, 20 batches
    assert spectrum.sum_rule_residual < 1e-9 * n  # a Gaussian factor is now and then nearly singular


def test_newman_exponents_as_printed():
    """The exact values, and 20000 products of two by two, whose errors are a hundredth of the difference."""
    for n, first, last in ((2, -0.2886078, -0.9817550), (10, -0.0516601, -1.7864740), (100, -0.0050167, -2.9377665)):
        exact = 0.5 * (psi(np.array([n, 1.0]) / 2) + np.log(2 / n))
        np.testing.assert_allclose(exact, [first, last], atol=5.1e-8)
    spectrum = lyapunov_from_jacobians(np.random.default_rng(4).standard_normal((20000, 2, 2)) / np.sqrt(2), seed=0)
    error = 0.5 * np.sqrt(polygamma(1, np.array([1.0, 0.5])) / spectrum.steps)
    assert np.abs((spectrum.exponents - [-0.2886078, -0.9817550]) / error).max() < 4.5


def test_leading_exponents_are_the_first_of_all():
    matrices = np.random.default_rng(0).standard_normal((500, 12, 12))
    every = lyapunov_from_jacobians(matrices, seed=3, discard=50)
    leading = lyapunov_from_jacobians(matrices, 4, seed=3, discard=50)
    np.testing.assert_allclose(leading.exponents, every.exponents[:4], atol=1e-10)
    assert np.isnan(leading.sum_rule_residual)


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1e150])
def test_any_scale(scale):
    matrices = np.random.default_rng(0).standard_normal((300, 20, 20))
    plain, scaled = (lyapunov_from_jacobians(matrices * factor, seed=0) for factor in (1.0, scale))
    np.testing.assert_allclose(scaled.exponents - np.log(scale), plain.exponents, atol=1e-9)


@pytest.mark.parametrize(("interval", "least", "most"), [(1, 0.0, 1e-15), (10, 0.0, 1e-8), (13, 1e-7, np.inf)])
def test_the_interval_and_its_safe_zone(interval, least, most):
    """Clean while interval · spread ≤ 20 (here 19.9 at 10); errors begin at 23.5 (25.8 at 13), and the verdict says so.

    Rotations between the scales mix the columns: a frame that stays aligned would feel no interval at all.
    """
    rng = np.random.default_rng(0)
    scale = np.exp(np.linspace(0.0, -4.0, 10))
    matrices = np.array([scale[:, None] * np.linalg.qr(rng.standard_normal((10, 10)))[0] for _ in range(840)])
    reference = lyapunov_from_jacobians(matrices, seed=0, interval=1, discard=60)
    spectrum = lyapunov_from_jacobians(matrices, seed=0, interval=interval, discard=60)
    assert np.ptp(reference.exponents) == pytest.approx(1.987, abs=0.01)
    assert least <= np.abs(spectrum.exponents - reference.exponents).max() <= most
    assert spectrum.converged == (interval <= 10)


def test_the_alignment_of_the_frame_costs_one_over_t():
    """Of a symmetric matrix the bias without a discarded start is ln|cos| of the first column's angle, over T."""
    bias = []
    for steps in (100, 200, 400):
        found = lyapunov_from_jacobians(np.tile([[2.0, 1.0], [1.0, 2.0]], (steps, 1, 1)), seed=0, discard=0)
        bias.append(steps * (found.exponents[0] - np.log(3)))
    first = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)).T)[0][:, 0]
    np.testing.assert_allclose(bias, np.log(abs(first.sum()) / np.sqrt(2)), rtol=1e-9)


def test_henon_map():
    x, y, jacobians = 0.1, 0.1, []
    for step in range(60100):
        if step >= 100:
            jacobians.append([[-2.8 * x, 1.0], [0.3, 0.0]])
        x, y = 1 - 1.4 * x * x + y, 0.3 * x
    spectrum = lyapunov_from_jacobians(np.array(jacobians), seed=0)
    assert spectrum.exponents[0] == pytest.approx(0.41922, abs=4 * spectrum.standard_error[0] + 1e-5)
    assert spectrum.exponents[1] == pytest.approx(-1.62319, abs=4 * spectrum.standard_error[1] + 1e-5)
    assert spectrum.exponents.sum() == pytest.approx(np.log(0.3), abs=1e-12)
    assert spectrum.kaplan_yorke_dimension == pytest.approx(1.25827, abs=0.004)
    assert spectrum.standard_error[0] < 0.003
    assert spectrum.converged, spectrum.reason


def test_logistic_map():
    """x' = 4x(1−x) through its exact solution sin²(2ᵗ θ), θ uniform: no orbit falls into rounding's cycles."""
    theta = np.random.default_rng(0).uniform(0, np.pi, 40000)
    slopes = 4 - 8 * np.sin(theta) ** 2
    spectrum = lyapunov_from_jacobians(slopes[:, None, None], seed=0, discard=0)
    assert spectrum.exponents[0] == pytest.approx(np.log(2), abs=4 * spectrum.standard_error[0])
    assert 0.003 < spectrum.standard_error[0] < 0.006  # π/√12 / √40000 = .0045


def test_cat_map():
    spectrum = lyapunov_from_jacobians(np.tile([[2.0, 1.0], [1.0, 1.0]], (500, 1, 1)), seed=1)
    np.testing.assert_allclose(spectrum.exponents, [0.9624236501192069, -0.9624236501192069], atol=1e-12)
    assert spectrum.converged
    assert spectrum.entropy_rate == pytest.approx(0.9624236501192069)


@njit
def lorenz_slope(state, added, factor, out):
    """The field, and the matrix of perturbations by rows, at state + factor·added; loops, which compile fast."""
    x, y, z = state[0] + factor * added[0], state[1] + factor * added[1], state[2] + factor * added[2]
    out[0], out[1], out[2] = 10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z
    for k in range(3):
        dx, dy = state[3 + k] + factor * added[3 + k], state[6 + k] + factor * added[6 + k]
        dz = state[9 + k] + factor * added[9 + k]
        out[3 + k], out[6 + k] = 10.0 * (dy - dx), (28.0 - z) * dx - dy - x * dz
        out[9 + k] = y * dx + x * dy - 8.0 / 3.0 * dz


@njit
def lorenz_jacobians(count, every, dt):
    """Products of the Jacobians of `every` Runge–Kutta steps."""
    out, state, slopes = np.empty((count, 9)), np.zeros(12), np.zeros((5, 12))
    state[0], state[1], state[2] = 1.0, 1.0, 20.0
    for n in range(count):
        for i in range(9):
            state[3 + i] = 1.0 if i % 4 == 0 else 0.0
        for _ in range(every):
            for stage, factor in enumerate((0.0, dt / 2, dt / 2, dt)):
                lorenz_slope(state, slopes[stage], factor, slopes[stage + 1])
            for i in range(12):
                state[i] += dt / 6 * (slopes[1, i] + 2 * slopes[2, i] + 2 * slopes[3, i] + slopes[4, i])
        for i in range(9):
            out[n, i] = state[3 + i]
    return out.reshape(count, 3, 3)


def test_lorenz_flow():
    """(10, 28, 8/3) by Runge–Kutta, dt = .005, over a time of 10⁴: the three exponents per unit of time, sum −41/3."""
    jacobians = lorenz_jacobians(20100, 100, 0.005)
    spectrum = lyapunov_from_jacobians(jacobians, seed=0, warmup=50, discard=50, interval=1)
    per_time, error = spectrum.exponents / 0.5, spectrum.standard_error / 0.5
    assert np.all(np.abs(per_time - [0.9059, 0.0, -14.5724]) < 4 * error + 1e-4)
    assert error.max() < 0.005
    assert per_time.sum() == pytest.approx(-41 / 3, abs=1e-4)  # what dt⁴ leaves


def test_transposed_jacobians_forwards_are_wrong():
    """A cycle of three, λ_1 = ln|largest eigenvalue of J₃J₂J₁|/3 = .2100; J transposed forwards gives .2804."""
    cycle = np.array([[[1.2, 0.5], [-1.0, -1.0]], [[0.0, -0.7], [1.7, 1.8]], [[1.0, 0.7], [-1.2, 1.1]]])
    expected = np.sort(np.log(np.abs(np.linalg.eigvals(cycle[2] @ cycle[1] @ cycle[0]))))[::-1] / 3
    mistaken = np.sort(np.log(np.abs(np.linalg.eigvals(cycle[2].T @ cycle[1].T @ cycle[0].T))))[::-1] / 3
    right = lyapunov_from_jacobians(np.tile(cycle, (300, 1, 1)), seed=0, interval=3, discard=90)
    wrong = lyapunov_from_jacobians(np.tile(cycle.swapaxes(1, 2), (300, 1, 1)), seed=0, interval=3, discard=90)
    np.testing.assert_allclose(right.exponents, expected, atol=1e-12)
    np.testing.assert_allclose(wrong.exponents, mistaken, atol=1e-12)
    assert right.exponents[0] == pytest.approx(0.2100, abs=1e-4)
    assert wrong.exponents[0] == pytest.approx(0.2804, abs=1e-4)


def test_exponents_are_not_averages_of_eigenvalues():
    """[[.5,2],[0,.5]] alternating with its transpose: each has spectral radius ½, the product grows by .75049 per
    step."""
    a = np.array([[0.5, 2.0], [0.0, 0.5]])
    spectrum = lyapunov_from_jacobians(np.tile([a, a.T], (300, 1, 1)), seed=0, interval=2)
    assert spectrum.exponents[0] == pytest.approx(0.75049, abs=1e-5)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[1.0, 1.0], [1.0, 1.0]], [np.log(2), -np.inf]),
        ([[0.0, 0.0], [0.0, 0.0]], [-np.inf, -np.inf]),
        ([[2.0, 0.0], [0.0, 0.0]], [np.log(2), -np.inf]),
        ([[1.0, 0.0], [0.0, 1e-30]], [0.0, np.log(1e-30)]),  # tiny, but not singular
    ],
)
def test_singular_matrices_give_minus_infinity(matrix, expected):
    spectrum = lyapunov_from_jacobians(np.tile(matrix, (100, 1, 1)), seed=0, discard=20, interval=1)
    np.testing.assert_allclose(spectrum.exponents, expected, atol=1e-12)
    assert spectrum.sum_rule_residual < 1e-10


def test_large_singular_matrices():
    """Forty columns take the Cholesky route, which has to hand over."""
    rng = np.random.default_rng(0)
    matrices = rng.standard_normal((60, 40, 35)) @ rng.standard_normal((60, 35, 40)) / 40
    spectrum = lyapunov_from_jacobians(matrices, seed=0)
    assert np.all(np.isfinite(spectrum.exponents[:35]))
    assert np.all(spectrum.exponents[35:] == -np.inf)


def test_generators_are_read_lazily_and_once():
    read = []

    def matrices():
        for t in range(5000):
            read.append(t)
            yield np.array([[0.5, 0.1], [0.0, 0.25]])

    spectrum = lyapunov_from_jacobians(matrices(), seed=0, discard=100, interval=1)
    assert read == list(range(5000))
    assert spectrum.steps == 4900
    assert len(spectrum.history) <= 2048
    assert spectrum.times[-1] == 4900
    np.testing.assert_allclose(spectrum.exponents, np.log([0.5, 0.25]), atol=1e-3)
    assert np.array_equal(spectrum.history[-1], spectrum.exponents)


@pytest.mark.parametrize(
    ("jacobians", "options", "words"),
    [
        (np.zeros((5, 2, 3)), {}, "square"),
        (np.eye(3), {}, r"jacobians\[None\]"),
        ([np.eye(2), np.eye(3)], {}, "one state size"),
        ([], {}, "empty"),
        (np.zeros((5, 2, 2)), {"k": 3}, "k=3"),
        (np.zeros((5, 2, 2)), {"k": 0}, "k=0"),
        (np.zeros((5, 2, 2)), {"interval": "often"}, "auto"),
        (np.zeros((5, 2, 2)), {"interval": 0}, "`interval` is 0"),
        (np.zeros((5, 2, 2)), {"discard": 5}, "discard"),
        (np.zeros((5, 2, 2)), {"warmup": 5}, "skips them all"),
        (iter(np.zeros((5, 2, 2))), {"discard": 9}, "ended after 5 steps"),
    ],
)
def test_refused_products(jacobians, options, words):
    with pytest.raises(ValueError, match=words):
        lyapunov_from_jacobians(jacobians, **options)


@pytest.mark.parametrize(
    ("exponents", "dimension", "saturated"),
    [
        ([-0.1, -0.2], 0.0, False),
        ([0.1, 0.0, -0.05, -0.2], 3.25, False),
        ([-0.2, 0.1, -0.05, 0.0], 3.25, False),
        ([0.5, -0.2], 2.0, True),
        ([0.0, -1.0], 1.0, False),
        ([0.1, -np.inf], 1.0, False),
        ([-np.inf], 0.0, False),
        ([0.3], 1.0, True),
    ],
)
def test_kaplan_yorke_dimension(exponents, dimension, saturated):
    assert kaplan_yorke_dimension(exponents) == pytest.approx(dimension, abs=1e-12)
    assert kaplan_yorke_dimension(exponents, return_saturated=True)[1] is saturated


def test_kaplan_yorke_dimension_of_a_batch():
    found = kaplan_yorke_dimension(np.array([[0.1, -0.2], [np.nan, 0.0]]))
    assert found[0] == pytest.approx(1.5)
    assert np.isnan(found[1])
    with pytest.raises(ValueError, match="at least one exponent"):
        kaplan_yorke_dimension([])


def test_short_runs_say_so():
    spectrum = lyapunov_from_jacobians(np.random.default_rng(0).standard_normal((5, 3, 3)), seed=0)
    assert not spectrum.converged
    assert "too short" in spectrum.reason
    assert np.isnan(spectrum.standard_error).all()


def test_a_drifting_run_has_not_converged():
    rates = np.concatenate([np.full(500, 0.5), np.full(500, 2.0)])[:, None, None]
    spectrum = lyapunov_from_jacobians(rates * np.random.default_rng(0).uniform(0.9, 1.1, rates.shape), seed=0)
    assert not spectrum.converged or spectrum.standard_error[0] > 0.1


def test_result_prints_plots_and_converts():
    spectrum = lyapunov_from_jacobians(np.random.default_rng(0).standard_normal((200, 30, 30)), seed=0)
    assert len(repr(spectrum).splitlines()) < 15
    assert "nats per step" in repr(spectrum)
    arrays = spectrum.arrays()
    assert arrays["exponents"] is spectrum.exponents
    assert arrays["interval"] == spectrum.interval
    assert "reason" not in arrays


def test_infinite_entries_are_refused_where_they_are_read():
    matrices = np.random.default_rng(0).standard_normal((50, 3, 3))
    matrices[7, 2, 1] = np.inf
    with pytest.raises(ValueError, match=r"`jacobians\[7\]` holds inf at \[2, 1\]"):
        lyapunov_from_jacobians(matrices, seed=0)
    assert np.isfinite(lyapunov_from_jacobians(iter(matrices[:7]), seed=0).exponents).all()


def test_growth_beyond_the_numbers_gives_nan_and_says_so():
    spectrum = lyapunov_from_jacobians(np.full((50, 1, 1), 1e300), seed=0, interval=4)
    assert np.isnan(spectrum.exponents).all()
    assert not spectrum.converged
    assert "inf in the states or Jacobians" in spectrum.reason


def test_refuses_complex_matrices():
    with pytest.raises(TypeError, match="real numbers"):
        lyapunov_from_jacobians(np.zeros((5, 2, 2), dtype=complex))


@pytest.mark.parametrize("memory", [0.0, 0.8, 0.97])
def test_standard_errors_of_correlated_series(memory):
    """AR(1) with unit noise: the error of the mean of n values is 1/((1 − φ) √n)."""
    noise = np.random.default_rng(0).standard_normal((2200, 300))
    series = lfilter([1.0], [1.0, -memory], noise, axis=0)[200:]
    exact = 1 / (1 - memory) / np.sqrt(2000)
    assert series.mean(axis=0).std() == pytest.approx(exact, rel=0.15)
    assert np.sqrt((batch_means_error(series) ** 2).mean()) == pytest.approx(exact, rel=0.2)
