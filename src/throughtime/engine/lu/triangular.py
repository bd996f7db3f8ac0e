"""Steps of a triangular frame: J P'L and its LU decomposition with row pivoting, on the register tile.

Dimensions: S state size, K tangent vectors (K <= S), W columns of a strip, P = ceil(K/W) strips, R rows of the tallest
tile. A frame is P strips of `high` >= S rows and W columns each, strip q, row i, column j at (q*high + i)*W + j; what
lies beyond S and K is zero.

Below its diagonal a factorised frame holds -L, so that every product adds:

    G = J P'(-L)            half the work of a full product, J packed with its columns in the order of the frame's rows
    leaf p                  a strip below row p*W is transposed and factorised by columns
    strips a..b-1 on q      U[a..b-1, q] by a triangular solution, then G[b.., q] += (-L)[b.., a..b-1] U[a..b-1, q]

One thread: after leaf p the last m strips act on the next m, m the largest power of two that divides p+1: recursive
LU, whose products are deep. A team: blocks of strips, each factorised so by the first thread, while the others take the
block before it to all strips behind. Rows are exchanged in a strip only when it is used. The bits do not depend on the
number of threads.

The product is in frame_product.py, the decomposition in factorisation.py.
"""

from functools import cache
from typing import Any

import numpy as np

from ...jit import PLACEHOLDER, merged, named_in, specialise
from ..cpu.matmul import NEAR
from ..cpu.meeting import meet
from ..cpu.own_share import mine
from ..cpu.primitives import wide
from ..cpu.register_tile import REGISTERS, lanes, most_rows
from . import factorisation, frame_product

WIDTH = ROWS = DEEP = PLACEHOLDER
product = factorise = PLACEHOLDER
ONCE = ("_product", "_factorise")  # called in one place of the loop


def _steps(matrix, frames, sizes, interval, end, limit, order, diagonal, work, info, share, meeting):
    """Carry a frame over several steps, with a decomposition after every `interval`-th, and after the last if `end`.

    frames: two arrays; info = (which of them holds the frame, steps since it was factorised, decompositions done, steps
    taken). It stops early after a decomposition in which a pivot is not finite, or at most `limit` times the largest.
    """
    wide()
    size, columns, _ = sizes
    w, line, d, slope, own, flags, first, steps, gap = matrix
    t, head, u, pivots, done, same, packed, near, zeros = work
    index, threads = mine(share, meeting)
    blocks, rows = (size + ROWS - 1) // ROWS, (size + 3) // 4 * 4
    low, top = blocks * index // threads * ROWS, min(blocks * (index + 1) // threads * ROWS, rows)
    room = (blocks // threads + 2) * ROWS * DEEP
    strips, close = packed[index * room : (index + 1) * room], near[index * DEEP * WIDTH : (index + 1) * DEEP * WIDTH]
    round_, which, since, count, taken, fine = 0, info[0], info[1], 0, 0, True
    while fine and (taken < steps or (end and since)):
        if taken < steps:
            now = (w, line, d, slope, own, (first + taken) * gap, flags)
            frame, out = frames[which], frames[1 - which]
            product(now, frame, order if since == 0 else same, since == 0, out, sizes, low, top, strips, close, zeros)
            round_ = meet(meeting, threads, round_)
            which, since, taken = 1 - which, since + 1, taken + 1
        if since == interval or (end and taken == steps):
            at = count * columns
            round_ = factorise(
                frames[which], sizes, t, head, u, order, pivots, done, diagonal, at, index, threads, round_, meeting
            )
            since, count, least, most = 0, count + 1, np.inf, 0.0
            for i in range(at, at + columns):
                value = diagonal[i]
                least, most = min(least, value), max(most, value)
                fine = fine and value < np.inf
            fine = fine and least > limit * most
    if index == 0:
        info[0], info[1], info[2], info[3] = which, since, count, taken


@cache
def kernels(dtype: Any) -> tuple[Any, dict[str, int]]:
    """The compiled loop for a precision, and the sizes by which arrays are cut."""
    lane, name = lanes(dtype), np.dtype(dtype).name
    rows, width = most_rows(2), 2 * lane
    sizes = {"WIDTH": width, "LANES": lane, "ROWS": rows, "DEEP": NEAR // (width * np.dtype(dtype).itemsize)}
    sizes["SOLVE"] = min(width, 16 if REGISTERS == 32 else 8)
    sizes["BLOCK"] = max(1, 32 // width)
    made: dict[str, Any] = {}
    for function in (*frame_product.KERNELS, *factorisation.KERNELS, _steps):
        names, once = named_in(function, sizes | made), function.__name__ in ONCE
        made[function.__name__[1:]] = merged(function, **names) if once else specialise(function, name, **names)
    return made["steps"], sizes
