"""What a carried frame has measured, as a result: exponents, errors, and whether they can be believed.

Dimensions: B sequences, K exponents, n blocks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...results import Array
from ..statistics import BATCHES, batch_means, batch_means_error, trends
from .exponents import LyapunovSpectrum
from .interval import SAFE_ZONE

LEAST_BLOCKS, LEAST_STEPS = BATCHES, 100  # below which a standard error, and the absence of a trend, cannot be told
SMALL_ERROR, SMALL_SHARE = 0.03, 0.1  # nats per step, or of the exponent: what counts as a small standard error
# Of the exponent (or of .3 nats per step, if that is more): a trend that moves the mean by less does not matter
SMALL_TREND, SCALE = 2e-4, 0.3
RESIDUAL = {8: 1e-6, 4: 1e-3}  # nats per step: of the sum rule per exponent, and of rounding within intervals


@dataclass
class Measured:
    """Growth by block, and what else a result tells."""

    sums: Array  # (n, B, K) of ln R_ii
    durations: Array  # (n,) steps
    log_det: Array  # (B,) sum of ln|det J|
    interval: int
    rounding: Array  # (B,) estimated error by the length of a given interval, nats per step
    doubt: str  # what the carried frame has to say against itself
    still: Array  # (B,) whether the state never moved
    placed: bool  # whether the user said where it starts
    discarded: int
    warmup: int
    state_size: int
    dtype: np.dtype[Any]


def judged(measured: Measured, places: slice) -> LyapunovSpectrum:
    """The result of some of the sequences; of a single one without an axis for it."""
    sums, durations, log_det = measured.sums[:, places], measured.durations, measured.log_det[places]
    single = len(log_det) == 1
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
    doubt = _doubt(measured, exponents, error, rates, residual, measured.rounding[places])
    with np.errstate(invalid="ignore"):
        still = measured.still[places] & (exponents[:, 0] > 1e-9)
    rest = ""
    if still.any():
        rest = f"the state rests on a fixed point, which is unstable: exponent 1 is {exponents[still][0, 0]:.3g} > 0"
        if not measured.placed and not doubt:
            doubt = f"{rest}; pass `state=` to start beside it"
    lost = int(np.sum(np.isneginf(exponents)))
    tail = f"; {lost} exponent(s) −inf: singular Jacobians" if lost else ""
    tail += rest and f"; {rest}"
    pick = (lambda a: a[..., 0, :]) if single else (lambda a: a)
    return LyapunovSpectrum(
        exponents=pick(exponents),
        standard_error=pick(error),
        history=pick(history),
        block_rates=pick(rates),
        times=times,
        steps=total,
        discarded=measured.discarded,
        warmup=measured.warmup,
        interval=measured.interval,
        state_size=measured.state_size,
        sum_rule_residual=float(residual[0]) if single else residual,
        mean_log_det=float(mean_det[0]) if single else mean_det,
        converged=not doubt,
        reason=doubt or f"no trend in {len(rates)} blocks, and standard errors are small{tail}",
        precision=measured.dtype.name,
    )


def _doubt(measured: Measured, exponents: Array, error: Array, rates: Array, residual: Array, rounding: Array) -> str:
    """Why the exponents are not to be believed to their standard errors; empty if they are (see LyapunovSpectrum)."""
    if np.isnan(exponents).any():
        return "NaN or inf in the states or Jacobians"
    if measured.doubt:
        return measured.doubt
    size, finite, n = measured.dtype.itemsize, np.isfinite(exponents), len(rates)
    if n < LEAST_BLOCKS or measured.durations.sum() < LEAST_STEPS:
        return (
            f"{int(measured.durations.sum())} counted steps, {n} blocks: too short for a standard error; take at "
            f"least {LEAST_STEPS} steps that count, and an interval of at most a twentieth of them"
        )
    worst = float(rounding.max())
    if worst > RESIDUAL[size]:
        rows = [row[mask] for row, mask in zip(exponents, finite, strict=True) if mask.any()]
        spread = max((float(row.max() - row.min()) for row in rows), default=0.0)
        return (
            f"interval {measured.interval} is too long: exponents spread by {spread:.3g} nats per step, and rounding "
            f"within it costs about {min(worst, 1e99):.1g}; take interval ≤ "
            f'{max(1, min(measured.interval - 1, int(0.5 * SAFE_ZONE[size] / max(spread, 1e-9))))}, or "auto"'
        )
    if np.any(residual > RESIDUAL[size] * measured.state_size):
        return (
            f"sum-rule residual {float(np.max(residual)):.2g}: the lowest exponents lie below rounding (a Jacobian "
            "whose condition number passes 1/eps)"
        )
    means = batch_means(np.where(finite, rates, 0.0), measured.durations, BATCHES)[0]
    matters = means.std(axis=0, ddof=1) / np.sqrt(BATCHES) > SMALL_TREND * np.maximum(SCALE, np.abs(exponents))
    drifting = trends(means) & finite & matters
    if drifting.any():
        early, late = (means[part].mean(axis=0) for part in (slice(0, BATCHES // 4), slice(-BATCHES // 4, None)))
        drift = np.where(drifting, np.abs(late - early), -1.0)
        i = np.unravel_index(int(np.argmax(drift)), drift.shape)
        return (
            f"exponent {i[-1] + 1} still drifts, or fluctuates more slowly than the run is long: {early[i]:.3g} nats "
            f"per step in the first quarter, {late[i]:.3g} in the last; take more steps, warmup or discard"
        )
    with np.errstate(invalid="ignore"):
        excess = np.where(finite, error / np.maximum(SMALL_ERROR, SMALL_SHARE * np.abs(exponents)), 0.0)
    if np.any(excess > 1.0):
        i = np.unravel_index(int(np.argmax(excess)), excess.shape)
        return (
            f"exponent {i[-1] + 1} is {exponents[i]:.3g} ± {error[i]:.2g} nats per step: its standard error is above a "
            f"tenth of it; take some {int(np.ceil(excess[i] ** 2))} times as many steps"
        )
    return ""
