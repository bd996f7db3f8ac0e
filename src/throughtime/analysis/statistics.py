"""Standard errors of time averages whose terms are correlated.

Dimensions: n consecutive blocks of a series, any further axes.
"""

import numpy as np

from .arrays import Array

BATCHES = 20  # few enough that a batch outlasts the correlations, enough that the error is known to 16 per cent


def batch_means_error(values: Array, weights: Array | None = None, batches: int = BATCHES) -> Array:
    """Standard error of the weighted mean of a correlated series, by batch means.

        SE² = 1/(m (m−1)) Σ_j (mean_j − mean)²,  inflated by (1+ρ)/(1−ρ) where ρ > 2/√m

    The series is cut into m = `batches` consecutive batches (fewer for a short series: at least two values each, at
    least four batches, else NaN). ρ is the lag-one correlation of the batch means: where it is significant the
    batches are shorter than the correlation time and the plain formula would be too small.

    values : (n, ...); weights : (n,) durations, equal by default. Returns (...). Entries that hold NaN or inf give NaN.
    Source: Flegal & Jones, Batch means and spectral variance estimators in Markov chain Monte Carlo, Ann. Stat. 38,
    2010.

    >>> float(batch_means_error(np.tile([0.0, 1.0], 40)).round(12))
    0.0
    """
    values = np.asarray(values, dtype=np.float64)
    count = len(values)
    batches = min(batches, count // 2)
    if batches < 4:
        return np.full(values.shape[1:], np.nan)
    weights = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    finite = np.isfinite(values).all(axis=0)
    safe = np.where(finite, values, 0.0)
    column = weights.reshape((count,) + (1,) * (values.ndim - 1))
    edges = np.linspace(0, count, batches + 1).astype(int)[:-1]
    share = np.add.reduceat(column, edges, axis=0)
    means = np.add.reduceat(safe * column, edges, axis=0) / share
    share = share / share.sum(axis=0)
    deviation = means - (share * means).sum(axis=0)
    variance = (share * deviation**2).sum(axis=0) / (batches - 1)
    square = (deviation**2).sum(axis=0)
    rho = (deviation[1:] * deviation[:-1]).sum(axis=0) / np.where(square > 0.0, square, 1.0)
    rho = np.where(rho > 2.0 / np.sqrt(batches), np.minimum(rho, 0.9), 0.0)
    error = np.sqrt(variance * (1.0 + rho) / (1.0 - rho))
    return np.where(finite, error, np.nan)


def slope_with_error(x: Array, y: Array) -> tuple[float, float]:
    """Least-squares slope of y against x = x₀, x₀+1, …, and its standard error where y is a running sum.

    With y_j = y_0 + Σ_{i≤j} a_i the slope is a weighted mean Σ w_i a_i of the increments, with parabolic weights; its
    variance is Σ w_i² times their long-run variance, estimated by batch means of a_i. (The residuals of such a fit
    are as correlated as a random walk: the textbook error, and Newey–West with a short window, are far too small.)

    x, y : (n,). Returns (slope, standard error); NaN where there are too few points (2 for the slope, 9 for the error).

    >>> slope, error = slope_with_error(np.arange(20.0), 0.5 * np.arange(20.0))
    >>> round(slope, 12), round(error, 12)
    (0.5, 0.0)
    """
    if x.size < 2:
        return float("nan"), float("nan")
    centred = x - x.mean()
    weights = np.cumsum(centred[::-1])[::-1][1:] / (centred @ centred)
    increments = np.diff(y)
    slope = float(weights @ increments)
    error = batch_means_error(increments) * np.sqrt(increments.size * (weights @ weights))
    return slope, float(error)
