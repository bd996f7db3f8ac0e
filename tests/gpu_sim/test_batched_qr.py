"""Batched QR in one kernel against NumPy's: conditioning, lost rank, NaN, sizes, and the same bits in any schedule."""

import numpy as np
import pytest
import scheduler

from throughtime.engine.cuda import batched_qr, device, wide_qr

RNG = np.random.default_rng(4)
EPS = {np.float32: 2.0**-23, np.float64: 2.0**-52}
both = pytest.mark.parametrize("real", [np.float32, np.float64], ids=["float32", "float64"])


def decomposed(a):
    """Q (B, S, K) and ln|R_ii| (B, K) of frames (B, S, K) by the kernel."""
    batch, size, columns = a.shape
    on_device = device.to_device(np.ascontiguousarray(a.transpose(0, 2, 1)).reshape(batch * columns, size))
    log_r = device.to_host(batched_qr.orthonormalise(on_device, columns))
    return device.to_host(on_device).reshape(batch, columns, size).transpose(0, 2, 1), log_r


def conditioned(size, columns, condition):
    """A frame with singular values from 1 down to 1/condition."""
    u, _ = np.linalg.qr(RNG.standard_normal((size, columns)))
    v, _ = np.linalg.qr(RNG.standard_normal((columns, columns)))
    return u * np.geomspace(1.0, 1.0 / condition, columns) @ v.T


def check(a, q, log_r, scale=1.0):
    """A = QR with Q orthonormal, to rounding, and the diagonal of R by an independent QR in float64.

    The error of a diagonal relative to itself is eps times the condition number at most.
    """
    eps, columns = EPS[a.dtype.type], a.shape[1]
    q64, a64 = q.astype(np.float64), a.astype(np.float64) / scale
    np.testing.assert_allclose(q64.T @ q64, np.eye(columns), rtol=0, atol=16 * columns * eps)
    r = q64.T @ a64
    assert np.abs(np.tril(r, -1)).max(initial=0.0) <= 32 * columns * eps * np.abs(a64).max()
    np.testing.assert_allclose(q64 @ r, a64, rtol=0, atol=32 * columns * eps * np.abs(a64).max())
    expected = np.log(np.abs(np.diagonal(np.linalg.qr(a64)[1]))) + np.log(scale)
    condition = np.linalg.cond(a64)
    bound = 16 * columns * eps * (condition + np.abs(expected))
    assert np.all(np.abs(log_r - expected) <= bound), (log_r - expected, bound)


@both
@pytest.mark.parametrize("size", [3, 8, 10])
def test_frames_of_any_size(size, real):
    for columns in range(1, size + 1):
        a = RNG.standard_normal((1 + columns % 3, size, columns)).astype(real)
        for frame, q, log_r in zip(a, *decomposed(a), strict=True):
            check(frame, q, log_r)


CONDITIONS = [(np.float32, 1e2), (np.float32, 1e5), *((np.float64, condition) for condition in (1e2, 1e5, 1e9, 1e14))]


@pytest.mark.parametrize(("real", "condition"), CONDITIONS)
def test_ill_conditioned_frames(condition, real):
    a = np.stack([conditioned(10, columns, condition) for columns in (9, 9)]).astype(real)
    for frame, q, log_r in zip(a, *decomposed(a), strict=True):
        check(frame, q, log_r)


@both
@pytest.mark.parametrize(("side", "size", "columns"), [(4, 20, 19), (8, 7, 5)])
def test_wider_blocks(side, size, columns, real, monkeypatch):
    """Tiles of 16 columns, two of them; blocks of two warps."""
    monkeypatch.setattr(batched_qr, "side_for", lambda *_: side)
    a = np.stack([RNG.standard_normal((size, columns)), conditioned(size, columns, 1e5)]).astype(real)
    a[0, :, columns - 1] = a[0, :, 0] - a[0, :, 1]
    q, log_r = decomposed(a)
    check(a[1], q[1], log_r[1])
    check(a[0, :, :-1], q[0, :, :-1], log_r[0, :-1])
    assert log_r[0, -1] == -np.inf


@both
def test_a_lost_rank_is_minus_infinity_exactly(real):
    a = RNG.standard_normal((4, 9, 5)).astype(real)
    a[0, :, 3] = 2 * a[0, :, 1] - a[0, :, 0]  # the fourth column hangs on two earlier ones
    a[1, :, 1:] = a[1, :, :1] * np.arange(1, 5)  # one direction only
    a[2] = 0
    a[3, 4:] = 0  # four rows left
    q, log_r = decomposed(a)
    lost = np.array([[0, 0, 0, 1, 0], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]], bool)
    np.testing.assert_array_equal(log_r == -np.inf, lost)
    known = ~np.logical_or.accumulate(lost, axis=1)  # after a lost column the basis goes on as it likes
    for frame, basis, logs, here in zip(a, q, log_r, known, strict=True):
        np.testing.assert_allclose(basis.T @ basis, np.eye(5), rtol=0, atol=80 * EPS[real])
        np.testing.assert_allclose(basis @ (basis.T @ frame), frame, rtol=0, atol=1e3 * EPS[real])
        r = np.linalg.qr(frame.astype(np.float64))[1]
        np.testing.assert_allclose(logs[here], np.log(np.abs(np.diagonal(r))[here]), rtol=0, atol=1e3 * EPS[real])


@both
def test_rows_of_very_different_size_are_no_lost_rank(real):
    """A saturated unit has slopes of 1e-20; the frame keeps its rank and each diagonal its relative accuracy."""
    sizes = np.array([1.0, 1e-20, 1.0, 1e-9, 1.0, 1e-20])
    a = (sizes[:, None] * RNG.standard_normal((6, 6))).astype(real)
    q, log_r = decomposed(a[None])
    np.testing.assert_allclose(q[0].T @ q[0], np.eye(6), rtol=0, atol=100 * EPS[real])
    expected = np.linalg.slogdet((a / sizes[:, None]).astype(np.float64))[1] + np.log(sizes).sum()
    assert abs(log_r.sum(dtype=np.float64) - expected) <= 1e3 * EPS[real] * np.abs(log_r).sum()
    assert np.sum(log_r < -30) == 2
    assert np.sum(log_r < -15) == 3


def graded(columns, tiny):
    """Square, with rows of size one and, every third, of size `tiny`."""
    sizes = np.where(np.arange(columns) % 3 == 1, tiny, 1.0)
    return sizes[:, None] * RNG.standard_normal((columns, columns)), sizes


@both
def test_frames_of_several_tiles_end_where_they_can(real, monkeypatch):
    """By the passes of many blocks, with scaled rows in float32, and by reflections what is left."""
    monkeypatch.setattr(batched_qr, "side_for", lambda *_: 4)
    # The same frames in any order of the tests: in float32 reflections have to end one in twelve of the mild ones.
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(0))
    columns = 18
    plain, lost = RNG.standard_normal((columns, columns)), RNG.standard_normal((columns, columns))
    (mild, sizes), (wild, tiny) = graded(columns, 1e-5), graded(columns, 1e-20)
    lost[:, 10] = lost[:, 1] - lost[:, 2]
    a = np.stack([plain, lost, np.zeros_like(plain), mild, wild]).astype(real)
    batch = len(a)
    on_device = device.to_device(np.ascontiguousarray(a.transpose(0, 2, 1)).reshape(batch * columns, columns))
    work = batched_qr.workspace(batch, columns, columns, real)
    log_r = device.to_host(batched_qr.orthonormalise(on_device, columns, work))
    q = device.to_host(on_device).reshape(batch, columns, columns).transpose(0, 2, 1)
    last = device.to_host(work[3])
    assert last[0] == wide_qr.SETTLED
    assert last[3] == wide_qr.SETTLED  # in float64 it is not in doubt, in float32 its rows are scaled
    assert set(last[1:3]) <= {wide_qr.LEFT, wide_qr.LEFT_SCALED}
    check(a[0], q[0], log_r[0])
    np.testing.assert_array_equal(np.isneginf(log_r[1]), np.arange(columns) == 10)
    assert np.isneginf(log_r[2]).all()
    for b, own in ((3, sizes), (4, tiny)):
        np.testing.assert_allclose(q[b].T @ q[b], np.eye(columns), rtol=0, atol=16 * columns * EPS[real])
        expected = np.linalg.slogdet(a[b] / own[:, None].astype(np.float64))[1] + np.log(own).sum()
        assert abs(log_r[b].sum(dtype=np.float64) - expected) <= 1e3 * EPS[real] * np.abs(log_r[b]).sum()


@both
def test_frames_that_are_not_finite_touch_no_other(real):
    a = RNG.standard_normal((4, 7, 3)).astype(real)
    clean, log_clean = decomposed(a)
    a[1, 2, 1], a[3, 6, 2] = np.nan, -np.inf
    q, log_r = decomposed(a)
    for b in (0, 2):
        np.testing.assert_array_equal(q[b], clean[b])
        np.testing.assert_array_equal(log_r[b], log_clean[b])
    assert np.isnan(q[[1, 3]]).all()
    assert np.isnan(log_r[[1, 3]]).all()


@both
@pytest.mark.parametrize("exponent", [-0.65, 0.65])
def test_huge_and_tiny_frames(exponent, real):
    """1e200 and 1e-200, or 1e25 and 1e-25 in float32, whose squares no number holds."""
    scale = 2.0 ** int(exponent * (1024 if real is np.float64 else 128))
    a = RNG.standard_normal((2, 7, 4)).astype(real)
    a[1, :, 3] = a[1, :, 2] + 1e4 * EPS[real] * a[1, :, 3]  # and one for the reflections
    a *= real(scale)
    q, log_r = decomposed(a)
    check(a[0], q[0], log_r[0], scale)
    check(a[1], q[1], log_r[1], scale)


@both
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_bits_in_any_schedule(real, seed, monkeypatch):
    vandermonde = np.vander(np.linspace(0.1, 1.0, 9), increasing=True)
    a = np.stack([RNG.standard_normal((9, 9)), vandermonde, np.eye(9)]).astype(real)
    a[2, :, 4] = a[2, :, 5]
    q, log_r = decomposed(a)
    monkeypatch.setattr(scheduler, "SEED", seed)
    q_again, log_again = decomposed(a)
    np.testing.assert_array_equal(q, q_again)
    np.testing.assert_array_equal(log_r, log_again)


def test_like_the_cpu():
    """The same frames have lost rank, the same logarithms otherwise."""
    from throughtime.analysis.lyapunov.orthonormalise import orthonormalise

    a = np.stack([conditioned(10, 6, condition) for condition in (1.0, 1e3, 1e8, 1e13, 1e30)])
    a[4] = a[4] @ np.diag([1, 1, 1, 0, 1, 1])
    expected, log_expected = orthonormalise(a)
    q, log_r = decomposed(a)
    for b in range(4):
        signs = np.sign(np.sum(expected[b] * q[b], axis=0))
        bound = 1e3 * EPS[np.float64] * np.linalg.cond(a[b])
        np.testing.assert_allclose(q[b] * signs, expected[b], rtol=0, atol=bound)
        np.testing.assert_allclose(log_r[b], log_expected[b], rtol=0, atol=bound)
    assert np.sum(log_r[4] == -np.inf) == np.sum(log_expected[4] == -np.inf) > 0


def test_a_stack_that_is_none_is_refused():
    v = device.to_device(np.zeros((6, 3)))
    with pytest.raises(ValueError, match=r"shape \(6, 3\).*columns"):
        batched_qr.orthonormalise(v, 4)
    with pytest.raises(ValueError, match="S >= 6"):
        batched_qr.orthonormalise(v, 6)


@both
def test_lengths_of_rows(real):
    v = RNG.standard_normal((9, 37)).astype(real)
    top = 2.0 ** int(0.8 * (1024 if real is np.float64 else 128))
    v[1] *= real(top)
    v[2] /= real(top)
    v[3], v[4, 5], v[5, 36], v[6, 0], v[6, 1] = 0, np.nan, -np.inf, np.inf, np.nan
    lengths = device.to_host(batched_qr.norms(device.to_device(v)))
    assert lengths.dtype == real
    scaled = v.astype(np.float64)
    scaled[1] /= top
    scaled[2] *= top
    expected = np.sqrt((scaled**2).sum(axis=1)) * np.array([1, top, 1 / top, 1, 1, 1, 1, 1, 1])
    expected[[4, 5, 6]] = np.nan, np.inf, np.nan
    np.testing.assert_allclose(lengths, expected, rtol=8 * EPS[real])
