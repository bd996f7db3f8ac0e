"""The compiled cross-entropy against its formula in NumPy's float64, and the same bits for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from throughtime.engine.cpu import shares
from throughtime.engine.cpu.softmax_losses import softmax_cross_entropy


def drawn(rows, classes, dtype):
    rng = np.random.default_rng(classes)
    weights = np.where(rng.random(rows) < 0.3, 0, rng.random(rows)).astype(dtype)
    return rng.normal(scale=3, size=(rows, classes)).astype(dtype), rng.integers(0, classes, rows), weights


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 257])
def test_the_formula(classes, dtype):
    """Vectors that are full, some that are not. A sum of C positive numbers loses at most C/2 roundings."""
    y, targets, weights = drawn(23, classes, dtype)
    total, own, gradient = softmax_cross_entropy(y, targets, weights)
    rows, exact = np.arange(23), y.astype(float)
    top = exact.max(axis=1, keepdims=True)
    e = np.exp(exact - top)
    expected = weights[:, None].astype(float) * e / e.sum(axis=1, keepdims=True)
    expected[rows, targets] -= weights
    bound = (classes / 2 + 4) * np.finfo(dtype).eps
    counts = weights > 0
    np.testing.assert_allclose(total[counts], e.sum(axis=1)[counts], rtol=bound)
    np.testing.assert_allclose(own[counts], (exact[rows, targets] - top[:, 0])[counts], rtol=bound)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=bound)
    assert not gradient[~counts].any()
    assert (total[~counts] == 1).all()
    assert not own[~counts].any()


@pytest.mark.parametrize("classes", [5, 40])
def test_the_same_bits_for_any_number_of_threads(threads, monkeypatch, classes):
    monkeypatch.setattr(shares, "SMALL", 0)
    given, found = drawn(101, classes, "float32"), []
    for count in (1, 2, 3):
        threads(count)
        found.append(softmax_cross_entropy(*given))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_row_that_is_not_finite_keeps_it_to_itself():
    y, targets, weights = drawn(6, 20, "float64")
    weights[:] = 1
    y[0, 3], y[1, 19], y[2] = np.nan, np.inf, -np.inf
    y[3, :19], targets[3] = -np.inf, 19
    total, own, gradient = softmax_cross_entropy(y, targets, weights)
    assert np.isnan(total[:3]).all()
    assert np.isnan(gradient[:3]).all()
    assert (total[3], own[3]) == (1, 0)
    assert not gradient[3].any()
    assert np.isfinite(gradient[4:]).all()
