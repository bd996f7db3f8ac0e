"""Steps of a triangular frame: J P'L and its LU decomposition with row pivoting, on the register tile.

Dimensions: S state size, K tangent vectors (K <= S), W columns of a strip, P = ceil(K/W) strips, R rows of the tallest
tile. A frame is P strips of `high` >= S rows and W columns each, strip q, row i, column j at (q*high + i)*W + j; what
lies beyond S and K is zero.

Below its diagonal a factorised frame holds -L, so that every product adds:

    G = J P'(-L)            half the work of a full product, J packed with its columns in the order of the frame's rows
    leaf p                  a strip below row p*W is transposed and factorised by columns
    strips a..b-1 on q      U[a..b-1, q] by a triangular solution, then G[b.., q] += (-L)[b.., a..b-1] U[a..b-1, q]

After leaf p the last m strips act on the next m, m the largest power of two that divides p+1: recursive LU, whose
products are deep. Rows are exchanged in a strip only when it is used. The bits do not depend on the number of threads.

Kernels see these globals (see `jit.specialise`): WIDTH, LANES, ROWS, DEEP (rows of a strip taken at once).
"""

from functools import cache
from typing import Any

import numpy as np

from ...jit import PLACEHOLDER, merged, named_in, specialise
from ..cpu.matmul import NEAR
from ..cpu.primitives import meet, wide
from ..cpu.register_tile import REGISTERS, deep_tile, lanes, most_rows, tile, transpose
from .elimination import eliminate, exchange, largest, scaled, solve

Array = np.ndarray
WIDTH = LANES = ROWS = DEEP = SOLVE = PLACEHOLDER
DENSE, SLOPE, OWN = 1, 2, 4  # what a matrix is made of
TINY = 1e-30
product = factorise = leaf = act = deep = walk = arrange = pack = PLACEHOLDER
COLUMNS = 4  # of a leaf that are eliminated one by one before the others learn of them


def _walk(a, a_at, a_row, a_step, rows, panel, p_at, p_step, depth, start, s_at, s_row, c, c_at, c_row):
    """C[r, :] = start[r, :] + sum_k A[r, k] panel[k, :] for an even number of rows, tile by tile."""
    wide()
    r = 0
    while r < rows:
        left = rows - r
        ar, line = (a, a_at + r * a_row, a_row, a_step), (panel, p_at, 0, p_step)
        sr, cr = (start, s_at + r * s_row, 0, s_row), (c, c_at + r * c_row, 0, c_row)
        if left >= ROWS:
            tile(ROWS, 2, 1, ar, line, depth, sr, cr)
            r += ROWS
        elif left >= 8 and ROWS > 8:
            tile(8, 2, 1, ar, line, depth, sr, cr)
            r += 8
        elif left >= 4:
            tile(4, 2, 1, ar, line, depth, sr, cr)
            r += 4
        else:
            tile(2, 2, 1, ar, line, depth, sr, cr)
            r += 2


def _deep(a, a_at, gap, rows, panel, p_at, depth, c, c_at):
    """C[r, :] += sum_k A[r, k] panel[k, :] within a frame: A lies in strips, `gap` apart."""
    wide()
    r = 0
    while r < rows:
        left = rows - r
        ar, line, cr = (a, a_at + r * WIDTH, WIDTH, gap), (panel, p_at, 0, WIDTH), (c, c_at + r * WIDTH, 0, WIDTH)
        if left >= ROWS:
            deep_tile(ROWS, 2, WIDTH, ar, line, depth, cr, cr)
            r += ROWS
        elif left >= 8 and ROWS > 8:
            deep_tile(8, 2, WIDTH, ar, line, depth, cr, cr)
            r += 8
        elif left >= 4:
            deep_tile(4, 2, WIDTH, ar, line, depth, cr, cr)
            r += 4
        else:
            deep_tile(2, 2, WIDTH, ar, line, depth, cr, cr)
            r += 2


def _pack(matrix, order, first, count, low, high_row, out):
    """Rows low..high_row-1 and columns order[first : first + count] of J, in blocks of R rows: out[block, k, r].

    matrix = (w, line, d, slope, own, at, flags): w is W transposed with rows padded to `line`, and the others hold
    d, slope and own of all units from `at` on; or, with DENSE, w holds J from `at` on.
    """
    wide()
    w, line, d, slope, own, at, flags = matrix
    dense = flags & DENSE != 0
    for k0 in range(0, count, 8):
        k1 = min(count, k0 + 8)
        for i in range(low, high_row, ROWS):
            place = (i - low) * count
            if dense:
                rows = min(ROWS, line - i)
                for k in range(k0, k1):
                    source = at + i * line + order[first + k]
                    for r in range(rows):
                        out[place + k * ROWS + r] = w[source + r * line]
                    for r in range(rows, ROWS):
                        out[place + k * ROWS + r] = 0
            else:
                for k in range(k0, k1):
                    column = order[first + k]
                    factor = slope[at + column] if flags & SLOPE else w.dtype.type(1)
                    scaled(out, place + k * ROWS, w, column * line + i, d, at + i, factor, ROWS)
        if not dense and flags & OWN != 0:
            for k in range(k0, k1):
                column = order[first + k]
                if low <= column < high_row:
                    r = column - low
                    out[(r - r % ROWS) * count + k * ROWS + r % ROWS] += own[at + column]


def _product(matrix, frame, order, triangular, out, sizes, low, high_row, packed, near, zeros):
    """out = J frame, rows low..high_row-1; the frame is P'(-L) with unit diagonal of the same sign, or full."""
    wide()
    size, columns, high = sizes
    strips = (columns + WIDTH - 1) // WIDTH
    for k0 in range(0, size, DEEP):
        k1 = min(size, k0 + DEEP)
        pack(matrix, order, k0, k1 - k0, low, high_row, packed)
        for q in range(strips):
            begin, array, at = k0, frame, (q * high + k0) * WIDTH
            first = k0 == 0
            if triangular:
                top = q * WIDTH
                if top >= k1:
                    break
                first = k0 <= top
                if first:  # the strip's diagonal: what stands on and above it is U's
                    begin = top
                    source = (q * high + top) * WIDTH
                    for i in range((k1 - top) * WIDTH):
                        near[i] = frame[source + i]
                    for i in range(min(WIDTH, k1 - top)):
                        for j in range(i, WIDTH):
                            near[i * WIDTH + j] = 0
                        if top + i < columns:
                            near[i * WIDTH + i] = -1
                    array, at = near, 0
            depth = k1 - begin
            for i in range(low, high_row, ROWS):
                a_at = (i - low) * (k1 - k0) + (begin - k0) * ROWS
                c = (q * high + i) * WIDTH
                start, s_at, s_row = (zeros, 0, 0) if first else (out, c, WIDTH)
                walk(
                    packed,
                    a_at,
                    1,
                    ROWS,
                    min(ROWS, high_row - i),
                    array,
                    at,
                    WIDTH,
                    depth,
                    start,
                    s_at,
                    s_row,
                    out,
                    c,
                    WIDTH,
                )


def _leaf(frame, p, sizes, t, head, u, order, pivots, diagonal, at):
    """Factorise strip p below row p*W: its pivots, |U_ii| and the order of the rows."""
    wide()
    size, columns, high = sizes
    top = p * WIDTH
    rows, count, line = high - top, min(WIDTH, columns - top), high + 2 * WIDTH
    base = (p * high + top) * WIDTH
    for i in range(0, rows, LANES):
        for j in range(0, WIDTH, LANES):
            transpose(frame, base + i * WIDTH + j, WIDTH, t, j * line + i, line)
    rows = size - top
    for group in range(0, count, COLUMNS):
        last, found = min(group + COLUMNS, count), 0
        for c in range(group, last):
            begin = c // LANES * LANES  # whole vectors, always the same: a load waits where it meets two stores
            here = c * line + begin
            if c == group:
                found = begin + largest(t, here, c - begin, rows - begin)
            if found < c or found >= rows:  # all that is left is NaN
                found = c
            pivots[top + c] = top + found
            if found != c:
                for j in range(WIDTH):
                    t[j * line + c], t[j * line + found] = t[j * line + found], t[j * line + c]
                order[top + c], order[top + found] = order[top + found], order[top + c]
            pivot = t[c * line + c]
            diagonal[at + top + c] = abs(pivot)
            if abs(pivot) > TINY:
                factor = -1 / pivot
            else:  # its reciprocal may be beyond the largest number
                factor = t.dtype.type(-1)
                if pivot != 0:
                    for i in range(c + 1, rows):
                        t[c * line + i] /= pivot
            begin = (c + 1) // LANES * LANES
            here, first, size_ = c * line + begin, c + 1 - begin, rows - begin
            if last - c == 4:
                found = begin + eliminate(3, t, here, line, first, size_, factor)
            elif last - c == 3:
                found = begin + eliminate(2, t, here, line, first, size_, factor)
            elif last - c == 2:
                found = begin + eliminate(1, t, here, line, first, size_, factor)
            else:
                eliminate(0, t, here, line, first, size_, factor)
        if last < count:
            begin, others = group // LANES * LANES, WIDTH - last
            for k in range(COLUMNS):  # -L alone: rows that are U's already stay as they are, the group's are solved
                for i in range(WIDTH):
                    head[k * WIDTH + i] = t[(group + k) * line + begin + i] if begin + i > group + k else 0
            for j in range(last, WIDTH):
                for i in range(COLUMNS):
                    sum_ = t[j * line + group + i]
                    for k in range(i):
                        sum_ += head[k * WIDTH + group + i - begin] * u[j * COLUMNS + k]
                    u[j * COLUMNS + i] = sum_
            c = last * line + begin
            walk(u, last * COLUMNS, COLUMNS, 1, others, head, 0, WIDTH, COLUMNS, t, c, line, t, c, line)
            for i in range(begin + WIDTH, rows, WIDTH):
                c = last * line + i
                walk(u, last * COLUMNS, COLUMNS, 1, others, t, group * line + i, line, COLUMNS, t, c, line, t, c, line)
    rows = high - top
    for i in range(0, rows, LANES):
        for j in range(0, WIDTH, LANES):
            transpose(t, j * line + i, line, frame, base + i * WIDTH + j, WIDTH)


def _arrange(frame, q, high, pivots, done, last):
    """Exchange the rows of strip q as the pivots before `last` say that it has not heard of."""
    base = q * high * WIDTH
    for j in range(done[q], last):
        if pivots[j] != j:
            exchange(frame, base + j * WIDTH, base + pivots[j] * WIDTH, WIDTH)
    done[q] = max(done[q], last)


def _act(frame, a, b, q0, q1, sizes, pivots, done):
    """The strips a..b-1, arranged, act on the strips q0..q1-1: their rows of U, then the rows below."""
    wide()
    size, _, high = sizes
    gap, rows = high * WIDTH, (size + 3) // 4 * 4
    for q in range(q0, q1):
        arrange(frame, q, high, pivots, done, b * WIDTH)
        first = q * gap + a * WIDTH * WIDTH
        for i in range(a * WIDTH, b * WIDTH, SOLVE):
            s, here = i // WIDTH, q * gap + i * WIDTH
            deep(frame, a * gap + i * WIDTH, gap, SOLVE, frame, first, i - a * WIDTH, frame, here)
            for v in range(0, WIDTH, LANES):
                solve(SOLVE, frame, here + v, WIDTH, frame, s * gap + i * WIDTH + i - s * WIDTH, WIDTH)
    below = b * WIDTH
    for t0 in range(a, b, DEEP // WIDTH):
        t1 = min(b, t0 + DEEP // WIDTH)
        for q in range(q0, q1):
            u = q * gap + t0 * WIDTH * WIDTH
            c = q * gap + below * WIDTH
            deep(frame, t0 * gap + below * WIDTH, gap, rows - below, frame, u, (t1 - t0) * WIDTH, frame, c)


def _factorise(frame, sizes, t, head, u, order, pivots, done, diagonal, at, index, threads, round_, meeting):
    """LU of a frame by a team; every thread returns the number of its next round."""
    size, columns, high = sizes
    strips = (columns + WIDTH - 1) // WIDTH
    if index == 0:
        for i in range(size):
            order[i] = i
        for q in range(strips):
            done[q] = 0
    for p in range(strips):
        if index == 0:
            leaf(frame, p, sizes, t, head, u, order, pivots, diagonal, at)
            done[p] = min((p + 1) * WIDTH, columns)
        m = (p + 1) & -(p + 1)
        a, last = p + 1 - m, min(p + 1 + m, strips)
        if last == p + 1:
            break
        share = (last - p - 1 + threads - 1) // threads
        q0 = min(p + 1 + index * share, last)
        if m > 1:  # a single strip and the next are the first thread's, like the leaves
            round_ = meet(meeting, threads, round_)
            for q in range(a + index, p + 1, threads):
                arrange(frame, q, high, pivots, done, (p + 1) * WIDTH)
            round_ = meet(meeting, threads, round_)
        act(frame, a, p + 1, q0, min(q0 + share, last), sizes, pivots, done)
        if m > 1:
            round_ = meet(meeting, threads, round_)
    round_ = meet(meeting, threads, round_)
    for q in range(index, strips, threads):
        arrange(frame, q, high, pivots, done, columns)
    return meet(meeting, threads, round_)


def _steps(matrix, frames, sizes, interval, end, limit, order, diagonal, work, info, part, meeting):
    """Carry a frame over several steps, with a decomposition after every `interval`-th, and after the last if `end`.

    frames: two arrays; info = (which of them holds the frame, steps since it was factorised, decompositions done, steps
    taken). It stops early after a decomposition in which a pivot is not finite, or at most `limit` times the largest.
    """
    wide()
    size, columns, _ = sizes
    w, line, d, slope, own, flags, first, steps, gap = matrix
    t, head, u, pivots, done, same, packed, near, zeros = work
    index, threads = part
    blocks, rows = (size + ROWS - 1) // ROWS, (size + 3) // 4 * 4
    low, top = blocks * index // threads * ROWS, min(blocks * (index + 1) // threads * ROWS, rows)
    room = (blocks // threads + 2) * ROWS * DEEP
    mine, close = packed[index * room : (index + 1) * room], near[index * DEEP * WIDTH : (index + 1) * DEEP * WIDTH]
    round_, which, since, count, taken, fine = 0, info[0], info[1], 0, 0, True
    while fine and (taken < steps or (end and since)):
        if taken < steps:
            now = (w, line, d, slope, own, (first + taken) * gap, flags)
            frame, out = frames[which], frames[1 - which]
            product(now, frame, order if since == 0 else same, since == 0, out, sizes, low, top, mine, close, zeros)
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
    made: dict[str, Any] = {}
    functions = (_walk, _deep, _pack, _product, _leaf, _arrange, _act, _factorise, _steps)
    for function in functions:
        names = named_in(function, sizes | made)
        once = function in (_product, _factorise)
        made[function.__name__[1:]] = merged(function, **names) if once else specialise(function, name, **names)
    return made["steps"], sizes
