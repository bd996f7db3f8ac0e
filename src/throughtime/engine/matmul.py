"""The products of the engine, each a walk over tiles, and the packing of weights that they read.

Packed weights are panels of W = vectors * lanes columns, stored one after another, row by row: panel p, row k, column j at
(p*depth + k)*W + j. They are packed once per sequence, not once per step as BLAS does.

Kernels see these globals (see `jit.specialise`): VECTORS of a panel, ROWS of the tallest tile.
"""

from functools import cache
from typing import Any

from ..jit import specialise
from .tile import lanes, most_rows, tile

VECTORS, ROWS, WIDTH = 2, 8, 16  # replaced in every compiled copy


def _product(a, a_at, a_row, rows, depth, panels, first, last, start, start_panel, out, out_at):
    """out[p - first, m, :] = start[p, :] + sum_k a[m, k] panels[p, k, :] for the panels first <= p < last.

    start_panel is the distance of the panels' rows in `start`: WIDTH for a bias, 0 for a row of zeros.
    """
    for p in range(first, last):
        w = p * depth * WIDTH
        s = p * start_panel
        c = out_at + (p - first) * rows * WIDTH
        m = 0
        while m + ROWS <= rows:
            tile(ROWS, VECTORS, a, a_at + m * a_row, a_row, 1, panels, w, WIDTH, depth, start, s, 0, out, c + m * WIDTH, WIDTH)
            m += ROWS
        while m + 4 <= rows:
            tile(4, VECTORS, a, a_at + m * a_row, a_row, 1, panels, w, WIDTH, depth, start, s, 0, out, c + m * WIDTH, WIDTH)
            m += 4
        if m + 2 <= rows:
            tile(2, VECTORS, a, a_at + m * a_row, a_row, 1, panels, w, WIDTH, depth, start, s, 0, out, c + m * WIDTH, WIDTH)
            m += 2
        if m < rows:
            tile(1, VECTORS, a, a_at + m * a_row, a_row, 1, panels, w, WIDTH, depth, start, s, 0, out, c + m * WIDTH, WIDTH)


def _accumulate(d, d_at, d_row, count, y, depth, out, out_at, out_row, columns, edge):
    """out[j, n] += sum_m d[m, j] y[n // WIDTH, m, n % WIDTH] for j < count, n < columns: a block of rows of a weight gradient.

    y holds panels of `depth` rows; the last, partly filled one goes through `edge`, a block of 16 rows.
    """
    for q in range((columns + WIDTH - 1) // WIDTH):
        width = min(WIDTH, columns - q * WIDTH)
        j = 0
        while j < count:
            rows = ROWS if j + ROWS <= count else 4 if j + 4 <= count else 1
            c, c_at, c_row = out, out_at + j * out_row + q * WIDTH, out_row
            if width < WIDTH:
                for r in range(rows):
                    for n in range(width):
                        edge[r * WIDTH + n] = out[c_at + r * out_row + n]
                c, c_at, c_row = edge, 0, WIDTH
            if rows == ROWS:
                tile(ROWS, VECTORS, d, d_at + j, 1, d_row, y, q * depth * WIDTH, WIDTH, depth, c, c_at, c_row, c, c_at, c_row)
            elif rows == 4:
                tile(4, VECTORS, d, d_at + j, 1, d_row, y, q * depth * WIDTH, WIDTH, depth, c, c_at, c_row, c, c_at, c_row)
            else:
                tile(1, VECTORS, d, d_at + j, 1, d_row, y, q * depth * WIDTH, WIDTH, depth, c, c_at, c_row, c, c_at, c_row)
            if width < WIDTH:
                for r in range(rows):
                    for n in range(width):
                        out[out_at + (j + r) * out_row + q * WIDTH + n] = edge[r * WIDTH + n]
            j += rows


def _pack_gates(w, gates, units, depth, block, panels):
    """Panels of `block` units, all their gates side by side: panels[p, k, g*block + u] = w[g*units + p*block + u, k]."""
    width = gates * block
    for p in range((units + block - 1) // block):
        count = min(block, units - p * block)
        for g in range(gates):
            source, target = (g * units + p * block) * depth, p * depth * width + g * block
            for k in range(depth):
                for u in range(count):
                    panels[target + k * width + u] = w[source + u * depth + k]


def _pack_transposed(w, gates, units, columns, block, width, panels):
    """The same matrix for the way back: panels[q, (p*gates + g)*block + u, j] = w[g*units + p*block + u, q*width + j]."""
    depth = (units + block - 1) // block * gates * block
    for q in range((columns + width - 1) // width):
        count = min(width, columns - q * width)
        for g in range(gates):
            for unit in range(units):
                row = (unit // block * gates + g) * block + unit % block
                source, target = (g * units + unit) * columns + q * width, (q * depth + row) * width
                for j in range(count):
                    panels[target + j] = w[source + j]


def _pack_rows(x, at, row, rows, columns, width, panels):
    """Rows of a matrix as panels: panels[q, m, j] = x[m, q*width + j]."""
    for q in range((columns + width - 1) // width):
        count = min(width, columns - q * width)
        for m in range(rows):
            for j in range(count):
                panels[(q * rows + m) * width + j] = x[at + m * row + q * width + j]


@cache
def products(vectors: int, dtype: Any) -> dict[str, Any]:
    """The compiled products for panels of so many vectors, under the names by which the loops call them."""
    sizes = {"VECTORS": vectors, "ROWS": most_rows(vectors), "WIDTH": vectors * lanes(dtype)}
    name = f"{vectors}x{lanes(dtype)}"
    return {"product": specialise(_product, name, **sizes), "accumulate": specialise(_accumulate, name, **sizes)}


@cache
def packers() -> dict[str, Any]:
    """The compiled packing functions, for both precisions."""
    functions = {"pack_gates": _pack_gates, "pack_transposed": _pack_transposed, "pack_rows": _pack_rows}
    return {name: specialise(function, "any") for name, function in functions.items()}
