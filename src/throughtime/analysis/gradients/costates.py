"""The costates dL/ds_t of a run, all of them, each sequence with an exponent of its own: numbers times 2^exponent.

    g_t = J_{t+1}ᵀ g_{t+1} + (∂output_t/∂s_t)ᵀ dL/doutput_t

They go back in windows, each in one call of the run, in plain numbers: entering a window a sequence's costate and the
gradients of its outputs there are brought to one exponent, which rounds nothing, so that sequences do not feel by whom
they are accompanied. Of the costates in the window those count that come before the
first whose norm is too large or too small, and where there is none the next costate is found by a step of its own.

Dimensions: T steps, B sequences, S state size, N units, n steps of a window.
"""

from typing import Any

import numpy as np

from ...results import Array
from .lag_sweep import FAR

MOST = 128  # steps of a window: from 64 on there is nothing to win (T = 1000, N = 64)


def logarithms_of_norms(run: Any, output: Array | None, at_end: Array | None) -> Array:
    """ln‖dL/ds_t‖ (T+1, B), −inf for zero, from dL/doutput (T, B, N) and dL/ds_T (B, S), either of which may be None.

    The gradient of an output beyond its sequence's end has to be 0.
    """
    steps, (batch, size) = len(run.states) - 1, run.states.shape[1:]
    log_norm = np.full((steps + 1, batch), -np.inf)
    given = np.zeros(steps, dtype=bool) if output is None else np.asarray(output.any(axis=(1, 2)))
    nothing = np.zeros((batch, size), dtype=run.network.dtype)
    first = nothing if at_end is None else at_end
    if steps and given[-1]:
        assert output is not None
        first = first + run.output_cotangent(steps, output[-1])
    rows, exponent = _scaled(first, np.zeros(batch))
    log_norm[steps] = _logarithms(rows, exponent)
    t, length = steps, MOST
    while t:
        if np.all(exponent == -np.inf):  # nothing to carry back before the next loss
            before = np.flatnonzero(given[: t - 1])
            t, taken = int(before[-1]) + 1 if before.size else 0, 0
            rows, exponent = _arrive(run, output, given, t, nothing, np.full(batch, -np.inf))
            log_norm[t] = _logarithms(rows, exponent)
            continue
        start = max(0, t - length)
        found, level = _window(run, output, given, start, t, rows, exponent)
        taken = len(found)
        if taken:
            log_norm[t - taken : t] = _logarithms(found, level)
            rows, exponent = _scaled(found[0], level)
        else:
            rows, exponent = _scaled(run.vjp(rows, t - 1, t), exponent)
            rows, exponent = _arrive(run, output, given, t - 1, rows, exponent)
            log_norm[t - 1] = _logarithms(rows, exponent)
        t -= max(taken, 1)
        length = min(MOST, 2 * (taken + 1))
    return log_norm


def _window(
    run: Any, output: Array | None, given: Array, start: int, stop: int, rows: Array, exponent: Array
) -> tuple[Array, Array]:
    """The last costates before `stop` that count, (m, B, S), and their exponents (B,)."""
    steps, lost = stop - start, np.isnan(exponent)
    level, g = np.where(lost, -np.inf, exponent), None
    arrived = np.repeat(np.asarray(exponent != -np.inf)[None], steps + 1, axis=0)
    if given[start : stop - 1].any():
        assert output is not None
        g = output[start:stop].copy()
        g[-1] = 0  # is in the costate of `stop` already
        largest = np.abs(g).max(axis=(0, 2), initial=0.0)
        level = np.maximum(level, np.where(largest > 0.0, np.frexp(largest)[1], -np.inf))
        inside = np.logical_or.accumulate(np.asarray(g.any(axis=2))[::-1], axis=0)[::-1]  # of this or a later output
        arrived[1:] |= inside
        arrived[0] |= inside[0]
    level = np.where(np.isneginf(level), 0.0, level)
    if g is not None:
        g = _times_power(g, -level)
    costates = run.costates(_times_power(rows, exponent - level), g, start, stop)
    norm, far = _norm(costates), FAR[rows.dtype.name]
    good = lost | np.where(arrived, (norm >= 1.0 / far) & (norm <= far), norm == 0.0)
    first = 1 if start and given[start - 1] else 0  # the output there is not in the costate
    bad = np.flatnonzero((~good[first:steps]).any(axis=1))
    low = first + (int(bad[-1]) + 1 if bad.size else 0)
    return costates[low:steps], np.where(lost, np.nan, level)


def _arrive(run: Any, output: Array | None, given: Array, t: int, rows: Array, exponent: Array) -> tuple[Array, Array]:
    """The costate at t with what the output there brings in."""
    if not t or not given[t - 1]:
        return rows, exponent
    assert output is not None
    new, of_new = _scaled(run.output_cotangent(t, output[t - 1]), np.zeros(len(exponent)))
    top = np.maximum(exponent, of_new)
    top = np.where(np.isneginf(top), 0.0, top)
    return _scaled(_times_power(rows, exponent - top) + _times_power(new, of_new - top), top)


def _scaled(rows: Array, exponent: Array) -> tuple[Array, Array]:
    """Rows with numbers up to 1, and their exponents; −inf of a zero row, NaN of one that is not finite."""
    largest = np.abs(rows).max(axis=1, initial=0.0)
    own = np.frexp(largest)[1]
    gained = np.where(largest == 0.0, -np.inf, np.where(np.isfinite(largest), own, np.nan))
    return _times_power(rows, -own), exponent + gained


def _times_power(x: Array, exponent: Array) -> Array:
    """x (..., B, n) · 2^exponent (B,); anything where that is no number: those rows are zero or lost."""
    whole = np.where(np.isfinite(exponent), np.clip(exponent, -20000, 20000), 0).astype(np.int32)
    return np.ldexp(x, whole[:, None])


def _norm(rows: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("...s,...s->...", rows, rows, dtype=np.float64)))


def _logarithms(rows: Array, exponent: Array) -> Array:
    """ln‖row‖ (..., B), the same for all ways to divide a number between a row and its exponent."""
    part, own = np.frexp(_norm(rows))
    return np.asarray(np.log(part) + (own + exponent) * np.log(2.0))
