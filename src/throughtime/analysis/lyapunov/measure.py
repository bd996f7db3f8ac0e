"""A frame of tangent vectors carried along a trajectory: growth by block, the interval between QRs.

Dimensions: B sequences, S state size, K tangent vectors, n blocks. Everything here works on any `Tangent`: a thing
that carries a frame forward and knows ln|det| of the steps it took.
"""

from typing import Any, Protocol

import numpy as np

from ...results import Array
from .interval import AT_ONCE, LONGEST_INTERVAL, PILOT, SINGLE, Pace, TooLong, spreads
from .orthonormal_frame import OrthonormalFrame
from .orthonormalise import orthonormalise
from .triangular_frame import LostRank, TriangularFrame, longest_interval
from .verdict import Measured, judged

# Steps from one volume of a triangular frame to the next, in runs of 24 blocks of 16 and more: it costs as much as one
# step at N = 200, two thirds of one at N = 1000.
BLOCK, LONGEST_BLOCK = 16, 32
BLOCKS = 1024  # blocks are merged in pairs beyond twice this number: the history of a long run stays small


class Tangent(Protocol):
    """What a source of Jacobians must do. `remaining` is the number of steps left, None if unlimited."""

    batch: int
    state_size: int
    dtype: np.dtype[Any]

    def mark(self) -> Any:
        """This point of the trajectory."""
        ...

    def back(self, mark: Any) -> None:
        """Return to the point marked last."""
        ...

    def risks(self, steps: int, columns: int) -> Array:
        """How far each of the next steps may drive the growth of so many vectors apart, nats (n,)."""
        ...

    def together(self, steps: int) -> Array:
        """The Jacobians of the next steps, up to so many, at once (n, B, S, S); not of a tangent on the GPU."""
        ...

    def advance(self, frame: Array, steps: int, with_det: bool) -> tuple[Array, int, Array]:
        """Carry a (B, S, K) frame over up to `steps` steps: the frame, the steps taken, the sum of ln|det J| (B,)."""
        ...


class Growth:
    """Sums of ln R_ii by block; neighbouring blocks are merged when there are too many."""

    def __init__(self) -> None:
        self.sums: list[Array] = []
        self.steps: list[int] = []
        self.per_block = 1
        self._open = 0

    def add(self, logs: Array, steps: int) -> None:
        """Add one interval of `steps` steps with ln R_ii (B, K)."""
        if self._open:
            self.sums[-1] = self.sums[-1] + logs
            self.steps[-1] += steps
        else:
            self.sums.append(logs)
            self.steps.append(steps)
        self._open = (self._open + 1) % self.per_block
        if len(self.sums) == 2 * BLOCKS and not self._open:
            self.sums = [a + b for a, b in zip(self.sums[::2], self.sums[1::2], strict=True)]
            self.steps = [a + b for a, b in zip(self.steps[::2], self.steps[1::2], strict=True)]
            self.per_block *= 2


def random_frame(batch: int, size: int, columns: int, seed: Any, dtype: Any) -> Array:
    """Orthonormal columns in random directions, the same for every sequence: (B, S, K)."""
    gaussian = (
        np.random.default_rng(seed).standard_normal((columns, size)).T
    )  # so that the first columns do not depend on how many follow
    return np.repeat(np.linalg.qr(gaussian)[0][None], batch, axis=0).astype(dtype)


def measure(
    tangent: Tangent,
    frame: Array,
    *,
    interval: int | None,
    discard: int,
    steps: int | None,
    warmup: int,
    single: bool,
    progress: bool = False,
    precision: Any = None,
    sum_rule: bool = True,
) -> Any:
    """Carry the frame for `steps` steps (None: to the end), count growth after the first `discard`, and judge the
    result: a `LyapunovSpectrum`, or a list of them for a batch in parts. With a `precision` the frame is triangular,
    until it loses rank. interval None: chosen by a pilot run and what each interval does (see interval.py)."""
    full = sum_rule and frame.shape[2] == tangent.state_size
    longest = getattr(tangent, "longest", LONGEST_INTERVAL)
    limit = longest if steps is None else min(longest, max(1, steps // 100))
    small = tangent.state_size <= SINGLE and not hasattr(tangent, "own_frame") and precision in (None, np.float64)
    singly, held = small and interval in (None, 1), 0  # held: steps to take one by one before the next many
    carried, pace = _carried(tangent, frame, interval, 1 if singly else limit, None if singly else precision)
    block = 1 if steps is None else max(1, min(max(steps // 40, BLOCK), LONGEST_BLOCK, steps // 24))
    growth, log_det, done, lengths = Growth(), np.zeros(tangent.batch), 0, dict[int, int]()
    bar = progress_bar(steps) if progress else None
    while steps is None or done < steps:
        plain, every = isinstance(carried, OrthonormalFrame), pace.every
        if done == discard and hasattr(carried, "whole"):
            carried.whole()
        goal, counts = discard if done < discard else steps, done >= discard
        wanted = every if plain else max(1, block // every) * every
        wanted = wanted if goal is None else min(wanted, goal - done)
        many = None
        if singly and plain and held <= 0:
            held = AT_ONCE if goal is None else min(AT_ONCE, goal - done)
            many = carried.singly(tangent, held, full and counts)
        width = frame.shape[2]
        mark = tangent.mark() if many is None else None  # `singly` has marked the steps that it took
        if many is None and every > 1 and hasattr(tangent, "risks"):
            if plain:
                wanted = pace.reach(tangent, wanted, carried.columns.shape[2])
            elif not pace.bearable(tangent, wanted, width):
                every = 1
        try:
            if many is not None:
                taken, each, det = many
                wanted, held = max(taken, 1), 0  # fewer than asked for is a piece of the trajectory, none is its end
            elif plain:
                exact = done + wanted in (discard, steps)
                taken, logs, det = carried.block(tangent, wanted, full and counts, exact)
                each = logs[None]
            else:
                taken, logs, det = carried.block(tangent, wanted, every, full and counts)
                each = logs[None]
        except TooLong as error:
            tangent.back(mark)
            if not plain:
                carried.rewind()
            pace.shorten(error.spread)
            continue
        except LostRank:  # exponents of -inf: from the block's start on a QR decomposition tells them from small ones
            tangent.back(mark)
            carried, pace = _carried(tangent, carried.orthonormal(), interval, limit, None)
            continue
        if taken:
            if counts:
                shift = getattr(tangent, "shift", 0.0)
                for logs in each:
                    growth.add(logs + shift / len(each), taken // len(each))
                log_det = log_det + det + shift * tangent.state_size
            done, held = done + taken, held - taken
            lengths[every] = lengths.get(every, 0) + taken
            if bar is not None:
                bar.update(taken)
        if taken < wanted:
            break
    if bar is not None:
        bar.close()
    if not growth.steps:
        raise ValueError(
            f"the sequence ended after {done} steps, but the first {discard} are discarded: nothing is left to "
            "average; pass a longer sequence or a smaller `discard`"
        )
    found = Measured(
        sums=np.array(growth.sums),
        durations=np.array(growth.steps),
        log_det=log_det if full else np.full(tangent.batch, np.nan),
        interval=interval or max(lengths, key=lambda every: lengths[every]),
        rounding=pace.rounding / done,
        doubt=getattr(carried, "doubt", ""),
        still=getattr(tangent, "still", np.zeros(tangent.batch, bool)),
        placed=getattr(tangent, "placed", True),
        discarded=discard,
        warmup=warmup,
        state_size=tangent.state_size,
        dtype=np.dtype(tangent.dtype if precision is None else precision),
    )
    parts = getattr(tangent, "parts", None)  # of the batch: on the GPU the networks of an ensemble
    if parts is None:
        return judged(found, slice(None), single)
    return [judged(found, places, single) for places in parts]


def _carried(tangent: Any, frame: Array, interval: int | None, limit: int, precision: Any) -> tuple[Any, Pace]:
    """The frame, triangular if there is a precision, and the steps between two of its decompositions."""
    batch = tangent.batch
    if hasattr(tangent, "own_frame"):  # on the GPU, where a frame stays
        carried = tangent.own_frame(frame)
        carried.pace = _pace(interval, tangent.dtype, batch, limit)
        if interval is None:
            mark = tangent.mark()
            carried.pace.start(*carried.rates(tangent, PILOT // 4))
            tangent.back(mark)
        return carried, carried.pace
    if precision is not None:
        try:
            return _triangular(tangent, frame, interval, np.dtype(precision))
        except LostRank:
            pass
    pace = _pace(interval, tangent.dtype, batch, limit)
    if interval is None and limit > 1:
        pace.start(*_pilot(tangent, frame))
    return OrthonormalFrame(frame, pace), pace


def _pace(interval: int | None, dtype: np.dtype[Any], batch: int, limit: int, aim: float = 0.0) -> Pace:
    return Pace(interval or 1, dtype, batch, limit=limit if interval is None else None, aim=aim)


def _triangular(tangent: Any, frame: Array, interval: int | None, dtype: np.dtype[Any]) -> tuple[Any, Pace]:
    limit = longest_interval(tangent.state_size, dtype)
    # float32 takes three quarters of its narrow zone
    pace = _pace(interval, dtype, tangent.batch, limit, 5.25 if dtype == np.float32 else 0.0)
    pilot, mark = TriangularFrame(frame, dtype), tangent.mark()  # LostRank at once where a network has dead units
    try:
        pilot.block(tangent, PILOT // 4, 1, False)
        taken, logs, _ = pilot.block(tangent, PILOT // 4, 1, False)
    finally:
        tangent.back(mark)
    if taken and interval is None and limit > 1:
        pace.start(logs / taken, pilot.worst)
    carried = TriangularFrame(frame, dtype)
    carried.pace = pace
    return carried, pace


def _pilot(tangent: Any, frame: Array) -> tuple[Array, float]:
    """Growth rates (B, K) and the largest spread of a single step, over a second half of a short run."""
    growth, mark = [], tangent.mark()
    for _ in range(PILOT):
        frame, taken, _ = tangent.advance(frame, 1, False)
        if not taken:
            break
        frame, logs = orthonormalise(frame)
        growth.append(logs)
    tangent.back(mark)
    if not growth:
        return np.zeros((tangent.batch, 1)), 0.0
    logs = np.array(growth[len(growth) // 2 :])
    return np.mean(logs, axis=0), float(np.nanmax(np.where(np.isnan(logs).any(axis=2), 0.0, spreads(logs))))


def progress_bar(total: int | None, what: str = "Lyapunov spectrum") -> Any:
    """A bar that counts steps."""
    from tqdm import tqdm

    return tqdm(total=total, unit="step", desc=what)
