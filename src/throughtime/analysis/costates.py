"""The costates dL/ds_t of a run, all of them, each sequence on a logarithmic scale of its own.

    g_t = J_{t+1}ᵀ g_{t+1} + (∂output_t/∂s_t)ᵀ dL/doutput_t

They go back in windows, each in one call of the run, in plain numbers: entering a window a sequence's costate and the
gradients of its outputs there are brought to one scale. Of the costates in the window those count that come before the
first whose norm is too large or too small, and where there is none the next costate is found by a step of its own.

Dimensions: T steps, B sequences, S state size, N units, n steps of a window.
"""

from typing import Any

import numpy as np

from .arrays import Array
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
    direction, scale = _renormalise(first, np.zeros(batch))
    log_norm[steps] = scale
    t, length = steps, MOST
    while t:
        if np.all(scale == -np.inf):  # nothing to carry back before the next loss
            before = np.flatnonzero(given[: t - 1])
            t, taken = int(before[-1]) + 1 if before.size else 0, 0
            direction, scale = _arrive(run, output, given, t, nothing, np.full(batch, -np.inf))
            log_norm[t] = scale
            continue
        start = max(0, t - length)
        found, direction, new_scale, taken = _window(run, output, given, start, t, direction, scale)
        if taken:
            log_norm[t - taken : t], scale = found, new_scale
        else:
            direction, scale = _renormalise(run.vjp(direction, t - 1, t), scale)
            direction, scale = _arrive(run, output, given, t - 1, direction, scale)
            log_norm[t - 1] = scale
        t -= max(taken, 1)
        length = min(MOST, 2 * (taken + 1))
    return log_norm


def _window(
    run: Any, output: Array | None, given: Array, start: int, stop: int, direction: Array, scale: Array
) -> tuple[Array, Array, Array, int]:
    """ln‖g_t‖ (m, B) of the m last costates before `stop`, the first of them with its scale, and m."""
    steps, lost = stop - start, np.isnan(scale)
    level = np.where(np.isfinite(scale), scale, -np.inf)
    arrived = np.repeat(np.asarray(scale != -np.inf)[None], steps + 1, axis=0)
    g = None
    if given[start : stop - 1].any():
        assert output is not None
        g = output[start:stop].copy()
        g[-1] = 0  # is in the costate of `stop` already
        largest = np.abs(g).max(axis=(0, 2), initial=0.0).astype(np.float64)
        level = np.maximum(level, np.log(largest))
        inside = np.logical_or.accumulate(np.asarray(g.any(axis=2))[::-1], axis=0)[::-1]  # of this or a later output
        arrived[1:] |= inside
        arrived[0] |= inside[0]
    level = np.where(np.isneginf(level), 0.0, level)
    carry = np.exp(scale - level)[:, None].astype(direction.dtype) * direction
    if g is not None:
        unit = g / np.where(largest > 0.0, largest, 1.0).astype(g.dtype)[:, None]
        g = np.exp(np.log(largest) - level)[:, None].astype(g.dtype) * unit
    costates = run._costates(carry, g, start, stop)
    norm = np.sqrt(np.einsum("tbs,tbs->tb", costates, costates, dtype=np.float64))
    far = FAR[direction.dtype.name]
    good = lost | np.where(arrived, (norm >= 1.0 / far) & (norm <= far), norm == 0.0)
    first = 1 if start and given[start - 1] else 0  # the output there is not in the costate
    bad = np.flatnonzero((~good[first:steps]).any(axis=1))
    low = first + (int(bad[-1]) + 1 if bad.size else 0)
    level = np.where(lost, np.nan, level)
    if low == steps:
        return norm[:0], direction, scale, 0
    direction, scale = _renormalise(costates[low], level)
    return np.log(norm[low:steps]) + level, direction, scale, steps - low


def _arrive(
    run: Any, output: Array | None, given: Array, t: int, direction: Array, scale: Array
) -> tuple[Array, Array]:
    """The costate at t with what the output there brings in."""
    if not t or not given[t - 1]:
        return direction, scale
    assert output is not None
    return _add(direction, scale, *_renormalise(run.output_cotangent(t, output[t - 1]), np.zeros(len(scale))))


def _renormalise(vectors: Array, scale: Array) -> tuple[Array, Array]:
    """Rows of length one, and their logarithmic scale plus `scale`; a zero row has scale −inf."""
    largest = np.abs(vectors).max(axis=1, initial=0.0).astype(np.float64)
    safe = np.where(largest > 0.0, largest, 1.0)
    unit = vectors / safe[:, None]
    norm = np.sqrt((unit**2).sum(axis=1))
    lengths = np.where(largest == 0.0, 1.0, norm)
    logs = np.where(largest == 0.0, -np.inf, np.log(norm) + np.log(safe))
    return (unit / lengths[:, None]).astype(vectors.dtype), np.where(np.isnan(logs), np.nan, scale + logs)


def _add(a: Array, a_scale: Array, b: Array, b_scale: Array) -> tuple[Array, Array]:
    """e^a_scale · a + e^b_scale · b, again as rows of length one and a scale."""
    top = np.maximum(a_scale, b_scale)
    level = np.where(np.isneginf(top), 0.0, top)
    total = np.exp(a_scale - level)[:, None] * a + np.exp(b_scale - level)[:, None] * b
    return _renormalise(total.astype(a.dtype), level)
