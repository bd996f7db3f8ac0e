"""Attention's kernels: plain sums as the oracle, with ragged ends, and the same bits for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from throughtime.engine.cpu import attending, shares

# T, S, B, K, A: one of each; ragged panels; more queries than a chunk; a deep memory; enough work to be shared out.
SIZES = [(1, 1, 1, 1, 1), (3, 17, 2, 5, 7), (101, 4, 2, 33, 3), (2, 300, 3, 9, 40), (30, 30, 8, 64, 50)]
EVERY = pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: "x".join(map(str, sizes)))
DTYPE = pytest.mark.parametrize("dtype", ["float64", "float32"])
NAMES = ("dot weights", "dot context", "dq", "dm", "weights", "context", "dw", "du", "dv", "dm by weights")


def given(sizes, dtype, ragged=True):
    queries, entries, batch, numbers, units = sizes
    rng = np.random.default_rng(queries)
    shapes = [(queries, batch, numbers), (entries, batch, numbers), (queries, batch, numbers)]
    shapes += [(queries, batch, units), (entries, batch, units), (units,)]
    arrays = [(rng.standard_normal(shape) / 2).astype(dtype) for shape in shapes]
    ends = [rng.integers(0, n + 1, batch) if ragged else np.full(batch, n) for n in (queries, entries)]
    ends[0][0], ends[1][0] = queries, entries
    return *arrays, *ends


def answers(q, m, g, w, u, v, q_ends, m_ends):
    ends = (q_ends, m_ends)
    panels, keys = attending.packed(m, m_ends), attending.packed(u, m_ends)
    a, c = attending.dot(q, panels, *ends)
    b, d = attending.additive(w, keys, v, panels, *ends)
    dm, du, dv, by_weights = (np.zeros(shape, m.dtype) for shape in (m.shape, u.shape, w.shape[1:], m.shape))
    dq = attending.dot_back(g, a, q, panels, *ends, dm)
    dw = attending.additive_back(g, b, w, u, v, panels, *ends, du, dv, by_weights)
    return [a, c, dq, dm, b, d, dw, du, dv.sum(axis=0), by_weights]


def plain(q, m, g, w, u, v, q_ends, m_ends):
    """The same in float64 by NumPy, whole matrices with what is behind the ends set to 0."""
    q, m, g, w, u, v = (x.astype(float) for x in (q, m, g, w, u, v))
    real = (np.arange(len(q))[:, None] < q_ends)[:, :, None] & (np.arange(len(m)) < m_ends[:, None])
    z = np.tanh(w[:, None] + u[None])  # (T, S, B, A)
    found = []
    for e in (np.einsum("tbk,sbk->tbs", q, m), np.einsum("tsba,a->tbs", z, v)):
        a = np.where(real, np.exp(e), 0)
        a = a / np.maximum(a.sum(axis=2, keepdims=True), 1e-300)
        da = np.einsum("tbk,sbk->tbs", g, m)
        de = a * (da - (a * da).sum(axis=2, keepdims=True))
        dm = np.einsum("tbs,tbk->sbk", a, g)
        found += [a, np.einsum("tbs,sbk->tbk", a, m)]
        if len(found) == 2:
            found += [np.einsum("tbs,sbk->tbk", de, m), dm + np.einsum("tbs,tbk->sbk", de, q)]
            continue
        d = de.transpose(0, 2, 1)[..., None] * v * (1 - z * z)
        found += [d.sum(axis=1), d.sum(axis=0), np.einsum("tbs,tsba->a", de, z), dm]
    return found


@DTYPE
@EVERY
def test_plain_sums(sizes, dtype):
    """Sums of n terms, one after another, of terms that have rounding of their own: off by at most 4 n eps max|terms|
    for each of the sums on the way, and there are at most six."""
    numbers = given(sizes, dtype)
    deepest = max(sizes[0] * sizes[2], *sizes)
    for name, ours, exact in zip(NAMES, answers(*numbers), plain(*numbers), strict=True):
        assert ours.dtype == np.dtype(dtype), name
        bound = 24 * deepest * np.finfo(dtype).eps * max(np.abs(exact).max(), 1)
        assert np.abs(ours - exact).max() <= bound, name
        assert np.array_equal(ours == 0, exact == 0) or "weights" not in name, name


@DTYPE
@EVERY
def test_the_same_bits_for_any_number_of_threads(sizes, dtype, threads):
    numbers = given(sizes, dtype)
    threads(1)
    alone = answers(*numbers)
    for count in (2, 3, 5):
        threads(count)
        for name, ours, other in zip(NAMES, answers(*numbers), alone, strict=True):
            assert np.array_equal(ours, other), (count, name)


def test_the_largest_of_these_is_shared_out(threads, monkeypatch):
    """A test of the test above: were none shared out, equal bits would say nothing."""
    seen, divide = [], shares.of_rows

    def watch(*arguments):
        found = divide(*arguments)
        seen.append(len(found[0]))
        return found

    monkeypatch.setattr(shares, "of_rows", watch)
    threads(2)
    answers(*given(SIZES[-1], "float64"))
    assert seen[2:] == [2] * 4  # behind the packing, twice


def test_a_sequence_is_the_same_alone_and_in_a_batch():
    numbers = given(SIZES[3], "float64", ragged=False)
    whole = answers(*numbers)
    for b in range(SIZES[3][2]):
        own = [
            x if x.ndim == 1 and k == 5 else x[b : b + 1] if k > 5 else x[:, b : b + 1] for k, x in enumerate(numbers)
        ]
        for name, ours, other in zip(NAMES, answers(*own), whole, strict=True):
            if name != "dv":
                assert np.array_equal(ours, other[:, b : b + 1]), name


def test_scores_without_a_finite_number():
    """All −inf: no entry answers, weights and context 0, and no NaN on the way back; one +inf: NaN, not hidden."""
    ends = (np.array([1]), np.array([2]))
    q, m = np.full((1, 1, 1), -1.0), np.full((2, 1, 1), np.inf)
    panels = attending.packed(m, ends[1])
    weights, _ = attending.dot(q, panels, *ends)
    assert np.array_equal(weights, np.zeros((1, 1, 2)))
    assert np.isnan(attending.dot(-q, panels, *ends)[0]).all()
