"""The products of the engine, each a walk over tiles; they read packed weights (panels.py).

Kernels see these globals (see `jit.specialise`):

    VECTORS     of a panel, WIDTH columns in all
    ROWS        of the tallest tile of a product, TALL that of a weight gradient
    GROUP       panels taken together for a single row
    DEEP        rows of a panel taken at once
    SHORT       rows of the tile of a product whose A is packed
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ...jit import PLACEHOLDER, named_in, specialise
from .primitives import move
from .register_tile import lanes, most_rows, tile, transpose

VECTORS = ROWS = TALL = WIDTH = GROUP = DEEP = SHORT = LANES = PLACEHOLDER
NEAR = 1 << 14  # bytes of a panel that stay in the first cache (48 KB) under all rows; with 32 KB 1.5 times slower


def _product(a, a_at, a_row, rows, depth, panels, first, last, start, start_panel, out, out_at):
    """out[p - first, m, :] = start[p, :] + sum_k a[m, k] panels[p, k, :] for the panels first <= p < last.

    start_panel is the distance of the panels' rows in `start`: WIDTH for a bias, 0 for a row of zeros. Deep panels are
    taken in pieces that stay in the first cache while all rows pass over them; the sums go on where they stopped, so
    their bits are the same.
    """
    p = first
    while p < last:
        count = GROUP if rows == 1 and p + GROUP <= last else 1
        c = out_at + (p - first) * rows * WIDTH
        begin, at, gap, row = start, p * start_panel, start_panel, 0
        for k in range(0, depth, DEEP):
            x, size = a_at + k, min(DEEP, depth - k)
            panel = (panels, (p * depth + k) * WIDTH, depth * WIDTH, WIDTH)
            if rows == 1 and count == GROUP:
                tile(1, VECTORS, GROUP, (a, x, 0, 1), panel, size, (begin, at, gap, 0), (out, c, WIDTH, 0))
            else:
                m = 0
                while m < rows:
                    left, xm = rows - m, (a, x + m * a_row, a_row, 1)
                    sm, cm = (begin, at + m * row, 0, row), (out, c + m * WIDTH, 0, WIDTH)
                    if left >= ROWS:
                        tile(ROWS, VECTORS, 1, xm, panel, size, sm, cm)
                        m += ROWS
                    elif left >= 4:
                        tile(4, VECTORS, 1, xm, panel, size, sm, cm)
                        m += 4
                    elif left >= 2:
                        tile(2, VECTORS, 1, xm, panel, size, sm, cm)
                        m += 2
                    else:
                        tile(1, VECTORS, 1, xm, panel, size, sm, cm)
                        m += 1
            begin, at, gap, row = out, c, WIDTH, WIDTH
        p += count


def _pack_strips(a, at, row, rows, depth, strips):
    """Rows of A in strips of LANES, number by number of their depth: strips[m // LANES, k, m % LANES] = a[m, k].

    rows and depth are multiples of LANES. Read row by row, the rows of a tile lie at distances at which they and the
    panel meet in the same lines of the cache, by chance of their addresses: 1.7 times slower, packing included
    (depth 512, 16 and 32 rows).
    """
    for m in range(0, rows, LANES):
        for k in range(0, depth, LANES):
            transpose(a, at + m * row + k, row, strips, m * depth + k * LANES, LANES)


def _product_packed(strips, rows, depth, panels, p, start, start_at, out):
    """out[m, :] = start[start_at :] + sum_k a[m, k] panels[p, k, :] for an A in strips; the bits of `product`."""
    begin, at, row = start, start_at, 0
    for k in range(0, depth, DEEP):
        size, panel = min(DEEP, depth - k), (panels, (p * depth + k) * WIDTH, 0, WIDTH)
        for m in range(0, rows, SHORT):
            x = (strips, m // LANES * LANES * depth + k * LANES + m % LANES, 1, LANES)
            tile(SHORT, VECTORS, 1, x, panel, size, (begin, at + m * row, 0, row), (out, m * WIDTH, 0, WIDTH))
        begin, at, row = out, 0, WIDTH


def _accumulate(d, d_at, d_row, count, y, depth, out, out_at, out_row, columns, edge):
    """out[j, n] += sum_m d[m, j] y[n // WIDTH, m, n % WIDTH] for j < count, n < columns: rows of a weight gradient.

    y holds panels of `depth` rows; the last, partly filled one goes through `edge`, a block of TALL rows.
    """
    for q in range((columns + WIDTH - 1) // WIDTH):
        width = min(WIDTH, columns - q * WIDTH)
        for k in range(0, depth, DEEP):
            size, panel = min(DEEP, depth - k), (y, (q * depth + k) * WIDTH, 0, WIDTH)
            j = 0
            while j < count:
                rows = TALL if j + TALL <= count else 4 if j + 4 <= count else 1
                place = out_at + j * out_row + q * WIDTH
                dj, c = (d, d_at + k * d_row + j, 1, d_row), (out, place, 0, out_row)
                if width < WIDTH:
                    c = (edge, 0, 0, WIDTH)
                    for r in range(rows):
                        move(edge, r * WIDTH, 0, out, place + r * out_row, 0, 1, width, WIDTH)
                if rows == TALL:
                    tile(TALL, VECTORS, 1, dj, panel, size, c, c)
                elif rows == 4:
                    tile(4, VECTORS, 1, dj, panel, size, c, c)
                else:
                    tile(1, VECTORS, 1, dj, panel, size, c, c)
                if width < WIDTH:
                    for r in range(rows):
                        move(out, place + r * out_row, 0, edge, r * WIDTH, 0, 1, width, WIDTH)
                j += rows


def group(vectors: int) -> int:
    """Panels that one row takes at once: eight sums under way, for two multipliers that answer after four cycles."""
    return max(1, 8 // vectors)


@cache
def products(vectors: int, dtype: Any) -> dict[str, Any]:
    """The compiled products for panels of so many vectors, under the names by which the loops call them."""
    width = vectors * lanes(dtype)
    rows, deep = most_rows(vectors), max(1, NEAR // (width * np.dtype(dtype).itemsize))
    sizes = {"VECTORS": vectors, "ROWS": rows, "TALL": 8 if rows >= 8 else 4, "WIDTH": width}
    sizes |= {"GROUP": group(vectors), "DEEP": deep, "LANES": lanes(dtype)}
    sizes |= {"SHORT": min(8 if rows >= 8 else 4, lanes(dtype))}
    name = f"{vectors}x{lanes(dtype)}"
    functions: dict[str, Callable] = {"product": _product, "accumulate": _accumulate}
    functions |= {"pack_strips": _pack_strips, "product_packed": _product_packed}
    return {key: specialise(function, name, **named_in(function, sizes)) for key, function in functions.items()}
