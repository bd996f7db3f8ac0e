"""Cross-entropy under the softmax and its gradient in one pass over the rows, divided among the team.

    m_r = max_c y_rc,   total_r = Σ_c exp(y_rc − m_r),   own_r = y_r,target − m_r
    dL/dy_rc = w_r (exp(y_rc − m_r)/total_r − [c = target_r])

Rows are worked on by themselves, so the bits are the same for any number of threads. R rows, C classes.
"""

from functools import cache
from typing import Any

import numpy as np

from ...jit import PLACEHOLDER, specialise
from ...scalar import exp
from .. import memory
from ..sizes import Share
from . import shares, threads
from .own_share import mine
from .primitives import clear, wide
from .register_tile import lanes
from .spans import move

Array = np.ndarray
BLOCK = HALF = PLACEHOLDER
WORK = 10  # multiply-adds that an element is worth, most of them for its exponential


def softmax_cross_entropy(y: Array, targets: Array, weights: Array) -> tuple[Array, Array, Array]:
    """(total, own, gradient) of logits y (R, C), targets (R,) and weights (R,) of the dtype of y; (R,), (R,), (R, C).

    A row of weight 0 is not looked at: its gradient is 0, its total 1 and its own 0.
    """
    rows, classes = y.shape
    total, own = np.empty((2, rows), y.dtype)
    gradient = memory.empty((rows, classes), y.dtype)
    arguments = (y.reshape(-1), targets, weights, classes, total, own, gradient.reshape(-1))
    threads.run(_kernel(y.dtype), arguments, *shares.of_rows(rows, classes, WORK * classes))
    return total, own, gradient


@cache
def _kernel(dtype: Any) -> Any:
    block = 2 * lanes(dtype)
    return specialise(_rows, np.dtype(dtype).name, BLOCK=block, HALF=block // 2)


def _rows(y, targets, weights, classes, total, own, gradient, share, meeting):
    """A block of a row at a time in `work`, where LLVM sees that nothing overlaps; behind it maxima, then sums, as many
    side by side. Loops over `count`, and not over BLOCK: those LLVM would unroll, and forget that they are vectors."""
    wide()
    share = Share(*mine(share, meeting))
    work = np.empty(2 * BLOCK, y.dtype)
    for r in range(share.first_row, share.end_row):
        at, weight = r * classes, weights[r]
        if weight == 0:
            total[r], own[r] = 1, 0
            clear(gradient, at, classes)
            continue
        for n in range(BLOCK):
            work[BLOCK + n] = -np.inf
        for c in range(0, classes, BLOCK):
            count = min(BLOCK, classes - c)
            move(work, 0, 0, y, at + c, 0, 1, count, BLOCK)
            for n in range(count):
                work[BLOCK + n] = work[n] if work[n] > work[BLOCK + n] else work[BLOCK + n]
        for n in range(HALF):
            high = work[BLOCK + HALF + n]
            work[BLOCK + n] = high if high > work[BLOCK + n] else work[BLOCK + n]
        top = work[BLOCK]
        for n in range(1, HALF):
            top = work[BLOCK + n] if work[BLOCK + n] > top else top
        clear(work, BLOCK, BLOCK)
        for c in range(0, classes, BLOCK):
            count = min(BLOCK, classes - c)
            move(work, 0, 0, y, at + c, 0, 1, count, BLOCK)
            for n in range(count):
                value = exp(work[n] - top)
                work[n] = value
                work[BLOCK + n] += value
            move(gradient, at + c, 0, work, 0, 0, 1, count, BLOCK)
        for n in range(HALF):
            work[BLOCK + n] += work[BLOCK + HALF + n]
        summed = work[BLOCK]
        for n in range(1, HALF):
            summed += work[BLOCK + n]
        total[r], own[r] = summed, y[at + targets[r]] - top
        factor = weight / summed
        for c in range(0, classes, BLOCK):
            count = min(BLOCK, classes - c)
            move(work, 0, 0, gradient, at + c, 0, 1, count, BLOCK)
            for n in range(count):
                work[n] *= factor
            move(gradient, at + c, 0, work, 0, 0, 1, count, BLOCK)
        gradient[at + targets[r]] -= weight
