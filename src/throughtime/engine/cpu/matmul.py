"""The products of the engine, each a walk over tiles; they read packed weights (panels.py).

Kernels see these globals (see `jit.specialise`):

    VECTORS     of a panel, WIDTH columns in all
    TALL        rows of the tallest tile of a weight gradient
    GROUP       panels taken together for a single row
    DEEP        rows of a panel taken at once
    SHORT, MIDDLE, HALF  rows of the tiles of a product whose A is packed
    FOUR, THREE whether tiles that are read where their rows lie may have so many rows
    ROWS        of the tallest tile of a product whose A is not packed
    PACKED      whether A is packed
"""

from functools import cache
from typing import Any

import numpy as np

from ...jit import PLACEHOLDER, address_of, named_in, register_jitable
from .by_address import as_called
from .caches import CACHES
from .primitives import clear, wide
from .register_tile import lanes, most_rows, tile, transpose_some
from .spans import fetch_to_write, move, spread_blocks, turn

VECTORS = TALL = WIDTH = GROUP = DEEP = SHORT = MIDDLE = HALF = FOUR = THREE = ROWS = PACKED = LANES = PLACEHOLDER
FEW = 4  # rows that are read where they lie
NEAR = CACHES.first // 2  # bytes of a panel that stay there under all rows; 32 of 48 KB were 1.5 times slower


def _product(a, a_at, a_row, strips, rows, depth, panels, first, last, start, start_panel, out, out_at, narrow):
    """out[p - first, m, :] = start[p, :] + sum_k a[m, k] panels[p, k, :] for the panels first <= p < last.

    Of panels of one or two vectors more than FEW rows are read from `strips`, where pack_strips has put them, and as
    many rows of the result as fill the last tile, less than HALF, are written behind it. start_panel is the distance of
    the panels' rows in `start`: WIDTH for a bias, 0 for a row of zeros. Deep panels are taken in pieces that stay in
    the first cache while all rows pass over them; the sums go on where they stopped, so their bits are the same.

    narrow: a panel that has numbers in its first vector only, or -1. Of two vectors the second is then left out; what
    stands in its place in the result is nobody's. Fewer rows than HALF gain nothing: a sum would wait for itself. Of
    more vectors than two it is the number of units, of which a vector holds one part, where the last panel is ragged
    (panels.py): its empty vectors are left out, and the result is spread as that of any other panel.
    """
    wide()
    p, ragged, filled, few = first, -1, VECTORS, 0
    if not PACKED:
        if narrow > 0:
            ragged, few = narrow // LANES, narrow % LANES
            filled = (few * VECTORS + LANES - 1) // LANES
    while p < last:
        count = GROUP if rows == 1 and p + GROUP <= last else 1
        c = out_at + (p - first) * rows * WIDTH
        begin, at, gap, row = start, p * start_panel, start_panel, 0
        for k in range(0, depth, DEEP):
            x, size = a_at + k, min(DEEP, depth - k)
            panel = (p * depth + k) * WIDTH, depth * WIDTH, WIDTH
            if count == GROUP and rows == 1:
                tile(1, VECTORS, GROUP, a, (x, 0, 1), panels, panel, size, begin, (at, gap, 0), out, (c, WIDTH, 0))
            else:
                m = 0
                while m < rows:
                    left, xm = rows - m, (x + m * a_row, a_row, 1)
                    sm, cm = (at + m * row, 0, row), (c + m * WIDTH, 0, WIDTH)
                    if PACKED:
                        source = a
                        if rows > FEW:
                            source, xm = strips, (m // LANES * LANES * depth + k * LANES + m % LANES, 1, LANES)
                            if left > HALF:
                                xs = xm[0], 1, LANES  # steps that are known make tall tiles, see pack_strips
                                if p == narrow:
                                    tile(SHORT, 1, 1, strips, xs, panels, panel, size, begin, sm, out, cm)
                                    m += SHORT
                                elif left > MIDDLE:
                                    tile(SHORT, VECTORS, 1, strips, xs, panels, panel, size, begin, sm, out, cm)
                                    m += SHORT
                                else:
                                    tile(MIDDLE, VECTORS, 1, strips, xs, panels, panel, size, begin, sm, out, cm)
                                    m += MIDDLE
                                continue
                        if rows > FEW or left == HALF:
                            if p == narrow:
                                tile(HALF, 1, 1, source, xm, panels, panel, size, begin, sm, out, cm)
                            else:
                                tile(HALF, VECTORS, 1, source, xm, panels, panel, size, begin, sm, out, cm)
                            m += HALF
                            continue
                    else:
                        if left >= ROWS:
                            if p == ragged and filled == 1:
                                tile(ROWS, 1, 1, a, xm, panels, panel, size, begin, sm, out, cm)
                            elif p == ragged and filled == 2:
                                tile(ROWS, 2, 1, a, xm, panels, panel, size, begin, sm, out, cm)
                            else:
                                tile(ROWS, VECTORS, 1, a, xm, panels, panel, size, begin, sm, out, cm)
                            m += ROWS
                            continue
                    if FOUR:
                        if left >= 4:
                            tile(4, VECTORS, 1, a, xm, panels, panel, size, begin, sm, out, cm)
                            m += 4
                            continue
                    if THREE:
                        if left == 3:
                            tile(3, VECTORS, 1, a, xm, panels, panel, size, begin, sm, out, cm)
                            break
                    if left >= 2:
                        tile(2, VECTORS, 1, a, xm, panels, panel, size, begin, sm, out, cm)
                        m += 2
                    else:
                        tile(1, VECTORS, 1, a, xm, panels, panel, size, begin, sm, out, cm)
                        m += 1
            begin, at, gap, row = out, c, WIDTH, WIDTH
        p += count
    if not PACKED:
        if few > 0 and first <= ragged < last:
            for m in range(rows):
                spread_blocks(out, out_at + ((ragged - first) * rows + m) * WIDTH, VECTORS, few, LANES)


def _pack_strips(a, at, row, rows, depth, strips):
    """Rows of A in strips of LANES, number by number of their depth: strips[m // LANES, k, m % LANES] = a[m, k].

    The lanes behind the last row repeat it; up to FEW rows are left alone. Read row by row, the rows of a tile lie at
    distances at which they and the panel meet in the same lines of the cache, by chance of their addresses, and from
    some eight rows on their addresses do not fit the registers: 1.5 to 1.7 times slower, packing included (2 vectors,
    depth 448 to 1536, 12 to 48 rows). Tiles of 6 rows and 4 vectors, or 8 and 3, gain nothing (`in_strips`).
    """
    wide()
    if rows <= FEW:
        return
    whole = depth // LANES * LANES
    for m in range(0, rows, LANES):
        here, last = at + m * row, min(LANES, rows - m) - 1
        for k in range(0, whole, LANES):
            transpose_some(a, here + k, row, last, strips, m * depth + k * LANES, LANES)
        for k in range(whole, depth):
            for l in range(LANES):
                strips[m * depth + k * LANES + l] = a[here + min(l, last) * row + k]


def _pack_rows(x, at, row, rows, columns, panels, to):
    """Rows of a matrix as panels, from panels[to] on: panels[q, m, j] = x[m, q*WIDTH + j], 0 beyond the last column."""
    wide()
    for q in range((columns + WIDTH - 1) // WIDTH):
        count = min(WIDTH, columns - q * WIDTH)
        for m in range(rows):
            place = to + (q * rows + m) * WIDTH
            move(panels, place, 0, x, at + m * row + q * WIDTH, 0, 1, count, WIDTH)
            if count < WIDTH:
                clear(panels, place + count, WIDTH - count)


def _accumulate(d, d_at, d_row, count, y, y_at, depth, out, out_at, out_row, columns, edge):
    """out[j, n] += sum_m d[m, j] y[n // WIDTH, m, n % WIDTH] for j < count, n < columns: rows of a weight gradient.

    y holds panels of `depth` rows, 0 beyond the last column. Behind the last j of a row of d numbers are read, and
    nothing made of them, up to a whole vector. Columns that fill no panel are worked out with vectors along j: as many
    as there are, or up to three more, where vectors along n would be half empty. `edge` has 8 rows of WIDTH.
    """
    wide()
    pieces, whole = (depth + DEEP - 1) // DEEP, columns // WIDTH  # pieces of about the same depth: see _product
    for q in range(whole):
        if (q + 1) * WIDTH < columns:  # the lines of the result that come next
            for j in range(count):
                fetch_to_write(out, out_at + j * out_row + (q + 1) * WIDTH, WIDTH)
        for piece in range(pieces):
            k = depth * piece // pieces
            size, panel = depth * (piece + 1) // pieces - k, (y_at + (q * depth + k) * WIDTH, 0, WIDTH)
            for j in range(0, count, TALL):
                place, dj, left = out_at + j * out_row + q * WIDTH, (d_at + k * d_row + j, 1, d_row), count - j
                target, c = (out, (place, 0, out_row)) if left >= TALL or left == 4 else (edge, (0, 0, WIDTH))
                if left < TALL and left != 4:
                    for r in range(left):
                        move(edge, r * WIDTH, 0, out, place + r * out_row, 0, 1, WIDTH, WIDTH)
                if left > 4:
                    tile(TALL, VECTORS, 1, d, dj, y, panel, size, target, c, target, c)
                else:
                    tile(4, VECTORS, 1, d, dj, y, panel, size, target, c, target, c)
                if left < TALL and left != 4:
                    for r in range(left):
                        move(out, place + r * out_row, 0, edge, r * WIDTH, 0, 1, WIDTH, WIDTH)
    c = 0, 0, LANES
    for n in range(whole * WIDTH, columns, 4):
        numbers, ys = min(4, columns - n), (y_at + whole * depth * WIDTH + n - whole * WIDTH, 1, WIDTH)
        for j in range(0, count, LANES):
            rows, place = min(LANES, count - j), out_at + j * out_row + n
            turn(edge, 0, 1, LANES, out, place, out_row, 1, rows, numbers)
            tile(4, 1, 1, y, ys, d, (d_at + j, 0, d_row), depth, edge, c, edge, c)
            turn(out, place, out_row, 1, edge, 0, 1, LANES, rows, numbers)


@register_jitable
def narrow_panel(columns, width, lane):
    """The panel of so many columns that has numbers in its first vector only, or -1: see _product."""
    return columns // width if 0 < columns % width <= lane else -1


FUNCTIONS: dict[str, Any] = {
    "product": _product,
    "strips": _pack_strips,
    "rows": _pack_rows,
    "accumulate": _accumulate,
}


def group(vectors: int) -> int:
    """Panels that one row takes at once: eight sums under way, for two multipliers that answer after four cycles."""
    return max(1, 8 // vectors)


@cache
def address(name: str, vectors: int, dtype: Any) -> int:
    """The address of a compiled product, or of what packs for one, of panels of so many vectors.

    Calls of it are in by_address.py; they and these functions have their arguments in common.
    """
    function, sizes = FUNCTIONS[name], _sizes(vectors, dtype)
    return address_of(function, f"{vectors}x{lanes(dtype)}", as_called(function, dtype), **named_in(function, sizes))


def addresses(vectors: int, dtype: Any, *names: str) -> tuple[int, ...]:
    """Those of several, as a loop takes them."""
    return tuple(address(name, vectors, dtype) for name in names)


def in_strips(vectors: int) -> bool:
    """Whether a product of panels of so many vectors reads its rows from strips, see _pack_strips."""
    return vectors <= 2


def _sizes(vectors: int, dtype: Any) -> dict[str, Any]:
    width = vectors * lanes(dtype)
    rows, deep = most_rows(vectors), max(1, NEAR // (width * np.dtype(dtype).itemsize))
    short = min(1 << rows.bit_length() - 1, 8, lanes(dtype))
    sizes = {"VECTORS": vectors, "TALL": 8 if rows >= 8 else 4, "WIDTH": width}
    sizes |= {"GROUP": group(vectors), "DEEP": deep, "LANES": lanes(dtype)}
    sizes |= {"SHORT": short, "MIDDLE": max(1, 3 * short // 4), "HALF": max(1, short // 2)}
    packed = in_strips(vectors)
    return sizes | {
        "FOUR": rows >= 4 and not (packed and short == 8), "THREE": rows >= 4, "ROWS": rows, "PACKED": packed,
    }  # fmt: skip
