"""QR of frames of more columns than a tile, each by many blocks: a few kernels one after another.

A pass is Cholesky-QR of whole frames, A'A = R'R and Q = A R^-1: `gram` has a block for each tile of A'A, `factor` one
for each frame, `apply` one for TILE numbers of all columns of a frame. As in batched_qr.py pivots are raised and passes
repeated. The first stage takes the frame as it is; one that then seems to have lost rank is decomposed with its rows
scaled, A = D B, first B and in a third stage D Q. What they do not decompose is left to batched_qr.decompose. The host
knows nothing of all this: all is launched, and where no frame is left a block ends at once.

last[b] says of frame b: WORKING, or from 0 on the pass after which this stage was done with it, or how it has ended.
frames, work, log_r: as in batched_qr.py. matrix (B, K, K): A'A above its diagonal, then R; within the tiles on the
diagonal -R, and 1/R_kk on it.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .cholesky_qr import EACH, SUMS, columns_by_columns, factorise, multiply, solve, subtract
from .register_arrays import ALIGNED, thread
from .toolkit import cuda

from .kernel_names import (  # isort: skip
    DEPTH, DEVIATION, EXCHANGE, HUGE, INFINITY, NAN, ONE, PITCH, RIGHT, ROUNDING, SIDE, SQUARE, THREADS, TILE, ZERO,
    greatest_of_block,
)  # fmt: skip

PASSES = 3  # of a stage: enough for condition numbers up to 1e5 in float32, 1e14 in float64 (K = 256, NumPy)
WORKING, SETTLED, FAILED, LEFT, LEFT_SCALED = -1, -2, -3, -4, -5
BEGIN, SCALE_ROWS, SCALE_BACK, END, END_SCALED = range(5)  # stages begin and end with `turn`


def turn(frames, work, log_r, last, K, S, what):
    """From one stage to the next, a block for each frame: takes over what is done, prepares what is not."""
    b, tid = cuda.blockIdx.x, thread()
    at, here, log_at = b * K * S, b * (K * S + 2 * K + S), b * K
    logs, sizes = here + K * S + K, here + K * S + 2 * K
    shared = cuda.shared.array(THREADS, frames.dtype)
    then = SETTLED
    if what == BEGIN:
        largest = ZERO
        for n in range(tid, K * S, THREADS):
            size = abs(frames[at + n])
            largest = max(largest, size) if size <= HUGE else INFINITY
        largest = greatest_of_block(largest, shared)
        usable = largest <= HUGE
        scale = largest if largest > ZERO else ONE
        for n in range(tid, K * S, THREADS):
            value = frames[at + n] / scale if usable else NAN
            frames[at + n] = value
            work[here + n] = value
        for i in range(tid, K, THREADS):
            log_r[log_at + i] = math.log(scale) if usable else NAN
        if usable:
            then = WORKING
    else:
        ended = last[b]
        cuda.syncthreads()
        if ended == SETTLED or ended == LEFT:
            return
        if ended >= 0:
            for i in range(tid, K, THREADS):
                log_r[log_at + i] += work[logs + i]
            for s in range(tid, S, THREADS):
                size = work[sizes + s] if what == SCALE_BACK and work[sizes + s] > ZERO else ONE
                for k in range(K):
                    value = work[here + k * S + s] * size
                    frames[at + k * S + s] = value
                    work[here + k * S + s] = value
            if what == SCALE_BACK:
                then = WORKING
        elif what == SCALE_ROWS:
            for s in range(tid, S, THREADS):
                size = ZERO
                for k in range(K):
                    size = max(size, abs(frames[at + k * S + s]))
                work[sizes + s] = size
                for k in range(K):
                    value = frames[at + k * S + s]
                    work[here + k * S + s] = value / size if size > ZERO else value
            then = WORKING
        else:
            then = LEFT_SCALED if what == END_SCALED else LEFT
    cuda.syncthreads()
    for i in range(tid, K, THREADS):
        work[logs + i] = ZERO
    if tid == 0:
        last[b] = then


def gram(work, matrix, last, K, S):
    """A tile of A'A on or above its diagonal."""
    across = (K + TILE - 1) // TILE
    tiles = across * (across + 1) // 2
    b, first, second = cuda.blockIdx.x // tiles, cuda.blockIdx.x % tiles, 0
    while first > second:
        second += 1
        first -= second
    if last[b] != WORKING:
        return
    square = cuda.shared.array(RIGHT, work.dtype, alignment=ALIGNED)
    right = cuda.shared.array(RIGHT, work.dtype, alignment=ALIGNED)
    sums = cuda.local.array(SUMS, work.dtype)
    first, second = first * TILE, second * TILE
    rows, columns, here = min(TILE, K - first), min(TILE, K - second), b * (K * S + 2 * K + S)
    columns_by_columns(sums, square, right, work, here + first * S, rows, here + second * S, columns, S)
    keep(sums, matrix, b * K * K + first * K + second, rows, columns, K)


def keep(sums, matrix, at, rows, columns, K):
    """A tile of the matrix from `at` on = sums."""
    tid = thread()
    row, column = tid // SIDE * EACH, tid % SIDE * EACH
    for i in range(EACH):
        for j in range(EACH):
            if row + i < rows and column + j < columns:
                matrix[at + (row + i) * K + column + j] = sums[i * EACH + j]


def without_earlier(sums, square, right, matrix, own, p, count, r, columns, K):
    """sums[i, j] = G[p + i, r + j] less sum_k R[k, p + i] R[k, r + j] over k < p."""
    for i in range(SUMS):
        sums[i] = ZERO
    for low in range(0, p, DEPTH):
        tid = thread()
        for n in range(tid, TILE * DEPTH, THREADS):
            k, i = n // TILE, n % TILE
            line = own + (low + k) * K
            square[k * PITCH + i] = matrix[line + p + i] if i < count else ZERO
            right[k * PITCH + i] = matrix[line + r + i] if i < columns else ZERO
        cuda.syncthreads()
        multiply(sums, square, 0, right)
        cuda.syncthreads()
    tid = thread()
    row, column = tid // SIDE * EACH, tid % SIDE * EACH
    for i in range(EACH):
        for j in range(EACH):
            value = ZERO
            if row + i < count and column + j < columns:
                value = matrix[own + (p + row + i) * K + r + column + j]
            sums[i * EACH + j] = value - sums[i * EACH + j]


def keep_triangle(square, inverse, matrix, at, count, K):
    """What `factorise` made, as `fetch_triangle` reads it."""
    tid = thread()
    for n in range(tid, TILE * TILE, THREADS):
        k, i = n // TILE, n % TILE
        if k <= i < count:
            matrix[at + k * K + i] = inverse[k] if k == i else square[k * PITCH + i]


def fetch_triangle(square, inverse, matrix, at, count, K):
    tid = thread()
    for n in range(tid, TILE * TILE, THREADS):
        k, i = n // TILE, n % TILE
        value = matrix[at + k * K + i] if k <= i < count else ZERO
        square[k * PITCH + i] = value if k < i else ZERO
        if k == i:
            inverse[k] = value


def factor(work, matrix, last, K, S, n, judged):
    """R of frame blockIdx.x in pass n, tile after tile; judged: whether it may have lost rank."""
    b, own = cuda.blockIdx.x, cuda.blockIdx.x * K * K
    if last[b] != WORKING:
        return
    squares = b * (K * S + 2 * K + S) + K * S
    logs = squares + K
    square = cuda.shared.array(SQUARE, work.dtype, alignment=ALIGNED)
    right = cuda.shared.array(RIGHT, work.dtype, alignment=ALIGNED)
    exchange = cuda.shared.array(EXCHANGE, work.dtype)
    inverse = cuda.shared.array(TILE, work.dtype)
    sums = cuda.local.array(SUMS, work.dtype)
    rank, deviation = ROUNDING * work.dtype.type(K), ZERO
    tid = thread()
    for k in range(tid, K, THREADS):
        work[squares + k] = matrix[own + k * K + k]
    cuda.syncthreads()
    for p in range(0, K, TILE):
        count, corner = min(TILE, K - p), own + p * K + p
        for r in range(p, K, TILE):
            columns = min(TILE, K - r)
            without_earlier(sums, square, right, matrix, own, p, count, r, columns, K)
            if r == p:
                tid = thread()
                for j in range(tid, count, THREADS):
                    inverse[j] = work[squares + p + j]
                deviation += factorise(sums, square, exchange, inverse, work, squares, logs, p, count, rank)
                keep_triangle(square, inverse, matrix, corner, count, K)
            else:
                keep(sums, matrix, own + p * K + r, count, columns, K)
            cuda.syncthreads()
        if p + TILE < K:
            fetch_triangle(square, inverse, matrix, corner, count, K)
            cuda.syncthreads()
            solve(square, inverse, matrix, own + p * K, count, p + TILE, K, K)
            cuda.syncthreads()
    good, failed = deviation <= DEVIATION, not deviation < INFINITY
    if judged and (good or n > 0):
        tid = thread()
        most, least = -INFINITY, -INFINITY
        for i in range(tid, K, THREADS):
            most, least = max(most, work[logs + i]), max(least, -work[logs + i])
        most = greatest_of_block(most, square)
        if most + greatest_of_block(least, square) >= -math.log(rank):
            failed = True
    if thread() == 0 and (failed or good):
        last[b] = FAILED if failed else n


def apply(work, matrix, last, K, S, n):
    """Q = A R^-1 in place, for TILE numbers of each column."""
    slabs = (S + TILE - 1) // TILE
    b, begin = cuda.blockIdx.x // slabs, cuda.blockIdx.x % slabs * TILE
    if last[b] != WORKING and last[b] != n:
        return
    square = cuda.shared.array(SQUARE, work.dtype, alignment=ALIGNED)
    right = cuda.shared.array(RIGHT, work.dtype, alignment=ALIGNED)
    inverse = cuda.shared.array(TILE, work.dtype)
    sums = cuda.local.array(SUMS, work.dtype)
    here, own, end = b * (K * S + 2 * K + S), b * K * K, min(S, begin + TILE)
    for p in range(0, K, TILE):
        count = min(TILE, K - p)
        for q in range(0, p, TILE):
            tid = thread()
            for place in range(tid, TILE * TILE, THREADS):
                k, i = place // TILE, place % TILE
                square[k * PITCH + i] = matrix[own + (q + k) * K + p + i] if i < count else ZERO
            cuda.syncthreads()
            subtract(sums, square, right, work, here + p * S, count, here + q * S, begin, end, S)
        fetch_triangle(square, inverse, matrix, own + p * K + p, count, K)
        cuda.syncthreads()
        solve(square, inverse, work, here + p * S, count, begin, end, S)
        cuda.syncthreads()


PARTS = keep, without_earlier, keep_triangle, fetch_triangle


def passes(launch: Callable, tile: int, frames: Any, room: Any, matrix: Any, last: Any, log_r: Any, shape: Any) -> None:
    """The stages on flat frames; `last` says then which are left to `decompose`, and from where on.

    launch(kernel, blocks, *arguments) starts as many blocks for each frame. shape: K, S.
    """
    across, slabs = -(-shape[0] // tile), -(-shape[1] // tile)
    # In float32 every thirtieth frame of 256 columns seems to have lost rank in a step of a chaotic network.
    stages = (BEGIN, SCALE_ROWS, SCALE_BACK) if frames.dtype == np.float32 else (BEGIN,)
    for stage in stages:
        launch(turn, 1, frames, room, log_r, last, *shape, stage)
        for n in range(PASSES):
            launch(gram, across * (across + 1) // 2, room, matrix, last, *shape)
            launch(factor, 1, room, matrix, last, *shape, n, int(stage != SCALE_BACK))
            launch(apply, slabs, room, matrix, last, *shape, n)
    launch(turn, 1, frames, room, log_r, last, *shape, END_SCALED if len(stages) > 1 else END)
