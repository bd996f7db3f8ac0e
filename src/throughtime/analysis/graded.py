"""A product of matrices as Q · diag(e^logs) · U: no window over- or underflows, and a lost direction takes no other along.

Dimensions: B sequences, S state size, K directions, r ≤ K of them that are left.

Each step decomposes J Q = Q' R by Householder's QR, rows sorted by size, and takes R into logarithms and U. Where R
shows that J may be singular, the rank of J Q is counted beside what rounding does to it: entry by entry at most about
S eps (|J| |Q|), so that rows or columns of 1e-200 (saturated units) count as much as those of 1. Of a frame that has
lost rank a QR decomposition with pivoting keeps r directions, the pivots chosen by what each column has grown to; U is
then r × K, no longer square, and every column that is lost still has its share in the rows that are left.
"""

from typing import Any

import numpy as np
from scipy.linalg import lapack

from .arrays import Array

CENTRE, MARGIN = 250.0, 60.0  # nats of a window, and beyond it on either side
DOUBT = np.log(1e-5)  # R_ii beside the largest of J from which the rank is counted: far above the rounding of all else
LOST = 8.0  # singular values up to this many S eps are rounding (of random singular matrices: up to 1)
EPS = float(np.finfo(np.float64).eps)
LARGEST, SMALLEST = 1000, -500  # exponents of 2 between which matrices are multiplied as they are


class Triangle:
    """Q (B, S, K), logs (B, K) and U (B, K, K) of a product that starts as the frame Q; what is lost is last, its logs
    −inf and its columns of Q and rows of U zero. NaN in logs: a sequence that is not finite."""

    def __init__(self, frame: Array) -> None:
        batch, _, columns = frame.shape
        self.frame, self.logs = frame, np.zeros((batch, columns))
        self.unit = np.repeat(np.eye(columns)[None], batch, axis=0)

    def step(self, jacobians: Array, pivot: bool = False) -> None:
        """Multiply by J (B, S, S) from the left. pivot : order the columns by their size, whatever the rank."""
        jacobians, shift, largest = tamed(jacobians)
        with np.errstate(all="ignore"):
            moved = jacobians @ self.frame
        q, r, doubtful = self.decompose(moved, largest)
        lost = []
        for b in np.flatnonzero(doubtful | (pivot & ~np.isnan(r).any(axis=(1, 2)))):
            left = int(np.isfinite(self.logs[b]).sum())
            noise = np.abs(jacobians[b]) @ np.abs(self.frame[b, :, :left])
            rank = numerical_rank(moved[b, :, :left], noise)
            if pivot or rank < left:
                lost.append((b, *pivoted(moved[b, :, :left], self.logs[b, :left], rank)))
        before = self.logs.copy(), self.unit[[b for b, *_ in lost]]
        self.take(q, r)
        for (b, frame, rest, order), unit in zip(lost, before[1], strict=True):
            self._shrink(b, frame, rest, order, before[0][b], unit)
        self.logs = self.logs + shift[:, None]

    def decompose(self, moved: Array, largest: Array) -> tuple[Array, Array, Array]:
        """Q and R of the moved frame, and for which sequences (B,) its rank has to be counted."""
        q, r = sorted_qr(moved)
        with np.errstate(divide="ignore", invalid="ignore"):
            gained = np.log(np.abs(np.diagonal(r, axis1=1, axis2=2)))
            below = np.where(np.isneginf(self.logs), np.inf, gained).min(axis=1)
            return q, r, below <= DOUBT + np.log(largest)

    def take(self, q: Array, r: Array) -> None:
        """Make a decomposition of the moved frame the present one."""
        left, diagonal = ~np.isneginf(self.logs), np.diagonal(r, axis1=1, axis2=2)
        with np.errstate(all="ignore"):
            unit = self.unit + _share(r, diagonal, self.logs, self.logs) @ self.unit
            self.unit = np.where(left[:, :, None], unit, 0.0)
            self.logs = np.where(left, self.logs + np.log(np.abs(diagonal)), -np.inf)
        self.frame = np.where(left[:, None, :], q * np.sign(diagonal)[:, None, :], 0.0)

    def _shrink(self, b: int, frame: Array, r: Array, order: Array, logs: Array, unit: Array) -> None:
        rank, left = r.shape
        self.frame[b], self.logs[b], self.unit[b] = 0.0, -np.inf, 0.0
        if rank:
            own, diagonal, unit = logs[:left][order], np.diagonal(r), unit[:left][order]
            self.frame[b, :, :rank] = frame * np.sign(diagonal)
            self.logs[b, :rank] = own[:rank] + np.log(np.abs(diagonal))
            with np.errstate(all="ignore"):
                self.unit[b, :rank] = unit[:rank] + _share(r[None], diagonal[None], own[None, :rank], own[None])[0] @ unit

    def singular_values(self) -> Array:
        """ln of the singular values of the product times the first frame, (B, K), descending."""
        return np.array([graded_singular_values(*pair) for pair in zip(self.logs, self.unit, strict=True)])


def _share(r: Array, diagonal: Array, own: Array, logs: Array) -> Array:
    """r_ij/r_ii · e^(logs_j − own_i) above the diagonal, (B, r, K): what row j brings into row i of U."""
    above = np.triu(np.ones(r.shape[1:]), 1)
    known = np.isfinite(logs)
    middle = np.where(known, logs, 0.0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    size = np.abs(diagonal)[known[:, : own.shape[1]]]
    if size.size and np.abs((logs - middle)[known]).max() < 250.0 and size.min() > 1e-40 and size.max() < 1e250:
        return np.nan_to_num(r * (np.exp(logs - middle)[:, None, :] * above) / (diagonal * np.exp(own - middle))[:, :, None])
    exponent = np.log(np.abs(r)) - np.log(np.abs(diagonal))[:, :, None] + logs[:, None, :] - own[:, :, None]
    sign = np.sign(r) * np.sign(diagonal)[:, :, None]
    return np.nan_to_num(sign * np.exp(np.minimum(exponent, 600.0)) * above)


def tamed(matrices: Array) -> tuple[Array, Array, Array]:
    """Matrices (B, S, K) by powers of 2 that keep sums of their entries in range, the logarithms of those powers, and
    the largest entries."""
    largest = np.maximum(matrices.max(axis=(1, 2)), -matrices.min(axis=(1, 2)))
    exponent = np.where(np.isfinite(largest), np.frexp(largest)[1], 0)
    exponent = np.where(exponent > LARGEST, exponent - LARGEST, np.where(exponent < SMALLEST, exponent, 0))
    if exponent.any():
        matrices, largest = np.ldexp(matrices, -exponent[:, None, None]), np.ldexp(largest, -exponent)
    return matrices, exponent * np.log(2.0), largest


def sorted_qr(a: Array) -> tuple[Array, Array]:
    """QR (B, S, K) with the larger rows first, so that small rows keep their accuracy; NaN for what is not finite."""
    usable = np.isfinite(a).all(axis=(1, 2))
    order = np.argsort(-np.abs(a).max(axis=2), axis=1, kind="stable")[:, :, None]
    sorted_rows = np.take_along_axis(a, order, axis=1)
    q, r = np.linalg.qr(sorted_rows if usable.all() else np.where(usable[:, None, None], sorted_rows, 0.0))
    unsorted = np.empty_like(q)
    np.put_along_axis(unsorted, order, q, axis=1)
    if not usable.all():
        unsorted[~usable], r[~usable] = np.nan, np.nan
    return unsorted, r


def numerical_rank(a: Array, noise: Array) -> int:
    """Rank of a (S, K) whose entries are known to a few S eps of `noise` (S, K)."""
    rows = noise.max(axis=1, initial=0.0)
    a, noise, rows = a[rows > 0.0], noise[rows > 0.0], rows[rows > 0.0]
    if not rows.size:
        return 0
    columns = (noise / rows[:, None]).max(axis=0)
    used = columns > 0.0
    values = np.linalg.svd((a / rows[:, None])[:, used] / columns[used], compute_uv=False)
    return int(np.sum(values > LOST * len(noise) * EPS * max(1.0, values.max(initial=0.0))))


def pivoted(a: Array, logs: Array, rank: int) -> tuple[Array, Array, Array]:
    """Q (S, r), R (r, K) and the order of columns in A[:, order] = Q R: the next pivot is the column with the most left
    times e^logs."""
    size, columns = a.shape
    rows, order = np.argsort(-np.abs(a).max(axis=1), kind="stable"), np.arange(columns)
    a, q, reflectors = a[rows], np.eye(size, rank), []
    for i in range(rank):
        with np.errstate(divide="ignore"):
            left = np.log(np.abs(a[i:, i:]).max(axis=0))
            scaled = a[i:, i:] / np.where(np.isneginf(left), 1.0, np.exp(left))
            grown = left + 0.5 * np.log((scaled**2).sum(axis=0)) + logs[order[i:]]
        best = i + int(np.argmax(grown))
        order[[i, best]], a[:, [i, best]] = order[[best, i]], a[:, [best, i]]
        v = a[i:, i] / np.abs(a[i:, i]).max()
        v[0] += np.copysign(np.sqrt(v @ v), v[0])
        v *= np.sqrt(2.0 / (v @ v))
        a[i:, i:] -= np.outer(v, v @ a[i:, i:])
        a[i + 1 :, i] = 0.0
        reflectors.append(v)
    for i in reversed(range(rank)):
        q[i:] -= np.outer(reflectors[i], reflectors[i] @ q[i:])
    unsorted = np.empty_like(q)
    unsorted[rows] = q
    return unsorted, a[:rank], order


def graded_singular_values(logs: Array, unit: Array) -> Array:
    """ln of the singular values of diag(e^logs) U, U (K, K) with rows of moderate numbers that do not depend on each
    other, descending; −inf where logs is.

    A QR decomposition of Uᵀ makes it triangular, and rows e^60 apart then do not feel each other: where logs span more
    than the range of numbers, one-sided Jacobi works on overlapping windows.

    >>> graded_singular_values(np.array([30.0, -30.0]), np.array([[1.0, 0.5], [0.0, 1.0]])).round(6)
    array([ 30.111572, -30.111572])
    """
    if np.isnan(logs).any() or np.isnan(unit).any():
        return np.full(logs.size, np.nan)
    out, alive = np.full(logs.size, -np.inf), np.flatnonzero(np.isfinite(logs))
    alive = alive[np.argsort(-logs[alive], kind="stable")]
    if not alive.size:
        return out
    v = np.linalg.qr(unit[alive].T)[1]
    diagonal, own = np.diagonal(v), logs[alive]
    with np.errstate(all="ignore"):
        logs = own + np.log(np.abs(diagonal))
        size = np.log(np.abs(v / diagonal[:, None])) + own[None, :] - own[:, None]
        matrix = np.triu(np.sign(v / diagonal[:, None]) * np.exp(size))
    found, low = [], 0
    while low < logs.size:
        near = np.flatnonzero(logs[low:] < logs[low] - CENTRE)
        high = low + int(near[0]) if near.size else logs.size
        larger = np.flatnonzero(logs[:low] > logs[low:high].max() + MARGIN)
        smaller = np.flatnonzero(logs[high:] < logs[low:high].min() - MARGIN)
        a = int(larger[-1]) + 1 if larger.size else 0
        b = high + int(smaller[0]) if smaller.size else logs.size
        middle = 0.5 * (logs[a:b].max() + logs[a:b].min())
        window = matrix[a:b, a:b].T * np.exp(logs[a:b] - middle)
        found.append(np.sort(_jacobi(window))[::-1][low - a : high - a] + middle)
        low = high
    out[: alive.size] = np.sort(np.concatenate(found))[::-1]
    return out


def _jacobi(matrix: Array) -> Array:
    """ln of the singular values of C diag(d), each to the relative accuracy of C's entries however different d are."""
    values, _, _, scale, _, info = lapack.dgejsv(matrix, joba=0, jobu=3, jobv=3, jobr=0, jobt=0, jobp=0)
    if info != 0:
        values, scale = np.linalg.svd(matrix, compute_uv=False), np.ones(2)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values) + np.log(scale[0] / scale[1]))
