"""The products of the engine, each a walk over tiles, and the packing of weights that they read.

Packed weights are panels of W = vectors * lanes columns, stored one after another, row by row: panel p, row k, column j at
(p*depth + k)*W + j. They are packed once per sequence, not once per step as BLAS does.

Kernels see these globals (see `jit.specialise`): VECTORS of a panel, ROWS of the tallest tile, GROUP panels for a single row, DEEP rows
of a panel taken at once.
"""

from functools import cache
from typing import Any

import numpy as np

from ..jit import specialise
from .primitives import move
from .tile import lanes, most_rows, tile, transpose

VECTORS, ROWS, WIDTH, GROUP, DEEP, LANES = 2, 8, 16, 4, 128, 8  # replaced in every compiled copy
NEAR = 1 << 15  # bytes of a panel that stay in the nearest cache while all rows pass over it


def _product(a, a_at, a_row, rows, depth, panels, first, last, start, start_panel, out, out_at):
    """out[p - first, m, :] = start[p, :] + sum_k a[m, k] panels[p, k, :] for the panels first <= p < last.

    start_panel is the distance of the panels' rows in `start`: WIDTH for a bias, 0 for a row of zeros. Deep panels are taken in pieces
    that stay in the first cache while all rows pass over them; the sums go on where they stopped, so their bits are the same.
    """
    p = first
    while p < last:
        count = GROUP if rows == 1 and p + GROUP <= last else 1
        c = out_at + (p - first) * rows * WIDTH
        from_, at, gap, row = start, p * start_panel, start_panel, 0
        for k in range(0, depth, DEEP):
            w, x, size = (p * depth + k) * WIDTH, a_at + k, min(DEEP, depth - k)
            if count == GROUP:
                tile(1, VECTORS, GROUP, a, x, 0, 1, panels, w, depth * WIDTH, WIDTH, size, from_, at, gap, 0, out, c, WIDTH, 0)
            else:
                m = 0
                while m + ROWS <= rows:
                    tile(ROWS, VECTORS, 1, a, x + m * a_row, a_row, 1, panels, w, 0, WIDTH, size, from_, at + m * row, 0, row, out, c + m * WIDTH, 0, WIDTH)
                    m += ROWS
                while m + 4 <= rows:
                    tile(4, VECTORS, 1, a, x + m * a_row, a_row, 1, panels, w, 0, WIDTH, size, from_, at + m * row, 0, row, out, c + m * WIDTH, 0, WIDTH)
                    m += 4
                if m + 2 <= rows:
                    tile(2, VECTORS, 1, a, x + m * a_row, a_row, 1, panels, w, 0, WIDTH, size, from_, at + m * row, 0, row, out, c + m * WIDTH, 0, WIDTH)
                    m += 2
                if m < rows:
                    tile(1, VECTORS, 1, a, x + m * a_row, a_row, 1, panels, w, 0, WIDTH, size, from_, at + m * row, 0, row, out, c + m * WIDTH, 0, WIDTH)
            from_, at, gap, row = out, c, WIDTH, WIDTH
        p += count


def _accumulate(d, d_at, d_row, count, y, depth, out, out_at, out_row, columns, edge):
    """out[j, n] += sum_m d[m, j] y[n // WIDTH, m, n % WIDTH] for j < count, n < columns: a block of rows of a weight gradient.

    y holds panels of `depth` rows; the last, partly filled one goes through `edge`, a block of ROWS rows.
    """
    for q in range((columns + WIDTH - 1) // WIDTH):
        width = min(WIDTH, columns - q * WIDTH)
        for k in range(0, depth, DEEP):
            size, w, x = min(DEEP, depth - k), (q * depth + k) * WIDTH, d_at + k * d_row
            j = 0
            while j < count:
                rows = ROWS if j + ROWS <= count else 4 if j + 4 <= count else 1
                place = out_at + j * out_row + q * WIDTH
                c, c_at, c_row = out, place, out_row
                if width < WIDTH:
                    for r in range(rows):
                        move(edge, r * WIDTH, 0, out, place + r * out_row, 0, 1, width, WIDTH)
                    c, c_at, c_row = edge, 0, WIDTH
                if rows == ROWS:
                    tile(ROWS, VECTORS, 1, d, x + j, 1, d_row, y, w, 0, WIDTH, size, c, c_at, 0, c_row, c, c_at, 0, c_row)
                elif rows == 4:
                    tile(4, VECTORS, 1, d, x + j, 1, d_row, y, w, 0, WIDTH, size, c, c_at, 0, c_row, c, c_at, 0, c_row)
                else:
                    tile(1, VECTORS, 1, d, x + j, 1, d_row, y, w, 0, WIDTH, size, c, c_at, 0, c_row, c, c_at, 0, c_row)
                if width < WIDTH:
                    for r in range(rows):
                        move(out, place + r * out_row, 0, edge, r * WIDTH, 0, 1, width, WIDTH)
                j += rows


def _pack_gates(w, gates, units, depth, block, panels, part, meeting):
    """Panels of `block` units, all their gates side by side: panels[p, k, g*block + u] = w[g*units + p*block + u, k]."""
    width, (_, _, unit0, unit1, _, _, _) = gates * block, part
    for p in range(unit0 // block, (unit1 + block - 1) // block):
        count = min(block, units - p * block)
        whole = depth // LANES * LANES if count == block else 0
        for g in range(gates):
            source, target = (g * units + p * block) * depth, p * depth * width + g * block
            for k in range(0, whole, LANES):
                for u in range(0, block, LANES):
                    transpose(w, source + u * depth + k, depth, panels, target + k * width + u, width)
            for k in range(whole, depth):
                for u in range(count):
                    panels[target + k * width + u] = w[source + u * depth + k]


def _pack_transposed(w, gates, units, columns, block, width, panels, part, meeting):
    """The same matrix for the way back: panels[q, (p*gates + g)*block + u, j] = w[g*units + p*block + u, q*width + j]."""
    depth, (_, _, unit0, unit1, _, _, _) = (units + block - 1) // block * gates * block, part
    for q in range((columns + width - 1) // width):
        count = min(width, columns - q * width)
        for g in range(gates):
            for unit in range(unit0, unit1):
                row = (unit // block * gates + g) * block + unit % block
                source, target = (g * units + unit) * columns + q * width, (q * depth + row) * width
                for j in range(count):
                    panels[target + j] = w[source + j]


def _pack_rows(x, at, row, rows, columns, width, panels):
    """Rows of a matrix as panels: panels[q, m, j] = x[m, q*width + j], 0 beyond the last column."""
    for q in range((columns + width - 1) // width):
        count = min(width, columns - q * width)
        for m in range(rows):
            for j in range(count):
                panels[(q * rows + m) * width + j] = x[at + m * row + q * width + j]
            for j in range(count, width):
                panels[(q * rows + m) * width + j] = 0


def group(vectors: int) -> int:
    """Panels that a single row takes at once, so that eight sums are under way: the multipliers answer after four cycles, two at a time."""
    return max(1, 8 // vectors)


@cache
def products(vectors: int, dtype: Any) -> dict[str, Any]:
    """The compiled products for panels of so many vectors, under the names by which the loops call them."""
    width = vectors * lanes(dtype)
    sizes = {"VECTORS": vectors, "ROWS": most_rows(vectors), "WIDTH": width, "GROUP": group(vectors), "DEEP": NEAR // (width * np.dtype(dtype).itemsize)}
    name = f"{vectors}x{lanes(dtype)}"
    return {"product": specialise(_product, name, **sizes), "accumulate": specialise(_accumulate, name, **sizes)}


@cache
def packers(dtype: Any) -> dict[str, Any]:
    """The compiled packing functions."""
    gates = specialise(_pack_gates, f"{lanes(dtype)}", LANES=lanes(dtype))
    return {"pack_gates": gates, "pack_transposed": specialise(_pack_transposed, "any"), "pack_rows": specialise(_pack_rows, "any")}
