"""Every matrix analysis over the matrices that break methods, against closed forms and plain NumPy."""

import numpy as np
import pytest

from throughtime import analysis

SIZES = (1, 2, 3, 7, 30)  # 30: beyond where singular values of the resolvent are found densely


def family(n):
    rng = np.random.default_rng(n)
    g, imaginary = rng.standard_normal((2, n, n))
    plain = {
        "orthogonal": np.linalg.qr(g)[0], "identity": np.eye(n), "twice": 2 * np.eye(n), "minus": -np.eye(n),
        "zero": np.zeros((n, n)), "nilpotent": np.triu(g, 1), "rank one": np.outer(g[0], g[-1]),
        "defective": 0.9 * np.eye(n) + np.eye(n, k=1), "on the circle": np.eye(n) + np.eye(n, k=1),
        "permutation": np.eye(n)[rng.permutation(n)], "symmetric": g + g.T, "skew": g - g.T, "gaussian": g,
        "complex": g + 1j * imaginary, "unitary": np.linalg.qr(g + 1j * imaginary)[0], "ones": np.triu(np.ones((n, n))),
    }  # fmt: skip
    scaled = {
        f"{name} · {size:g}": plain[name] * size
        for size in (1e150, 1e300, 1e-150, 1e-300, 1e-305)
        for name in ("gaussian", "orthogonal", "identity", "nilpotent", "rank one", "defective")
    }
    return plain | scaled


@pytest.mark.parametrize("n", SIZES)
def test_norms_of_powers(n):
    for name, a in family(n).items():
        largest = np.abs(a).max() or 1.0
        power, expected = np.eye(n), [0.0]
        for k in range(1, 6):
            power = (a / largest) @ power
            norm = np.linalg.norm(power, 2)
            expected.append(np.log(norm) + k * np.log(largest) if norm > 0 else -np.inf)
        found, expected = analysis.transient_growth(a, 5), np.array(expected)
        above = expected > np.arange(6) * np.log(largest) - 30  # nothing that is rounding of the product
        np.testing.assert_allclose(found[above], expected[above], rtol=1e-12, atol=1e-11, err_msg=name)
        np.testing.assert_array_equal(np.isneginf(found)[np.isneginf(expected)], True, err_msg=name)


def test_powers_of_many_orthogonal_matrices():
    rng = np.random.default_rng(0)
    for _ in range(1500):
        n = int(rng.integers(1, 12))
        powers = analysis.transient_growth(np.linalg.qr(rng.standard_normal((n, n)))[0], 4)
        np.testing.assert_allclose(powers, 0.0, atol=1e-13)


@pytest.mark.parametrize("n", SIZES[:4])
def test_the_report_of_each(n):
    for name, a in family(n).items():
        report = analysis.non_normality(a, 3)
        values, sigma = np.linalg.eigvals(a), np.linalg.svd(a, compute_uv=False)
        assert report.norm == pytest.approx(sigma[0], rel=1e-12, abs=0), name
        assert report.spectral_radius == analysis.spectral_radius(a) == pytest.approx(np.abs(values).max(), rel=1e-12)
        largest = np.abs(a).max() or 1.0
        frobenius = np.linalg.norm(a / largest)
        square = max(frobenius**2 - (np.abs(values / largest) ** 2).sum(), 0.0)
        # plain NumPy's differences of squares are right to √eps of the norm
        assert report.henrici_relative == pytest.approx(np.sqrt(square) / (frobenius or 1.0), abs=1e-6), name
        assert report.henrici == analysis.henrici_departure(a)
        assert report.kreiss >= 1.0 - 1e-12, name
        assert (report.kreiss == np.inf) or report.spectral_radius <= 1.0 + 1e-8, name
        assert repr(report)


def test_closed_forms():
    for size in (1e-300, 1e-155, 1.0, 1e155, 1e300):
        jordan = size * np.array([[0.0, 1.0], [0.0, 0.0]])
        assert analysis.henrici_departure(jordan) == size
        assert analysis.henrici_departure(size * np.eye(4)) == 0.0
    for size in (1e8, 1e100, 1e300):  # σ_min(zI − A) → |z|²/c and the best |z| is 2: c/4
        nilpotent = np.array([[0.0, size], [0.0, 0.0]])
        assert analysis.kreiss_constant(nilpotent) == pytest.approx(size / 4, rel=1e-6)
    # The search comes as near as |z| − 1 = 1e-7, where an SVD's error of 8 eps S is that part of σ_min = |z| − 1
    for matrix in (np.eye(5), np.zeros((4, 4)), np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]):
        rounding = 8 * np.finfo(np.float64).eps * len(matrix) / 1e-7
        assert analysis.kreiss_constant(matrix) == pytest.approx(1.0, abs=rounding)


@pytest.mark.parametrize("n", SIZES)
def test_pseudospectra(n):
    for name, a in family(n).items():
        found = analysis.pseudospectrum(a, points=4)
        z = found.real + 1j * found.imag[:, None]
        sigma = np.linalg.svd(z[..., None, None] * np.eye(n) - a)[1]
        scale = sigma.max()
        np.testing.assert_allclose(found.sigma_min / scale, sigma[..., -1] / scale, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("n", SIZES)
def test_singular_values(n):
    for name, a in family(n).items():
        if a.dtype.kind == "c":
            continue
        sigma = np.linalg.svd(a, compute_uv=False)
        found = analysis.product_from_jacobians([a]).log_singular_values
        above = sigma > 1e-12 * sigma[0]
        np.testing.assert_allclose(found[above], np.log(sigma[above]), rtol=1e-12, atol=1e-9, err_msg=name)


def test_what_is_no_matrix_of_numbers():
    for wrong in (np.nan, np.inf):
        for call in (analysis.non_normality, analysis.spectral_radius, analysis.henrici_departure):
            with pytest.raises(ValueError, match="NaN or inf"):
                call(np.array([[wrong, 0.0], [0.0, 1.0]]))
        for call in (analysis.pseudospectrum, analysis.kreiss_constant):
            with pytest.raises(ValueError, match="NaN or inf"):
                call(np.array([[wrong, 0.0], [0.0, 1.0]]))


@pytest.mark.parametrize("power", [-1074, -1030, 1010, 1021])
def test_products_at_the_ends_of_the_range(power):
    """Entries 0, ±1 and ±2 times a power of 2 that makes them subnormal or huge: exact, so only ln 2^power is added."""
    signs = np.random.default_rng(4).integers(-2, 3, size=(60, 4, 4)).astype(float)
    scaled, shift = np.ldexp(signs, power), power * np.log(2.0)
    for interval in (1, 2, "auto"):
        plain, found = (
            analysis.lyapunov_from_jacobians(m, seed=0, interval=interval, discard=0) for m in (signs, scaled)
        )
        np.testing.assert_allclose(found.exponents - shift, plain.exponents, rtol=0, atol=1e-8)  # eps·e^17, the zone
    regular = [m for m in signs if abs(np.linalg.det(m)) > 0.5][:20]
    plain, found = (analysis.covariant_from_jacobians(m, seed=0) for m in (regular, np.ldexp(regular, power)))
    np.testing.assert_allclose(found.exponents - shift, plain.exponents, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.local_rates - shift, plain.local_rates, rtol=0, atol=1e-8)
    assert plain.split < 4
    assert found.split == (0 if power < 0 else 4)  # signs of the shifted exponents


def test_results_beyond_the_numbers_are_inf_without_a_warning():
    huge = np.full((3, 3), 1.7e308)
    huge[1] *= -1.0
    assert analysis.spectral_radius(np.full((3, 3), 1.7e308)) == np.inf
    assert analysis.henrici_departure(huge) == np.inf
    report = analysis.non_normality(huge, 3)
    assert report.norm == np.inf
    assert 0.0 < report.henrici_relative <= 1.0
    with pytest.raises(ValueError, match="scale it down first"):
        analysis.pseudospectrum(huge, points=3)
    with pytest.raises(ValueError, match="`half_width` is 1e"):
        analysis.pseudospectrum(np.eye(2), points=3, half_width=1e308)


def test_matrices_that_numpy_cannot_read():
    calls = analysis.product_from_jacobians, analysis.lyapunov_from_jacobians, analysis.covariant_from_jacobians
    for call in calls:
        with pytest.raises(ValueError, match=r"`jacobians\[1\]` is a ragged list"):
            call([np.eye(2), [[1.0, 2.0], [3.0]]])
        with pytest.raises(ValueError, match=r"`jacobians\[0\]` has masked entries"):
            call([np.ma.masked_less(np.eye(2), 0.5)])
        with pytest.raises(TypeError, match=r"`jacobians\[0\]` has dtype complex128"):
            call([1j * np.eye(2)])
    torch = pytest.importorskip("torch")
    for call in calls:
        with pytest.raises(TypeError, match=r"pass `jacobians\[0\]\.detach\(\)`"):
            call(torch.eye(2, requires_grad=True).repeat(3, 1, 1))
        with pytest.raises(TypeError, match=r"pass `jacobians\[0\]\.float\(\)`"):
            call(torch.eye(2).bfloat16().repeat(3, 1, 1))
