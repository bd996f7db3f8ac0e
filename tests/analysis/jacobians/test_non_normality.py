"""Powers, Henrici, Kreiss and pseudospectra against closed forms and plain NumPy."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib import pyplot

import throughtime as tt
from throughtime import analysis

JORDAN = np.array([[0.9, 1.0], [0.0, 0.9]])


def closed_form(a, b, k):
    """‖[[a, b], [0, a]]^k‖ = (|q| + √(q² + 4p²))/2, p = a^k, q = k a^(k−1) b."""
    p, q = a**k, k * a ** (k - 1) * b
    return (abs(q) + np.sqrt(q**2 + 4 * p**2)) / 2


def random(size, gain=0.8, seed=0):
    return np.random.default_rng(seed).standard_normal((size, size)) * gain / np.sqrt(size)


def test_the_numbers_of_the_two_by_two_example():
    report = analysis.non_normality(JORDAN, 20)
    assert (report.peak_step, round(report.peak, 5)) == (9, 3.91257)
    assert np.exp(report.log_norm[20]) == pytest.approx(2.707163351, abs=5e-10)
    assert report.kreiss == pytest.approx(2.6, abs=1e-9)
    assert report.henrici == 1.0
    assert report.spectral_radius == 0.9


@pytest.mark.parametrize(("a", "b"), [(0.9, 1.0), (0.5, 2.0), (-0.7, 3.0), (1.0, 0.1)])
def test_powers_of_a_jordan_block(a, b):
    found = analysis.transient_growth([[a, b], [0.0, a]], 60)
    expected = [0.0] + [np.log(closed_form(a, b, k)) for k in range(1, 61)]
    np.testing.assert_allclose(found, expected, atol=60 * 4 * np.finfo(float).eps)


def test_powers_neither_overflow_nor_underflow():
    for factor in (10.0, 0.1):
        found = analysis.transient_growth(factor * np.array([[0.0, 1.0], [-1.0, 0.0]]), 2000)
        np.testing.assert_allclose(found, np.arange(2001) * np.log(factor), rtol=1e-13)


def test_spectral_radius_is_no_average_rate():
    """A and Aᵀ in turn: each has radius ½, the product grows by ½ ln 4.48607 a step."""
    a = np.array([[0.5, 2.0], [0.0, 0.5]])
    assert analysis.spectral_radius(a) == analysis.spectral_radius(a.T) == 0.5
    assert 0.5 * np.log(analysis.spectral_radius(a.T @ a)) == pytest.approx(0.75049, abs=5e-6)


@pytest.mark.parametrize("size", [1, 2, 7, 30, 40])
def test_normal_matrices_depart_by_rounding_only(size):
    q = np.linalg.qr(random(size))[0]
    symmetric = q @ np.diag(np.linspace(-1, 1, size)) @ q.T
    for matrix in (q, 0.9 * q, (symmetric + symmetric.T) / 2):
        assert analysis.henrici_departure(matrix) < 1e-13 * max(1, size)
    assert analysis.kreiss_constant(0.9 * q) == pytest.approx(1.0, abs=1e-9)
    assert analysis.kreiss_constant(q) == pytest.approx(1.0, abs=1e-6)  # eps over the distance 1e-7 from the circle


@pytest.mark.parametrize("size", [3, 10, 41])
def test_henrici_by_its_definition(size):
    for matrix in (random(size), random(size) + 1j * random(size, seed=1)):
        expected = np.sqrt((np.abs(matrix) ** 2).sum() - (np.abs(np.linalg.eigvals(matrix)) ** 2).sum())
        assert analysis.henrici_departure(matrix) == pytest.approx(expected, rel=1e-10)


def test_half_of_a_ginibre_matrix_is_not_normal():
    """Henrici²/‖W‖²_F → ½: Σ|λ|² ≈ N/2 by the circular law; both sums fluctuate by about 1/N of themselves."""
    w = random(800, 1.0)
    assert (analysis.henrici_departure(w) / np.linalg.norm(w)) ** 2 == pytest.approx(0.5, abs=3 / 800)


def test_kreiss_constant_of_a_projector_and_of_growth():
    # an eigenvalue on the circle beside one inside: the norm of its spectral projector, √(1 + (5/0.5)²)
    assert analysis.kreiss_constant([[1.0, 5.0], [0.0, 0.5]]) == pytest.approx(np.sqrt(101.0), rel=1e-7)
    assert analysis.kreiss_constant([[1.0, 1.0], [0.0, 1.0]]) == np.inf
    assert analysis.kreiss_constant(1.01 * np.eye(3)) == np.inf
    assert analysis.kreiss_constant(np.zeros((3, 3))) == 1.0


@pytest.mark.parametrize("size", [3, 8, 30])
def test_kreiss_constant_against_a_dense_grid_and_the_matrix_theorem(size):
    matrix = np.triu(random(size, 3.0), 1) + 0.8 * np.diag(np.cos(np.arange(size)))
    found = analysis.kreiss_constant(matrix)
    r, angle = np.meshgrid(1 + np.geomspace(1e-3, 1e2, 40), np.linspace(0, np.pi, 40))
    z = (r * np.exp(1j * angle)).ravel()
    sigma = np.linalg.svd(z[:, None, None] * np.eye(size) - matrix, compute_uv=False)[:, -1]
    assert found >= ((np.abs(z) - 1) / sigma).max() * (1 - 1e-9)
    largest = np.exp(analysis.transient_growth(matrix, 400).max())
    assert found <= largest * (1 + 1e-9) <= np.e * size * found


def test_a_complex_matrix_rotated_has_the_same_kreiss_constant():
    matrix = 0.9 * np.exp(0.7j) * np.array([[1.0, 2.0], [0.0, 1.0]])
    assert analysis.kreiss_constant(matrix) == pytest.approx(analysis.kreiss_constant(np.abs(matrix)), rel=1e-9)


@pytest.mark.parametrize("size", [2, 24, 25, 70])
def test_pseudospectrum_is_the_smallest_singular_value(size):
    """Sizes on both sides of the change from SVDs to Lanczos."""
    matrix = random(size)
    result = analysis.pseudospectrum(matrix, points=7, half_width=1.3)
    for i, y in enumerate(result.imag):
        for j, x in enumerate(result.real):
            exact = np.linalg.svd((x + 1j * y) * np.eye(size) - matrix, compute_uv=False)[-1]
            assert result.sigma_min[i, j] == pytest.approx(exact, rel=1e-8, abs=1e-14)


def test_pseudospectrum_of_a_complex_matrix():
    matrix = random(5) + 1j * random(5, seed=1)
    result = analysis.pseudospectrum(matrix, points=4, half_width=1.0)
    exact = np.linalg.svd((1 - 1j) * np.eye(5) - matrix, compute_uv=False)[-1]
    assert result.sigma_min[0, -1] == pytest.approx(exact, rel=1e-10)


def test_pseudospectral_radius_of_normal_matrices_grows_by_epsilon():
    result = analysis.pseudospectrum(np.diag([0.5, -0.5]), points=201, half_width=1.0)
    assert result.radius(0.2) == pytest.approx(0.7, abs=0.011)
    assert result.radius(0.0) == pytest.approx(0.5)


def test_the_jacobian_of_a_run():
    run = tt.Network("lstm", 2, 5, seed=0).unroll(np.ones((6, 3, 2)))
    jacobian = run.jacobian(4)[2]
    assert analysis.spectral_radius(run, t=4, sequence=2) == analysis.spectral_radius(jacobian)
    same = analysis.pseudospectrum(run, points=5, t=4, sequence=2).sigma_min
    np.testing.assert_array_equal(same, analysis.pseudospectrum(jacobian, points=5).sigma_min)
    assert analysis.non_normality(run, 3, t=4).log_norm.shape == (4,)


@pytest.mark.parametrize(
    ("matrix", "error", "words"),
    [
        (np.zeros((2, 3)), ValueError, "square"),
        (np.zeros((0, 0)), ValueError, "square"),
        (np.zeros(4), ValueError, "square"),
        ([[1.0, np.nan], [0.0, 1.0]], ValueError, "NaN"),
        ([["a"]], TypeError, "dtype"),
    ],
)
def test_refuses_what_is_no_matrix(matrix, error, words):
    for function in (analysis.non_normality, analysis.kreiss_constant, analysis.pseudospectrum):
        with pytest.raises(error, match=words):
            function(matrix)


def test_refuses_what_has_no_jacobian():
    run = tt.Network("tanh", 1, 3, seed=0).unroll(np.zeros((5, 1)))
    with pytest.raises(ValueError, match="pass t="):
        analysis.kreiss_constant(run)
    with pytest.raises(ValueError, match="1 to 5"):
        analysis.kreiss_constant(run, t=6)
    with pytest.raises(ValueError, match="sequence"):
        analysis.kreiss_constant(run, t=1, sequence=1)
    with pytest.raises(ValueError, match="a matrix was given"):
        analysis.kreiss_constant(JORDAN, t=1)
    both = tt.Network("tanh", 1, 3, bidirectional=True, seed=0).unroll(np.zeros((5, 1)))
    with pytest.raises(ValueError, match="bidirectional"):
        analysis.pseudospectrum(both, t=1)
    broken = tt.Network("tanh", 1, 3, seed=0).unroll(np.full((5, 1), np.nan))
    with pytest.raises(ValueError, match="NaN"):
        analysis.non_normality(broken, t=1)


def test_results_print_plot_and_convert():
    report, picture = analysis.non_normality(JORDAN), analysis.pseudospectrum(JORDAN, points=20)
    assert "t = 9" in repr(report)
    assert "radius" in repr(picture)
    assert "nilpotent" in repr(analysis.non_normality([[0.0, 1.0], [0.0, 0.0]], 3))
    assert report.arrays()["kreiss"] == pytest.approx(2.6)
    assert picture.arrays()["sigma_min"].shape == (20, 20)
    for result, words in ((report, "factor"), (picture, "per time step")):
        figure, ax = pyplot.subplots()
        assert result.plot(ax=ax)
        assert words in ax.get_ylabel()
        figure.canvas.draw()
        pyplot.close(figure)
