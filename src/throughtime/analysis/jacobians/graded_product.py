"""A product of matrices as L · diag(e^logs) · U: nothing overflows, and a lost direction takes no other along.

Dimensions: B sequences, S state size, K directions, r ≤ K of them that are left.

Each step eliminates, J L = L' R, and takes R into logarithms and U; the columns of L are 1 at their pivots, at most 1
elsewhere and 0 at the pivots before. Elimination, unlike an orthogonal decomposition, works on rows and columns of any
size (saturated units: 1e-200) to the relative accuracy of their entries (Demmel et al., Linear Algebra Appl. 299,
1999). A pivot counts beside what rounding does to its place, S eps (|J| |L| + |L'| |R|); where one does not, J L is
eliminated again with pivots from all rows and columns, and what is rounding is taken for the zero that it stands for.
U is then r × K, no longer square: a column that is lost still has its share in the rows that are left. Columns of J of
very different size are brought to one size, and the rows that they meet, of what comes before J, to theirs.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.linalg import lapack, lu

from ...results import Array

CENTRE, MARGIN = 250.0, 60.0  # nats of a window, and beyond it on either side
DOUBT = np.log(1e-5)  # a pivot beside the largest of J below which it is looked at: far above the rounding of all else
WILD = 1e3  # what a row takes from one below it, from which the columns are ordered anew: U stays moderate
# Times S: rounding of a product is at most S eps/2 |J| |L|, of an elimination S eps/2 |L'| |R| (Higham, Accuracy and
# Stability, 2002, (3.13) and theorem 9.3), and a factor that its owner has multiplied out is as far from its rank: 2
# for all, and 2 for what earlier pivots make of it. Of 700 products of deficient factors 1 misses four, 2 and 4 none.
LOST = 4.0 * float(np.finfo(np.float64).eps)
UNEVEN = 12  # columns that differ by more than a factor 2^12 are balanced
MOST = 900  # exponent of 2 up to which weights stand as they are


class Triangle:
    """L (B, S, K), logs (B, K) and U (B, K, K) of a product that starts as a frame of independent columns; what is lost
    is last, its logs −inf and its columns of L and rows of U zero. NaN in logs: a sequence that is not finite."""

    def __init__(self, frame: Array) -> None:
        batch, _, columns = frame.shape
        self.frame, self.logs = frame, np.zeros((batch, columns))
        self.unit = np.repeat(np.eye(columns)[None], batch, axis=0)
        self._before: Any = None  # J, weights, frame and pivots of the last step, and who was eliminated anew in it

    def through(self, matrices: Iterable[Array], pivot: bool = False) -> None:
        """Multiply by each J (B, S, S) from the left. pivot : order the columns by their size, whatever the rank."""
        before = None  # the matrix that comes next, once it is known what comes after it
        for jacobians in matrices:
            scaled, weights, shift = balanced(jacobians)
            self._step(before, weights, pivot)
            self.logs = self.logs + shift[:, None]
            before = scaled
        if before is not None:
            self._step(before, None, pivot)

    def _step(self, jacobians: Array | None, weights: Array | None, pivot: bool) -> None:
        """The same of one matrix, or of none, whose rows then take the weights (B, S)."""
        with np.errstate(all="ignore"):
            moved = self.frame if jacobians is None else jacobians @ self.frame
            moved = moved if weights is None else moved * weights[:, :, None]
        found, doubtful, wild = self.decompose(moved, 1.0 if weights is None else weights.max(axis=1))
        lower, r, rows, _ = found
        wild |= pivot & ~np.isnan(r).any(axis=(1, 2))
        anew, sources = [], (jacobians, weights, self.frame)
        for b in np.flatnonzero(doubtful | wild).tolist():
            left = int(np.isfinite(self.logs[b]).sum())
            noise = _moved(jacobians, weights, b, np.abs(self.frame[b]) + self._blur(b))[:, :left]
            if wild[b] or not _certain(noise, lower[b], r[b], rows[b]):
                anew.append((b, self.logs[b], self.unit[b], *pivoted(moved[b, :, :left], noise, self.logs[b, :left])))
        self.take(found)
        self._before = (*sources, np.abs(np.diagonal(r, axis1=1, axis2=2)), {})
        for b, logs, unit, frame, rest, order, blur in anew:
            self._before[-1][b] = blur
            self._shrink(b, logs[order], unit[order], frame, rest)

    def _blur(self, b: int) -> Array:
        """What the step before has rounded in the frame (S, K), in units of eps; its zeros are exact."""
        if self._before is None:
            return np.zeros(self.frame.shape[1:])
        jacobians, weights, frame, pivots, known = self._before
        if b in known:
            return np.pad(known[b], ((0, 0), (0, self.frame.shape[2] - known[b].shape[1])))
        with np.errstate(all="ignore"):
            noise = _moved(jacobians, weights, b, np.abs(frame[b])) / pivots[b]
        return np.where((self.frame[b] != 0.0) & np.isfinite(noise), noise, 0.0)

    def decompose(self, moved: Array, largest: Array | float) -> tuple[tuple[Array, ...], Array, Array]:
        """L, R, the rows of the pivots and what goes into U of the moved frame; for which sequences (B,) its rank is in
        doubt, and for which a column has outgrown one before it."""
        lower, r, rows = eliminated(moved)
        diagonal = np.diagonal(r, axis1=1, axis2=2)
        with np.errstate(all="ignore"):
            below = np.where(np.isneginf(self.logs), np.inf, np.log(np.abs(diagonal))).min(axis=1)
            share = _share(r, diagonal, self.logs, self.logs)
            wild = np.abs(np.where(np.isneginf(self.logs)[:, :, None], 0.0, share)).max(axis=(1, 2)) > WILD
            return (lower, r, rows, share), below <= DOUBT + np.log(largest), wild

    def take(self, found: tuple[Array, ...]) -> None:
        """Make a decomposition of the moved frame the present one."""
        lower, r, _, share = found
        left, diagonal = ~np.isneginf(self.logs), np.diagonal(r, axis1=1, axis2=2)
        with np.errstate(all="ignore"):
            self.unit = np.where(left[:, :, None], self.unit + share @ self.unit, 0.0)
            self.logs = np.where(left, self.logs + np.log(np.abs(diagonal)), -np.inf)
        self.frame = np.where(left[:, None, :], lower * np.sign(diagonal)[:, None, :], 0.0)

    def _shrink(self, b: int, own: Array, unit: Array, frame: Array, r: Array) -> None:
        rank, diagonal = len(r), np.diagonal(r)
        self.frame[b], self.logs[b], self.unit[b] = 0.0, -np.inf, 0.0
        if rank:
            self.frame[b, :, :rank] = frame * np.sign(diagonal)
            self.logs[b, :rank] = own[:rank] + np.log(np.abs(diagonal))
            with np.errstate(all="ignore"):
                self.unit[b, :rank] = (
                    unit[:rank] + _share(r[None], diagonal[None], own[None, :rank], own[None])[0] @ unit
                )

    def singular_values(self, first: Array | None = None) -> Array:
        """ln of the singular values of the product (B, K), descending; `first` (B, S, S) : the frame that it started
        from, if its columns are not orthonormal."""
        found = np.full(self.logs.shape, -np.inf)
        for b, (logs, unit, frame) in enumerate(zip(self.logs, self.unit, self.frame, strict=True)):
            if np.isnan(logs).any() or np.isnan(unit).any():
                found[b] = np.nan
                continue
            alive = np.flatnonzero(np.isfinite(logs))
            alive = alive[np.argsort(-logs[alive], kind="stable")]
            if alive.size:
                rows = unit[alive] if first is None else np.linalg.solve(first[b].T, unit[alive].T).T
                found[b, : alive.size] = graded_singular_values(*_graded(frame[:, alive], logs[alive], rows))
        return found


def _moved(jacobians: Array | None, weights: Array | None, b: int, frame: Array) -> Array:
    """diag(w) |J| F of one sequence."""
    moved = frame if jacobians is None else np.abs(jacobians[b]) @ frame
    return moved if weights is None else moved * weights[b, :, None]


def _certain(noise: Array, lower: Array, r: Array, rows: Array) -> bool:
    """Whether every pivot is more than rounding, which eps · noise (S, K) is in what was eliminated."""
    count = noise.shape[1]
    rows = rows[:count]
    grown = (np.abs(lower[rows, :count]) * np.abs(r[:count, :count]).T).sum(axis=1) + noise[rows, np.arange(count)]
    return bool((np.abs(np.diagonal(r))[:count] > LOST * len(noise) * grown).all())


def _share(r: Array, diagonal: Array, own: Array, logs: Array) -> Array:
    """r_ij/r_ii · e^(logs_j − own_i) above the diagonal, (B, r, K): what row j brings into row i of U."""
    above = np.triu(np.ones(r.shape[1:]), 1)
    known = np.isfinite(logs)
    middle = np.where(known, logs, 0.0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    size = np.where(known[:, : own.shape[1]], np.abs(diagonal), 1.0)
    narrow = np.abs(np.where(known, logs - middle, 0.0)).max(axis=1, initial=0.0) < 250.0
    narrow &= (size.min(axis=1, initial=1.0) > 1e-40) & (size.max(axis=1, initial=1.0) < 1e40)
    plain = r * (np.exp(logs - middle)[:, None, :] * above) / (diagonal * np.exp(own - middle))[:, :, None]
    if narrow.all():
        return np.nan_to_num(plain)
    exponent = np.log(np.abs(r)) - np.log(np.abs(diagonal))[:, :, None] + logs[:, None, :] - own[:, :, None]
    wide = np.sign(r) * np.sign(diagonal)[:, :, None] * np.exp(np.minimum(exponent, 600.0)) * above
    return np.nan_to_num(np.where(narrow[:, None, None], plain, wide))


def balanced(matrices: Array) -> tuple[Array, Array | None, Array]:
    """J (B, S, S) as J' diag(w) e^shift: J' at most 1, w (B, S) powers of 2 where columns differ, else None."""
    columns = np.maximum(matrices.max(axis=1), -matrices.min(axis=1))
    largest = columns.max(axis=1)
    exponent = np.where(np.isfinite(largest), np.frexp(largest)[1], 0)
    uneven = (columns < 2.0**-UNEVEN * largest[:, None]).any(axis=1)
    if not uneven.any():
        return np.ldexp(matrices, -exponent[:, None, None]), None, exponent * np.log(2.0)
    common = np.where(uneven & (np.abs(exponent) <= MOST), 0, exponent)  # else the smallest weight may be no number
    own = np.where(uneven[:, None] & np.isfinite(columns) & (columns > 0.0), np.frexp(columns)[1], common[:, None])
    weights = np.where(uneven[:, None] & (columns == 0.0), 0.0, np.ldexp(1.0, own - common[:, None]))
    return np.ldexp(matrices, -own[:, None, :]), weights, common * np.log(2.0)


def eliminated(a: Array) -> tuple[Array, Array, Array]:
    """L (B, S, K), R (B, K, K) and the rows of the pivots (B, K) in A = L R; NaN for what is not finite."""
    usable = np.asarray(np.isfinite(a).all(axis=(1, 2)))
    with np.errstate(all="ignore"):
        places, lower, r = lu(
            a if usable.all() else np.where(usable[:, None, None], a, 0.0), p_indices=True, check_finite=False
        )
    lower = np.take_along_axis(lower, places[:, :, None], axis=1)
    if not usable.all():
        lower[~usable], r[~usable] = np.nan, np.nan
    return lower, r, np.argsort(places, axis=1)[:, : a.shape[2]]


def pivoted(a: Array, noise: Array, logs: Array) -> tuple[Array, Array, Array, Array]:
    """L (S, r), R (r, K) and the order of columns in A[:, order] = L R: the next pivot is the largest entry that is
    left times e^logs of its column. noise (S, K) times eps bounds what rounding has done to A; the last array what it
    thereby does to L."""
    (size, columns), rank = a.shape, 0
    a, noise, rows, order = a.copy(), noise.copy(), np.arange(size), np.arange(columns)
    while rank < min(size, columns):
        rest = a[rank:, rank:]
        rest[np.abs(rest) <= LOST * size * noise[rank:, rank:]] = 0.0
        if not rest.any():
            break
        with np.errstate(divide="ignore"):
            best = int(np.argmax(np.log(np.abs(rest)) + logs[order[rank:]]))
        i, j = rank + best // rest.shape[1], rank + best % rest.shape[1]
        order[[rank, j]], rows[[rank, i]] = order[[j, rank]], rows[[i, rank]]
        for table in (a, noise):
            table[:, [rank, j]] = table[:, [j, rank]]
            table[[rank, i]] = table[[i, rank]]
        a[rank + 1 :, rank] /= a[rank, rank]
        factors = a[rank + 1 :, rank, None]
        a[rank + 1 :, rank + 1 :] -= factors * a[rank, rank + 1 :]
        passed_on = np.abs(factors) * noise[rank, rank + 1 :]  # to add it would grow as 2^r, which rounding never does
        noise[rank + 1 :, rank + 1 :] = np.maximum(noise[rank + 1 :, rank + 1 :], passed_on)
        rank += 1
    lower, blur = np.empty((2, size, rank))
    lower[rows] = np.tril(a[:, :rank], -1) + np.eye(size, rank)
    blur[rows] = np.tril(noise[:, :rank], -1) / np.abs(np.diagonal(a)[:rank])
    return lower, np.triu(a[:rank]), order, np.where(lower == 0.0, 0.0, blur)


def _graded(frame: Array, logs: Array, unit: Array) -> tuple[Array, Array]:
    """L diag(e^logs) U, logs descending, as Q diag(e^logs') U' with an orthonormal Q that is left out."""
    r = np.linalg.qr(frame)[1]
    diagonal = np.diagonal(r)
    with np.errstate(all="ignore"):
        return logs + np.log(np.abs(diagonal)), unit + _share(r[None], diagonal[None], logs[None], logs[None])[0] @ unit


def graded_singular_values(logs: Array, unit: Array) -> Array:
    """ln of the singular values of diag(e^logs) U, descending; U (r, K) has rows of moderate numbers that do not depend
    on each other, the logs (r,) are about descending.

    A QR decomposition of Uᵀ makes it triangular, and rows e^60 apart then do not feel each other: where logs span more
    than the range of numbers, one-sided Jacobi works on overlapping windows.

    >>> graded_singular_values(np.array([30.0, -30.0]), np.array([[1.0, 0.5], [0.0, 1.0]])).round(6)
    array([ 30.111572, -30.111572])
    """
    v = np.linalg.qr(unit.T)[1]
    diagonal = np.diagonal(v)
    with np.errstate(all="ignore"):
        matrix = np.eye(logs.size) + _share(v[None], diagonal[None], logs[None], logs[None])[0]
        logs = logs + np.log(np.abs(diagonal))
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
    return np.sort(np.concatenate(found))[::-1]


def _jacobi(matrix: Array) -> Array:
    """ln of the singular values of C diag(d), each to the relative accuracy of C's entries however different d are."""
    values, _, _, scale, _, info = lapack.dgejsv(matrix, joba=0, jobu=3, jobv=3, jobr=0, jobt=0, jobp=0)
    if info != 0:
        values, scale = np.linalg.svd(matrix, compute_uv=False), np.ones(2)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values) + np.log(scale[0] / scale[1]))
