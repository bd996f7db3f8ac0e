"""A frame of tangent vectors carried along a trajectory: growth by block, the interval between QRs, the verdict.

Dimensions: B sequences, S state size, K tangent vectors, n blocks. Everything here works on any `Tangent`: a thing
that carries a frame forward and knows ln|det| of the steps it took.
"""

from typing import Any, Protocol

import numpy as np

from .arrays import Array
from .exponents import LyapunovSpectrum
from .orthonormalise import orthonormalise
from .statistics import batch_means_error
from .triangular import LostRank, TriangularFrame, longest_interval

# Steps from one volume of a triangular frame to the next, in runs of 12 blocks of 16 and more: it costs as much as one
# step at N = 200, two thirds of one at N = 1000.
BLOCK, LONGEST_BLOCK = 16, 32
BLOCKS = 1024  # blocks are merged in pairs beyond twice this number: the history of a long run stays small
LONGEST_INTERVAL = 20
PILOT = 24  # steps that measure the spread of the exponents before the interval is chosen
# interval · (λ_1 − λ_K) up to which results stay clean, by bytes per number: errors begin at 23.5 and 11.7 (measured)
SAFE_ZONE = {8: 20.0, 4: 7.0}
LARGEST_LOG = {8: 300.0, 4: 40.0}  # interval · |λ| that stays well inside the range of the type


class Tangent(Protocol):
    """What a source of Jacobians must do. `remaining` is the number of steps left, None if unlimited."""

    batch: int
    state_size: int
    dtype: np.dtype[Any]

    def copy(self) -> Any:
        """The same steps from here on, followed independently."""
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


def safe_zone(dtype: np.dtype[Any]) -> float:
    """The largest clean interval · (λ_1 − λ_K) for numbers of this type."""
    return SAFE_ZONE[dtype.itemsize]


def choose_interval(tangent: Tangent, frame: Array, limit: int, precision: Any = None) -> int:
    """Steps between orthonormalisations: half of what the spread of a short pilot run allows, at most `limit`.

    Half, because the spread varies along the trajectory; the whole run is judged again afterwards by its own spread.
    float32 with a `precision`, of a triangular frame, takes three quarters of its narrow zone. The pilot reads a copy
    of the tangent.
    """
    source: Any = tangent.copy()
    if precision is not None:
        limit = min(limit, longest_interval(tangent.state_size, precision))
        if limit == 1:
            return 1
        triangular = TriangularFrame(frame, precision)
        triangular.block(source, PILOT // 4, 1, False)
        taken, logs, _ = triangular.block(source, PILOT // 4, 1, False)
        share = 0.75 if precision == np.float32 else 0.5
        return _allowed(logs / taken, np.dtype(precision), share, limit) if taken else 1
    growth = []
    for _ in range(PILOT):
        frame, taken, _ = source.advance(frame, 1, False)
        if not taken:
            break
        frame, logs = orthonormalise(frame)
        growth.append(logs)
    if not growth:
        return 1
    return _allowed(np.mean(growth[len(growth) // 2 :], axis=0), tangent.dtype, 0.5, limit)


def _allowed(rates: Array, dtype: np.dtype[Any], share: float, limit: int) -> int:
    """The interval that takes a `share` of the safe zone, for rates (B, K)."""
    if not np.isfinite(rates).all():
        return 1
    spread = float(np.max(rates.max(axis=1) - rates.min(axis=1)))
    fastest = float(np.abs(rates).max())
    zone, largest = SAFE_ZONE[dtype.itemsize] * share, LARGEST_LOG[dtype.itemsize]
    allowed = min(zone / max(spread, 1e-9), largest / max(fastest, 1e-9), 1e6)
    return max(1, min(int(allowed), limit))


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
    until it loses rank. interval None: a pilot run chooses it."""
    full = sum_rule and frame.shape[2] == tangent.state_size
    source: Any = tangent
    triangular, every = _triangular(source, frame, interval, steps, precision)
    block = 1 if steps is None else max(1, min(max(steps // 40, BLOCK), LONGEST_BLOCK, steps // 12))
    growth, log_det, done = Growth(), np.zeros(tangent.batch), 0
    bar = progress_bar(steps) if progress else None
    while steps is None or done < steps:
        goal = discard if done < discard else steps
        wanted = every if triangular is None else -(-block // every) * every
        wanted = wanted if goal is None else min(wanted, goal - done)
        if triangular is not None:
            start = source.copy()
            try:
                taken, logs, det = triangular.block(source, wanted, every, full and done >= discard)
            except (
                LostRank
            ):  # exponents of -inf: from the block's start on a QR decomposition tells them from small ones
                source, frame = start, triangular.orthonormal()
                triangular, every = _triangular(source, frame, interval, steps, None)
                continue
        else:
            frame, taken, det = source.advance(frame, wanted, full and done >= discard)
        if taken:
            if triangular is None:
                frame, logs = orthonormalise(frame, exact=taken < wanted or done + taken in (discard, steps))
            if done >= discard:
                growth.add(logs, taken)
                log_det = log_det + det
            done += taken
            if bar is not None:
                bar.update(taken)
        if taken < wanted:
            break
    if bar is not None:
        bar.close()
    if not growth.steps:
        raise ValueError(
            f"the sequence ended after {done} steps, but the first {discard} are discarded: nothing is left to "
            "average; "
            "pass a longer sequence or a smaller `discard`"
        )
    dtype = tangent.dtype if precision is None else np.dtype(precision)
    det = log_det if full else np.full(tangent.batch, np.nan)
    sums, durations = np.array(growth.sums), np.array(growth.steps)

    def result(places: slice) -> LyapunovSpectrum:
        return _result(tangent, sums[:, places], durations, det[places], every, discard, warmup, single, dtype)

    parts = getattr(tangent, "parts", None)  # of the batch: on the GPU the networks of an ensemble
    return result(slice(None)) if parts is None else [result(places) for places in parts]


def _triangular(tangent: Any, frame: Array, interval: int | None, steps: int | None, precision: Any) -> tuple[Any, int]:
    """A triangular frame if there is a precision, and steps between two decompositions."""
    limit = LONGEST_INTERVAL if steps is None else min(LONGEST_INTERVAL, max(1, steps // 100))
    if hasattr(tangent, "own_frame"):  # on the GPU, where a frame stays
        carried = tangent.own_frame(frame)
        return carried, interval or _allowed(carried.rates(tangent.copy(), PILOT // 4), tangent.dtype, 0.5, limit)
    if precision is not None:
        try:
            every = interval or choose_interval(tangent, frame, LONGEST_INTERVAL, precision)
            return TriangularFrame(frame, precision), every
        except LostRank:
            return None, choose_interval(tangent, frame, limit)
    return None, interval or choose_interval(tangent, frame, limit)


def progress_bar(total: int | None, what: str = "Lyapunov spectrum") -> Any:
    """A bar that counts steps."""
    from tqdm import tqdm

    return tqdm(total=total, unit="step", desc=what)


def _result(
    tangent: Tangent,
    sums: Array,
    durations: Array,
    log_det: Array,
    interval: int,
    discard: int,
    warmup: int,
    single: bool,
    dtype: np.dtype[Any],
) -> LyapunovSpectrum:
    times = np.cumsum(durations)
    total = int(times[-1])
    history = np.cumsum(sums, axis=0) / times[:, None, None]
    order = np.argsort(-history[-1], axis=1, kind="stable")
    rates = np.take_along_axis(sums / durations[:, None, None], order[None], axis=2)
    history = np.take_along_axis(history, order[None], axis=2)
    exponents = history[-1]
    error = batch_means_error(rates, durations)
    mean_det = log_det / total
    both = np.isneginf(mean_det) & np.isneginf(exponents.sum(axis=1))
    residual = np.zeros(len(mean_det))
    residual[~both] = np.abs(np.where(both, 0.0, exponents.sum(axis=1))[~both] - mean_det[~both])
    converged, reason = _verdict(exponents, error, rates, durations, residual, tangent, interval, dtype)
    pick = (lambda a: a[..., 0, :]) if single else (lambda a: a)
    return LyapunovSpectrum(
        exponents=pick(exponents),
        standard_error=pick(error),
        history=pick(history),
        block_rates=pick(rates),
        times=times,
        steps=total,
        discarded=discard,
        warmup=warmup,
        interval=interval,
        state_size=tangent.state_size,
        sum_rule_residual=float(residual[0]) if single else residual,
        mean_log_det=float(mean_det[0]) if single else mean_det,
        converged=converged,
        reason=reason,
        precision=dtype.name,
    )


def _verdict(
    exponents: Array,
    error: Array,
    rates: Array,
    durations: Array,
    residual: Array,
    tangent: Tangent,
    interval: int,
    dtype: np.dtype[Any],
) -> tuple[bool, str]:
    """Whether the exponents can be believed to their standard errors, and why (see `lyapunov_spectrum`)."""
    if np.isnan(exponents).any():
        return False, "NaN or inf in the states or Jacobians"
    finite = np.isfinite(exponents)
    if len(rates) < 8:
        return False, f"only {len(rates)} blocks: too short for a standard error; take more steps or a smaller interval"
    rows = [row[mask] for row, mask in zip(exponents, finite, strict=True) if mask.any()]
    spread = max((float(row.max() - row.min()) for row in rows), default=0.0)
    zone = safe_zone(dtype)
    if interval > 1 and interval * spread > zone:
        return False, (
            f"interval {interval} times the spread {spread:.3g} is {interval * spread:.3g}, beyond {zone:g}: "
            "the lowest "
            f"exponents are rounding; take interval ≤ {max(1, int(zone / spread))}"
        )
    if np.any(residual > (1e-6 if dtype.itemsize == 8 else 1e-3) * tangent.state_size):
        return False, (
            f"sum-rule residual {float(np.max(residual)):.2g}: the lowest exponents lie below rounding (a "
            "Jacobian whose "
            "condition number passes 1/eps)"
        )
    half = len(rates) // 2
    with np.errstate(invalid="ignore"):
        drift = np.abs(
            np.average(rates[:half], axis=0, weights=durations[:half])
            - np.average(rates[half:], axis=0, weights=durations[half:])
        )
        allowed = 10.0 * error + 2e-3 * np.maximum(1.0, np.abs(exponents))
        excess = np.where(finite, drift - allowed, -np.inf)
    if np.any(excess > 0.0):
        worst = np.unravel_index(int(np.argmax(excess)), excess.shape)
        return False, (
            f"exponent {worst[-1] + 1} still drifts: its two halves differ by {drift[worst]:.2g} nats per step, "
            "standard "
            f"error {error[worst]:.2g}; take more steps, warmup or discard"
        )
    lost = int(np.sum(~finite))
    tail = f"; {lost} exponent(s) −inf: singular Jacobians" if lost else ""
    return True, f"the two halves of the run agree within their errors{tail}"
