"""Numbers of any size: squares neither overflow nor vanish, in clipping, norms, comparisons and what is printed."""

import mpmath
import numpy as np
import pytest

import throughtime as tt
from throughtime.analysis import clip_by_norm, clip_by_value, clip_per_step, clipping_effect, gradient_by_lag
from throughtime.analysis.gradients.lag_sweep import compare
from throughtime.network import norms

SIZES = [1e-320, 1e-300, 1e-200, 1e-160, 1.0, 1e150, 1e155, 1e200, 1e307]


def true_norm(values):
    with mpmath.workdps(50):
        return mpmath.sqrt(sum(mpmath.mpf(float(v)) ** 2 for v in np.ravel(values)))


@pytest.mark.parametrize("size", SIZES)
def test_norms_against_mpmath(size):
    values = size * np.random.default_rng(0).uniform(0.1, 1.0, (3, 7))
    assert norms.norm(values) == pytest.approx(float(true_norm(values)), rel=1e-15, abs=5e-324)
    rows = norms.of_rows(values)
    np.testing.assert_allclose(rows, [float(true_norm(row)) for row in values], rtol=1e-15, atol=5e-324)
    assert norms.norm(values + 1j * values) == pytest.approx(float(true_norm([values, values])), rel=1e-15, abs=5e-324)


def test_norms_of_what_is_no_number_or_beyond():
    assert norms.norm([1.5e308] * 4) == np.inf
    m, e = norms.together([np.array([1.5e308] * 4)])
    assert float(np.ldexp(m[0], e[0] - 10)) == pytest.approx(1.5e308 / 512, rel=1e-15)
    assert np.isnan(norms.norm([np.nan, 1.0, np.inf]))
    assert norms.norm([np.inf, 1.0]) == np.inf
    assert norms.norm([]) == norms.norm(np.zeros((2, 2))) == 0.0
    assert norms.norm(np.array([3e30, 4e30], np.float32)) == pytest.approx(5e30, rel=1e-7)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30, 1e154, 1e200, 1e307])
@pytest.mark.parametrize("limit", [1e-300, 1e-20, 1.0, 1e100])
def test_clipping_by_norm(dtype, size, limit):
    if dtype == "float32" and size > 1e38:
        pytest.skip("no such numbers")
    given = {"a": (size * np.array([3.0, 0.0])).astype(dtype), "b": (size * np.array([[4.0]])).astype(dtype)}
    values = {name: value.copy() for name, value in given.items()}
    norm = true_norm(np.concatenate([value.ravel() for value in values.values()]))
    assert clip_by_norm(values, limit) == pytest.approx(float(norm), rel=1e-15)
    factor = min(1, mpmath.mpf(limit) / (norm + mpmath.mpf(1e-6)))
    eps, least = np.finfo(dtype).eps, np.finfo(dtype).smallest_subnormal
    for name, value in values.items():
        expected = [float(mpmath.mpf(float(x)) * factor) for x in given[name].ravel()]
        np.testing.assert_allclose(value.ravel(), expected, rtol=4 * eps, atol=least)


def test_the_examples_of_the_docs():
    values = {"a": np.array([3e154, 4e154])}
    assert clip_by_norm(values, 1.0) == 5e154
    np.testing.assert_allclose(values["a"], [0.6, 0.8], rtol=1e-15)
    assert clip_by_norm({"a": np.array([3e-200, 4e-200])}, 1.0) == pytest.approx(5e-200, rel=1e-15)
    beyond = {"a": np.full(4, 1.5e308)}
    assert clip_by_norm(beyond, 1.0) == np.inf
    np.testing.assert_allclose(beyond["a"], 0.5, rtol=1e-15)
    single = {"a": np.array([3e30, 1.0], np.float32)}
    assert clip_by_value(single, 1e300) == 0.0


@pytest.mark.parametrize("size", [1e155, 1e200, 1e300])
def test_clipping_at_every_step(size):
    run = tt.Network("tanh", 2, 6, seed=0).unroll(np.random.default_rng(0).standard_normal((12, 3, 2)))
    g = np.random.default_rng(1).standard_normal((12, 3, 6))
    small, large = (clip_per_step(run, factor * g, 1e-3 * factor) for factor in (1e8, size))
    assert large[1] == small[1] > 0.5
    for name, value in large[0].items():
        np.testing.assert_allclose(value / size, small[0][name] / 1e8, rtol=1e-11, atol=1e-18)


@pytest.mark.parametrize("size", [1e-250, 1e-160, 1e160, 1e250])
def test_results_of_a_loss_in_another_unit(size):
    run = tt.Network("gru", 2, 5, seed=0).unroll(np.random.default_rng(0).standard_normal((10, 2, 2)))
    g = np.random.default_rng(1).standard_normal((10, 2, 5))
    one, other = gradient_by_lag(run, g), gradient_by_lag(run, size * g)
    np.testing.assert_allclose(other.share, one.share, rtol=1e-12)
    known = np.isfinite(one.log_norm)
    np.testing.assert_allclose(other.log_norm[known] - one.log_norm[known], np.log(size), rtol=1e-12)
    small, large = (tt.analysis.gradient_norms(run, factor * g).log_norm for factor in (1.0, size))
    np.testing.assert_allclose(large - small, np.log(size), rtol=1e-12)
    grads = run.backprop(size * g)
    norm = float(repr(grads).split("norm ")[1].split(";")[0])
    assert norm == pytest.approx(size * float(repr(run.backprop(g)).split("norm ")[1].split(";")[0]), rel=1e-5)
    effect = clipping_effect(run, size * g, [0.5 * size])
    plain = clipping_effect(run, 1e10 * g, [0.5e10])
    assert effect.norm == pytest.approx(plain.norm / 1e10 * size, rel=1e-12)
    if size > 1:
        np.testing.assert_allclose(effect.cosine, plain.cosine, rtol=1e-9)


def test_one_loss_beside_a_much_larger_one():
    """ln‖u‖ of every loss time is its own, 1e-200 of the largest included."""
    run = tt.Network("tanh", 1, 3, seed=0).unroll(np.ones((6, 1)))
    g = np.ones((6, 3)) * np.array([1e-200, 1.0, 1e-160, 1e100, 1.0, 1e-90])[:, None]
    found, alone = gradient_by_lag(run, g).log_norm, gradient_by_lag(run, np.ones((6, 3))).log_norm
    shift = np.log(g[:, 0])
    for t in range(6):
        np.testing.assert_allclose(found[t, : t + 1, 0], alone[t, : t + 1, 0] + shift[t], rtol=1e-12)


@pytest.mark.parametrize("a", [1e-300, 1e-170, 1.0, 1e170, 1e300])
@pytest.mark.parametrize("b", [1e-300, 1.0, 1e300])
def test_comparing_two_gradients(a, b):
    u, v = np.array([1.0, 2.0, -1.0]), np.array([0.5, 1.0, 3.0])
    ratio, cosine = compare(a * u, b * v)
    with mpmath.workdps(30):
        expected = float(true_norm(a * u) / true_norm(b * v)) if -300 < np.log10(a) - np.log10(b) < 300 else None
    if expected is not None:
        assert ratio == pytest.approx(expected, rel=1e-14)
    assert cosine == pytest.approx(u @ v / np.linalg.norm(u) / np.linalg.norm(v), rel=1e-14)
