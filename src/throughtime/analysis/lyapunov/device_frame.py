"""Frames of tangent vectors on the GPU, which stay there between orthonormalisations, and determinants there.

Dimensions: T steps, B sequences, S state size, K tangent vectors.
"""

from typing import Any, Self

import numpy as np

from ...results import Array
from .frame_protocol import Taken
from .interval import PILOT, Pace, block_of, spreads
from .trajectory import Trajectory

DET_BYTES = 1 << 29  # of the matrices of one launch


class DeviceFrame:
    """The frames of B sequences, made from (B, S, K), for a run of `steps`. Without a pace it judges no interval: a
    pilot."""

    def __init__(self, engine: Any, frame: Array, pace: Pace | None = None, steps: int | None = None) -> None:
        self.engine = engine
        self.shape, self.dtype = frame.shape, frame.dtype
        self.columns = engine.arrays.from_host(np.ascontiguousarray(frame.swapaxes(1, 2)))  # (B, K, S)
        self.work = engine.batched_qr.workspace(self.shape[0], self.shape[2], self.shape[1], self.dtype)
        self.pace: Any = pace
        self.steps = steps
        self.start = self.columns  # of the last block
        self.lost = np.zeros((self.shape[0], self.shape[2]), bool)  # exponents of -inf
        self.broken = np.zeros(self.shape[0], bool)  # sequences that have become NaN
        self.before, self.doubt = (self.lost, self.broken), ""

    @classmethod
    def along(cls, source: Trajectory, columns: Array, interval: int | None, limit: int, steps: int | None) -> Self:
        """At its first interval, which a pilot run chooses where none is given."""
        columns, pace = columns.astype(source.dtype), Pace(interval, source.dtype, source.batch, limit)
        if interval is None:
            mark = source.mark()
            pace.start(*cls(source.engine, columns)._rates(source, PILOT // 4))
            source.back(mark)
        return cls(source.engine, columns, pace, steps)

    def block(self, source: Trajectory, left: int | None, with_det: bool) -> Taken:
        """Some intervals, launched together before their lengths are fetched: as `Frame.block`.

        What the rows of Jacobians to come may hide is not asked, for it would have to be fetched: only what intervals
        show is judged.
        """
        every = self.pace.every
        wanted = block_of(every, self.steps, left)
        taken, logs, log_det = self.carry(source, wanted, every, with_det)
        return Taken(taken, logs[None], log_det, every, taken < wanted)

    def whole(self) -> None:
        """From here on every exponent counts anew."""
        self.lost = np.zeros_like(self.lost)

    def rewind(self) -> None:
        """Return to the start of the last block, which is to be taken again."""
        self.columns, (self.lost, self.broken) = self.start, self.before

    def _rates(self, source: Trajectory, steps: int) -> tuple[Array, float]:
        """Growth rates (B, K) over some steps, after as many to align, and the largest spread of a single one."""
        self.carry(source, steps, 1, False)
        found = [self.carry(source, 1, 1, False) for _ in range(steps)]
        logs = np.array(
            [logs for taken, logs, _ in found if taken] or [np.full((self.shape[0], self.shape[2]), np.nan)]
        )
        worst = spreads(logs)
        return logs.mean(axis=0), float(worst[~np.isnan(worst)].max(initial=0.0))

    def carry(self, source: Trajectory, steps: int, interval: int, with_det: bool) -> tuple[int, Array, Array]:
        """Carry the frames over up to `steps` steps: steps taken, ln R_ii over all of them (B, K), sum of ln|det J|.

        TooLong: where the block is to be taken again, after `rewind`. What is lost in a single step stays lost.
        """
        self.start, self.before = self.columns, (self.lost, self.broken)
        logs, log_det, done = np.zeros((self.shape[0], self.shape[2])), np.zeros(self.shape[0]), 0
        grown, lengths, windows = [], [], list[tuple[Any, int, int]]()
        while done < steps:
            wanted, taken = min(interval, steps - done), 0
            for start, stop in source.pieces(wanted):
                self.columns = source.run.jvp_rows(self.columns, start, stop)
                first = windows.pop()[1] if windows and windows[-1][::2] == (source.run, start) else start
                windows.append((source.run, first, stop))
                taken += stop - start
            if taken:
                rows = self.columns.reshape((self.shape[0] * self.shape[2], self.shape[1]))
                grown.append(self.engine.batched_qr.orthonormalise(rows, self.shape[2], self.work))
                lengths.append(taken)
            done += taken
            if taken < wanted:
                break
        for found, taken in zip(grown, lengths, strict=True):
            logs = logs + self._judged(self.engine.arrays.to_host(found).astype(np.float64), taken)
        for window in windows if with_det else ():
            log_det += _log_det_along(source, *window)
        return done, logs, log_det

    def _judged(self, logs: Array, steps: int) -> Array:
        """ln R_ii (B, K) of one interval, -inf for what is lost."""
        untouched = not (self.lost.any() or self.broken.any())
        spread = spreads(logs) if untouched else self._of_the_rest(logs)
        if self.pace is not None and (steps > 1 or self.pace.limit > 1):
            self.pace.judge(float(spread.max()), steps)
            if steps > 1 and self.pace.fixed:
                self.pace.note(spread)
        if untouched and np.isfinite(spread).all():
            return logs
        self.broken = self.broken | np.isnan(logs).any(axis=1)
        self.lost = self.lost | np.isneginf(logs)
        if (self.lost[:, :-1] & ~self.lost[:, 1:]).any():  # what remains has been freed of a direction of rounding
            self.doubt = (
                'a Jacobian is singular in a leading direction: of the others after it net.to("cpu") finds more'
            )
        return np.where(self.lost & ~self.broken[:, None], -np.inf, logs)

    def _of_the_rest(self, logs: Array) -> Array:
        """Spreads (B,) without the exponents that are lost already, 0 of sequences of which nothing is left."""
        high = np.maximum.reduce(np.where(self.lost, -np.inf, logs), axis=1)
        low = np.minimum.reduce(np.where(self.lost, np.inf, logs), axis=1)
        gone = self.lost.all(axis=1) | self.broken
        with np.errstate(invalid="ignore"):
            return np.where(gone, 0.0, np.where(np.isneginf(low), np.inf, high - low))


def _log_det_along(source: Trajectory, run: Any, start: int, stop: int) -> Array:
    """The sum of ln|det J| (B,) over these steps of a piece of the trajectory: of vanilla units from ln|det W| and the
    slopes, of others on the device."""
    with source.engine.arrays.on(run.stream):
        if source.vanilla:
            local = source.diagonal(run, start, stop)
            if local.own is None:
                return local.log_det()
        return log_det(run, start, stop)


def log_det(run: Any, start: int, stop: int) -> Array:
    """The sum of ln|det J| (B,) over these steps."""
    B, S = (int(n) for n in run.states.shape[1:])
    total, each = np.zeros(B), max(1, DET_BYTES // max(1, 8 * B * S * S))
    for a in range(start, stop, each):
        total += run.engine.determinants.log_det(run.jacobians(a, min(a + each, stop))).sum(axis=0)
    return total
