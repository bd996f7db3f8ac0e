"""Steps from one orthonormalisation of a frame to the next: chosen by a pilot run, then judged by what they did.

Within an interval the columns turn towards the fastest direction, and what tells them apart sinks towards rounding:
ln R_ii comes out with an error of about eps · e^spread, the spread being that of ln R_ii within the interval. So an
interval is redone from its start with fewer steps when its spread leaves the zone, down to single steps, which are
right for any spread; and grows again after a while of small spreads.

Dimensions: B sequences, K tangent vectors.
"""

import math
from typing import Any

import numpy as np

from ...results import Array

LONGEST_INTERVAL = 20
# State size up to which every step is orthonormalised, whatever the interval would be: in compiled code that costs less
# than to look ahead, and of 429 small networks under strong input one came out wrong by 3e-4 with longer intervals.
SINGLE = 32
AT_ONCE = 64  # such steps that are taken together
PILOT = 24  # single steps that measure the spread before the first interval is chosen
# Spread of an interval beyond which the automatic one is redone: the error of one is then eps·e^14 = 3e-10 nats
# (float32: 1.3e-4), and that of the average over the run far smaller.
ZONE = {8: 14.0, 4: 7.0}
AIM = {8: 10.0, 4: 3.5}  # spread at which intervals aim, as it varies along a trajectory
# A direction may sink within an interval and rise again: the spread at its end does not show it. It cannot sink by more
# than the spreads of the single steps together, so these stay in sum below what rounding hides (36, float32: 16 nats);
# those seen in single steps, and those that the rows of the Jacobians to come allow (`row_risk`), far below it, because
# rows alone do not tell all: at 17, three of 800 small networks under input of strength 10 were wrong by 1e-3, at 8 the
# same to 1e-10. An interval that was asked for is taken in single steps only where all could be lost.
HIDDEN, LOST = {8: 8.0, 4: 8.0}, {8: 60.0, 4: 25.0}
LARGEST_LOG = {8: 300.0, 4: 40.0}  # |ln R_ii| of an interval that stays well inside the range of the type
PATIENCE, MOST_PATIENCE = 16, 512  # intervals of small spread before a longer one is tried; doubled whenever it fails
SAFE_ZONE = {8: 20.0, 4: 7.0}  # mean spread of an interval up to which results stay clean (measured), for advice
# Steps from one volume of a triangular frame to the next, in runs of 24 blocks of 16 and more: it costs as much as one
# step at N = 200, two thirds of one at N = 1000.
BLOCK, LONGEST_BLOCK = 16, 32


class TooLong(Exception):
    """An interval whose spread left the zone; infinite where rank, or the range of numbers, was lost on its way."""

    def __init__(self, spread: float) -> None:
        self.spread = spread


class Pace:
    """How many steps the next interval takes, and what rounding has cost so far.

    Of a given interval only those that lost rank are redone, step by step; the others leave their error in `rounding`.
    """

    def __init__(self, interval: int | None, dtype: np.dtype[Any], batch: int, limit: int, *, aim: float = 0.0) -> None:
        """interval : the given one, or None: chosen, up to `limit`, to spread by `aim` nats (0: as usual)."""
        size = np.dtype(dtype).itemsize
        self.every, self.fixed = interval or 1, interval is not None
        self.limit = self.every if self.fixed else limit
        self.zone, self.aim, self.hidden = ZONE[size], aim or AIM[size], (LOST if self.fixed else HIDDEN)[size]
        self.eps, self.largest = float(np.finfo(dtype).eps), LARGEST_LOG[size]
        self.rounding = np.zeros(batch)  # sum of eps · e^spread over intervals of more than one step, nats
        self.given, self.singly = self.every, 0  # of a given interval: single steps still to take
        self.single = self.worst = 0.0  # largest spread: of single steps, and since the last change
        self.quiet, self.patience = 0, PATIENCE

    def judge(self, worst: float, steps: int) -> None:
        """Take note of an interval of `steps` steps whose largest spread is `worst` nats, or raise TooLong."""
        if steps > 1 and not worst <= self.zone and (worst == math.inf or not self.fixed):
            raise TooLong(worst)
        if self.fixed:
            if self.singly:
                self.singly -= steps
                self.every = 1 if self.singly > 0 else self.given
            return
        self.worst, self.quiet = max(self.worst, worst), self.quiet + 1
        if self.quiet < self.patience or self.every >= self.limit:
            return
        if self.every == 1:
            self.single = self.worst
        longer = min(2 * self.every, self.limit, self._allowed(self.worst / self.every, self.single))
        self.every, self.worst, self.quiet = max(self.every, longer), 0.0, 0

    def reach(self, source: Any, steps: int, columns: int) -> int:
        """How many of the next steps, at most `steps`, one interval may take."""
        if steps == 1 or columns == 1:
            return steps
        risks = source.risks(steps, columns)
        return steps if np.add.reduce(risks) <= self.hidden else max(1, int(np.sum(np.cumsum(risks) <= self.hidden)))

    def bearable(self, source: Any, steps: int, columns: int) -> bool:
        """Whether the next steps can be taken in intervals of the present length."""
        risks = source.risks(steps, columns)
        return not risks.size or bool(np.convolve(risks, np.ones(self.every)).max() <= self.hidden)

    def shorten(self, spread: float) -> None:
        """Fewer steps, after an interval of this spread."""
        if self.fixed:
            self.every, self.singly = 1, self.given
            return
        fits = int(self.every * self.aim / spread) if math.isfinite(spread) else 1
        self.every = max(1, min(self.every // 2, fits))
        self.worst, self.quiet, self.patience = 0.0, 0, min(2 * self.patience, MOST_PATIENCE)

    def note(self, spread: Array) -> None:
        """Note what rounding costs in a given interval of these spreads (B,)."""
        self.rounding += self.eps * np.exp(np.fmin(spread, 700.0))

    def _allowed(self, rate: float, single: float) -> int:
        """Steps that keep to the aim, at a spread per step, and within which nothing can hide."""
        return int(min(self.aim / max(rate, 1e-9), self.hidden / max(single, 1e-9), 1e6))

    def start(self, rates: Array, single: float) -> None:
        """The first interval, from growth rates (B, K) of a pilot run and the largest spread of its single steps."""
        rates = rates[np.isfinite(rates).all(axis=1)]
        if not rates.size:  # what is lost at once is told from what is small by single steps
            self.every = 1
            return
        fastest, self.single = float(np.abs(rates).max()), single
        spread = float(np.max(rates.max(axis=1) - rates.min(axis=1)))
        far = int(self.largest / max(fastest, 1e-9))
        self.every = max(1, min(self._allowed(spread, single), far, self.limit))


def spreads(logs: Array) -> Array:
    """Largest less smallest of ln R_ii (B, K) of each sequence: infinite where rank was lost, NaN beyond NaN."""
    high, low = np.maximum.reduce(logs, axis=-1), np.minimum.reduce(logs, axis=-1)
    if math.isfinite(float(high.max()) - float(low.min())):
        return np.asarray(high - low)
    with np.errstate(invalid="ignore"):
        return np.where(np.isneginf(low), np.inf, high - low)


def block_of(every: int, steps: int | None, left: int | None) -> int:
    """Steps of a block of intervals of `every` steps, in a run of `steps` of which `left` are to come (None: any)."""
    most = 1 if steps is None else max(1, min(max(steps // 40, BLOCK), LONGEST_BLOCK, steps // 24))
    block = max(1, most // every) * every
    return block if left is None else min(block, left)


def enough_rows(columns: int) -> int:
    """Rows of common size that leave so many columns independent."""
    return columns + columns // 4 + 2


def row_risk(sizes: Array, columns: int) -> Array:
    """How far apart a Jacobian whose rows have these sizes (..., S) may drive the growth of K tangent vectors: the
    logarithm of the largest row over the smallest of the largest 1.25 K + 2. So many rows of common size leave K
    vectors independent; with fewer, some may sink to rounding, and rise again in a later step."""
    place = sizes.shape[-1] - min(enough_rows(columns), sizes.shape[-1])
    with np.errstate(all="ignore"):
        ratio = np.log(sizes.max(axis=-1)) - np.log(np.partition(sizes, place, axis=-1)[..., place])
    return np.asarray(np.where(np.isnan(ratio), 0.0, ratio))
