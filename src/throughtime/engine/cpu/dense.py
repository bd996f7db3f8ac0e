"""Readouts and embeddings: products with weights that stand outside a recurrence, on the engine's tiles and team.

    y = x Wᵀ + b,    dx = g W,    dW = gᵀ x,    db = Σ_r g_r,    dE[token_r] += g_r

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
from .matmul import products
from .panels import packers
from .primitives import move, wide
from .register_tile import lanes

Array = np.ndarray
VECTORS = 2  # of a panel, as those of the way back, so that the packing and the products are compiled once
CHUNK = 48  # rows whose products lie in panels before they are written out: whole tiles of 12, 6, 4 and 2 rows
TALL = 8  # rows of the tallest tile of a weight gradient
WIDTH = product = accumulate = pack_rows = PLACEHOLDER


def forward(x: Array, w: Array, b: Array | None) -> Array:
    """y = x Wᵀ + b, (R, O), of x (R, I), w (O, I) and b (O,), or None for 0."""
    outputs, inputs = w.shape
    width = VECTORS * lanes(w.dtype)
    count = -(-outputs // width)
    panels = (memory.zeros if outputs % width else memory.empty)(count * inputs * width, w.dtype)
    packing = (w.reshape(-1), 1, outputs, inputs, width, panels)
    threads.run(packers(w.dtype)["pack_gates"], packing, *shares.of_packing(outputs, width, panels.size))
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
    packers(w.dtype)["pack_rows"](w.reshape(-1), 0, inputs, outputs, inputs, panels)
    return _through(g, panels, count, np.zeros(count * width, w.dtype), inputs)


def _through(a: Array, panels: Array, count: int, start: Array, columns: int) -> Array:
    (rows, depth), dtype = a.shape, a.dtype
    out = memory.empty((rows, columns), dtype)
    parts, whole = shares.of_rows(rows, columns, depth * columns)
    room = memory.empty((len(parts), CHUNK * start.size), dtype)
    arguments = (a.reshape(-1), depth, panels, count, start, out.reshape(-1), columns, room)
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
    room, edge = (memory.empty((len(parts), n * width), dtype) for n in (rows, TALL))
    arguments = (g.reshape(-1), rows, outputs, x.reshape(-1), inputs, weights.reshape(-1), bias, room, edge)
    threads.run(_kernels(dtype)["weight_gradient"], arguments, parts, whole)
    return weights, bias


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
    names = {"WIDTH": VECTORS * lanes(dtype), "pack_rows": packers(dtype)["pack_rows"], **products(VECTORS, dtype)}
    functions: dict[str, Any] = {
        "times_panels": _times_panels,
        "weight_gradient": _weight_gradient,
        "add_rows": _add_rows,
    }
    label = np.dtype(dtype).name
    return {key: specialise(function, label, **named_in(function, names)) for key, function in functions.items()}


def _times_panels(a, depth, panels, count, start, out, columns, room, share, meeting):
    """out[r, p*WIDTH + j] = start[p*WIDTH + j] + sum_k a[r, k] panels[p, k, j]: a chunk of rows at a time."""
    wide()
    share = Share(*share)
    own = room[share.member]
    for first in range(share.first_row, share.end_row, CHUNK):
        rows = min(CHUNK, share.end_row - first)
        product(a, first * depth, depth, rows, depth, panels, 0, count, start, WIDTH, own, 0)
        for r in range(rows):
            for p in range(count):
                width = min(WIDTH, columns - p * WIDTH)
                place = (first + r) * columns + p * WIDTH
                move(out, place, 0, own, (p * rows + r) * WIDTH, 0, 1, width, WIDTH)


def _weight_gradient(g, rows, outputs, x, inputs, weights, bias, room, edge, share, meeting):
    """weights[o, i] += sum_r g[r, o] x[r, i] for the share's columns i, and bias[o] += sum_r g[r, o] for some o."""
    wide()
    share = Share(*share)
    panel, own_edge = room[share.member], edge[share.member]
    for at in range(share.first_unit, share.end_unit, WIDTH):
        width = min(WIDTH, inputs - at)
        pack_rows(x, at, inputs, rows, width, panel)
        accumulate(g, 0, outputs, outputs, panel, rows, weights, at, inputs, width, own_edge)
    first, end = outputs * share.member // share.team, outputs * (share.member + 1) // share.team
    for r in range(rows):
        for o in range(first, end):
            bias[o] += g[r * outputs + o]


def _add_rows(tokens, rows, g, columns, out, share, meeting):
    """out[tokens[r], c] += g[r, c] for the share's columns c, in the order of r."""
    wide()
    share = Share(*share)
    for r in range(rows):
        if tokens[r] >= 0:
            place = tokens[r] * columns
            for c in range(share.first_unit, share.end_unit):
                out[place + c] += g[r * columns + c]
