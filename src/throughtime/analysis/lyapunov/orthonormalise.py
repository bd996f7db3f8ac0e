"""QR of a batch of frames: orthonormal columns and the logarithms of the diagonal of R.

Dimensions: B sequences, S state size, K tangent vectors (K <= S).

Cholesky-QR (R'R = A'A, Q = A/R) costs a quarter of Householder QR at S = K = 200 but loses orthogonality as eps *
cond(A)**2. That loss is harmless between re-orthonormalisations, because A = QR itself holds to rounding and the
logarithms telescope over the product; it matters where the sum starts and ends. Hence three regimes: one pass while
cond(A) <= ONE_PASS, two passes while cond(A) <= TWO_PASSES (and wherever the caller says `exact`), Householder beyond.
"""

import numpy as np
from scipy.linalg.lapack import dgecon, dgetrf, dtrcon

from ...engine import lapack
from ...engine.cpu.gram_schmidt import kernel as gram_schmidt
from ...results import Array

ONE_PASS = 1e6  # eps * cond**2 = 2e-4: the frame is still orthonormal to almost four digits
TWO_PASSES = 1e7  # eps * cond**2 = 2e-2: the first pass still leaves something that the second repairs
SMALL = 16  # up to this many columns Gram and Schmidt, compiled, are faster than three calls per frame


def orthonormalise(frames: Array, exact: bool = True, eps: float | None = None) -> tuple[Array, Array]:
    """QR-decompose each frame of a batch: A = QR.

    frames : (B, S, K), float32 or float64. exact : repair the frame to rounding. eps : relative accuracy of the entries
    (default: that of their type). Returns Q (B, S, K) in the type of `frames` and ln|R_ii| (B, K) in float64. An
    entry is -inf where the frame has lost rank; a frame that holds NaN or inf gives NaN.

    >>> q, log_r = orthonormalise(np.array([[[3.0], [4.0]]]))
    >>> float(np.exp(log_r[0, 0]).round(12))
    5.0
    """
    precision = float(np.finfo(frames.dtype).eps) if eps is None else eps
    work = frames.astype(np.float64, order="C")
    batch, _, columns = work.shape
    log_diagonal = np.full((batch, columns), np.nan)
    largest = np.abs(work).max(axis=(1, 2), initial=0.0)
    usable = np.isfinite(largest)
    work[~usable] = np.nan
    scale = np.where(usable & (largest > 0.0), largest, 1.0)
    work /= scale[:, None, None]  # so that squares neither overflow nor underflow
    chosen = np.flatnonzero(usable)
    if columns <= SMALL and chosen.size:
        scaled = work[chosen]
        diagonal = np.empty((chosen.size, columns))
        turned = np.ascontiguousarray(scaled.swapaxes(1, 2))
        gram_schmidt()(turned, diagonal)
        for b, a, row in zip(chosen, scaled, diagonal, strict=True):
            log_diagonal[b] = logarithms(a, row, precision)
        work[chosen] = turned.swapaxes(1, 2)
    else:
        for b in chosen:
            q, diagonal = _one(work[b], exact)
            log_diagonal[b] = logarithms(work[b], diagonal, precision)
            work[b] = q
    return work.astype(frames.dtype, copy=False), log_diagonal + np.log(scale)[:, None]


def _one(a: Array, exact: bool) -> tuple[Array, Array]:
    """Q and |R_ii| of one frame (S, K), by the cheapest method that its conditioning allows."""
    first = _cholesky_pass(a)
    if first is None:
        return _householder(a)
    q, diagonal, condition = first
    if condition > TWO_PASSES:
        return _householder(a)
    if condition > ONE_PASS or exact:
        second = _cholesky_pass(q)
        if second is None:
            return _householder(a)
        return second[0], diagonal * second[1]
    return q, diagonal


def _cholesky_pass(a: Array) -> tuple[Array, Array, float] | None:
    """One pass of Cholesky-QR, with the condition number of R in the 1-norm; None where the Gram matrix is not
    definite."""
    r, there = lapack.cholesky(lapack.gram(a.T))
    if not there:
        return None
    reciprocal, info = dtrcon(r, norm="1", uplo="U", diag="N")
    if info != 0 or not reciprocal > 0.0:
        return None
    q = lapack.divided(r, a.T, transposed=True).T
    return q, np.diagonal(r).copy(), 1.0 / reciprocal


def _householder(a: Array) -> tuple[Array, Array]:
    """Householder QR with the rows sorted by size: keeps the small rows of a saturated network (slopes of 1e-20) in
    play."""
    order = np.argsort(-np.abs(a).max(axis=1), kind="stable")
    q, r = np.linalg.qr(a[order])
    unsorted = np.empty_like(q)
    unsorted[order] = q
    return unsorted, np.abs(np.diagonal(r))


def logarithms(a: Array, diagonal: Array, eps: float) -> Array:
    """ln R_ii, with -inf where the frame is singular.

    R_ii of the size of rounding has two causes: rows of very different size (a saturated unit; the frame has full
    rank) or lost rank. Scaling every row to length one tells them apart; only lost rank is an exponent of -inf.
    """
    columns = diagonal.size
    with np.errstate(divide="ignore"):
        logs = np.log(diagonal)
    if columns and diagonal.min() <= 8.0 * columns * eps * diagonal.max():
        logs[np.argsort(diagonal, kind="stable")[: columns - _rank(a, eps)]] = -np.inf
    return logs


def _rank(a: Array, eps: float) -> int:
    """Numerical rank of a (S, K) with its rows scaled to length one."""
    lengths = np.linalg.norm(a, axis=1)
    rows = a[lengths > 0.0] / lengths[lengths > 0.0, None]
    values = np.linalg.svd(rows, compute_uv=False) if rows.size else np.zeros(0)
    return int(np.sum(values > 8.0 * a.shape[1] * eps * values[0])) if values.size else 0


def lost_rank(a: Array, eps: float) -> bool:
    """Whether the columns of a (S, K) depend on each other, to an accuracy eps in every row."""
    lengths = np.linalg.norm(a, axis=1)
    if len(a) == a.shape[1] and lengths.all():  # LU costs a tenth of the singular values
        lu, _, info = dgetrf(a / lengths[:, None])
        if info == 0 and dgecon(lu, np.sqrt(len(a)))[0] > 8.0 * len(a) * eps:
            return False
    return _rank(a, eps) < a.shape[1]
