"""Singular values of long products: against mpmath, closed forms, determinants, dense SVD; extremes and refusals."""

import mpmath
import numpy as np
import pytest

import throughtime as tt
from throughtime.analysis import product_from_jacobians, product_singular_values


def exact(matrices, digits):
    """ln of the singular values by eigenvalues of P'P with so many digits."""
    with mpmath.workdps(digits):
        product = mpmath.eye(len(matrices[0]))
        for matrix in matrices:
            product = mpmath.matrix(matrix.tolist()) * product
        values = mpmath.eigsy(product.T * product, eigvals_only=True)
        return np.sort([float(mpmath.log(abs(value)) / 2) for value in values])[::-1]


@pytest.mark.parametrize(("steps", "digits"), [(1, 60), (5, 100), (60, 700), (200, 2200)])
def test_all_of_them_against_mpmath(steps, digits):
    """At 200 steps they span e^1957: products of this length are zero in double precision, small ones or all."""
    net = tt.Network("tanh", 1, 6, bias=False, init=tt.init.gaussian(gain=2.0), seed=3)
    run = net.unroll(np.random.default_rng(0).standard_normal((200, 1)))
    found = product_singular_values(run, 0, steps)
    expected = exact([run.jacobian(t)[0] for t in range(1, steps + 1)], digits)
    np.testing.assert_allclose(found.log_singular_values[0], expected, atol=1e-11 * max(steps, 10))
    np.testing.assert_allclose(found.log_condition, expected[0] - expected[-1], atol=1e-9)


def test_nearly_equal_singular_values_against_mpmath():
    rng = np.random.default_rng(1)
    matrices = np.eye(6) + 0.05 * rng.standard_normal((40, 6, 6))
    found = product_from_jacobians(matrices).log_singular_values
    np.testing.assert_allclose(found, exact(list(matrices), 60), atol=1e-12)


@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru"])
def test_short_windows_are_those_of_the_dense_product(cell):
    run = tt.Network(cell, 2, 7, seed=0).unroll(np.random.default_rng(0).standard_normal((9, 3, 2)))
    found = product_singular_values(run, 2, 6)
    dense = np.linalg.svd(run.jvp(np.tile(np.eye(run.states.shape[2]), (3, 1, 1)), 2, 6), compute_uv=False)
    np.testing.assert_allclose(np.exp(found.log_singular_values), dense, atol=1e-13)


@pytest.mark.parametrize("window", [(0, 60), (5, 12)])
def test_the_leading_ones_without_matrices(window):
    run = tt.Network("lstm", 2, 40, seed=3).unroll(np.random.default_rng(0).standard_normal((60, 2, 2)))
    every, leading = product_singular_values(run, *window), product_singular_values(run, *window, k=5)
    np.testing.assert_allclose(leading.log_singular_values, every.log_singular_values[:, :5], atol=1e-8)
    assert leading.converged
    assert np.isnan(leading.log_condition).all()
    log_det = sum(np.linalg.slogdet(run.jacobian(t))[1] for t in range(window[0] + 1, window[1] + 1))
    np.testing.assert_allclose(every.log_singular_values.sum(axis=1), log_det, atol=1e-9)


@pytest.mark.parametrize("units", [3, 40])
def test_ten_thousand_steps(units):
    """A symmetric matrix: ln σ = n ln|eigenvalue|, here down to e^-23000 and more, or up to e^4000."""
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.standard_normal((units, units)))[0]
    values = np.linspace(1.5, 0.1, units)
    net = tt.Network("linear", 1, units, bias=False, seed=0)
    net.parameters["weight_hh_l0"][...] = q * values @ q.T
    run = net.unroll(np.zeros((10_000, 1)))
    found = product_singular_values(run, 0, 10_000, k=None if units == 3 else 4).log_singular_values[0]
    np.testing.assert_allclose(found, 10_000 * np.log(values[: found.size]), rtol=1e-10)


def test_the_identity_and_the_zero():
    run = tt.Network("tanh", 2, 4, seed=0).unroll(np.zeros((5, 2)))
    assert np.array_equal(product_singular_values(run, 3, 3).log_singular_values, np.zeros((1, 4)))
    assert np.array_equal(product_singular_values(run, 3, 3, k=1).log_singular_values, np.zeros((1, 1)))
    found = product_from_jacobians([np.diag([2.0, 0.0, 1.0])] * 7).log_singular_values
    np.testing.assert_allclose(found, [7 * np.log(2), 0.0, -np.inf], atol=1e-12)


def test_orthogonal_weights_keep_every_length():
    net = tt.Network("linear", 1, 20, bias=False, init=tt.init.orthogonal(gain=0.9), seed=0)
    found = product_singular_values(net.unroll(np.zeros((400, 1))), 0, 400)
    np.testing.assert_allclose(found.rates, np.log(0.9), atol=1e-14)
    assert len(repr(found).splitlines()) == 4


def test_independent_gaussian_factors():
    """Squared singular values of L factors: mean 1, variance L for N → ∞; of finite N both follow from two moments.

    With M = P Pᵀ, a = E tr M²/N, b = E (tr M/N)², one more factor gives b + a(1 + 1/N) and b + 2a/N².
    """
    n, samples, found = 120, 30, []
    rng = np.random.default_rng(0)
    for _ in range(samples):
        factors = rng.standard_normal((5, n, n)) / np.sqrt(n)
        logs = [product_from_jacobians(factors[:depth]).log_singular_values for depth in (1, 2, 5)]
        found.append([[np.exp(2 * x).mean(), np.exp(4 * x).mean(), np.exp(2 * x[0])] for x in logs])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(samples)
    a = b = 1.0
    for depth in range(1, 6):
        a, b = b + a * (1 + 1 / n), b + 2 * a / n**2
        if depth in (1, 2, 5):
            i = (1, 2, 5).index(depth)
            assert abs(mean[i, 0] - 1.0) < 4 * error[i, 0]
            assert abs(mean[i, 1] - a) < 4 * error[i, 1]
            assert a / b - 1 == pytest.approx(depth, rel=0.03)
            edge = (depth + 1) ** (depth + 1) / depth**depth  # of σ²; the largest falls short of it by N^(−2/3)
            assert edge * (1 - 4 * n ** (-2 / 3)) < mean[i, 2] < edge * 1.02


def test_refusals():
    run = tt.Network("tanh", 2, 4, seed=0).unroll(np.zeros((5, 2)))
    wrong = (((0, 6), "`stop` is 6"), ((-1, 2), "`start` is -1"), ((3, 2), "start ≤ stop"), ((0, 2, 5), "`k` is 5"))
    for arguments, words in wrong:
        with pytest.raises(ValueError, match=words):
            product_singular_values(run, *arguments)
    with pytest.raises(ValueError, match="bidirectional"):
        product_singular_values(tt.Network("tanh", 2, 4, bidirectional=True).unroll(np.zeros((5, 2))), 0, 2)
    with pytest.raises(ValueError, match="square"):
        product_from_jacobians(np.zeros((3, 2, 3)))
    with pytest.raises(ValueError, match="empty"):
        product_from_jacobians([])
