"""A frame of tangent vectors carried along a trajectory: which frame, its growth by block, and what that amounts to.

Dimensions: B sequences, S state size, K tangent vectors, n blocks.
"""

from typing import Any

import numpy as np

from ...progress import progress_bar
from ...results import Array
from .device_frame import DeviceFrame
from .exponents import LyapunovSpectrum
from .frame_protocol import Frame, Source, Taken
from .interval import SINGLE, TooLong
from .orthonormal_frame import OrthonormalFrame
from .triangular_frame import LostRank, TriangularFrame
from .verdict import Measured, judged

BLOCKS = 1024  # blocks are merged in pairs beyond twice this number: the history of a long run stays small


def measure(
    source: Source,
    columns: Array,
    *,
    interval: int | None,
    discard: int,
    steps: int | None,
    warmup: int,
    progress: bool = False,
    precision: Any = None,
    sum_rule: bool = True,
) -> list[LyapunovSpectrum]:
    """Carry orthonormal columns (B, S, K) for `steps` steps (None: to the end), count growth after the first `discard`,
    and judge it: a result for each part of the source. With a `precision` the frame is triangular, until it loses rank.
    interval None: chosen by a pilot run and what each interval does (see interval.py)."""
    full = sum_rule and columns.shape[2] == source.state_size
    limit = source.longest if steps is None else min(source.longest, max(1, steps // 100))
    frame = frame_along(source, columns, interval, limit, steps, precision)
    growth, log_det, done, intervals = Growth(), np.zeros(source.batch), 0, dict[int, int]()
    with progress_bar(progress, steps, "Lyapunov spectrum") as bar:
        while steps is None or done < steps:
            if done == discard:
                frame.whole()
            goal, counts, mark = discard if done < discard else steps, done >= discard, source.mark()
            try:
                taken = frame.block(source, None if goal is None else goal - done, full and counts)
            except TooLong as error:
                source.back(mark)
                frame.rewind()
                frame.pace.shorten(error.spread)
                continue
            except LostRank as error:  # from the block's start on a QR tells exponents of -inf from small ones
                source.back(mark)
                frame = OrthonormalFrame.along(source, error.frame.orthonormal(), interval, limit)
                continue
            if taken.steps:
                if counts:
                    growth.add(taken, source.shift)
                    log_det = log_det + taken.log_det + source.shift * source.state_size
                done += taken.steps
                intervals[taken.interval] = intervals.get(taken.interval, 0) + taken.steps
                bar.update(taken.steps)
            if taken.ended:
                break
    if not growth.steps:
        raise ValueError(
            f"the sequence ended after {done} steps, but the first {discard} are discarded: nothing is left to "
            "average; pass a longer sequence or a smaller `discard`"
        )
    measured = Measured(
        sums=np.array(growth.sums),
        durations=np.array(growth.steps),
        log_det=log_det if full else np.full(source.batch, np.nan),
        interval=interval or max(intervals, key=lambda every: intervals[every]),
        rounding=frame.pace.rounding / done,
        doubt=frame.doubt,
        still=source.still,
        placed=source.placed,
        discarded=discard,
        warmup=warmup,
        state_size=source.state_size,
        dtype=np.dtype(source.dtype if precision is None else precision),
    )
    return [judged(measured, part) for part in source.parts]


def frame_along(
    source: Any, columns: Array, interval: int | None, limit: int, steps: int | None, precision: Any
) -> Frame:
    """The frame that suits the machine, the size of the state and the precision, at its first interval."""
    if source.on_device:
        return DeviceFrame.along(source, columns, interval, limit, steps)
    if source.state_size <= SINGLE and precision in (None, np.float64) and interval in (None, 1):
        return OrthonormalFrame.along(source, columns, interval, 1, singly=True)
    if precision is not None:
        try:
            return TriangularFrame.along(source, columns, interval, steps, precision)
        except LostRank:  # at once
            pass
    return OrthonormalFrame.along(source, columns, interval, limit)


class Growth:
    """Sums of ln R_ii by block; neighbouring blocks are merged when there are too many."""

    def __init__(self) -> None:
        self.sums: list[Array] = []
        self.steps: list[int] = []
        self.per_block = 1
        self._open = 0

    def add(self, taken: Taken, shift: float) -> None:
        """Add what a frame has done in some steps, and to each ln R_ii of all of them `shift`."""
        parts = len(taken.logs)
        steps, share = taken.steps // parts, shift / parts
        for logs in taken.logs:  # no call inside: of a small state every step is a part
            if self._open:
                self.sums[-1] = self.sums[-1] + (logs + share)
                self.steps[-1] += steps
            else:
                self.sums.append(logs + share)
                self.steps.append(steps)
            self._open = (self._open + 1) % self.per_block
            if len(self.sums) == 2 * BLOCKS and not self._open:
                self.sums = [a + b for a, b in zip(self.sums[::2], self.sums[1::2], strict=True)]
                self.steps = [a + b for a, b in zip(self.steps[::2], self.steps[1::2], strict=True)]
                self.per_block *= 2


def random_frame(batch: int, size: int, columns: int, seed: Any, dtype: Any) -> Array:
    """Orthonormal columns in random directions, the same for every sequence: (B, S, K)."""
    # transposed, so that the first columns do not depend on how many follow
    gaussian = np.random.default_rng(seed).standard_normal((columns, size)).T
    return np.repeat(np.linalg.qr(gaussian)[0][None], batch, axis=0).astype(dtype)
