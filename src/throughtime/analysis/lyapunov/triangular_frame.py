"""A wide frame of tangent vectors kept as a unit lower triangular matrix with permuted rows, P'L, not orthonormal.

Dimensions: B sequences, S state size, K tangent vectors (K <= S).

Exponents depend on the subspaces that the first 1, 2, ... columns span, and LU with row pivoting keeps them as QR does:

    J P'L = (P''L') U,    ln R_ii over a block = sum ln|U_ii| + ln R_ii(L at its end) - ln R_ii(L at its start)

with R(L) the factor of L's own QR: exact, and needed only at the ends of a block. Half of L is zeros, so the next
product costs half, and LU a quarter of a QR with its Q. Both are kernels of the engine, one call for many steps:
N = 200, one thread: 0.13 + 0.11 ms for what takes 0.23 + 1.04 ms as a product and `np.linalg.qr`; N = 1000: 15 + 11 ms
for 28 + 85.
"""

import math
from typing import Any, Self

import numpy as np

from ...engine import lapack, memory
from ...engine.lu import Frame, Workspace, unit_lower
from ...results import Array
from .frame_protocol import Taken
from .interval import PILOT, Pace, TooLong, block_of
from .orthonormalise import lost_rank


class LostRank(Exception):
    """A frame has lost rank: exponents of -inf, which want a QR decomposition that sees them."""

    def __init__(self, frame: "TriangularFrame") -> None:
        self.frame = frame  # from its `orthonormal()` another goes on


def longest_interval(size: int, dtype: Any) -> int:
    """Steps up to which one LU for all of them pays: small ones are slow beside the products, which then cost double.

    Microseconds of P'L's product, of a whole one and of LU: 7, 8 and 10 at N = 50, 24, 34 and 25 at N = 100, 135, 222
    and 110 at N = 200; in float32 the products take half, LU two thirds. And rounding grows with the interval: of 200
    Gaussian units the sum of the exponents is right to 6e-13 at 1 step, to 7e-10 at 3.
    """
    small = size if np.dtype(dtype) == np.float64 else size / 2
    return 4 if small <= 64 else 2 if small <= 128 else 1


class TriangularFrame:
    """The frames of B sequences; made from orthonormal ones (B, S, K), all of one precision, for a run of `steps`.

    Without a pace it judges no interval: a pilot.
    """

    doubt = ""

    def __init__(self, frames: Array, dtype: Any, pace: Pace | None = None, steps: int | None = None) -> None:
        self.dtype = np.dtype(dtype)
        self.eps = float(np.finfo(self.dtype).eps)
        self.shape = frames.shape
        space = Workspace(self.shape[1], self.shape[2], self.dtype)
        self.frames = [Frame(frame, space) for frame in frames]
        self.lost = [not np.isfinite(frame).all() for frame in frames]  # to NaN
        # Pivots of the size of rounding are suspicious. In float32 that is no news (16 nats): there only an exact zero.
        self.limit = 0.0 if self.dtype == np.float32 else 8.0 * self.shape[2] * self.eps
        self.corners = [memory.empty(self.shape[1:], np.float64) for _ in self.frames]  # -L at the start of the block
        self.orders = [frame.order.copy() for frame in self.frames]
        self.volume = self._volumes()
        self.pace: Any = pace
        self.steps = steps
        self.worst = 0.0  # largest spread of ln|U_ii| in one decomposition of the last block
        self.several, self.before = False, self.lost  # whether its intervals have several steps; `lost` at its start

    @classmethod
    def along(cls, source: Any, frames: Array, interval: int | None, steps: int | None, precision: Any) -> Self:
        """At its first interval, which a pilot run chooses where none is given. LostRank at once where it meets dead
        units."""
        dtype = np.dtype(precision)
        # float32 takes three quarters of its narrow zone
        aim = 5.25 if dtype == np.float32 else 0.0
        pace = Pace(interval, dtype, source.batch, longest_interval(source.state_size, dtype), aim=aim)
        pilot, mark = cls(frames, dtype), source.mark()
        try:
            pilot.carry(source, PILOT // 4, 1, False)
            taken, logs, _ = pilot.carry(source, PILOT // 4, 1, False)
        finally:
            source.back(mark)
        if taken and interval is None and pace.limit > 1:
            pace.start(logs / taken, pilot.worst)
        return cls(frames, dtype, pace, steps)

    def block(self, source: Any, left: int | None, with_det: bool) -> Taken:
        """Some intervals, from one volume to the next: as `Frame.block`."""
        every = self.pace.every
        wanted = block_of(every, self.steps, left)
        if every > 1 and not self.pace.bearable(source, wanted, self.shape[2]):
            every = 1
        taken, logs, log_det = self.carry(source, wanted, every, with_det)
        return Taken(taken, logs[None], log_det, every, taken < wanted)

    def whole(self) -> None:
        """Nothing: it has lost no direction."""

    def carry(self, source: Any, steps: int, interval: int, with_det: bool) -> tuple[int, Array, Array]:
        """Carry the frames over up to `steps` steps: steps taken, ln R_ii over all of them (B, K), sum of ln|det J|.

        TooLong, LostRank: where the block is to be taken again from its start, with `rewind` or `orthonormal`.
        """
        batch, _, columns = self.shape
        logs, log_det, taken = np.zeros((batch, columns)), np.zeros(batch), 0
        self.worst, self.several = 0.0, interval > 1
        self.before = list(self.lost)
        for local in source.step_jacobians(steps):
            taken += local.steps
            if with_det:
                log_det = log_det + local.log_det()
            for b in range(batch):
                logs[b] += self._carry(b, local.for_engine(b, self.dtype), interval, taken == steps)
        for b, frame in enumerate(self.frames):  # the source ended within an interval
            if frame.whole and not self.lost[b]:
                logs[b] += self._judged(b, frame.decompose())
        volume = self._volumes()
        logs += volume - self.volume
        self.volume = volume
        if self.pace is not None and not self.pace.fixed:
            self.pace.judge(self.worst, interval)
        return taken, logs, log_det

    def rewind(self) -> None:
        """Return to the start of the last block, which has not come to its end."""
        self.lost = self.before
        for frame, both, order in zip(self.frames, self.corners, self.orders, strict=True):
            frame.restore(both, order)

    def orthonormal(self) -> Array:
        """Orthonormal frames (B, S, K) of the same subspaces, as they were before the last block."""
        frames, self.lost = np.full(self.shape, np.nan), self.before
        for b, order in enumerate(self.orders):
            if not self.lost[b]:
                frames[b, order] = np.linalg.qr(unit_lower(self.corners[b]))[0]
        return frames

    def _carry(self, b: int, jacobians: Any, interval: int, end: bool) -> Array:
        """ln|U_ii| summed over the decompositions of some steps (K,)."""
        logs, left, limit = np.zeros(self.shape[2]), jacobians.steps, self.limit
        if interval > 1 and self.pace is not None and not self.pace.fixed:
            limit = max(limit, math.exp(-self.pace.zone))
        while left and not self.lost[b]:
            taken, diagonals = self.frames[b].advance(jacobians, interval, end, limit)
            logs += self._judged(b, diagonals)
            left -= taken
            jacobians = jacobians._replace(first=jacobians.first + taken, steps=left)
        return np.full_like(logs, np.nan) if self.lost[b] else logs

    def _judged(self, b: int, diagonals: Array) -> Array:
        """Sum of ln|U_ii| over decompositions (n, K). NaN gives NaN, dependent columns raise LostRank."""
        if not len(diagonals):
            return np.zeros(self.shape[2])
        last = diagonals[-1].astype(np.float64)
        judged = self.several and self.pace is not None
        if judged and not self.pace.fixed and not last.min() > math.exp(-self.pace.zone) * last.max():
            raise TooLong(float(np.log(last.max()) - np.log(last.min())) if last.min() > 0.0 else math.inf)
        if np.isfinite(last).all() and last.min() <= self.limit * last.max():
            lower, upper = self.frames[b].factors()
            if not np.isfinite(lower).all() or not np.isfinite(upper).all():
                last[...] = np.nan
            elif lost_rank(lower @ upper, self.eps):
                raise LostRank(self)
        if not np.isfinite(last).all():
            self.lost[b] = True
            return np.full(self.shape[2], np.nan)
        logs = np.log(diagonals.astype(np.float64, copy=False))
        if judged and float(np.abs(logs).max()) > self.pace.largest:
            raise TooLong(math.inf)  # numbers so small have lost digits
        if self.pace is None or self.pace.limit > 1:
            spread = np.maximum.reduce(logs, axis=1) - np.minimum.reduce(logs, axis=1)
            self.worst = max(self.worst, float(spread.max()))
            if judged and self.pace.fixed:
                self.pace.rounding[b] += self.eps * np.exp(np.minimum(spread, 700.0)).sum()
        return np.asarray(logs.sum(axis=0))

    def _volumes(self) -> Array:
        """ln R_ii of the QR decomposition of each frame's L (B, K), which is kept.

        By Cholesky of L'L, because |L_ij| <= 1 and L is well conditioned; L'L of a triangle is a third of a product.
        """
        _, size, columns = self.shape
        found = np.full((len(self.frames), columns), np.nan)
        gram = memory.empty((columns, columns), np.float64)
        for b, frame in enumerate(self.frames):
            both = self.corners[b]
            frame.entries(both)
            self.orders[b][...] = frame.order
            if not self.lost[b]:
                gram[...] = both[:columns]
                np.fill_diagonal(gram, -1.0)  # of -L: L'L is the same. What stands above is not read
                product = lapack.upper_gram(gram.T)
                if size > columns:
                    product = lapack.gram(both[columns:].T, product)
                r, there = lapack.cholesky(product)
                diagonal = np.diagonal(r) if there else np.diagonal(np.linalg.qr(unit_lower(both))[1])
                found[b] = np.log(np.abs(diagonal))
        return found
