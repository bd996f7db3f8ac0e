"""Products of readouts and embeddings: plain sums as the oracle, the same bits for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from throughtime.engine.cpu import dense, shares

# R, I, O: one of each; ragged panels; a single output; few rows; enough work to be shared out.
SIZES = [(1, 1, 1), (7, 3, 5), (100, 33, 17), (130, 64, 1), (1, 40, 300), (0, 3, 2), (700, 70, 90)]
EVERY = pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: "x".join(map(str, sizes)))
DTYPE = pytest.mark.parametrize("dtype", ["float64", "float32"])


def given(sizes, dtype):
    rows, inputs, outputs = sizes
    rng = np.random.default_rng(rows)
    x, w, b, g = (
        rng.standard_normal(shape).astype(dtype)
        for shape in [(rows, inputs), (outputs, inputs), (outputs,), (rows, outputs)]
    )
    return x, w, b, g, rng.integers(-1, 5, rows)


def answers(x, w, b, g, tokens):
    return [
        dense.forward(x, w, b),
        dense.forward(x, w, None),
        dense.to_inputs(g, w),
        *dense.to_weights(g, x),
        dense.to_rows(tokens, g, 5),
    ]


def plain(x, w, b, g, tokens):
    """The same in float64, by NumPy, and for each the sum of the moduli of its terms."""
    x, w, b, g = (a.astype(float) for a in (x, w, b, g))
    hot = (tokens[None, :] == np.arange(5)[:, None]).astype(float)
    pairs = [(x, w.T), (x, w.T), (g, w), (g.T, x), (np.ones((1, len(g))), g), (hot, g)]
    exact = [a @ c for a, c in pairs]
    scale = [np.abs(a) @ np.abs(c) for a, c in pairs]
    exact[0], scale[0] = exact[0] + b, scale[0] + np.abs(b)
    exact[4], scale[4] = exact[4][0], scale[4][0]
    return exact, scale


@DTYPE
@EVERY
def test_plain_sums(sizes, dtype):
    """A sum of n terms, one after another, is off by at most n eps Σ |terms|."""
    numbers = given(sizes, dtype)
    exact, scale = plain(*numbers)
    depths = (sizes[1] + 1, sizes[1], sizes[2], sizes[0], sizes[0], sizes[0])
    for k, (ours, value, bound, depth) in enumerate(zip(answers(*numbers), exact, scale, depths, strict=True)):
        assert ours.dtype == np.dtype(dtype)
        assert ours.shape == value.shape, k
        assert (np.abs(ours - value) <= depth * np.finfo(dtype).eps * bound).all(), k


@DTYPE
@EVERY
def test_the_same_bits_for_any_number_of_threads(sizes, dtype, threads):
    numbers = given(sizes, dtype)
    threads(1)
    alone = answers(*numbers)
    for count in (2, 3, 5):
        threads(count)
        for k, (ours, other) in enumerate(zip(answers(*numbers), alone, strict=True)):
            assert np.array_equal(ours, other), (count, k)


def test_the_largest_of_these_is_shared_out(threads, monkeypatch):
    """A test of the test above: were none shared out, equal bits would say nothing."""
    seen = []
    for name in ("of_rows", "of_columns"):
        divide = getattr(shares, name)

        def watch(*arguments, divide=divide):
            found = divide(*arguments)
            seen.append(len(found[0]))
            return found

        monkeypatch.setattr(shares, name, watch)
    threads(3)
    answers(*given(SIZES[-1], "float64"))
    assert seen == [3, 3, 3, 3, 1]  # the sum over tokens is a hundredth of the work


@DTYPE
def test_nan_stays_in_its_row(dtype):
    x, w, b, g, _ = given((50, 20, 30), dtype)
    x[7, 3] = g[9, 2] = np.nan
    y, dx = dense.forward(x, w, b), dense.to_inputs(g, w)
    assert np.isnan(y[7]).all()
    assert np.isnan(dx[9]).all()
    assert np.isnan(y).sum() == 30
    assert np.isnan(dx).sum() == 20
