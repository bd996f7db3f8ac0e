"""Is a series long enough, and has it settled? Correlation times, and a comparison of early and late parts.

Dimensions: T consecutive steps, M units.
"""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from ...results import Array

ENOUGH = 20.0  # correlation times that a time average needs; of its transient, a quarter of that is thrown away
BLOCKS = 20  # of the comparison of early and late
STILL = 1e-6  # a variance in time below this part of the power is a rest of the transient, or rounding


def autocovariance(series: Array, lags: int) -> Array:
    """(lags + 1,) mean over units and times of y(t) y(t + lag), of a series (T, M).

    >>> autocovariance(np.array([[1.0], [-1.0], [1.0], [-1.0]]), 2)
    array([ 1., -1.,  1.])
    """
    steps, units = series.shape
    length, total = next_fast_len(steps + lags, real=True), np.zeros(lags + 1)
    for a in range(0, units, 64):
        power = np.abs(rfft(series[:, a : a + 64].astype(np.float64), length, axis=0)) ** 2
        total += irfft(power.sum(axis=1), length)[: lags + 1]
    return np.asarray(total / (units * (steps - np.arange(lags + 1))))


def correlation_time(series: Array, power: float = 0.0) -> float:
    """The integrated autocorrelation time of the deviations from each unit's mean, steps; at least ½.

        τ = ½ + Σ_{lag=1}^{w} ρ(lag),   w the first lag ≥ 5 τ

    series : (T, M). power : a mean square beside which the series may be constant, if its own is smaller. A series much
    shorter than its correlation time gives about T/6, whatever that time is; constants give ½.
    Source: Sokal, Monte Carlo methods in statistical mechanics, 1997 (the window).

    >>> correlation_time(np.random.default_rng(0).standard_normal((400, 20))) < 1.0
    True
    """
    deviation = series - series.mean(axis=0)
    covariance = autocovariance(deviation, len(series) // 2)
    power = max(power, float((series.astype(np.float64) ** 2).mean()))
    if not covariance[0] > STILL * power:
        return 0.5
    running = 0.5 + np.concatenate([[0.0], np.cumsum(covariance[1:] / covariance[0])])
    settled = np.flatnonzero(np.arange(len(running)) >= 5.0 * running)
    return float(max(0.5, running[settled[0]] if settled.size else running.max()))


def drift(series: Array, floor: float) -> bool:
    """Whether the late half of a series (T,) differs from the early half by more than `floor` and four standard errors.

    The errors come from the differences of neighbouring blocks, which a trend hardly enters (von Neumann, Ann. Math.
    Stat. 12, 1941).

    >>> drift(np.linspace(0.0, 1.0, 200), 0.01), drift(np.random.default_rng(0).standard_normal(200), 0.01)
    (True, False)
    """
    blocks = min(BLOCKS, len(series) // 2) // 2 * 2
    if blocks < 4:
        return False
    means = np.array([part.mean() for part in np.array_split(series, blocks)])
    change = means[blocks // 2 :].mean() - means[: blocks // 2].mean()
    error = np.sqrt(4.0 / blocks * (np.diff(means) ** 2).sum() / (2.0 * (blocks - 1)))
    return bool(abs(change) > 4.0 * error + floor)
