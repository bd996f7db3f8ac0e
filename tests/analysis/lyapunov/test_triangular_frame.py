"""Triangular frames find what orthonormal ones find; float32 and the cheap determinants are right."""

import numpy as np
import pytest
from scipy.linalg import lapack

import throughtime as tt
from throughtime.analysis import lyapunov_spectrum
from throughtime.analysis.lyapunov.given_matrices import GivenMatrices
from throughtime.analysis.lyapunov.measure import measure, random_frame
from throughtime.analysis.lyapunov.step_jacobian import Dense
from throughtime.analysis.lyapunov.trajectory import Trajectory
from throughtime.analysis.lyapunov.triangular_frame import TriangularFrame
from throughtime.engine.lu import DENSE, OWN, SLOPE
from throughtime.engine.lu import frame as frame_module
from throughtime.engine.lu.frame import Frame, Jacobians, Workspace, padded


def network(cell, n=24, gain=1.6, **options):
    init = "uniform" if cell == "lstm" else tt.init.gaussian(gain=gain)
    return tt.Network(cell, 2, n, init=init, seed=1, **options)


def by_qr(net, x, k, discard):
    """Every step a QR decomposition, as in the usual script."""
    source = Trajectory(net, x, x.shape[1], None)
    frame = random_frame(x.shape[1], net.state_size, k, 0, np.float64)
    (result,) = measure(source, frame, interval=1, discard=discard, steps=len(x), warmup=0)
    return result


@pytest.mark.parametrize("cell", ["tanh", "linear", "leaky_tanh", "rate", "lstm", "gru"])
@pytest.mark.parametrize("interval", [1, 3])
def test_the_same_as_a_qr_at_every_step(cell, interval):
    net = network(cell)
    x = np.random.default_rng(0).standard_normal((60, 2, 2))
    found = lyapunov_spectrum(net, x, warmup=0, seed=0, interval=interval)
    expected = by_qr(net, x, net.state_size, found.discarded)
    np.testing.assert_allclose(found.exponents, expected.exponents, atol=1e-6 if cell == "lstm" else 1e-9)
    np.testing.assert_allclose(found.mean_log_det, expected.mean_log_det, atol=1e-12)


def test_tall_frames():
    net, x = network("tanh"), np.random.default_rng(0).standard_normal((60, 1, 2))
    found = lyapunov_spectrum(net, x, k=20, warmup=0, seed=0)
    np.testing.assert_allclose(found.exponents, by_qr(net, x, 20, found.discarded).exponents, atol=1e-9)


@pytest.mark.parametrize("cell", ["tanh", "rate", "gru", "lstm"])
@pytest.mark.parametrize("k", [6, None])
def test_float32(cell, k):
    net, x = network(cell), np.random.default_rng(0).standard_normal((200, 2))
    double, single = (lyapunov_spectrum(net, x, k=k, seed=0, precision=p) for p in ("float64", "float32"))
    assert single.precision == "float32"
    np.testing.assert_allclose(single.exponents, double.exponents, atol=5e-3 if cell == "lstm" else 1e-4)
    if k is None:
        assert single.sum_rule_residual < 1e-4 * net.state_size


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_determinants(cell):
    run = network(cell, n=7).unroll(np.random.default_rng(0).standard_normal((3, 2, 2)))
    jacobian = run.jacobian(3)
    expected = np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(Dense(jacobian, 7).log_det(), expected, atol=1e-10)


def test_the_sum_rule_can_be_left_out():
    net = network("gru")
    spectrum = lyapunov_spectrum(net, steps=60, seed=0, sum_rule=False)
    assert np.isnan(spectrum.sum_rule_residual)
    np.testing.assert_allclose(spectrum.exponents, lyapunov_spectrum(net, steps=60, seed=0).exponents, atol=1e-12)


def test_a_weight_matrix_of_lower_rank_has_exponents_of_minus_infinity():
    net = tt.Network("tanh", 1, 20, bias=False, seed=0)
    rng = np.random.default_rng(0)
    net.parameters["weight_hh_l0"][...] = rng.standard_normal((20, 17)) @ rng.standard_normal((17, 20)) / 10
    exponents = lyapunov_spectrum(net, steps=60, seed=0).exponents
    assert np.isfinite(exponents[:17]).all()
    assert np.all(exponents[17:] == -np.inf)


def test_saturated_units_are_not_singular():
    """Gain 20: slopes down to 1e-30, but a determinant that the sum of the exponents finds."""
    spectrum = lyapunov_spectrum(network("tanh", gain=20.0, bias=False), steps=60, seed=0)
    assert np.isfinite(spectrum.exponents).all()
    assert spectrum.mean_log_det < -100


def test_refuses_another_precision():
    with pytest.raises(ValueError, match="`precision` is 'float16'"):
        lyapunov_spectrum(network("tanh"), steps=60, precision="float16")


def jacobians(rng, kind, steps, size, dtype):
    """Jacobians for the engine, and the same as plain matrices."""
    if kind == "dense":
        plain = rng.standard_normal((steps, size, size)).astype(dtype)
        one = np.ones(1, dtype)
        return Jacobians(plain.reshape(-1), size, one, one, one, DENSE, 0, steps, size * size), plain
    line = padded(size)
    w, (d, slope, own) = np.zeros((size, line), dtype), np.zeros((3, steps, line), dtype)
    w[:, :size] = rng.standard_normal((size, size)) / np.sqrt(size)
    for part in (d, slope, own):
        part[:, :size] = rng.uniform(0.5, 1.5, (steps, size))
    plain = d[:, :size, None] * w[:, :size].T * slope[:, None, :size] + own[:, :, None][:, :size] * np.eye(size)
    return Jacobians(w.reshape(-1), line, d.ravel(), slope.ravel(), own.ravel(), SLOPE | OWN, 0, steps, line), plain


def recovered(frame):
    """P'L and U of a frame."""
    lower, upper = frame.factors()
    unsorted = np.empty_like(lower)
    unsorted[frame.order] = lower
    return unsorted, upper


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", ["dense", "diagonal"])
@pytest.mark.parametrize(("size", "columns"), [(1, 1), (5, 5), (17, 9), (33, 33), (70, 45), (150, 150), (261, 140)])
def test_a_step_is_a_product_and_lu_with_row_pivoting(dtype, kind, size, columns):
    """J P'L = ± (P''L') U, |L| ≤ 1, and the pivots are LAPACK's."""
    rng, eps = np.random.default_rng(size), float(np.finfo(dtype).eps)
    frame = Frame(rng.standard_normal((size, columns)), Workspace(size, columns, dtype))
    before, _ = recovered(frame)
    given, plain = jacobians(rng, kind, 1, size, dtype)
    taken, pivots = frame.advance(given, 1, True, 0.0)
    after, upper = recovered(frame)
    product = plain[0].astype(np.float64) @ before
    sign = np.sign((after @ upper)[0, 0] * product[0, 0])
    assert taken == 1
    assert np.abs(after).max() <= 1.0
    assert np.abs(sign * after @ upper - product).max() <= 10 * size * eps * np.abs(product).max()
    np.testing.assert_array_equal(pivots[0], np.abs(np.diagonal(upper)))
    assert np.array_equal(np.sort(frame.order), np.arange(size))
    if dtype == np.float64:  # in float32 two candidates may be equal to rounding
        _, order, _ = lapack.dgetrf(product)
        expected = np.arange(size)
        for row, pivot in enumerate(order):
            expected[[row, pivot]] = expected[[pivot, row]]
        assert np.array_equal(frame.order[:columns], expected[:columns])


@pytest.mark.parametrize("kind", ["dense", "diagonal"])
def test_many_steps_at_once_are_single_steps(kind):
    """Also where a call ends within an interval."""
    size, columns, space = 40, 37, Workspace(40, 37, np.float64)
    given, _ = jacobians(np.random.default_rng(0), kind, 7, size, np.float64)
    start = np.random.default_rng(1).standard_normal((size, columns))
    together, apart = Frame(start, space), Frame(start, space)
    taken, pivots = together.advance(given, 3, True, 0.0)
    found = [apart.advance(given._replace(first=t, steps=1), 3, t == 6, 0.0)[1] for t in range(7)]
    assert taken == 7
    assert [len(rows) for rows in found] == [0, 0, 1, 0, 0, 1, 1]
    np.testing.assert_array_equal(pivots, np.concatenate(found))
    np.testing.assert_array_equal(together.factors()[0], apart.factors()[0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("size", "columns"), [(33, 33), (64, 40), (130, 130), (210, 150), (330, 330)])
def test_the_same_bits_for_any_number_of_threads(dtype, size, columns, monkeypatch):
    """Whatever blocks of strips, of one thread or of many, the last of which may have none."""
    monkeypatch.setattr(frame_module, "MEETINGS", 0)
    given, _ = jacobians(np.random.default_rng(0), "diagonal", 5, size, dtype)
    start, found = np.random.default_rng(1).standard_normal((size, columns)), []
    threads = tt.get_num_threads()
    try:
        for count in (1, 2, 3, 5):
            tt.set_num_threads(count)
            frame = Frame(start, Workspace(size, columns, dtype))
            assert frame.space.team == count
            found.append((frame.advance(given, 2, True, 0.0)[1], frame.factors()[0], frame.order))
    finally:
        tt.set_num_threads(threads)
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_tiny_and_vanishing_pivots():
    """Pivots whose reciprocals overflow, and columns of zeros."""
    rng = np.random.default_rng(0)
    start = rng.standard_normal((20, 20)) * np.where(np.arange(20) < 10, 1e-310, 1.0)
    frame = Frame(start, Workspace(20, 20, np.float64))
    lower, upper = frame.factors()
    assert np.isfinite(lower).all()
    np.testing.assert_allclose(np.abs(lower @ upper), np.abs(start[frame.order]), rtol=0, atol=1e-13)
    start[:, 3] = 0.0
    frame = Frame(start, Workspace(20, 20, np.float64))
    assert np.isfinite(frame.factors()[0]).all()
    assert np.diagonal(frame.factors()[1])[3] == 0.0


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
@pytest.mark.parametrize("place", [(0, 0), (7, 29), (29, 7)])
def test_what_is_not_finite_gives_nan_from_there_on(spoilt, place):
    matrices = np.random.default_rng(0).standard_normal((20, 30, 30))
    matrices[11][place] = spoilt
    frame = TriangularFrame(random_frame(1, 30, 30, 0, np.float64), np.float64)
    source = GivenMatrices(iter(matrices), 30)
    assert np.isfinite(frame.carry(source, 10, 2, False)[1]).all()
    for _ in range(2):
        assert np.isnan(frame.carry(source, 5, 2, False)[1]).all()


@pytest.mark.parametrize("when", [0, 150, 299])
def test_rank_lost_on_the_way(when):
    """A given product goes on by QR decompositions from the block in which a matrix is singular."""
    rng = np.random.default_rng(0)
    matrices = rng.standard_normal((300, 24, 24))
    matrices[when, :, 3] = matrices[when, :, 4]
    exponents = tt.analysis.lyapunov_from_jacobians(iter(matrices), seed=0, interval=1).exponents
    frame = random_frame(1, 24, 24, 0, np.float64)[0]
    logs = np.zeros(24)
    for matrix in matrices:
        frame, r = np.linalg.qr(matrix @ frame)
        logs += np.log(np.abs(np.diagonal(r)))
    assert exponents[-1] == -np.inf
    np.testing.assert_allclose(exponents[:-1], np.sort(logs[:-1] / 300)[::-1], atol=1e-10)
