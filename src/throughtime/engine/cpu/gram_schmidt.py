"""Orthonormal columns of small frames by Gram and Schmidt, twice: compiled, for a batch.

A reflection of Householder adds multiples of a column's first entry to all others, so that an entry of 1e-100 comes out
as the rounding of 1. Lyapunov vectors have such entries (a second layer's vectors, saturated units), and the next
Jacobian may bring them up again: with reflections, an exponent of a gated unit under strong input was wrong by two nats
per step. Gram and Schmidt only subtract; one column is only divided by its length.

Dimensions: B frames, S rows, K columns.
"""

from functools import cache
from typing import Any

import numpy as np

from ...jit import specialise


@cache
def kernel() -> Any:
    """`gram_schmidt(frames (B, K, S), lengths (B, K))`: frames become Q, lengths |R_ii|; finite frames only."""
    return specialise(gram_schmidt, "gram_schmidt", normalised=specialise(normalised, "normalised"))


def normalised(column):
    """Divide a column by its length, which is returned; one of zeros stays."""
    largest = 0.0
    for s in range(column.size):
        largest = max(largest, abs(column[s]))
    if largest == 0.0:
        return 0.0
    square = 0.0
    for s in range(column.size):
        column[s] /= largest  # so that squares neither overflow nor underflow
        square += column[s] * column[s]
    length = np.sqrt(square)
    for s in range(column.size):
        column[s] /= length
    return largest * length


def gram_schmidt(frames, lengths):
    batch, columns, size = frames.shape
    for b in range(batch):
        frame = frames[b]  # (K, S): columns lie in rows
        for i in range(columns):
            lengths[b, i] = normalised(frame[i])
            for _ in range(2 if i else 0):  # twice is enough (Giraud et al., Numer. Math. 101, 2005)
                for j in range(i):  # one after another: the share of each in what the ones before have left
                    share = 0.0
                    for s in range(size):
                        share += frame[j, s] * frame[i, s]
                    for s in range(size):
                        frame[i, s] -= share * frame[j, s]
                lengths[b, i] *= normalised(frame[i])


@cache
def carrier() -> Any:
    """`carry(jacobians (n, B, S, S), frames (B, K, S), logs (n, B, K))`, see below."""
    return specialise(carry, "carry", gram_schmidt=kernel())


def carry(jacobians, frames, logs, doubt):
    """Frames through n steps, orthonormalised after each: ln R_ii of every step, NaN for a sequence from where it holds
    numbers that are not finite. Returns the steps before the first one whose lengths differ by more than `doubt`, which
    looks as if rank were lost; frames are then of no use."""
    steps, batch, size, _ = jacobians.shape
    columns = frames.shape[1]
    before, lengths = np.empty((columns, size)), np.empty((batch, columns))
    for t in range(steps):
        for b in range(batch):
            finite = True
            for i in range(columns):
                for s in range(size):
                    total = 0.0
                    for j in range(size):
                        total += jacobians[t, b, s, j] * frames[b, i, j]
                    before[i, s] = total
                    finite = finite and np.isfinite(total)
            for i in range(columns):
                for s in range(size):
                    frames[b, i, s] = before[i, s] if finite else np.nan
            if not finite:
                for i in range(columns):
                    logs[t, b, i] = np.nan
                continue
            gram_schmidt(frames[b : b + 1], lengths[b : b + 1])
            least, most = lengths[b, 0], lengths[b, 0]
            for i in range(columns):
                least, most = min(least, lengths[b, i]), max(most, lengths[b, i])
            if not (least > doubt * most and most < np.inf):
                return t
            for i in range(columns):
                logs[t, b, i] = np.log(lengths[b, i])
    return steps
