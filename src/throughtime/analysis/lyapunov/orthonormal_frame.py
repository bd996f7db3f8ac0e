"""Orthonormal frames of tangent vectors carried along a trajectory, and what becomes of directions that are lost.

Where the Jacobian of a single step is singular to rounding, a column of the frame becomes linearly dependent on those
before it: its exponent is −∞ from there on. It leaves the frame, so that the others go on as if it had not been there.

Dimensions: B sequences, S state size, K tangent vectors.
"""

import math
from typing import Any, Self

import numpy as np

from ...engine.cpu.gram_schmidt import carrier
from ...results import Array
from .frame_protocol import Taken
from .interval import AT_ONCE, PILOT, Pace, TooLong, spreads
from .orthonormalise import orthonormalise

LOOKED_AT = 1 << 18  # numbers in the Jacobians that are taken together


class OrthonormalFrame:
    """The frames of B sequences, made from (B, S, K). `singly`: orthonormalised after every step, in compiled code."""

    doubt = ""

    def __init__(self, columns: Array, pace: Pace, singly: bool = False) -> None:
        self.pace, self.columns, self.count = pace, columns, columns.shape[2]
        batch = len(columns)
        self.slots = np.tile(np.arange(self.count), (batch, 1))  # to which exponent each column belongs
        self.alive = np.full(batch, self.count)  # columns that are not lost: the first ones
        self.broken: Array = np.asarray(~np.isfinite(columns).all(axis=(1, 2)))  # sequences that have become NaN
        self.singly, self.by_hand = singly, 0  # steps to take one by one before compiled code is tried again

    @classmethod
    def along(cls, source: Any, columns: Array, interval: int | None, limit: int, singly: bool = False) -> Self:
        """At its first interval, which a pilot run chooses where none is given."""
        pace = Pace(interval, source.dtype, source.batch, limit)
        if interval is None and limit > 1:
            pace.start(*_pilot(source, columns))
        return cls(columns, pace, singly)

    def block(self, source: Any, left: int | None, with_det: bool) -> Taken:
        """One interval, or up to AT_ONCE single steps in compiled code: as `Frame.block`."""
        if self.singly and self.by_hand <= 0:
            self.by_hand = AT_ONCE if left is None else min(AT_ONCE, left)
            together = self._compiled(source, self.by_hand, with_det)
            if together is not None:
                self.by_hand = 0
                return together
        every = self.pace.every
        wanted = every if left is None else min(every, left)
        if every > 1:
            wanted = self.pace.reach(source, wanted, self.columns.shape[2])
        taken, logs, log_det = self._carry(source, wanted, with_det, exact=wanted == left)
        self.by_hand -= taken
        return Taken(taken, logs[None], log_det, every, taken < wanted)

    def rewind(self) -> None:
        """Nothing: a frame whose interval was too long is as it was before."""

    def _carry(self, source: Any, steps: int, with_det: bool, exact: bool) -> tuple[int, Array, Array]:
        """Carry the frames over one interval of up to `steps` steps: steps taken, ln R_ii over all of them (B, K), sum
        of ln|det J|. TooLong where the interval is to be taken again with fewer steps; then nothing has changed."""
        moved, taken, log_det = source.advance(self.columns, steps, with_det)
        if not taken:
            return 0, np.zeros(self.slots.shape), log_det
        columns, logs = orthonormalise(moved, exact or taken < steps)
        low, high = float(logs.min()), float(logs.max())
        plain = columns.shape[2] == self.count and math.isfinite(low + high)
        if taken > 1 or self.pace.limit > 1:
            if taken > 1 and plain and max(high, -low) > self.pace.largest:
                raise TooLong(math.inf)  # numbers so small have lost digits
            spread = self._spreads(logs, plain) if len(logs) > 1 or not plain else None
            self.pace.judge(high - low if spread is None else float(spread.max()), taken)
            if taken > 1 and self.pace.fixed:
                self.pace.note(np.array([high - low]) if spread is None else spread)
        if not plain:
            columns, logs = self._after(moved, columns, logs)
        self.columns = columns
        return taken, logs, log_det

    def _compiled(self, source: Any, steps: int, with_det: bool) -> Taken | None:
        """Carry the frames over up to `steps` steps and orthonormalise after each, in compiled code. None, and nothing
        changed, where a direction may be lost."""
        batch, count = self.columns.shape[0], self.columns.shape[2]
        if count < self.count:
            return None
        mark = source.mark()
        jacobians = source.jacobians(int(np.clip(LOOKED_AT // (batch * source.state_size**2), 1, steps)))
        logs = np.empty((len(jacobians), batch, count))
        turned = np.array(self.columns.swapaxes(1, 2), np.float64, order="C")  # a copy, for they may be of no use
        doubt = 8.0 * count * float(np.finfo(self.columns.dtype).eps)  # as in orthonormalise.logarithms
        if carrier()(np.ascontiguousarray(jacobians, dtype=np.float64), turned, logs, doubt) < len(jacobians):
            source.back(mark)
            return None
        self.columns = turned.swapaxes(1, 2).astype(self.columns.dtype)
        self.broken |= np.isnan(logs).any(axis=(0, 2))
        log_det = np.zeros(batch)
        if with_det:
            with np.errstate(all="ignore"):  # NaN stays in its sequence
                log_det = np.linalg.slogdet(jacobians.astype(np.float64))[1].sum(axis=0)
        return Taken(len(jacobians), logs, log_det, self.pace.every, not len(jacobians))

    def whole(self) -> None:
        """Take up new directions for those that were lost: from here on every exponent counts anew."""
        self.alive[...] = self.count
        missing = self.count - self.columns.shape[2]
        if missing:
            fresh = np.random.default_rng(0).standard_normal((*self.columns.shape[:2], missing))
            columns = np.concatenate([self.columns, fresh.astype(self.columns.dtype)], axis=2)
            self.columns = orthonormalise(columns)[0]

    def _spreads(self, logs: Array, plain: bool) -> Array:
        """Spread of the columns that are not lost; 0 of a sequence without any, or that has become NaN before."""
        if plain:
            return spreads(logs)
        found = np.zeros(len(logs))
        for b, count in enumerate(self.alive):
            if count and not self.broken[b]:
                found[b] = spreads(logs[b : b + 1, :count])[0]
        return found

    def _after(self, moved: Array, columns: Array, logs: Array) -> tuple[Array, Array]:
        """Columns without those that this interval has lost, ln R_ii by exponent (B, K): −inf for all that are lost."""
        found = np.full(self.slots.shape, -np.inf)
        for b in range(len(logs)):
            if np.isnan(logs[b]).any():
                self.broken[b], found[b] = True, np.nan
                continue
            keep = np.arange(logs.shape[1])
            while np.isneginf(logs[b, : self.alive[b]]).any():
                lost = np.isneginf(logs[b]) & (np.arange(logs.shape[1]) < self.alive[b])
                order = np.argsort(lost, kind="stable")
                order = np.concatenate([order[order < self.alive[b]], np.arange(self.alive[b], logs.shape[1])])
                keep, self.alive[b] = keep[order], self.alive[b] - lost.sum()
                self.slots[b, : keep.size] = self.slots[b, order]
                again = orthonormalise(moved[b : b + 1][:, :, keep])
                columns[b], logs[b] = again[0][0], again[1][0]
            alive = int(self.alive[b])
            found[b, self.slots[b, :alive]] = logs[b, :alive]
        width = max(1, int(self.alive[~self.broken].max(initial=0)))
        return columns[:, :, :width], found


def _pilot(source: Any, columns: Array) -> tuple[Array, float]:
    """Growth rates (B, K) and the largest spread of a single step, over a second half of a short run."""
    growth, mark = [], source.mark()
    for _ in range(PILOT):
        columns, taken, _ = source.advance(columns, 1, False)
        if not taken:
            break
        columns, logs = orthonormalise(columns)
        growth.append(logs)
    source.back(mark)
    if not growth:
        return np.zeros((source.batch, 1)), 0.0
    logs = np.array(growth[len(growth) // 2 :])
    return np.mean(logs, axis=0), float(np.nanmax(np.where(np.isnan(logs).any(axis=2), 0.0, spreads(logs))))
