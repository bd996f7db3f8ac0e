"""Readouts and embeddings on the device, under the names of cpu/dense.py: products with weights that stand outside a
recurrence, and the rows of a table.

    y = x Wᵀ + b,    dx = g W,    dW = gᵀ x,    db = Σ_r g_r,    y_r = E[token_r],    dE[token_r] += g_r

Sums are taken in one fixed order, so the bits are the same every time. The rows of a table are added up in two stages,
since one token may have most of them: pieces of at most PIECE rows of one token, then the pieces of each token.

Dimensions: R rows (time steps times sequences), I inputs, O outputs, V tokens.
"""

from typing import Any

import numpy as np

from . import arrays, device, projections
from .tiled_matmul import ALONG_LEFT, Slices, multiply
from .toolkit import cuda

PIECE = 64


def forward(x: Any, w: Any, b: Any | None) -> Any:
    """y = x Wᵀ + b, (R, O), of x (R, I), w (O, I) and b (O,), or None for 0."""
    outputs, inputs = (int(n) for n in w.shape)
    flat, row, count = _flat(x)
    start = None if b is None else b.reshape((1, outputs))
    out = projections.input_part(flat, row, w.reshape((1, outputs, inputs)), start, count, 1)
    return out.reshape((count, outputs))


def to_inputs(g: Any, w: Any) -> Any:
    """dx = g W, (R, I), of g (R, O) and w (O, I)."""
    outputs, inputs = (int(n) for n in w.shape)
    flat, row, count = _flat(g)
    out = device.empty((count, inputs), w.dtype)
    left, right = (flat, 0, row, row), (w.reshape(-1), 0, outputs * inputs, inputs)
    multiply(ALONG_LEFT, left, right, None, out.reshape(-1), (count, inputs, outputs, 1, 1, 1))
    return out


def to_weights(g: Any, x: Any, weights: Any | None = None, bias: Any | None = None) -> tuple[Any, Any]:
    """dW = gᵀ x, (O, I), and db, (O,), of C-contiguous g (R, O) and x (R, I); in the arrays given, or fresh ones."""
    (count, outputs), inputs, later = (int(n) for n in g.shape), int(x.shape[1]), Slices()
    weights = device.empty((outputs, inputs), g.dtype) if weights is None else weights
    bias = device.empty(outputs, g.dtype) if bias is None else bias
    if not count:
        device.clear(weights)
        device.clear(bias)
        return weights, bias
    flat, row, _ = _flat(x)
    own = g.reshape(-1)
    projections.outer(weights.reshape((1, outputs, inputs)), own, 0, outputs, (flat, 0, row), count, 1, 1, later)
    projections.sums(own, outputs, 1, count, 1, 1, later, bias.reshape((1, outputs)))
    later.add()
    return weights, bias


def vectors(tokens: np.ndarray, w: Any) -> Any:
    """The rows of w (V, I) that belong to tokens in NumPy, (R, I); zeros for a negative token."""
    columns = int(w.shape[1])
    out = device.empty((tokens.size, columns), w.dtype)
    device.for_each(
        take_rows, out.size, (device.to_device(tokens.reshape(-1)), w.reshape(-1), out.reshape(-1), columns)
    )
    return out


def to_rows(tokens: np.ndarray, g: Any, count: int, out: Any | None = None) -> Any:
    """dE, (count, columns): the rows of g (R, columns) added up by the token of each, in NumPy; a negative token is
    left out. In the array `out`, or a fresh one."""
    columns = int(g.shape[1])
    out = device.empty((count, columns), g.dtype) if out is None else out
    order = np.argsort(tokens.astype(np.int16) if count < 1 << 15 else tokens, kind="stable")  # by digits, if short
    order = order[np.searchsorted(tokens[order], 0) :]
    own = tokens[order]
    begins = np.flatnonzero(np.diff(own, prepend=-1))  # of every token that is there
    inside = np.arange(own.size) - np.repeat(begins, np.diff(begins, append=own.size))
    firsts = np.flatnonzero(inside % PIECE == 0)
    of_token = np.searchsorted(own[firsts], np.arange(count + 1))
    plan = device.to_device(np.concatenate([order, firsts, [own.size], of_token]).astype(np.int64))
    pieces = device.empty((firsts.size, columns), g.dtype)
    flat, row, _ = _flat(g)
    of_pieces = (plan, own.size, flat, row, pieces.reshape(-1), columns)
    device.for_each(add_rows_of_pieces, pieces.size, of_pieces)
    of_tokens = (plan, own.size + firsts.size + 1, pieces.reshape(-1), out.reshape(-1), columns)
    device.for_each(add_pieces_of_tokens, out.size, of_tokens)
    return out


def take_rows(tokens, w, out, columns):
    """out[r, c] = w[tokens[r], c]"""
    place = cuda.grid(1)
    if place < out.size:
        token = tokens[place // columns]
        out[place] = w[token * columns + place % columns] if token >= 0 else w.dtype.type(0)


def add_rows_of_pieces(plan, at, g, row, out, columns):
    """out[p, c] = the sum of g[r, c] over the rows r of piece p; plan: the rows, then at `at` where pieces begin."""
    place = cuda.grid(1)
    if place < out.size:
        p, c = place // columns, place % columns
        total = g.dtype.type(0)
        for k in range(plan[at + p], plan[at + p + 1]):
            total += g[plan[k] * row + c]
        out[place] = total


def add_pieces_of_tokens(plan, at, pieces, out, columns):
    """out[v, c] = the sum over the pieces of token v; plan: at `at` where the pieces of each token begin."""
    place = cuda.grid(1)
    if place < out.size:
        v, c = place // columns, place % columns
        total = pieces.dtype.type(0)
        for p in range(plan[at + v], plan[at + v + 1]):
            total += pieces[p * columns + c]
        out[place] = total


def _flat(x: Any) -> tuple[Any, int, int]:
    """The numbers of x (R, n) as a flat array, how many from row to row, and R."""
    x = x if int(x.strides[1]) == x.dtype.itemsize else arrays.compact(x)
    count, n = (int(length) for length in x.shape)
    return device.flat(x), int(x.strides[0]) // x.dtype.itemsize if count > 1 else n, count
