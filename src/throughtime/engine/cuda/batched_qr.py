"""Batched QR of frames of tangent vectors in one launch; lengths of many vectors.

One block per frame. Row b*K + k of `frames` is column k of the frame of sequence b, so a frame lies transposed in
memory, each column contiguous. Dimensions: B frames, K columns (COLUMNS), S numbers each (SIZE).

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
from functools import cache
from typing import Any

import numpy as np

from . import block_reductions, cholesky_qr, compiler, device, householder
from .cholesky_qr import EACH, SUMS
from .register_arrays import ALIGNED, thread, vec
from .toolkit import SIMULATED, cuda

from .kernel_names import (  # isort: skip
    DEVIATION, EXCHANGE, HUGE, INFINITY, LANES, NAN, ONE, RIGHT, ROUNDING, SQUARE, THREADS, TILE, ZERO, added,
    greatest, greatest_of_block, one_pass, reflect,
)  # fmt: skip

PASSES = 5


def decompose(frames, work, order, log_r, K, S):
    """The kernel: frame blockIdx.x becomes its Q, row blockIdx.x of log_r the logarithms of the diagonal of R."""
    b, tid = cuda.blockIdx.x, thread()
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
        log_r[log_at + i] = math.log(scale) if usable else NAN
    done, reflected = not usable, False
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


PARTS = (
    *(block_reductions.added, block_reductions.greatest, block_reductions.greatest_of_block),
    *(cholesky_qr.square_lengths, cholesky_qr.multiply, cholesky_qr.columns_by_columns, cholesky_qr.store),
    *(cholesky_qr.subtract, cholesky_qr.factorise, cholesky_qr.solve, cholesky_qr.one_pass),
    *(householder.mirror, householder.reflect),
)  # each after those that it calls


def constants(dtype: Any, side: int) -> dict[str, Any]:
    """How the kernels are cut: blocks of side**2 threads, tiles of EACH*side columns."""
    real, bytes_, tile = np.dtype(dtype).type, np.dtype(dtype).itemsize, EACH * side
    depth, pitch, largest = min(tile, 128 // bytes_), tile + vec(bytes_), np.finfo(dtype).max
    return {
        "SIDE": side, "THREADS": side * side, "LANES": min(32, side * side), "TILE": tile, "DEPTH": depth,
        "PITCH": pitch, "SQUARE": tile * pitch, "RIGHT": depth * pitch, "EXCHANGE": 3 * tile,
        "ROUNDING": real(8.0 * np.finfo(dtype).eps), "DEVIATION": real(0.1), "HUGE": largest, "ZERO": real(0),
        "ONE": real(1), "NAN": real(np.nan), "INFINITY": real(np.inf),
    }  # fmt: skip


@cache
def compiled(kernel: Any, dtype: Any, side: int) -> Any:
    """`decompose` or `measure`, cut for one dtype."""
    names, name = constants(dtype, side), f"{np.dtype(dtype)}-{side}"
    for function in PARTS:
        names[function.__name__] = compiler.part(function, name, names)
    # Two blocks on a multiprocessor hide each other's barriers; float64 would not fit their 128 registers by a few.
    blocks = 2 if side == 16 and np.dtype(dtype) == np.float32 else 1
    return compiler.kernel(kernel, name, names, side * side, blocks)


def side_for(columns: int) -> int:
    """Edge of a block of threads; one tile holds all columns up to 64."""
    if SIMULATED:
        return 2
    return 8 if columns <= 8 * EACH else 16


def workspace(batch: int, columns: int, size: int, dtype: Any) -> tuple[Any, Any]:
    """What `orthonormalise` needs beside the frames: once as much memory as they take, to be kept between calls."""
    numbers = columns * size + 2 * columns + size
    return device.empty(batch * numbers, dtype), device.empty(batch * size, np.int32)


def orthonormalise(frames: Any, columns: int, work: tuple[Any, Any] | None = None) -> Any:
    """QR-decompose each frame of a batch in place, A = QR, in one launch.

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
    batch, side = rows // columns, side_for(columns)
    room, order = work or workspace(batch, columns, size, frames.dtype)
    log_r = device.empty((batch, columns), frames.dtype)
    if batch:
        arguments = (frames.reshape(-1), room, order, log_r.reshape(-1), columns, size)
        device.launch(compiled(decompose, np.dtype(frames.dtype), side), (batch, 1, 1), side * side, arguments)
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
