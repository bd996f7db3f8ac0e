"""J times a frame in strips, on the register tile: rows of J packed for the tile, strips of the frame as they lie.

Names and places as in triangular.py. Kernels see these globals (see `jit.specialise`): WIDTH, ROWS, DEEP (rows of a
strip taken at once).
"""

from ...jit import PLACEHOLDER
from ..cpu.primitives import wide
from ..cpu.register_tile import tile
from .elimination import scaled

WIDTH = ROWS = DEEP = PLACEHOLDER
walk = pack = PLACEHOLDER
DENSE, SLOPE, OWN = 1, 2, 4  # what a matrix is made of


def _walk(a, a_at, a_row, a_step, rows, panel, p_at, p_step, depth, start, s_at, s_row, c, c_at, c_row):
    """C[r, :] = start[r, :] + sum_k A[r, k] panel[k, :] for an even number of rows, tile by tile."""
    wide()
    r = 0
    while r < rows:
        left = rows - r
        ar, line = (a_at + r * a_row, a_row, a_step), (p_at, 0, p_step)
        sr, cr = (s_at + r * s_row, 0, s_row), (c_at + r * c_row, 0, c_row)
        if left >= ROWS:
            tile(ROWS, 2, 1, a, ar, panel, line, depth, start, sr, c, cr)
            r += ROWS
        elif left >= 8 and ROWS > 8:
            tile(8, 2, 1, a, ar, panel, line, depth, start, sr, c, cr)
            r += 8
        elif left >= 4:
            tile(4, 2, 1, a, ar, panel, line, depth, start, sr, c, cr)
            r += 4
        else:
            tile(2, 2, 1, a, ar, panel, line, depth, start, sr, c, cr)
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
                here = min(ROWS, high_row - i)
                walk(packed, a_at, 1, ROWS, here, array, at, WIDTH, depth, start, s_at, s_row, out, c, WIDTH)


KERNELS = (_walk, _pack, _product)  # each may call those before it
