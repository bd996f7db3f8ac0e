"""One vector for a sequence, of what it gives at every step, under the names of cpu/over_time.py.

Dimensions: T time steps, B sequences, N numbers of a step. lengths: (B,), in NumPy, the real steps of each sequence.
"""

from typing import Any

import numpy as np

from . import device
from .toolkit import cuda


def last(y: Any, lengths: np.ndarray, half: int) -> Any:
    """(B, N) of y (T, B, N): the first `half` numbers at a sequence's end, the others at its first step; 0 of none."""
    _, batch, n = (int(length) for length in y.shape)
    (flat, row), out = device.rows(y), device.empty((batch, n), y.dtype)
    device.for_each(take_last, out.size, (flat, row, _there(lengths), out.reshape(-1), half, n))
    return out


def from_last(g: Any, lengths: np.ndarray, half: int, steps: int) -> Any:
    """dL/dy, (T, B, N), of g (B, N), C-contiguous, that of what `last` gives."""
    batch, n = (int(length) for length in g.shape)
    out = device.empty((steps, batch, n), g.dtype)
    device.for_each(spread_last, out.size, (g.reshape(-1), _there(lengths), out.reshape(-1), half, n))
    return out


def mean(y: Any, lengths: np.ndarray) -> Any:
    """(B, N) of y (T, B, N): the mean over each sequence's steps; 0 of none."""
    _, batch, n = (int(length) for length in y.shape)
    (flat, row), out = device.rows(y), device.empty((batch, n), y.dtype)
    device.for_each(take_mean, out.size, (flat, row, _there(lengths), out.reshape(-1), n))
    return out


def from_mean(g: Any, lengths: np.ndarray, steps: int) -> Any:
    """dL/dy, (T, B, N), of g (B, N), C-contiguous, that of what `mean` gives."""
    batch, n = (int(length) for length in g.shape)
    out = device.empty((steps, batch, n), g.dtype)
    device.for_each(spread_mean, out.size, (g.reshape(-1), _there(lengths), out.reshape(-1), n))
    return out


def take_last(y, row, lengths, out, half, columns):
    place = cuda.grid(1)
    if place < out.size:
        b, c = place // columns, place % columns
        t = lengths[b] - 1 if c < half else min(lengths[b], 1) - 1
        out[place] = y[(t * lengths.size + b) * row + c] if t >= 0 else out.dtype.type(0)


def spread_last(g, lengths, out, half, columns):
    place = cuda.grid(1)
    if place < out.size:
        t, own = place // g.size, place % g.size
        length = lengths[own // columns]
        end = length - 1 if own % columns < half else min(length, 1) - 1
        out[place] = g[own] if t == end else out.dtype.type(0)


def take_mean(y, row, lengths, out, columns):
    place = cuda.grid(1)
    if place < out.size:
        b, c = place // columns, place % columns
        share = out.dtype.type(1.0 / max(lengths[b], 1))
        total = out.dtype.type(0)
        for t in range(lengths[b]):
            total += y[(t * lengths.size + b) * row + c] * share
        out[place] = total


def spread_mean(g, lengths, out, columns):
    place = cuda.grid(1)
    if place < out.size:
        t, own = place // g.size, place % g.size
        length = lengths[own // columns]
        out[place] = g[own] * out.dtype.type(1.0 / max(length, 1)) if t < length else out.dtype.type(0)


def _there(lengths: np.ndarray) -> Any:
    return device.to_device(np.asarray(lengths, np.int64))
