"""Rates and fractions of padded sequences: by each sequence's own steps, as if it had been run alone."""

import numpy as np
import pytest

import throughtime as tt
from throughtime import analysis

T, LENGTHS = 60, [60, 20, 7, 0]


@pytest.fixture(scope="module")
def runs():
    net = tt.Network("tanh", 2, 5, seed=0)
    x = np.random.default_rng(0).standard_normal((T, 4, 2))
    return net.unroll(x, lengths=LENGTHS), [net.unroll(x[:n, b : b + 1]) for b, n in enumerate(LENGTHS)]


def test_rates_of_products(runs):
    padded, alone = runs
    for start, stop in ((0, T), (5, 30), (10, 60)):
        found = analysis.product_singular_values(padded, start, stop)
        for b, n in enumerate(LENGTHS):
            a, e = min(start, n), min(stop, n)
            own = analysis.product_singular_values(alone[b], a, e)
            assert found.steps[b] == own.steps[0] == e - a
            np.testing.assert_allclose(found.rates[b], own.rates[0], rtol=1e-12, atol=1e-13)


def test_clipped_fractions(runs):
    padded, alone = runs
    g = np.random.default_rng(1).standard_normal((T, 4, 5))
    for limit in (0.5, 2.0):
        shares = [analysis.clip_per_step(run, g[:n, b : b + 1], limit)[1] * n
                  for b, (n, run) in enumerate(zip(LENGTHS, alone, strict=True)) if n]  # fmt: skip
        assert analysis.clip_per_step(padded, g, limit)[1] == pytest.approx(sum(shares) / sum(LENGTHS), rel=1e-12)


def test_gradient_products_and_their_bound(runs):
    padded, alone = runs
    bound = analysis.pascanu_bound(padded.network)
    found = analysis.gradient_products(padded, bound=bound)
    assert found.holds
    for b, n in enumerate(LENGTHS):
        own = analysis.gradient_products(alone[b], bound=bound)
        np.testing.assert_allclose(found.log_norm[: n + 1, b], own.log_norm[:, 0], rtol=1e-12, atol=1e-13)
        assert np.isnan(found.log_norm[n + 1 :, b]).all()


def test_rates_of_gradients(runs):
    padded, alone = runs
    last = np.random.default_rng(2).standard_normal((1, 4, 5))
    found = analysis.gradient_norms(padded, grad_final_state=last)
    for b in range(len(LENGTHS)):
        own = analysis.gradient_norms(alone[b], grad_final_state=last[:, b : b + 1])
        np.testing.assert_allclose(found.rate[b], own.rate[0], rtol=1e-10)
        assert found.last[b] == own.last[0]
        assert found.horizon[b] == own.horizon[0]


def test_clipping_of_two_directions():
    run = tt.Network("gru", 2, 4, bidirectional=True, seed=0).unroll(np.ones((9, 3, 2)), lengths=[9, 4, 0])
    g = np.ones((9, 3, 8))
    effect = analysis.clipping_effect(run, g, [0.1, 1e9])
    grads = run.backprop(g)
    full = np.concatenate([value.ravel() for value in grads.parameters.values()])
    assert effect.norm == pytest.approx(np.linalg.norm(full), rel=1e-12)
    np.testing.assert_allclose(effect.cosine[0], 1.0, rtol=1e-12)
    np.testing.assert_allclose(effect.norm_ratio[:2, 1], 1.0, rtol=1e-12)
    assert np.isnan(effect.cosine[2]).all()
    assert analysis.clip_by_norm(grads, 0.1) == pytest.approx(effect.norm)
    assert analysis.clip_by_value(grads, 1e-3) > 0
    with pytest.raises(ValueError, match="bidirectional=False"):
        analysis.clip_per_step(run, g, 1.0)
