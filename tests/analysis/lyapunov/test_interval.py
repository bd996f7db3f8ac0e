"""The automatic interval changes the cost of a spectrum, never its exponents; −inf only where a step is singular."""

import numpy as np
import pytest

import throughtime as tt
from throughtime.analysis import lyapunov_from_jacobians, lyapunov_spectrum
from throughtime.analysis.lyapunov import measure
from throughtime.analysis.lyapunov.given_matrices import GivenMatrices
from throughtime.analysis.lyapunov.interval import ZONE
from throughtime.analysis.lyapunov.measure import random_frame

# One interval may be wrong by eps·e^zone; a mean over a hundred and more intervals, few of which come near the zone, by
# a hundredth of that. 10: rounding adds up over the steps of an interval, and over columns.
TOLERANCE = {
    name: 10 * np.finfo(name).eps * np.exp(ZONE[np.dtype(name).itemsize]) / 100 for name in ("float64", "float32")
}


@pytest.fixture(params=[0, None], ids=["by intervals", "small states singly"], autouse=True)
def small(request, monkeypatch):
    """Small states are orthonormalised after every step, large ones by intervals: here both ways at small sizes."""
    if request.param is not None:
        monkeypatch.setattr(measure, "SINGLE", request.param)
    return request.param is None


def same(found, expected, tolerance):
    lost = np.isneginf(expected.exponents)
    np.testing.assert_array_equal(np.isneginf(found.exponents), lost)
    np.testing.assert_allclose(found.exponents[~lost], expected.exponents[~lost], rtol=0, atol=tolerance)


def test_the_example_that_lost_an_exponent():
    net = tt.Network("gru", 2, 4, seed=6)
    x = 10 * np.random.default_rng(6).normal(size=(1500, 2))
    found = lyapunov_spectrum(net, x, k=3, seed=0)
    same(found, lyapunov_spectrum(net, x, k=3, seed=0, interval=1), TOLERANCE["float64"])
    assert found.exponents[2] == pytest.approx(-2.532, abs=1e-3)
    assert found.converged


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", sorted(tt.CELLS))
def test_networks(cell, layers, precision):
    """One, half and all exponents, weak to strong input, a batch of one and of two."""
    net = tt.Network(cell, 2, 3, num_layers=layers, seed=layers, dtype=precision)
    rng = np.random.default_rng(layers)
    for k in sorted({1, (net.state_size + 1) // 2, net.state_size}):
        strength, batch = (0.1, 1.0, 10.0)[k % 3], 1 + k % 2
        x = strength * rng.standard_normal((520, batch, 2))
        options = {"k": k, "seed": k, "precision": precision, "sum_rule": False}
        found, expected = (lyapunov_spectrum(net, x, interval=i, **options) for i in ("auto", 1))
        same(found, expected, TOLERANCE[precision])


@pytest.mark.parametrize(("size", "k", "seeds"), [(3, 3, 6), (3, 2, 3), (20, 20, 2)])
def test_gaussian_products(size, k, seeds):
    """One seed in ten lost an exponent; as an array, and read once."""
    for seed in range(seeds):
        matrices = np.random.default_rng(seed).standard_normal((800, size, size))
        expected = lyapunov_from_jacobians(matrices, k, seed=0, interval=1, discard=0)
        same(lyapunov_from_jacobians(matrices, k, seed=0, discard=0), expected, TOLERANCE["float64"])
        same(lyapunov_from_jacobians(iter(matrices), k, seed=0), expected, TOLERANCE["float64"])


@pytest.mark.parametrize("size", [1, 3, 20])
@pytest.mark.parametrize("scale", [1e-160, 1e-300, 1e160])
def test_numbers_near_the_end_of_their_range(size, scale):
    """Two steps of 1e-160 leave denormal numbers, which have lost digits."""
    matrices = np.random.default_rng(0).standard_normal((450, size, size))
    plain = lyapunov_from_jacobians(matrices, seed=0, interval=1)
    for interval in ("auto", 2):
        found = lyapunov_from_jacobians(matrices * scale, seed=0, interval=interval)
        if interval == "auto" or scale < 1.0:  # beyond the range a given interval has NaN, and says so
            np.testing.assert_allclose(found.exponents - np.log(scale), plain.exponents, rtol=0, atol=1e-11)


def quiet(count=900):
    """Products of 3×3 matrices that drift apart slowly: the interval grows to its limit."""
    rng = np.random.default_rng(1)
    return np.linalg.qr(rng.standard_normal((count, 3, 3)))[0] * np.array([1.0, 0.9, 0.8])


def test_a_burst_shortens_the_interval_for_a_while(small):
    if small:
        pytest.skip("it has no intervals")
    matrices = quiet(2400)
    matrices[700:760] = np.random.default_rng(2).standard_normal((60, 3, 3)) * np.array([1.0, 1e-2, 1e-4])
    found, expected = (lyapunov_from_jacobians(matrices, seed=0, interval=i) for i in ("auto", 1))
    same(found, expected, TOLERANCE["float64"])
    assert found.interval > 1
    steps = np.diff(found.times)
    assert steps[:300].min() == 1
    assert steps[-10:-1].min() > 3  # the last is what is left


@pytest.mark.parametrize("interval", ["auto", 1, 7])
@pytest.mark.parametrize("k", [3, 2])
def test_one_singular_step_loses_one_direction(interval, k):
    """Of three directions the last; of two leading ones none, though the product is singular."""
    matrices = quiet()
    matrices[500] = matrices[500] @ np.diag([1.0, 1.0, 0.0])
    found = lyapunov_from_jacobians(matrices, k, seed=0, interval=interval)
    frame, logs = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)).T)[0], np.zeros(3)
    for t, matrix in enumerate(matrices):
        frame, r = np.linalg.qr(matrix @ frame)
        logs += np.log(np.abs(np.diagonal(r))) * (t >= 90)
    np.testing.assert_allclose(np.sort(found.exponents)[::-1][:2], np.sort(logs[:2])[::-1] / 810, rtol=0, atol=1e-12)
    assert np.isneginf(found.exponents).sum() == k - 2


def test_what_is_lost_does_not_touch_the_directions_after_it():
    """The fastest direction dies on the way: of diag(2, .9, .7), triangular, two exponents remain and are right."""
    factor = np.array([[2.0, 0.3, 0.2], [0.0, 0.9, 0.1], [0.0, 0.0, 0.7]])
    matrices = np.tile(factor, (1600, 1, 1))
    matrices[800] = factor @ np.diag([0.0, 1.0, 1.0])  # e_1, which is the first column to rounding
    for interval in ("auto", 1):
        found = lyapunov_from_jacobians(matrices, seed=0, interval=interval, discard=400)
        rest = np.log([0.9, 0.7])
        assert np.isneginf(found.exponents).sum() == 1
        after = np.median(found.block_rates[-100:], axis=0)
        np.testing.assert_allclose(
            np.sort(after[np.isfinite(after)])[::-1], np.sort([np.log(2.0), *rest])[::-1][:2], atol=1e-6
        )


def test_dead_relus_of_several_layers():
    """Directions that sink to rounding within an interval and rise again are seen before the interval is taken."""
    for seed in range(1, 6):
        net = tt.Network("relu", 2, 4, num_layers=2, seed=seed, init=tt.init.gaussian(1.5))
        x = np.random.default_rng(seed).standard_normal((300, 2))
        found, expected = (lyapunov_spectrum(net, x, k=3, seed=0, interval=i) for i in ("auto", 1))
        same(found, expected, TOLERANCE["float64"])


def test_a_sequence_that_needs_short_intervals_does_not_harm_the_others():
    net = tt.Network("gru", 2, 4, seed=6)
    rng = np.random.default_rng(6)
    x = rng.standard_normal((600, 3, 2)) * np.array([0.1, 10.0, 1.0])[:, None]
    x[300:, 2] = np.nan
    found = lyapunov_spectrum(net, x, k=3, seed=0)
    assert np.isnan(found.exponents[2]).all()
    for b in range(2):
        alone = lyapunov_spectrum(net, x[:, b], k=3, seed=0, interval=1)
        np.testing.assert_allclose(found.exponents[b], alone.exponents, rtol=0, atol=TOLERANCE["float64"])


def test_a_given_interval_that_is_too_long_says_so():
    net = tt.Network("gru", 2, 4, seed=6)
    x = 10 * np.random.default_rng(6).normal(size=(1500, 2))
    found = lyapunov_spectrum(net, x, k=3, seed=0, interval=20)
    assert not np.isneginf(found.exponents).any()
    wrong = np.abs(found.exponents - lyapunov_spectrum(net, x, k=3, seed=0, interval=1).exponents).max() > 1e-6
    assert not (found.converged and wrong)
    scale = np.exp(np.linspace(0.0, -4.0, 10))
    rng = np.random.default_rng(0)
    matrices = [scale[:, None] * np.linalg.qr(rng.standard_normal((10, 10)))[0] for _ in range(840)]
    long = lyapunov_from_jacobians(matrices, seed=0, interval=14)
    assert not long.converged
    assert "interval 14 is too long" in long.reason


def test_matrices_can_be_read_once_more():
    given = [np.full((2, 2), float(t)) for t in range(9)]
    source = GivenMatrices(iter(given), 2)
    mark, read = source.mark(), []
    for _ in range(2):
        source.back(mark)
        read.append([local.jacobian[0, 0, 0] for local in source.step_jacobians(5)])
    assert read == [[0.0, 1.0, 2.0, 3.0, 4.0]] * 2
    assert [local.jacobian[0, 0, 0] for local in source.step_jacobians(9)] == [5.0, 6.0, 7.0, 8.0]


def exact(J, frame):
    """Exponents of a product by Gram and Schmidt in 300 digits; J (T, S, S), frame (S, K)."""
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(300):
        number = np.vectorize(mpmath.mpf, otypes=[object])
        columns, sums = number(frame), np.zeros(frame.shape[1])
        for jacobian in J:
            columns = number(jacobian) @ columns
            for i in range(columns.shape[1]):
                for j in range(i):
                    columns[:, i] -= columns[:, j] * (columns[:, j] @ columns[:, i])
                length = mpmath.sqrt(columns[:, i] @ columns[:, i])
                sums[i] += float(mpmath.log(length))
                columns[:, i] /= length
    return np.sort(sums / len(J))[::-1]


@pytest.mark.parametrize("interval", [1, "auto"])
@pytest.mark.parametrize(
    ("cell", "units", "layers", "strength", "k"),
    [("lstm", 1, 1, 100.0, 1), ("gru", 2, 1, 100.0, 1), ("tanh", 2, 2, 10.0, 3), ("lstm", 2, 2, 10.0, 3)],
)
def test_entries_far_below_a_columns_length(cell, units, layers, strength, k, interval):
    """Saturated units and later layers: vectors have entries of 1e-45, which a later Jacobian brings up again."""
    net = tt.Network(cell, 2, units, num_layers=layers, seed=3)
    x = strength * np.random.default_rng(1).standard_normal((300, 2))
    J = net.unroll(x).jacobians()[:, 0]
    expected = exact(J, random_frame(1, net.state_size, k, 0, np.float64)[0])
    found = lyapunov_spectrum(net, x, k=k, seed=0, warmup=0, discard=0, interval=interval)
    np.testing.assert_allclose(found.exponents, expected, rtol=0, atol=TOLERANCE["float64"])


@pytest.mark.parametrize("seed", range(24))
def test_small_states_have_the_same_bits_at_any_interval_and_are_those_of_plain_numpy(seed, small):
    """Any cell, one and two layers, weak to strong input, any k: QR after every step, written out."""
    if not small:
        pytest.skip("this is about steps one by one")
    rng = np.random.default_rng(seed)
    cell = sorted(tt.CELLS)[seed % len(tt.CELLS)]
    net = tt.Network(cell, 2, int(rng.integers(1, 5)), num_layers=int(rng.integers(1, 3)), seed=seed)
    k, x = int(rng.integers(1, net.state_size + 1)), rng.choice([0.1, 1.0, 10.0]) * rng.standard_normal((300, 2))
    options = {"k": k, "seed": seed, "warmup": 20, "discard": 0}
    found, expected = (lyapunov_spectrum(net, x, interval=i, **options) for i in ("auto", 1))
    np.testing.assert_array_equal(found.exponents, expected.exponents)
    np.testing.assert_array_equal(found.standard_error, expected.standard_error)
    if np.isneginf(found.exponents).any() or x.std() > 5:
        return  # saturated: Householder's reflections lose what test_entries_far_below_a_columns_length is about
    q, total = random_frame(1, net.state_size, k, seed, np.float64)[0], np.zeros(k)
    run = net.unroll(x)
    for t in range(21, 301):
        q, r = np.linalg.qr(run.jacobian(t)[0] @ q)
        total += np.log(np.abs(np.diagonal(r)))
    np.testing.assert_allclose(found.exponents, np.sort(total / 280)[::-1], rtol=0, atol=1e-11)
