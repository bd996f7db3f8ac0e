"""Standard errors of time averages whose terms are correlated.

Dimensions: n consecutive blocks of a series, any further axes.
"""

import numpy as np

from ..results import Array

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
    means, share = batch_means(np.where(finite, values, 0.0), weights, batches)
    share = share / share.sum(axis=0)
    deviation = means - (share * means).sum(axis=0)
    variance = (share * deviation**2).sum(axis=0) / (batches - 1)
    square = (deviation**2).sum(axis=0)
    rho = (deviation[1:] * deviation[:-1]).sum(axis=0) / np.where(square > 0.0, square, 1.0)
    rho = np.where(rho > 2.0 / np.sqrt(batches), np.minimum(rho, 0.9), 0.0)
    error = np.sqrt(variance * (1.0 + rho) / (1.0 - rho))
    return np.where(finite, error, np.nan)


def batch_means(values: Array, weights: Array, batches: int) -> tuple[Array, Array]:
    """Weighted means (m, ...) of m consecutive batches of a series (n, ...), and their weights (m, 1, ...)."""
    column = weights.reshape((len(values),) + (1,) * (values.ndim - 1))
    edges = np.linspace(0, len(values), batches + 1).astype(int)[:-1]
    share = np.add.reduceat(column, edges, axis=0)
    return np.add.reduceat(values * column, edges, axis=0) / share, share


def trends(means: Array) -> Array:
    """Whether m = 20 successive batch means (m, ..., K) of K series are more than noise about a constant: (..., K).

    Their scatter is taken from the differences d_j of neighbours, which a trend hardly touches. Two statistics,

        η = Σ d_j² / (2 Σ (y_j − ȳ)²)                             von Neumann's ratio: 1 for noise, small for a trend
        C = max_j |Σ_{i≤j} (y_i − ȳ)| / (√m σ),  σ² ~ ⟨d_j²⟩/2     cumulated sums: 1 for noise, large for a trend

    with σ from all d_j² but the two largest, so that a single jump does not hide itself. η is also small where batches
    are shorter than the correlation time: then they are not independent, and no error can be told from them.
    The limits grow with K, so that one spectrum of independent batches raises a false alarm in one of a hundred cases.

    False alarms measured, K = 1, 20,000 series each: white noise of 20 to 1000 values, or Student's t_3, .8 %;
    AR(1) of 1000, 100, 50, 20 correlation times 1, 2, 7, 40 %: a run should have a hundred of them. K = 50: 1.1 %.
    Found, in 1000 values of white noise, with the root mean square of the signal 20, 10, 5, 3 standard errors of the
    mean (which is what it adds to the error): 2 e^(−4t/T), a step in the middle, a linear trend or one slow oscillation
    100, 100, 75, 25 %; a step within the first or last twentieth 100, 60, 7, 2 %; without noise all of them, and a jump
    in the last hundredth.
    Source: von Neumann, Ann. Math. Stat. 12, 1941; cumulated sums: Schruben, Oper. Res. 30, 1982 (initialisation bias).

    >>> noise = np.random.default_rng(0).standard_normal((20, 1))
    >>> trends(noise), trends(noise + np.arange(20.0)[:, None])
    (array([False]), array([ True]))
    """
    m, count = len(means), means.shape[-1]
    squares = np.diff(means, axis=0) ** 2
    deviation = means - means.mean(axis=0)
    total = (deviation**2).sum(axis=0)
    ratio = squares.sum(axis=0) / np.where(total > 0.0, 2.0 * total, 1.0)
    scatter = np.sqrt(np.sort(squares, axis=0)[:-2].mean(axis=0) / 1.323)  # of noise: 2 · 0.6615
    peak = np.abs(np.cumsum(deviation, axis=0)).max(axis=0) / np.sqrt(m)
    # The quantiles at .005/K of either, for Gaussian noise (two million series)
    far = peak > (1.81 + 0.28 * np.log(2 * count)) * scatter
    return np.asarray((total > 0.0) & (far | (ratio < 0.52 * (2 * count) ** -0.116)))


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
