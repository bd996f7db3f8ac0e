"""A wide frame of tangent vectors kept as a unit lower triangular matrix with permuted rows, P'L, not orthonormal.

Dimensions: B sequences, S state size, K tangent vectors (K <= S).

Exponents depend on the subspaces that the first 1, 2, ... columns span, and LU with row pivoting keeps them as QR does:

    J P'L = (P''L') U,    ln R_ii over a block = sum ln|U_ii| + ln R_ii(L at its end) - ln R_ii(L at its start)

with R(L) the factor of L's own QR: exact, and needed only at the ends of a block. Half of L is zeros, so the next
product costs half (xTRMM), and LU a quarter of a QR with its Q. N = 200, one thread: 0.13 + 0.26 ms for what takes
0.23 + 1.04 ms as a product and `np.linalg.qr`; N = 1000: 14 + 18 ms for 28 + 85.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from scipy.linalg import blas, lapack

from .arrays import Array
from .orthonormalise import lost_rank
from .step_jacobian import gemm


class Source(Protocol):
    """What gives the Jacobians of a frame, step by step."""

    def locals(self, steps: int) -> Iterator[Any]:
        """The Jacobians of up to `steps` further steps."""
        ...


class LostRank(Exception):
    """A frame has lost rank: exponents of -inf, which want a QR decomposition that sees them."""


class TriangularFrame:
    """The frames of B sequences; made from orthonormal ones (B, S, K), all of one precision."""

    def __init__(self, frames: Array, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.eps = float(np.finfo(self.dtype).eps)
        self.shape = frames.shape
        self.lower: list[Array] = []  # L below the diagonal (what stands on and above it is U's)
        self.order: list[Array] = []  # row i of L is row order[i] of the frame
        for frame in frames:
            lower, order, _ = self._factor(np.array(frame, dtype=self.dtype, order="F"))
            self.lower.append(lower)
            self.order.append(order)
        self.volume = self._volumes()

    def block(self, source: Source, steps: int, interval: int, with_det: bool) -> tuple[int, Array, Array]:
        """Carry the frames over up to `steps` steps: steps taken, ln R_ii over all of them (B, K), sum of ln|det J|."""
        batch, _, columns = self.shape
        logs, log_det, taken = np.zeros((batch, columns)), np.zeros(batch), 0
        pending: list[Array | None] = [None] * batch  # a full frame between two factorisations
        steps_since = 0
        for local in source.locals(steps):
            taken += 1
            steps_since += 1
            if with_det:
                log_det = log_det + local.log_det()
            for b in range(batch):
                before = pending[b]
                frame = self._first(local, b) if before is None else local.times(b, before)
                if steps_since == interval or taken == steps:
                    pending[b] = None
                    self.lower[b], self.order[b], gained = self._factor(frame)
                    logs[b] += gained
                else:
                    pending[b] = frame
            if steps_since == interval:
                steps_since = 0
        for b in range(batch):  # the source ended within an interval
            last = pending[b]
            if last is not None:
                self.lower[b], self.order[b], gained = self._factor(last)
                logs[b] += gained
        volume = self._volumes()
        logs += volume - self.volume
        self.volume = volume
        return taken, logs, log_det

    def _first(self, local: Any, b: int) -> Array:
        """J P'L by the triangle's own product; what a tall L has below its triangle by the usual one."""
        columns, order, lower = self.shape[2], self.order[b], self.lower[b]
        multiply = blas.dtrmm if self.dtype == np.float64 else blas.strmm
        top = local.columns(b, order[:columns], self.dtype)
        square = lower if lower.shape[0] == columns else np.asfortranarray(lower[:columns])
        frame = multiply(1.0, square, top, side=1, lower=1, diag=1, overwrite_b=1)
        if order.size > columns:
            rest = local.columns(b, order[columns:], self.dtype)
            frame = gemm(rest, np.asfortranarray(lower[columns:]), beta=1.0, c=frame, overwrite_c=1)
        return np.asarray(frame)

    def _factor(self, frame: Array) -> tuple[Array, Array, Array]:
        """L with U above it, the order of its rows, ln|U_ii|. NaN gives NaN, dependent columns raise LostRank."""
        lu, pivots, _ = (lapack.dgetrf if self.dtype == np.float64 else lapack.sgetrf)(frame, overwrite_a=1)
        order = lapack.dlaswp(np.arange(float(len(lu)))[:, None], pivots, overwrite_a=1)[:, 0].astype(np.intp)
        diagonal = np.abs(np.diagonal(lu)).astype(np.float64)
        if not np.isfinite(diagonal).all():
            lu[...] = np.nan
            return lu, order, np.full(diagonal.size, np.nan)
        if self._suspicious(diagonal) and lost_rank(self._whole(lu) @ np.triu(lu[: diagonal.size]), self.eps):
            raise LostRank
        return lu, order, np.log(diagonal)

    def _suspicious(self, diagonal: Array) -> bool:
        """Pivots of the size of rounding. In float32 that is no news (16 nats): there only an exact zero counts."""
        if self.dtype == np.float32:
            return bool(diagonal.min() == 0.0)
        return bool(diagonal.min() <= 8.0 * diagonal.size * self.eps * diagonal.max())

    def _whole(self, lu: Array) -> Array:
        """L (S, K), with its ones and zeros."""
        lower = np.tril(lu, -1).astype(np.float64, copy=False)
        np.fill_diagonal(lower, 1.0)
        return lower

    def _volumes(self) -> Array:
        """ln R_ii of the QR decomposition of each L, (B, K), by Cholesky: |L_ij| <= 1 and L is well conditioned."""
        found = np.full((self.shape[0], self.shape[2]), np.nan)
        for b, lu in enumerate(self.lower):
            lower = self._whole(lu)
            if np.isfinite(lower).all():
                r, info = lapack.dpotrf(blas.dsyrk(1.0, lower.T, trans=0), lower=0, clean=0, overwrite_a=1)
                diagonal = np.diagonal(r) if info == 0 else np.diagonal(np.linalg.qr(lower)[1])
                found[b] = np.log(np.abs(diagonal))
        return found
