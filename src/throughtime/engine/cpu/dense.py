"""Readouts and embeddings: products with weights that stand outside a recurrence, on the engine's tiles and team.

    y = x Wᵀ + b,    dx = g W,    dW = gᵀ x,    db = Σ_r g_r,    y_r = E[token_r],    dE[token_r] += g_r

Not BLAS: its pool keeps spinning after a call and takes the cores from the next recurrent kernel. The sums run in the
order of rows and columns, so the bits are the same for any number of threads.

Dimensions: R rows (time steps times sequences), I inputs, O outputs.
"""

from functools import cache
from typing import Any

import numpy as np

from ...jit import PLACEHOLDER, named_in, specialise
from .. import memory
from ..sizes import Share
from . import shares, threads
from .by_address import accumulate, pack_rows, pack_strips, product
from .matmul import addresses, narrow_panel
from .own_share import mine
from .panels import gates_side_by_side
from .primitives import clear, wide
from .register_tile import lanes, tile
from .spans import move

Array = np.ndarray
VECTORS = 2  # of a panel, as those of the way back, so that the packing and the products are compiled once
CHUNK = 48  # rows whose products lie in a panel before they are written out: whole strips and tiles
TALL = 8  # rows of the tallest tile of a weight gradient
PIECE = 512  # rows of a weight gradient that are packed at once
WIDTH = LANES = PLACEHOLDER


def forward(x: Array, w: Array, b: Array | None) -> Array:
    """y = x Wᵀ + b, (R, O), of x (R, I), w (O, I) and b (O,), or None for 0."""
    outputs, width = len(w), VECTORS * lanes(w.dtype)
    count = -(-outputs // width)
    none = w[:0].reshape(-1)
    panels, *_ = gates_side_by_side(w, w[:0], none, none, outputs, width, width)
    start = np.zeros(count * width, w.dtype)
    if b is not None:
        start[:outputs] = b
    return _through(x, panels, count, start, outputs)


def to_inputs(g: Array, w: Array) -> Array:
    """dx = g W, (R, I), of g (R, O) and w (O, I)."""
    outputs, inputs = w.shape
    width = VECTORS * lanes(w.dtype)
    count = -(-inputs // width)
    panels = memory.empty(count * outputs * width, w.dtype)
    of_rows = addresses(VECTORS, w.dtype, "rows")
    _kernels(w.dtype)["rows_as_panels"](of_rows, w.reshape(-1), outputs, inputs, panels)
    return _through(g, panels, count, np.zeros(count * width, w.dtype), inputs)


def _through(a: Array, panels: Array, count: int, start: Array, columns: int) -> Array:
    (rows, depth), dtype = a.shape, a.dtype
    out = memory.empty((rows, columns), dtype)
    parts, whole = shares.of_rows(rows, columns, depth * columns)
    room = memory.empty((len(parts), CHUNK * VECTORS * lanes(dtype)), dtype)
    to = addresses(VECTORS, dtype, "product", "strips")
    arguments = (to, a.reshape(-1), depth, panels, count, start, out.reshape(-1), columns, room)
    threads.run(_kernels(dtype)["times_panels"], arguments, parts, whole)
    return out


def to_weights(g: Array, x: Array, weights: Array | None = None, bias: Array | None = None) -> tuple[Array, Array]:
    """dW = gᵀ x, (O, I), and db, (O,), of g (R, O) and x (R, I); in the arrays given, or fresh ones."""
    (rows, outputs), inputs, dtype = g.shape, x.shape[1], g.dtype
    weights = memory.empty((outputs, inputs), dtype) if weights is None else weights
    bias = np.empty(outputs, dtype) if bias is None else bias
    weights.fill(0)
    bias.fill(0)
    width = VECTORS * lanes(dtype)
    parts, whole = shares.of_columns(rows, inputs, width, rows * outputs * inputs)
    size = (PIECE + 1) * width + PIECE * -(-inputs // width) * width
    room, edge = memory.empty((len(parts), size), dtype), memory.empty((len(parts), TALL * width), dtype)
    to = addresses(VECTORS, dtype, "rows", "accumulate")
    arguments = (to, g.reshape(-1), rows, outputs, x.reshape(-1), inputs, weights.reshape(-1), bias, room, edge)
    threads.run(_kernels(dtype)["weight_gradient"], arguments, parts, whole)
    return weights, bias


def vectors(tokens: Array, w: Array) -> Array:
    """The rows of w (V, I) that belong to tokens (R,), (R, I); zeros for a negative token."""
    out = w.take(tokens, axis=0, mode="wrap")
    if (tokens < 0).any():
        out[tokens < 0] = 0
    return out


def to_rows(tokens: Array, g: Array, count: int, out: Array | None = None) -> Array:
    """dE, (count, columns): the rows of g (R, columns) added up by the token of each; a negative token is left out. In
    the array `out`, or a fresh one."""
    rows, columns = g.shape
    out = memory.empty((count, columns), g.dtype) if out is None else out
    out.fill(0)
    parts, whole = shares.of_columns(rows, columns, lanes(g.dtype), rows * columns)
    arguments = (tokens, rows, g.reshape(-1), columns, out.reshape(-1))
    threads.run(_kernels(g.dtype)["add_rows"], arguments, parts, whole)
    return out


@cache
def _kernels(dtype: Any) -> dict[str, Any]:
    sizes = {"WIDTH": VECTORS * lanes(dtype), "LANES": lanes(dtype)}
    functions: dict[str, Any] = {
        "rows_as_panels": _rows_as_panels,
        "times_panels": _times_panels,
        "weight_gradient": _weight_gradient,
        "add_rows": _add_rows,
    }
    label = np.dtype(dtype).name
    return {key: specialise(function, label, **named_in(function, sizes)) for key, function in functions.items()}


def _rows_as_panels(addresses, x, rows, columns, panels):
    (of_rows,) = addresses
    pack_rows(of_rows, x, 0, columns, rows, columns, panels, 0)


def _times_panels(addresses, a, depth, panels, count, start, out, columns, room, share, meeting):
    """out[r, p*WIDTH + j] = start[p*WIDTH + j] + sum_k a[r, k] panels[p, k, j]: a chunk of rows at a time."""
    wide()
    share = Share(*mine(share, meeting))
    of_panels, of_strips = addresses
    own, narrow = room[share.member], narrow_panel(columns, WIDTH, LANES)
    strips = np.empty(CHUNK * depth, out.dtype)
    for first in range(share.first_row, share.end_row, CHUNK):
        rows = min(CHUNK, share.end_row - first)
        pack_strips(of_strips, a, first * depth, depth, rows, depth, strips)
        for p in range(count):
            at = first * depth
            product(of_panels, a, at, depth, strips, rows, depth, panels, p, p + 1, start, WIDTH, own, 0, narrow)
            width = min(WIDTH, columns - p * WIDTH)
            for r in range(rows):
                move(out, (first + r) * columns + p * WIDTH, 0, own, r * WIDTH, 0, 1, width, WIDTH)


def _weight_gradient(addresses, g, rows, outputs, x, inputs, weights, bias, room, edge, share, meeting):
    """weights[o, i] += sum_r g[r, o] x[r, i] for the share's columns i, and bias[o] += sum_r g[r, o] for some o.

    Some rows at a time, packed: the numbers of an o, at the distance of whole rows, would meet in few lines of the
    cache. The sums go on in the order of the rows.
    """
    wide()
    share = Share(*mine(share, meeting))
    of_rows, of_sums = addresses
    own, own_edge, ones = room[share.member], edge[share.member], np.ones(1, g.dtype)
    at, columns = share.first_unit, share.end_unit - share.first_unit
    sums, d, panels = own[:WIDTH], own[WIDTH : (PIECE + 1) * WIDTH], own[(PIECE + 1) * WIDTH :]
    for low in range(0, rows, PIECE):
        here = min(PIECE, rows - low)
        pack_rows(of_rows, x, low * inputs + at, inputs, here, columns, panels, 0)
        for o in range(0, outputs, WIDTH):
            count = min(WIDTH, outputs - o)
            for r in range(here):
                move(d, r * WIDTH, 0, g, (low + r) * outputs + o, 0, 1, count, WIDTH)
            place = o * inputs + at
            accumulate(of_sums, d, 0, WIDTH, count, panels, 0, here, weights, place, inputs, columns, own_edge)
            if o // WIDTH % share.team == share.member:
                clear(sums, 0, WIDTH)
                if count < WIDTH:
                    for r in range(here):
                        clear(d, r * WIDTH + count, WIDTH - count)
                move(sums, 0, 0, bias, o, 0, 1, count, WIDTH)
                tile(1, VECTORS, 1, ones, (0, 0, 0), d, (0, 0, WIDTH), here, sums, (0, 0, 0), sums, (0, 0, 0))
                move(bias, o, 0, sums, 0, 0, 1, count, WIDTH)


def _add_rows(tokens, rows, g, columns, out, share, meeting):
    """out[tokens[r], c] += g[r, c] for the share's columns c, in the order of r."""
    wide()
    share = Share(*mine(share, meeting))
    for r in range(rows):
        if tokens[r] >= 0:
            place = tokens[r] * columns
            for c in range(share.first_unit, share.end_unit):
                out[place + c] += g[r * columns + c]
