"""One pass of block modified Gram-Schmidt with Cholesky-QR in its panels, on a frame as in batched_qr.py.

w holds the frame, column i contiguous from its place `mine + i * S` on. Shared memory: `square` a TILE x TILE
matrix, its columns contiguous and PITCH apart, `right` DEPTH rows of another. A thread holds EACH x EACH numbers of a
tile: rows from threadIdx.x // SIDE * EACH on, columns from threadIdx.x % SIDE * EACH on.
"""

import math

from .kernel_names import DEPTH, HALF, INFINITY, LANES, ONE, PITCH, SIDE, THREADS, TILE, ZERO, added
from .register_arrays import fill, outer, read, thread, write
from .toolkit import cuda

EACH = 4  # a thread holds EACH x EACH sums of a tile
SUMS = EACH * EACH
SOLVED = 8  # rows that a thread solves for in registers


def multiply(sums, square, low, right):
    """sums[i, j] += sum_k square[low + k, i] right[k, j] over k < DEPTH, both in shared memory."""
    a = cuda.local.array(EACH, square.dtype)
    b = cuda.local.array(EACH, square.dtype)
    tid = thread()
    row, column = tid // SIDE * EACH, tid % SIDE * EACH
    for k in range(DEPTH):
        fill(a, square, (low + k) * PITCH + row, 0, 1, EACH, 1)
        fill(b, right, k * PITCH + column, 0, 1, EACH, 1)
        outer(sums, a, b, EACH, EACH)


def columns_by_columns(sums, square, right, w, first, rows, second, columns, S):
    """sums[i, j] = a_i . a_j for the columns i from the place `first` on and j from `second` on."""
    tid = thread()
    for i in range(SUMS):
        sums[i] = ZERO
    for low in range(0, S, DEPTH):
        for n in range(tid, TILE * DEPTH, THREADS):
            i, k = n // 8 % TILE, n // (8 * TILE) * 8 + n % 8  # whole sectors of 32 bytes, and no bank twice
            s = low + k
            square[k * PITCH + i] = w[first + i * S + s] if i < rows and s < S else ZERO
            right[k * PITCH + i] = w[second + i * S + s] if i < columns and s < S else ZERO
        cuda.syncthreads()
        multiply(sums, square, 0, right)
        cuda.syncthreads()


def store(sums, square):
    """square[i, j] = sums[i, j]."""
    tid = thread()
    row, column = tid // SIDE * EACH, tid % SIDE * EACH
    for i in range(EACH):
        for j in range(EACH):
            square[(row + i) * PITCH + column + j] = sums[i * EACH + j]


def subtract(sums, square, right, w, mine, count, other, begin, end, S):
    """Column i from `mine` on loses square[k, i] of column k from `other` on, in its numbers from `begin` to `end`."""
    for start in range(begin, end, TILE):
        tid = thread()
        for i in range(SUMS):
            sums[i] = ZERO
        for low in range(0, TILE, DEPTH):
            for n in range(tid, TILE * DEPTH, THREADS):
                k, s = n // TILE, start + n % TILE
                right[k * PITCH + n % TILE] = w[other + (low + k) * S + s] if s < end else ZERO
            cuda.syncthreads()
            multiply(sums, square, low, right)
            cuda.syncthreads()
        tid = thread()
        row, column = tid // SIDE * EACH, start + tid % SIDE * EACH
        for i in range(EACH):
            for j in range(EACH):
                if row + i < count and column + j < end:
                    w[mine + (row + i) * S + column + j] -= sums[i * EACH + j]


def own_squares(sums, inverse):
    """inverse[j] = sums[j, j], the squares of the columns: what factorise takes for their size."""
    tid = thread()
    if tid % SIDE == tid // SIDE:
        for i in range(EACH):
            inverse[tid // SIDE * EACH + i] = sums[i * EACH + i]


def factorise(sums, square, exchange, inverse, w, squares, logs, first, count, floor):
    """Cholesky: from the Gram matrix in `sums` to -L, without its diagonal, in square[j, i], and 1/L_jj in `inverse`.

    A pivot is raised to `floor` times inverse[j], which the caller has set. Returns the sum over columns of the squared
    sine's distance from 1, infinity where a column is zero.
    """
    tid = thread()
    tx, ty = tid % SIDE, tid // SIDE
    f = cuda.local.array(EACH, square.dtype)
    g = cuda.local.array(EACH, square.dtype)
    deviation = ZERO
    for j in range(count):
        place = j % 2 * TILE
        for i in range(EACH):
            for k in range(EACH):
                if tx * EACH + k == j:
                    exchange[place + ty * EACH + i] = sums[i * EACH + k]
        cuda.syncthreads()
        pivot, least = exchange[place + j], floor * inverse[j]
        if not pivot > least:
            pivot = least
        if not pivot > ZERO:
            pivot, deviation = ONE, INFINITY
        scale = ONE / math.sqrt(pivot)
        for i in range(EACH):
            row, column = ty * EACH + i, tx * EACH + i
            f[i] = -exchange[place + row] * scale if row > j else ZERO
            g[i] = exchange[place + column] * scale if column > j else ZERO
            if tx == 0:
                square[j * PITCH + row] = f[i]
        outer(sums, f, g, EACH, EACH)
        if tid == 0:
            exchange[2 * TILE + j] = pivot
    cuda.syncthreads()
    for j in range(tid, count, THREADS):  # here, where every thread takes one: in the loop all would wait for it
        pivot = exchange[2 * TILE + j]
        exchange[j] = max(ZERO, ONE - pivot / w[squares + first + j])
        inverse[j] = ONE / math.sqrt(pivot)
        w[logs + first + j] += HALF * math.log(pivot)
    cuda.syncthreads()
    for j in range(count):
        deviation += exchange[j]
    return deviation


def solve(square, inverse, w, mine, count, begin, end, S):
    """Columns from `mine` on, times the inverse of R: a thread solves for the same number of all columns.

    For their numbers from `begin` to `end`. Of the columns before, SOLVED are asked for at once.
    """
    x = cuda.local.array(SOLVED, square.dtype)
    a = cuda.local.array(SOLVED, square.dtype)
    b = cuda.local.array(1, square.dtype)
    before = cuda.local.array(SOLVED, square.dtype)
    tid = thread()
    for s in range(begin + tid, end, THREADS):
        for low in range(0, count, SOLVED):
            for i in range(SOLVED):
                x[i] = w[mine + (low + i) * S + s] if low + i < count else ZERO
            for k in range(0, low, SOLVED):
                write(before, 0, 1, read(w, mine + k * S + s, S, SOLVED))
                for i in range(SOLVED):
                    b[0] = before[i]
                    fill(a, square, (k + i) * PITCH + low, 0, 1, SOLVED, 1)
                    outer(x, a, b, SOLVED, 1)
            for i in range(SOLVED):
                if low + i < count:
                    b[0] = x[i] * inverse[low + i]
                    x[i] = b[0]
                    fill(a, square, (low + i) * PITCH + low, 0, 1, SOLVED, 1)
                    outer(x, a, b, SOLVED, 1)
                    w[mine + (low + i) * S + s] = b[0]


def square_lengths(w, at, squares, K, S):
    """w[squares + k] = |a_k|**2, of column k from the place `at` on."""
    tid = thread()
    for low in range(0, K, THREADS // LANES):
        k, total = low + tid // LANES, ZERO
        if k < K:
            for s in range(tid % LANES, S, LANES):
                total += w[at + k * S + s] * w[at + k * S + s]
        total = added(total)
        if k < K and tid % LANES == 0:
            w[squares + k] = total


def one_pass(sums, square, right, exchange, inverse, w, at, squares, logs, K, S, floor):
    """Orthonormalise the columns in w from `at` on, and add to the logarithms; returns factorise's distance."""
    square_lengths(w, at, squares, K, S)
    cuda.syncthreads()
    deviation = ZERO
    for first in range(0, K, TILE):
        mine, count = at + first * S, min(TILE, K - first)
        for earlier in range(0, first, TILE):
            other = at + earlier * S
            columns_by_columns(sums, square, right, w, other, TILE, mine, count, S)
            store(sums, square)
            subtract(sums, square, right, w, mine, count, other, 0, S, S)
            cuda.syncthreads()
        columns_by_columns(sums, square, right, w, mine, count, mine, count, S)
        own_squares(sums, inverse)
        deviation += factorise(sums, square, exchange, inverse, w, squares, logs, first, count, floor)
        solve(square, inverse, w, mine, count, 0, S, S)
        cuda.syncthreads()
    return deviation
