"""One vector for a sequence, of what it gives at every step: what it ends with, or the mean; and the ways back.

Dimensions: T time steps, B sequences, N numbers of a step. lengths: (B,) the real steps of each sequence.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def last(y: Array, lengths: Array, half: int) -> Array:
    """(B, N) of y (T, B, N): the first `half` numbers at a sequence's end, the others at its first step; 0 of none."""
    found, real = np.zeros(y.shape[1:], y.dtype), np.flatnonzero(lengths > 0)
    if len(real):
        found[real, :half], found[real, half:] = y[lengths[real] - 1, real, :half], y[0, real, half:]
    return found


def from_last(g: Array, lengths: Array, half: int, steps: int) -> Array:
    """dL/dy, (T, B, N), of g (B, N), that of what `last` gives."""
    found, real = np.zeros((steps, *g.shape), g.dtype), np.flatnonzero(lengths > 0)
    if len(real):
        found[lengths[real] - 1, real, :half] = g[real, :half]
        found[0, real, half:] += g[real, half:]
    return found


def mean(y: Array, lengths: Array) -> Array:
    """(B, N) of y (T, B, N): the mean over each sequence's steps; 0 of none."""
    real, share = _shares(lengths, len(y), y.dtype)
    return np.asarray(np.where(real, y * share, 0).sum(axis=0, dtype=y.dtype))


def from_mean(g: Array, lengths: Array, steps: int) -> Array:
    """dL/dy, (T, B, N), of g (B, N), that of what `mean` gives."""
    real, share = _shares(lengths, steps, g.dtype)
    return np.where(real, g * share, 0)


def _shares(lengths: Array, steps: int, dtype: np.dtype) -> tuple[Array, Array]:
    real = (np.arange(steps)[:, None] < lengths)[:, :, None]
    return real, (real / np.maximum(lengths, 1)[:, None]).astype(dtype)
