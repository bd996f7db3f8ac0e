"""QR of frames of more columns than a tile, each by many blocks: a few kernels one after another.

A pass is Cholesky-QR of whole frames (wide_cholesky.py). As in batched_qr.py pivots are raised and passes repeated. The
first stage takes the frame as it is; one that then seems to have lost rank is decomposed with its rows scaled, A = D B,
first B and in a third stage D Q. What they do not decompose is left to batched_qr.decompose. The host knows nothing of
all this: all is launched, and where no frame is left a block ends at once.

What is said of frame b: WORKING, or from 0 on the pass after which this stage was done with it, or how it has ended.
frames, log_r: as in batched_qr.py. work: as in wide_cholesky.py.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .register_arrays import read, thread, write
from .toolkit import cuda
from .wide_cholesky import LEFT, LEFT_SCALED, SETTLED, WORKING, apply, factor, gram

from .kernel_names import (  # isort: skip
    ACROSS, HUGE, INFINITY, NAN, ONE, THREADS, TILE, ZERO, greatest_of_block,
)  # fmt: skip

PASSES = 3  # of a stage: enough for condition numbers up to 1e5 in float32, 1e14 in float64 (K = 256, NumPy)
BEGIN, SCALE_ROWS, SCALE_BACK, END, END_SCALED = range(5)  # stages begin and end with `turn`
SOME = 8  # numbers that a thread asks for at once


def moved(source, at, step, target, to, to_step, rows):
    """target[k] = source[k] for k < rows, of a thread that reads SOME numbers at once."""
    for low in range(0, rows - SOME + 1, SOME):
        write(target, to + low * to_step, to_step, read(source, at + low * step, step, SOME))
    for k in range(rows - rows % SOME, rows):
        target[to + k * to_step] = source[at + k * step]


def divided(source, at, step, target, to, to_step, rows, size):
    """target[k] = source[k] / size likewise, which may be the same array."""
    some = cuda.local.array(SOME, source.dtype)
    for low in range(0, rows - SOME + 1, SOME):
        write(some, 0, 1, read(source, at + low * step, step, SOME))
        for i in range(SOME):
            some[i] = some[i] / size
        write(target, to + low * to_step, to_step, read(some, 0, 1, SOME))
    for k in range(rows - rows % SOME, rows):
        target[to + k * to_step] = source[at + k * step] / size


def largest(frames, work, K, S, wide, high, room):
    """The largest number of each slab of a frame, infinity where one is not finite: to the places of row sizes."""
    slabs = high // TILE
    b, slab = cuda.blockIdx.x // slabs, cuda.blockIdx.x % slabs
    shared = cuda.shared.array(THREADS, frames.dtype)
    found, count = ZERO, min(TILE, S - slab * TILE)
    for n in range(thread(), K * TILE, THREADS):
        if n % TILE < count:
            size = abs(frames[(b * K + n // TILE) * S + slab * TILE + n % TILE])
            found = max(found, size) if size <= HUGE else INFINITY
    found = greatest_of_block(found, shared)
    if thread() == 0:
        work[b * room + wide * high + wide + slab] = found


def turn(frames, work, log_r, before, last, K, S, wide, high, room, what):
    """From one stage to the next, a block for TILE numbers of all columns of a frame: takes over what is done, prepares
    what is not, and says in `last` what follows from what `before` says."""
    slabs = high // TILE
    b, slab, tid = cuda.blockIdx.x // slabs, cuda.blockIdx.x % slabs, thread()
    here, logs, ended, then = b * room, b * room + wide * high, WORKING, SETTLED
    sizes = logs + wide
    if what != BEGIN:
        ended = before[b]
    size = ONE
    if what == BEGIN:
        size = ZERO
        for i in range(slabs):
            size = max(size, work[sizes + i])
        if size <= HUGE:
            then = WORKING
        size = size if size > ZERO else ONE
    elif ended == SETTLED or ended == LEFT:
        then = ended
    elif what == SCALE_ROWS:
        then = SETTLED if ended >= 0 else WORKING
    elif what == SCALE_BACK:
        then = WORKING if ended >= 0 else LEFT
    elif ended < 0:
        then = LEFT_SCALED if what == END_SCALED else LEFT
    each = (K + THREADS // ACROSS - 1) // (THREADS // ACROSS)
    first = tid // ACROSS * each
    rows, begin, end = min(each, K - first), slab * TILE + tid % ACROSS, slab * TILE + TILE
    if what == SCALE_ROWS and then == WORKING:
        if first == 0:
            for s in range(begin, min(end, S), ACROSS):
                found = ZERO
                for k in range(K):
                    found = max(found, abs(frames[(b * K + k) * S + s]))
                work[sizes + s] = found if found > ZERO else ONE
        cuda.syncthreads()
    for s in range(begin, min(end, S), ACROSS):
        mine, own = (b * K + first) * S + s, here + first * high + s
        if (what == BEGIN or what == SCALE_ROWS) and then == WORKING:
            divided(frames, mine, S, work, own, high, rows, size if what == BEGIN else work[sizes + s])
        elif what == SCALE_BACK and then == WORKING:
            for k in range(rows):
                work[own + k * high] *= work[sizes + s]
        if (what == BEGIN and then == WORKING) or ended >= 0:
            moved(work, own, high, frames, mine, S, rows)
        elif what == BEGIN:
            for k in range(rows):
                frames[mine + k * S] = NAN
    if what == BEGIN and then == WORKING:  # zeros beyond the frame, which stay
        for n in range(tid, wide * TILE, THREADS):
            k, s = n // TILE, slab * TILE + n % TILE
            if k >= K or s >= S:
                work[here + k * high + s] = ZERO
    if slab == 0:
        for i in range(tid, K, THREADS):
            if what == BEGIN:
                log_r[b * K + i] = math.log(size) if then == WORKING else NAN
            elif ended >= 0:
                log_r[b * K + i] += work[logs + i]
            work[logs + i] = ZERO
        if tid == 0:
            last[b] = then


PARTS = moved, divided


def filled(columns: int, size: int, tile: int) -> tuple[int, int, int]:
    """Columns and numbers of each, filled up to whole tiles, and the room that a frame takes."""
    wide, high = -(-columns // tile) * tile, -(-size // tile) * tile
    return wide, high, wide * high + wide + high


def passes(
    launch: Callable, tile: int, across: int, frames: Any, room: Any, matrix: Any, said: tuple[Any, Any], log_r: Any,
    columns: int, size: int,
) -> None:  # fmt: skip
    """The stages on flat frames; said[0] says then which are left to `decompose`, and from where on.

    launch(kernel, blocks, *arguments) starts as many blocks for each frame.
    """
    wide, high, place = filled(columns, size, tile)
    last, before = said
    tiles, slabs = wide // tile, high // tile
    shape = columns, wide, high, place
    launch(largest, slabs, frames, room, columns, size, wide, high, place)
    # In float32 every thirtieth frame of 256 columns seems to have lost rank in a step of a chaotic network.
    stages = (BEGIN, SCALE_ROWS, SCALE_BACK) if frames.dtype == np.float32 else (BEGIN,)
    for stage in stages:
        last, before = before, last
        launch(turn, slabs, frames, room, log_r, before, last, columns, size, wide, high, place, stage)
        for n in range(PASSES):
            launch(gram, tiles * (tiles + 1) // 2, room, matrix, last, *shape[1:])
            launch(factor, 1, room, matrix, last, *shape, n, int(stage != SCALE_BACK))
            launch(apply, high // across, room, matrix, last, *shape, n)
    last, before = before, last
    end = END_SCALED if len(stages) > 1 else END
    launch(turn, slabs, frames, room, log_r, before, last, columns, size, wide, high, place, end)
