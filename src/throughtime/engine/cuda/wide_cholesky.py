"""One pass of Cholesky-QR over frames of more columns than a tile: A'A = R'R, Q = A R^-1, each by many blocks.

work (B, room) holds frames whose columns and whose numbers are filled up with zeros to whole tiles: number s of column
k at k * high + s. After it in each frame's room: the logarithms of this pass and the passes before, a number of each
column; then the sizes of rows. matrix (B, wide, wide): A'A above its diagonal, then R there. Both are made PANEL rows
at a time; what is on the diagonal, PANEL x PANEL, becomes L', unit lower triangular without its diagonal, and the
reciprocals of the square roots of its pivots in place of that, so that R = D^1/2 L'.

A thread solves for one column of R, or for one number of each column of Q, in the same way.
"""

import math

from .cholesky_qr import EACH, SUMS
from .copies_ahead import arrived, bring, sent_off
from .matmul_tile import outer
from .register_arrays import ALIGNED, read, thread, write
from .substitution import eliminate, step_down, take_off
from .toolkit import cuda

from .kernel_names import (  # isort: skip
    ACROSS, AHEAD, CORNER, DEPTH, DEVIATION, HALF, INFINITY, LANES, LINE, ONE, PAIR, PANEL, ROUNDING, SIDE, SLAB,
    SLABS, STRIPS, THREADS, TILE, VEC, ZERO, added, greatest_of_block,
)  # fmt: skip

WORKING, SETTLED, FAILED, LEFT, LEFT_SCALED = -1, -2, -3, -4, -5


def fetch_rows(slab, at, work, first, high):
    """Begins to copy DEPTH numbers of TILE columns of a frame, the first of them at `first`."""
    for n in range(thread(), TILE * DEPTH // VEC, THREADS):
        row, v = n // (DEPTH // VEC), n % (DEPTH // VEC) * VEC
        bring(slab, at + row * LINE + v, work, first + row * high + v, VEC, VEC)


def gram(work, matrix, last, wide, high, room):
    """A tile of A'A on or above its diagonal."""
    across = wide // TILE
    tiles = across * (across + 1) // 2
    b, first, second = cuda.blockIdx.x // tiles, cuda.blockIdx.x % tiles, 0
    while first > second:
        second += 1
        first -= second
    if last[b] != WORKING:
        return
    left = cuda.shared.array(SLABS, work.dtype, alignment=ALIGNED)
    right = cuda.shared.array(SLABS, work.dtype, alignment=ALIGNED)
    sums = cuda.local.array(SUMS, work.dtype)
    for i in range(SUMS):
        sums[i] = ZERO
    mine, other = b * room + first * TILE * high, b * room + second * TILE * high
    fetch_rows(left, 0, work, mine, high)
    fetch_rows(right, 0, work, other, high)
    sent_off()
    turn = 0
    for s in range(0, high, DEPTH):
        if s + DEPTH < high:
            fetch_rows(left, (1 - turn) * SLAB, work, mine + s + DEPTH, high)
            fetch_rows(right, (1 - turn) * SLAB, work, other + s + DEPTH, high)
        sent_off()
        arrived(1)
        cuda.syncthreads()
        row, column = thread() // SIDE, thread() % SIDE
        a, c = turn * SLAB + row * LINE, turn * SLAB + column * LINE
        outer(sums, left, a, LINE, SIDE, 1, right, c, LINE, SIDE, 1, DEPTH, EACH, EACH)
        cuda.syncthreads()
        turn = 1 - turn
    row, column = first * TILE + thread() // SIDE, second * TILE + thread() % SIDE
    for i in range(EACH):
        for j in range(EACH):
            matrix[(b * wide + row + i * SIDE) * wide + column + j * SIDE] = sums[i * EACH + j]


def fetch_lines(slab, at, matrix, first, wide, left, threads):
    """Begins to copy PANEL numbers of each of TILE rows of a matrix, or of as many as are left."""
    for n in range(thread(), TILE * PANEL // VEC, threads):
        k, v = n // (PANEL // VEC), n % (PANEL // VEC) * VEC
        if k < left:
            bring(slab, at + k * PANEL + v, matrix, first + k * wide + v, VEC, VEC)


def column_of(t, slab, x, at, step, alive, matrix, own, p, wide, threads):
    """t[i] = x[p + i] less sum_{k<p} R[k, p + i] x[k] for a thread's own x, which lies in steps from `at` on.

    All threads call it, and end with whatever copies were begun before; `alive`: whether the thread has an x.
    """
    if alive:
        write(t, 0, 1, read(x, at + p * step, step, PANEL))
    fetch_lines(slab, 0, matrix, own + p, wide, p, threads)
    sent_off()
    turn = 0
    for low in range(0, p, TILE):
        if low + TILE < p:
            rest = own + (low + TILE) * wide + p
            fetch_lines(slab, (1 - turn) * TILE * PANEL, matrix, rest, wide, p - low - TILE, threads)
        sent_off()
        arrived(1)
        cuda.syncthreads()
        if alive:
            first, end = at + low * step, min(TILE, p - low)
            ahead = read(x, first, step, AHEAD)
            for k in range(0, end, AHEAD):
                values = ahead
                ahead = read(x, first + min(k + AHEAD, end - AHEAD) * step, step, AHEAD)
                take_off(t, slab, (turn * TILE + k) * PANEL, values, PANEL)
        cuda.syncthreads()
        turn = 1 - turn
    if p == 0:
        sent_off()
        arrived(1)
        cuda.syncthreads()


def factor(work, matrix, last, K, wide, high, room, n, judged):
    """R of frame blockIdx.x in pass n; judged: whether it may have lost rank."""
    b, own = cuda.blockIdx.x, cuda.blockIdx.x * wide * wide
    if last[b] != WORKING:
        return
    logs = b * room + wide * high
    slab = cuda.shared.array(STRIPS, work.dtype, alignment=ALIGNED)
    corner = cuda.shared.array(CORNER, work.dtype, alignment=ALIGNED)
    exchange = cuda.shared.array(PAIR, work.dtype, alignment=ALIGNED)
    pivots = cuda.shared.array(PAIR, work.dtype, alignment=ALIGNED)  # and the squares that they were
    shared = cuda.shared.array(THREADS, work.dtype, alignment=ALIGNED)
    t = cuda.local.array(PANEL, work.dtype)
    rank, deviation = ROUNDING * work.dtype.type(K), ZERO
    for p in range(0, K, PANEL):
        count = min(PANEL, K - p)
        for first in range(p, K, THREADS):
            r = first + thread()
            alive = r < max(K, p + PANEL)
            column_of(t, slab, matrix, own + r, wide, alive, matrix, own, p, wide, THREADS)
            if first == p:
                if thread() < LANES:
                    deviation += corner_of(t, corner, exchange, pivots, matrix, own + p * wide + p, wide, count, rank)
                cuda.syncthreads()
            if alive and r >= p + PANEL:
                eliminate(t, corner, 0, PANEL)
                write(matrix, own + p * wide + r, wide, read(t, 0, 1, PANEL))
        lane = thread()
        if lane < count:
            work[logs + p + lane] += HALF * math.log(pivots[lane])
        for place in range(lane, CORNER, THREADS):
            matrix[own + (p + place // PANEL) * wide + p + place % PANEL] = corner[place]
        cuda.syncthreads()
    # of what follows all threads know the same
    if thread() < LANES:
        deviation = added(deviation)
    if thread() == 0:
        shared[0] = deviation
    cuda.syncthreads()
    deviation = shared[0]
    cuda.syncthreads()
    good, failed = deviation <= DEVIATION, not deviation < INFINITY
    if judged and (good or n > 0):
        most, least = -INFINITY, -INFINITY
        for i in range(thread(), K, THREADS):
            most, least = max(most, work[logs + i]), max(least, -work[logs + i])
        most = greatest_of_block(most, shared)
        if most + greatest_of_block(least, shared) >= -math.log(rank):
            failed = True
    if thread() == 0 and (failed or good):
        last[b] = FAILED if failed else n


def corner_of(t, corner, exchange, pivots, matrix, at, wide, count, floor):
    """L' and the reciprocal roots of the pivots of the square whose column c is thread c's t; by one warp.

    A pivot is raised to `floor` times its column's square. Returns the thread's share of the sum over columns of the
    squared sine's distance from 1, infinity where a column is zero.
    """
    lane, deviation = thread(), ZERO
    u = cuda.local.array(PANEL, corner.dtype)
    write(u, 0, 1, read(t, 0, 1, PANEL))
    for place in range(lane, CORNER, LANES):
        corner[place] = ZERO
    for place in range(lane, PAIR, LANES):
        exchange[place] = ZERO
    if lane < PANEL:
        pivots[lane] = ONE
        pivots[PANEL + lane] = matrix[at + lane * wide + lane]
    cuda.syncwarp()
    for j in range(count):
        place = j % 2 * PANEL
        if j <= lane < PANEL:
            exchange[place + lane - j] = u[0]
        cuda.syncwarp()
        pivot, least = exchange[place], floor * pivots[PANEL + j]
        if not pivot > least:
            pivot = least
        if not pivot > ZERO:
            pivot, deviation = ONE, INFINITY
        scaled = u[0] / pivot
        if lane == j:
            pivots[j] = pivot
        if j < lane < PANEL:
            corner[j * PANEL + lane] = scaled
        step_down(u, exchange, place, scaled, PANEL)
    cuda.syncwarp()
    if lane < count:
        deviation += max(ZERO, ONE - pivots[lane] / pivots[PANEL + lane])
        corner[lane * PANEL + lane] = ONE / math.sqrt(pivots[lane])
    return deviation


def apply(work, matrix, last, K, wide, high, room, n):
    """Q = A R^-1 in place, for ACROSS numbers of each column."""
    slabs = high // ACROSS
    b, s = cuda.blockIdx.x // slabs, cuda.blockIdx.x % slabs * ACROSS + thread()
    if last[b] != WORKING and last[b] != n:
        return
    slab = cuda.shared.array(STRIPS, work.dtype, alignment=ALIGNED)
    corner = cuda.shared.array(CORNER, work.dtype, alignment=ALIGNED)
    t = cuda.local.array(PANEL, work.dtype)
    own, here = b * wide * wide, b * room + s
    for p in range(0, K, PANEL):
        fetch_lines(corner, 0, matrix, own + p * wide + p, wide, PANEL, ACROSS)
        column_of(t, slab, work, here, high, True, matrix, own, p, wide, ACROSS)
        eliminate(t, corner, 0, PANEL)
        write(work, here + p * high, high, read(t, 0, 1, PANEL))
        cuda.syncthreads()


PARTS = fetch_rows, fetch_lines, column_of, corner_of
