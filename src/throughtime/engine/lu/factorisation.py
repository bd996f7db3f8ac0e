"""LU of a frame in strips with row pivoting, by a team: leaves factorised by columns, products on the register tile.

Names and places as in triangular.py. Kernels see these globals (see `jit.specialise`): WIDTH, LANES, ROWS, DEEP (rows
of a strip taken at once), SOLVE (rows of U solved at once).
"""

from ...jit import PLACEHOLDER
from ..cpu.meeting import meet
from ..cpu.primitives import wide
from ..cpu.register_tile import deep_tile, transpose
from .elimination import eliminate, exchange, largest, solve

WIDTH = LANES = ROWS = DEEP = SOLVE = BLOCK = PLACEHOLDER
walk = deep = arrange = leaf = act = panel = PLACEHOLDER
TINY = 1e-30
COLUMNS = 4  # of a leaf that are eliminated one by one before the others learn of them


def _deep(a, a_at, gap, rows, panel, p_at, depth, c, c_at):
    """C[r, :] += sum_k A[r, k] panel[k, :] within a frame: A lies in strips, `gap` apart."""
    wide()
    r = 0
    while r < rows:
        left = rows - r
        ar, line, cr = (a_at + r * WIDTH, WIDTH, gap), (p_at, 0, WIDTH), (c_at + r * WIDTH, 0, WIDTH)
        if left >= ROWS:
            deep_tile(ROWS, 2, WIDTH, a, ar, panel, line, depth, c, cr, c, cr)
            r += ROWS
        elif left >= 8 and ROWS > 8:
            deep_tile(8, 2, WIDTH, a, ar, panel, line, depth, c, cr, c, cr)
            r += 8
        elif left >= 4:
            deep_tile(4, 2, WIDTH, a, ar, panel, line, depth, c, cr, c, cr)
            r += 4
        else:
            deep_tile(2, 2, WIDTH, a, ar, panel, line, depth, c, cr, c, cr)
            r += 2


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


def _panel(frame, first, end, sizes, t, head, u, order, pivots, done, diagonal, at):
    """Factorise the strips first..end-1, on which all before have acted: recursive, one thread's."""
    for p in range(first, end):
        leaf(frame, p, sizes, t, head, u, order, pivots, diagonal, at)
        done[p] = (p + 1) * WIDTH
        m = (p + 1 - first) & -(p + 1 - first)
        a, last = p + 1 - m, min(p + 1 + m, end)
        if last > p + 1:
            for q in range(a, p):
                arrange(frame, q, sizes[2], pivots, done, (p + 1) * WIDTH)
            act(frame, a, p + 1, p + 1, last, sizes, pivots, done)
    for q in range(first, end):
        arrange(frame, q, sizes[2], pivots, done, min(end * WIDTH, sizes[1]))


def _factorise(frame, sizes, t, head, u, order, pivots, done, diagonal, at, index, threads, round_, meeting):
    """LU of a frame by a team; every thread returns the number of its next round.

    While the first thread factorises a block of strips, the others take the block before it to all that lies behind.
    """
    size, columns, high = sizes
    strips = (columns + WIDTH - 1) // WIDTH
    block = strips
    if threads > 1:
        block = BLOCK
    if index == 0:
        for i in range(size):
            order[i] = i
        for q in range(strips):
            done[q] = 0
        panel(frame, 0, min(block, strips), sizes, t, head, u, order, pivots, done, diagonal, at)
    round_ = meet(meeting, threads, round_)
    for a in range(0, strips - block, block):
        b = a + block
        end = min(b + block, strips)
        if index == 0:
            act(frame, a, b, b, end, sizes, pivots, done)
            panel(frame, b, end, sizes, t, head, u, order, pivots, done, diagonal, at)
        # in strips on which a block acts: what the first thread has done, for a leaf takes as long as two strips
        before, left = (3 * block + 3) // 2, strips - end
        own = max(0, (left - (threads - 1) * before) // threads)
        share = (left - own + threads - 2) // (threads - 1)
        q0 = end if index == 0 else min(end + own + (index - 1) * share, strips)
        act(frame, a, b, q0, end + own if index == 0 else min(q0 + share, strips), sizes, pivots, done)
        round_ = meet(meeting, threads, round_)
    for q in range(index, strips, threads):
        arrange(frame, q, high, pivots, done, columns)
    return meet(meeting, threads, round_)


KERNELS = (_deep, _leaf, _arrange, _act, _panel, _factorise)  # each may call those before it
