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

from ..jit import specialise


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
