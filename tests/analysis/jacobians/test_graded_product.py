"""Singular factors: −inf for directions that are lost and no others, against SVDs of explicit products and mpmath."""

import mpmath
import numpy as np
import pytest

import throughtime as tt
from throughtime.analysis import (
    covariant_from_jacobians,
    gradient_products,
    product_from_jacobians,
    product_singular_values,
)
from throughtime.analysis.jacobians import leading_singular_values as leading

EPS = np.finfo(float).eps


def explicit(matrices):
    """Singular values of the product, and the scale of its rounding, Π‖J_t‖."""
    product = np.eye(len(matrices[0]))
    for matrix in matrices:
        product = matrix @ product
    return np.linalg.svd(product, compute_uv=False), np.prod([np.linalg.norm(matrix, 2) for matrix in matrices])


def agree(logs, matrices):
    """As many finite logarithms as singular values above rounding, and these to it: some n S eps of Π‖J_t‖."""
    values, scale = explicit(matrices)
    rounding = 10 * len(matrices) * len(values) * EPS * scale
    kept = values[: logs.size] > 10 * rounding
    np.testing.assert_array_equal(np.isfinite(logs), kept)
    np.testing.assert_allclose(np.exp(logs), np.where(kept, values[: logs.size], 0.0), rtol=0, atol=rounding)


def exact(matrices, digits):
    with mpmath.workdps(digits):
        product = mpmath.eye(len(matrices[0]))
        for matrix in matrices:
            product = mpmath.matrix(matrix.tolist()) * product
        largest = max(abs(x) for x in product)
        if largest == 0:
            return np.full(len(matrices[0]), -np.inf)
        values = sorted(mpmath.svd_r(product / largest, compute_uv=False), reverse=True)
        least = mpmath.mpf(10) ** (30 - digits)
        return np.array([float(mpmath.log(v) + mpmath.log(largest)) if v > least else -np.inf for v in values])


def test_two_by_two():
    logs = product_from_jacobians([[[1, 2], [2, 4]]]).log_singular_values
    assert logs[0] == pytest.approx(np.log(5), abs=4 * EPS)
    assert logs[1] == -np.inf
    assert np.isneginf(product_from_jacobians(np.zeros((3, 4, 4))).log_singular_values).all()


@pytest.mark.parametrize("size", [1, 2, 4, 7, 20, 60])
def test_every_rank_at_every_place(size):
    rng = np.random.default_rng(size)
    for rank in range(size + 1) if size < 10 else (0, 1, size // 2, size - 1, size):
        for count, place in ((1, 0), (2, 0), (2, 1), (5, 0), (5, 2), (5, 4)):
            matrices = rng.standard_normal((count, size, size)) / np.sqrt(size)
            matrices[place] = rng.standard_normal((size, rank)) @ rng.standard_normal((rank, size))
            agree(product_from_jacobians(matrices).log_singular_values, matrices)
            agree(product_from_jacobians(matrices, k=1).log_singular_values, matrices)


def test_rank_that_is_lost_by_the_product_alone():
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    nilpotent = np.linalg.inv(np.tril(np.ones((6, 6)))) @ np.triu(np.ones((6, 6)), 1) @ np.tril(np.ones((6, 6)))
    for count in range(1, 8):
        logs = product_from_jacobians([nilpotent] * count).log_singular_values
        assert (logs > np.log(1e-13) + count * np.log(np.linalg.norm(nilpotent, 2))).sum() == max(0, 6 - count)
    for count in range(1, 8):
        logs = product_from_jacobians(
            [np.triu(rng.standard_normal((6, 6)), 1) for _ in range(count)]
        ).log_singular_values
        assert np.isfinite(logs).sum() == max(0, 6 - count)
    a, b = q[:, :3] @ q[:, :3].T, q[:, 2:] @ q[:, 2:].T  # projections that share one direction
    np.testing.assert_allclose(product_from_jacobians([a, b]).log_singular_values[:1], 0.0, atol=20 * EPS)
    assert np.isfinite(product_from_jacobians([a, b]).log_singular_values).sum() == 1


KINDS = {
    "rows": lambda rng, n, s: rng.standard_normal((n, s, s)) * 10.0 ** rng.uniform(-40, 0, (n, s, 1)),
    "columns": lambda rng, n, s: rng.standard_normal((n, s, s)) * 10.0 ** rng.uniform(-40, 0, (n, 1, s)),
    "both": lambda rng, n, s: (
        rng.standard_normal((n, s, s)) * 10.0 ** rng.uniform(-20, 0, (n, s, 1)) * 10.0 ** rng.uniform(-20, 0, (n, 1, s))
    ),
    "size": lambda rng, n, s: rng.standard_normal((n, s, s)) * 10.0 ** rng.choice([-290, -200, 0, 200, 300], (n, 1, 1)),
    "whole numbers": lambda rng, n, s: rng.integers(-2, 3, (n, s, s)).astype(float),
    "choices": lambda rng, n, s: np.eye(s)[rng.integers(0, s, (n, s))] * (rng.random((n, s, 1)) < 0.8),
    "diagonal": lambda rng, n, s: np.eye(s) * 10.0 ** rng.choice([-200, -100, 0, 100, 200], (n, 1, s)),
    "dead rows": lambda rng, n, s: (
        rng.standard_normal((n, s, s)) * 10.0 ** rng.uniform(-20, 0, (n, s, 1)) * (rng.random((n, s, 1)) > 0.2)
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_factors_of_every_grade_against_mpmath(kind):
    """Random cores keep the logarithms well conditioned: 1e-10 leaves 1e5 for their condition."""
    rng = np.random.default_rng(7)
    for _ in range(10):
        matrices = KINDS[kind](rng, int(rng.integers(1, 7)), int(rng.integers(1, 6)))
        expected = exact(matrices, 3000 if kind in ("size", "diagonal") else 600)
        found = product_from_jacobians(matrices).log_singular_values
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
        kept = np.isfinite(expected)
        np.testing.assert_allclose(found[kept], expected[kept], rtol=0, atol=1e-10)


def relu(rng, units, layers=1, dtype="float64", steps=8, batch=3):
    net = tt.Network("relu", 2, units, num_layers=layers, dtype=dtype, seed=0)
    for value in net.parameters.values():
        value[...] = rng.standard_normal(value.shape)
    return net.unroll(rng.standard_normal((steps, batch, 2)))


def test_dead_units():
    """A zero that comes of rows alone is −inf. One that comes of rows cancelling, steps apart, may leave its rounding
    in place of the zero: a rounded product cannot tell, and of 1596 windows it happens in 3. Never the reverse.
    """
    rng, rounding_left, windows = np.random.default_rng(1), 0, 0
    for trial in range(7):
        units = 1 + trial % 7
        run = relu(rng, units, 1 + (units < 4 and trial % 2), ("float64", "float32")[trial % 2])
        jacobians = run.jacobians().astype(np.float64)
        for start in range(0, 8, 2):
            for stop in range(start + 1, min(start + 7, 8) + 1):
                found = product_singular_values(run, start, stop)
                assert found.converged
                for b in range(3):
                    window = list(jacobians[start:stop, b])
                    expected, (_, scale) = exact(window, 80), explicit(window)
                    assert np.isfinite(found.log_singular_values[b][np.isfinite(expected)]).all()
                    rounding_left += bool(np.isfinite(found.log_singular_values[b][np.isneginf(expected)]).any())
                    windows += 1
                    size = np.exp(found.log_singular_values[b])
                    np.testing.assert_allclose(size, np.exp(expected), rtol=1e-10, atol=100 * EPS * scale)
    assert rounding_left <= windows // 100


@pytest.mark.parametrize("matrices", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
def test_narrow_frames_over_singular_steps(monkeypatch, matrices, layers):
    monkeypatch.setattr(leading, "DENSE", (1 << 27) * matrices)  # 0: products with J and its transpose alone
    rng = np.random.default_rng(2)
    net = tt.Network("relu", 2, 50, num_layers=layers, seed=1)
    for name, value in net.parameters.items():
        value[...] = 1.4 * rng.standard_normal(value.shape) / np.sqrt(value.shape[-1])
        if name.startswith("weight_hh"):
            value[:, 3:] = 0.0
    run = net.unroll(rng.standard_normal((5, 2, 2)))
    for k in (1, 5):
        found = product_singular_values(run, 0, 5, k=k)
        assert found.converged
        for b in range(2):
            agree(found.log_singular_values[b], list(run.jacobians()[:, b]))


def test_a_flat_spectrum_is_not_taken_for_a_settled_one():
    """All singular values within 1e-7 of each other: each pass changes nothing, and narrow passes are not enough."""
    rng = np.random.default_rng(0)
    q, p = (np.linalg.qr(rng.standard_normal((60, 60)))[0] for _ in range(2))
    net = tt.Network("linear", 1, 60, bias=False, seed=0)
    net.parameters["weight_hh_l0"][...] = q * (1.0 + 1e-7 * rng.uniform(size=60)) @ p
    run = net.unroll(np.zeros((3, 1)))
    found = product_singular_values(run, 0, 1, k=2)
    expected = np.log(np.linalg.svd(net.parameters["weight_hh_l0"], compute_uv=False)[:2])
    assert found.converged
    np.testing.assert_allclose(found.log_singular_values[0], expected, rtol=0, atol=1e-9)


def test_thousands_of_steps_with_a_dead_unit():
    rng = np.random.default_rng(3)
    matrices = rng.standard_normal((3000, 4, 4))
    matrices[1000, 2] = 0.0
    found = product_from_jacobians(matrices).log_singular_values
    assert np.isneginf(found[3])
    matrices[1000, 2] = 1e-250 * rng.standard_normal(4)
    nearly = product_from_jacobians(matrices).log_singular_values
    np.testing.assert_allclose(found[:3], nearly[:3], rtol=1e-12)
    log_det = np.linalg.slogdet(matrices)[1].sum()
    np.testing.assert_allclose(nearly.sum(), log_det, rtol=1e-12)


def test_covariant_vectors_of_singular_matrices():
    rng = np.random.default_rng(4)
    matrix = rng.standard_normal((4, 2)) @ rng.standard_normal((2, 4))
    expected = np.sort(np.log(np.sort(np.abs(np.linalg.eigvals(matrix)))[2:]))[::-1]
    found = covariant_from_jacobians([matrix] * 200, k=2, seed=0)
    np.testing.assert_allclose(found.exponents, expected, rtol=1e-9)
    with pytest.raises(ValueError, match="at most k=2 of 3"):
        covariant_from_jacobians([matrix] * 80, k=3, seed=0)


def test_gradient_products_over_singular_steps():
    run = relu(np.random.default_rng(5), 5)
    found, jacobians = gradient_products(run), run.jacobians()
    assert found.holds
    for b in range(3):
        for lag in range(1, 9):
            values, scale = explicit(list(jacobians[8 - lag :, b]))
            assert np.exp(found.log_norm[lag, b]) == pytest.approx(values[0], abs=100 * EPS * scale)
