"""BLAS and LAPACK without Python's lock: the numbers are SciPy's, and another thread goes on meanwhile."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from scipy.linalg import blas
from scipy.linalg import lapack as scipys

from throughtime.engine import lapack


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (3, 7), (40, 40), (17, 0)])
def test_gram(rng, n, k):
    a, before = rng.normal(size=(n, k)), np.asfortranarray(rng.normal(size=(n, n)))
    given, expected = before.copy(order="F"), np.triu(a @ a.T)
    np.testing.assert_allclose(np.triu(lapack.gram(a)), expected, rtol=0, atol=1e-13 * max(1, k))
    found = lapack.gram(a, given)
    assert found is given
    np.testing.assert_allclose(np.triu(found), np.triu(a @ a.T + before), rtol=0, atol=1e-13 * max(1, k))
    np.testing.assert_array_equal(np.tril(found, -1), np.tril(before, -1))


@pytest.mark.parametrize("n", [1, 2, 33, 130])
def test_triangles(rng, n):
    u = np.asfortranarray(rng.normal(size=(n, n)))
    np.testing.assert_array_equal(lapack.upper_gram(u.copy(order="F")), scipys.dlauum(u, lower=0)[0])
    definite = np.asfortranarray(u @ u.T + n * np.eye(n))
    r, there = lapack.cholesky(definite.copy(order="F"))
    assert there
    np.testing.assert_array_equal(np.triu(r), scipys.dpotrf(definite, lower=0)[0])
    b = rng.normal(size=(n, 5))
    for transposed in (False, True):
        found = lapack.divided(r, b, transposed)
        np.testing.assert_array_equal(found, blas.dtrsm(1.0, r, b, side=0, lower=0, trans_a=transposed))
    assert not lapack.cholesky(-definite)[1]


def test_rows_of_numpy_are_copied_and_left_alone(rng):
    a, b = rng.normal(size=(6, 6)), rng.normal(size=(6, 4))
    before = a.copy(), b.copy()
    r, _ = lapack.cholesky(a @ a.T + np.eye(6))
    np.testing.assert_allclose(np.triu(r) @ lapack.divided(r, b), b, rtol=0, atol=1e-12)
    lapack.gram(a)
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])


def test_another_thread_goes_on(rng):
    """Beside SciPy's own function it stands still for the whole of a call."""
    a = np.asfortranarray(rng.normal(size=(1200, 1200)))

    def still():
        """Of the time of a call, the longest piece in which another thread did nothing."""
        moments, over = [], threading.Event()

        def look():
            while not over.is_set():
                moments.append(time.perf_counter())

        other = threading.Thread(target=look)
        other.start()
        while not moments:
            time.sleep(1e-3)
        start = time.perf_counter()
        lapack.gram(a)
        end = time.perf_counter()
        over.set()
        other.join()
        inside = [start, *(moment for moment in moments if start < moment < end), end]
        return max(np.diff(inside)) / (end - start)

    assert min(still() for _ in range(10)) < 0.5
