"""Batched QR of frames of tangent vectors; lengths of many vectors.

One launch with a block per frame, where a tile holds all its columns. Wider frames are first taken by many blocks each
(wide_qr.py), and what remains of them in the same way. Row b*K + k of `frames` is column k of the frame of sequence b,
so a frame lies transposed in memory, each column contiguous. Dimensions: B frames, K columns, S numbers each.

A pass over the frame takes panels of TILE columns, left to right: each is freed of the earlier panels (block modified
Gram-Schmidt), then made orthonormal by Cholesky-QR. A pivot below rounding is raised to FLOOR of its column's square,
so that no pass fails by bad conditioning: A = QR holds with a Q that the next pass repairs, and the logarithms of R's
diagonals add up. The passes end with one whose input was orthogonal to DEVIATION already: one for nearly orthogonal
columns, two for square matrices of random numbers, three for condition numbers up to 1/eps (K = 64, NumPy).

What is left, a frame that seems to have lost rank, is scaled row by row and decomposed by Householder's reflections,
A = D Q' R'. Only a lost rank leaves a diagonal of the size of rounding in R', a saturated unit does not
(analysis/lyapunov/orthonormalise.py). Then D Q' passes as above, or is reflected with its rows sorted by size.

No sum depends on the schedule: the same bits every time.
"""

import math
from typing import Any

import numpy as np

from . import device, wide_qr
from .cholesky_qr import EACH, SUMS
from .qr_kernels import compiled
from .register_arrays import ALIGNED, thread
from .toolkit import SIMULATED, cuda
from .wide_qr import LEFT_SCALED, SETTLED

from .kernel_names import (  # isort: skip
    DEVIATION, EXCHANGE, HUGE, INFINITY, LANES, NAN, ONE, RIGHT, ROUNDING, SQUARE, THREADS, TILE, ZERO, added,
    greatest, greatest_of_block, one_pass, reflect,
)  # fmt: skip

PASSES = 5


def decompose(frames, work, order, log_r, last, begun, K, S):
    """The kernel: frame blockIdx.x becomes its Q, row blockIdx.x of log_r the logarithms of the diagonal of R.

    begun: whether `last` says how others (wide_qr.py) have left each frame; what is found is added to their logarithms.
    """
    b, tid = cuda.blockIdx.x, thread()
    reflected = False
    if begun:
        if last[b] == SETTLED:
            return
        reflected = last[b] == LEFT_SCALED
    at, here, log_at, place = b * K * S, b * (K * S + 2 * K + S), b * K, b * S
    squares = here + K * S
    logs, sizes = squares + K, squares + 2 * K
    square = cuda.shared.array(SQUARE, frames.dtype, alignment=ALIGNED)
    right = cuda.shared.array(RIGHT, frames.dtype, alignment=ALIGNED)
    exchange = cuda.shared.array(EXCHANGE, frames.dtype)
    inverse = cuda.shared.array(TILE, frames.dtype)
    rank = ROUNDING * frames.dtype.type(K)
    least_log = math.log(rank)
    sums = cuda.local.array(SUMS, frames.dtype)
    largest = ZERO
    for n in range(tid, K * S, THREADS):
        size = abs(frames[at + n])
        largest = max(largest, size) if size <= HUGE else INFINITY
    largest = greatest_of_block(largest, square)
    usable = largest <= HUGE
    scale = largest if largest > ZERO else ONE
    for n in range(tid, K * S, THREADS):
        value = frames[at + n] / scale if usable else NAN
        frames[at + n] = value
        work[here + n] = value
    for i in range(tid, K, THREADS):
        before = log_r[log_at + i] if begun else ZERO
        log_r[log_at + i] = before + math.log(scale) if usable else NAN
    done = not usable
    while not done:
        tid = thread()
        for i in range(tid, K, THREADS):
            work[logs + i] = ZERO
        cuda.syncthreads()
        good, again = False, True
        for n in range(PASSES):
            if again:
                deviation = one_pass(sums, square, right, exchange, inverse, work, here, squares, logs, K, S, rank)
                good = deviation <= DEVIATION
                again = not good and deviation < INFINITY
                if not reflected and (good or n > 0):
                    tid = thread()
                    most, least = -INFINITY, -INFINITY
                    for i in range(tid, K, THREADS):
                        most, least = max(most, work[logs + i]), max(least, -work[logs + i])
                    most = greatest_of_block(most, square)
                    if most + greatest_of_block(least, square) >= -least_log:
                        good, again = False, False
        if good:
            tid = thread()
            for n in range(tid, K * S, THREADS):
                frames[at + n] = work[here + n]
            for i in range(tid, K, THREADS):
                log_r[log_at + i] += work[logs + i]
            done = True
        else:
            cuda.syncthreads()
            reflect(frames, at, work, squares, logs, sizes, order, place, log_r, log_at, not reflected, K, S, rank)
            tid = thread()
            for n in range(tid, K * S, THREADS):
                work[here + n] = frames[at + n]
            done, reflected = reflected, True


def measure(v, lengths, rows, size):
    """The kernel: LANES threads to each row."""
    tid = thread()
    m, lane = cuda.blockIdx.x * (THREADS // LANES) + tid // LANES, tid % LANES
    largest, total, lost = ZERO, ZERO, ZERO
    if m < rows:
        for s in range(lane, size, LANES):
            value = abs(v[m * size + s])
            if value != value:
                lost = ONE
            else:
                largest = max(largest, value)
    largest, lost = greatest(largest), greatest(lost)
    if m < rows and largest > ZERO and largest <= HUGE:
        for s in range(lane, size, LANES):
            value = v[m * size + s] / largest
            total += value * value
    total = added(total)
    if m < rows and lane == 0:
        length = largest * math.sqrt(total) if largest > ZERO and largest <= HUGE else largest
        lengths[m] = NAN if lost > ZERO else length


MANY = 132  # frames; fewer do not fill the device, and one launch is sooner over than twelve


def side_for(columns: int, batch: int = 0, dtype: Any = np.float32) -> int:
    """Edge of a block of threads; one tile holds all columns up to 64.

    Of many frames in float64 up to 32: a block of a tile of 64 has its multiprocessor for itself, and waits most of the
    time. Not in float32, of which two share one, and whose stages take three times as many launches (by count of
    instructions and registers, not measured).
    """
    if SIMULATED:
        return 2
    small = columns <= 8 * EACH or (columns <= 16 * EACH and batch >= MANY and np.dtype(dtype) == np.float64)
    return 8 if small else 16


def workspace(batch: int, columns: int, size: int, dtype: Any) -> tuple[Any, ...]:
    """What `orthonormalise` needs beside the frames: once as much memory as they take, and once K*K numbers for each
    where K is more than a tile; to be kept between calls."""
    numbers, tile = columns * size + 2 * columns + size, EACH * side_for(columns, batch, dtype)
    matrix, last = 1, 1
    if columns > tile:
        wide, _, room = wide_qr.filled(columns, size, tile)
        numbers, matrix, last = max(numbers, room), batch * wide**2, batch
    return (
        device.empty(batch * numbers, dtype), device.empty(batch * size, np.int32), device.empty(matrix, dtype),
        device.empty(last, np.int32), device.empty(last, np.int32),
    )  # fmt: skip


def orthonormalise(frames: Any, columns: int, work: tuple[Any, ...] | None = None) -> Any:
    """QR-decompose each frame of a batch in place, A = QR: in one launch, or more where K is more than a tile.

    frames : (B*K, S) on the device, row b*K + k is column k of frame b; K = `columns` <= S. work : from `workspace`.
    Returns ln|R_ii| (B, K) on the device in the dtype of `frames`: -inf where a frame has lost rank, NaN where it
    holds NaN or inf; such a frame becomes NaN and touches no other.
    """
    rows, size = frames.shape
    if not 0 < columns <= size or rows % columns:
        raise ValueError(
            f"`frames` has shape ({rows}, {size}) and is no stack of frames of {columns} columns: expected "
            f"(B*{columns}, S) with S >= {columns}."
        )
    batch = rows // columns
    side = side_for(columns, batch, frames.dtype)
    room, order, matrix, *said = work or workspace(batch, columns, size, frames.dtype)
    log_r = device.empty((batch, columns), frames.dtype)
    if batch:
        flat, logs, wide = frames.reshape(-1), log_r.reshape(-1), columns > EACH * side

        def launch(kernel: Any, blocks: int, *arguments: Any) -> None:
            made, threads = compiled(kernel, np.dtype(frames.dtype), side), side * side
            threads = min(threads, across) if kernel is wide_qr.apply else threads
            device.launch(made, (batch * blocks, 1, 1), threads, arguments)

        across = min(EACH * side, side * side)
        if wide:
            wide_qr.passes(launch, EACH * side, across, flat, room, matrix, tuple(said), logs, columns, size)
        launch(decompose, 1, flat, room, order, logs, said[0], int(wide), columns, size)
    return log_r


def norms(v: Any) -> Any:
    """Euclidean length of each row of v (M, S), on the device: no square over- or underflows."""
    rows, size = v.shape
    side = side_for(8 * EACH + 1)
    each = side * side // min(32, side * side)
    lengths = device.empty(rows, v.dtype)
    if rows:
        grid = ((rows + each - 1) // each, 1, 1)
        arguments = (v.reshape(-1), lengths, rows, size)
        device.launch(compiled(measure, np.dtype(v.dtype), side), grid, side * side, arguments)
    return lengths
