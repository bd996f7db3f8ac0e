"""The leading singular values of a product of Jacobians: passes back and forth over a narrow frame.

Dimensions: B sequences, S state size, K = k + 8 directions, n = stop - start factors.

A pass back and forth brings the frame nearer to the leading singular vectors by a factor (σ_{K+1}/σ_k)² and the
singular values, which come from below, by its square. That ratio is seen only as far as the frame goes, σ_K/σ_k; where
it is so near to 1 that all singular values at once cost less, None says so.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...results import Array
from .graded_product import Triangle, eliminated

# The Jacobians (B, S, S) in float64, in their order or, asked with True, backwards.
Factors = Callable[[bool], Iterator[Array]]

MORE = 8  # directions beyond k
BETWEEN = 4  # steps between two eliminations of a pass backwards, which only turns the frame, or without matrices
MOST_SWEEPS = 40  # where all at once would need too much memory
EVEN = 1e-3  # smallest pivot beside the largest, per step, from which on several steps go together
SETTLED = {8: 1e-9, 4: 1e-5}  # what is left to come, nats, by bytes per number of what multiplies the frame
DENSE = 1 << 27  # bytes of Jacobians (B, S, S) that are formed


def leading(run: Any, factors: Factors, start: int, stop: int, k: int) -> tuple[Array, int, bool] | None:
    """ln σ_1 … σ_k (B, k), the passes, and whether they have settled; None if all at once are cheaper."""
    (batch, size), columns = run.states.shape[1:], k + MORE
    small = 8 * batch * size * size <= DENSE
    matrices = small and (run.network.num_layers == 1 or run.network.dtype == np.float32 or size <= 128)
    tolerance = SETTLED[8 if matrices else np.dtype(run.network.dtype).itemsize]
    most = max(2, size // columns) if small else MOST_SWEEPS
    if small and (most < 4 and stop - start < 200):
        return None
    frame, before, change = random_frame(batch, size, columns), np.full((batch, k), np.nan), np.full((batch, k), np.nan)
    for sweep in range(1, most + 1):
        if matrices:
            triangle = Triangle(orthonormal(turned(factors(True), frame)))
            triangle.through(factors(False))
        else:
            triangle = _without_matrices(run, start, stop, frame)
        found, frame = triangle.singular_values(), triangle.frame
        with np.errstate(invalid="ignore", divide="ignore"):
            known = np.isfinite(found[:, :k]) & np.isfinite(before)
            moved = np.where(found[:, :k] == before, 0.0, np.abs(found[:, :k] - before))
            ratio = np.exp(4.0 * (found[:, -1:] - found[:, :k]))
            ratio = np.where(known, np.minimum(np.fmax(ratio, moved / change), 1.0), 0.0)
            left = np.where(np.isnan(found[:, :k]), 0.0, np.maximum(moved, 1e-15) * ratio / (1.0 - ratio))
        if sweep > 1 and not (left > tolerance).any():
            return found[:, :k], sweep, True
        slowest = float(ratio.max(initial=0.0))
        if sweep > 1 and small and slowest ** (most - sweep) * np.nanmax(left, initial=0.0) > tolerance:
            return None
        before, change = found[:, :k], moved
    return None if small else (before, most, False)


def random_frame(batch: int, size: int, columns: int) -> Array:
    """Orthonormal columns in random directions, always the same, for every sequence: (B, S, K)."""
    return np.repeat(np.linalg.qr(np.random.default_rng(0).standard_normal((size, columns)))[0][None], batch, axis=0)


def turned(matrices: Iterator[Array], frame: Array) -> Array:
    """The frame (B, S, K) after the transposes of all matrices, its columns independent: the L of a `Triangle`."""
    since, most = np.zeros(len(frame), dtype=int), np.ones(len(frame), dtype=int)
    for given in matrices:
        with np.errstate(all="ignore"):
            frame = tamed(tamed(given).swapaxes(-1, -2) @ frame)
        since += 1
        here = np.flatnonzero(since >= most)  # each sequence by itself, whoever its company is
        if here.size:
            frame[here], r, _ = eliminated(frame[here])
            pivots = np.abs(np.diagonal(r, axis1=1, axis2=2))
            even = pivots.min(axis=1) > EVEN ** since[here] * pivots.max(axis=1)
            since[here], most[here] = 0, np.where(even, BETWEEN, 1)
    return np.where((since > 0)[:, None, None], eliminated(frame)[0], frame) if since.any() else frame


def tamed(matrices: Array) -> Array:
    """Each matrix (B, S, K) by a power of 2 that brings its largest entry to about 1."""
    largest = np.maximum(matrices.max(axis=(1, 2)), -matrices.min(axis=(1, 2)))
    return np.ldexp(matrices, -np.where(np.isfinite(largest), np.frexp(largest)[1], 0)[:, None, None])


def orthonormal(frame: Array) -> Array:
    """Orthonormal columns (B, S, K) of the same span; NaN for what is not finite."""
    usable = np.asarray(np.isfinite(frame).all(axis=(1, 2)))
    return np.where(usable[:, None, None], np.linalg.qr(np.where(usable[:, None, None], frame, 0.0))[0], np.nan)


def _without_matrices(run: Any, start: int, stop: int, frame: Array) -> Triangle:
    """The same by products with J and Jᵀ over a few steps; step by step where the frame may have lost rank there."""
    pieces, kind = [(a, min(a + BETWEEN, stop)) for a in range(start, stop, BETWEEN)], run.network.dtype
    for a, b in reversed(pieces):
        frame = eliminated(np.asarray(run.vjp(frame.astype(kind), a, b), dtype=np.float64))[0]
    triangle = Triangle(orthonormal(frame))
    probe = np.random.default_rng(0).standard_normal((*frame.shape[:2], 1))
    for a, b in pieces:
        together = np.concatenate([triangle.frame, probe], axis=2).astype(kind)
        moved = np.asarray(run.jvp(together, a, b), dtype=np.float64)
        largest = np.abs(moved[..., -1]).max(axis=1) * (1.0 if kind == np.float64 else 1e3)  # float32: doubt sooner
        found, doubtful, wild = triangle.decompose(moved[..., :-1], largest)
        if (doubtful | wild).any():
            triangle.through(run.jacobians(t, t + 1)[0].astype(np.float64, copy=False) for t in range(a, b))
        else:
            triangle.take(found)
    return triangle
