"""Recurrent weights of which few are there: their products and their gradient, and how they are packed.

A sparse product takes A in strips, its rows across vectors (sparse_tile.py), and the weights as in a CSR matrix, the
columns of a panel in the order in which dense panels have them. Its bits are those of the dense one. Of the gradient
only the entries of the pattern are worked out, in sums over rows whose order does not depend on the threads.

Kernels see these globals (see `jit.specialise`): LANES, and WIDTH, the columns of a panel.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...cells.examined import Spec
from ...jit import PLACEHOLDER, named_in, specialise
from ..once import once
from .primitives import clear, wide
from .register_tile import lanes, transpose
from .shape import Shape
from .sparse_tile import sparse_sums, sparse_tile

Array = np.ndarray
# Measured beside other work (tanh, float64, 8 lanes, one thread, alternating): see `pays`.
SMALLEST, FEW, MANY = 256, 0.05, 0.1
LANES = WIDTH = PLACEHOLDER
spread = PLACEHOLDER


class Lists(NamedTuple):
    """A sparse matrix in panels: column c has the places ends[c] ... ends[c + 1] - 1 of all."""

    ends: Array
    rows: Array  # int32, of the panel
    place: Array  # where the weight lies in the dense matrix (rows, columns), flat


class Pattern:
    """Where the weights (G*N, N) of a layer are; its lists are made once for each shape of the loops."""

    def __init__(self, matrix: Array) -> None:
        self.matrix = matrix
        self._lists: dict[tuple[int, int, int], tuple[Lists, Lists]] = {}

    @once
    def density(self) -> float:
        return float(np.count_nonzero(self.matrix)) / max(1, self.matrix.size)

    def pays(self, record: Spec, rows: int, dtype: Any) -> bool:
        """Whether loops over the weights that are there are faster than those over all, of so many sequences.

        A pass forward and back took, of all weights over those there, at a density of 1, 5, 10, 20 %: N = 500, 32
        sequences 10, 4, 1.6, 1.2; one sequence 2.8, 1.4, 0.9, 0.6; N = 2000, 32 sequences 7, 3, 2.2, 1.5; one sequence
        7, 2, 1.1, 0.6. N = 128: 1.2 at most.
        """
        if not record.plain or record.parameters or self.matrix.shape[1] < SMALLEST:
            return False
        return self.density <= (MANY if rows >= lanes(dtype) else FEW)

    def lists(self, shape: Shape) -> tuple[Lists, Lists]:
        """For the way forward and for the way back."""
        key = (shape.gates, shape.block, shape.back)
        if key not in self._lists:
            self._lists[key] = _forward(self.matrix, shape), _backward(self.matrix, shape)
        return self._lists[key]


def _forward(matrix: Array, shape: Shape) -> Lists:
    """The columns of panels are units of all gates, their rows the units that send."""
    units = matrix.shape[1]
    row, column = np.nonzero(matrix)
    return _lists(_panel_column(row, units, shape), column, row * units + column, _padded(units, shape))


def _backward(matrix: Array, shape: Shape) -> Lists:
    """The columns of panels are the units that send, their rows units of all gates, in panels of the way forward."""
    units = matrix.shape[1]
    row, column = np.nonzero(matrix)
    size = -(-units // shape.back) * shape.back
    return _lists(column, _panel_column(row, units, shape), row * units + column, size)


def _panel_column(row: Array, units: int, shape: Shape) -> Array:
    gate, unit = row // units, row % units
    return (unit // shape.block * shape.gates + gate) * shape.block + unit % shape.block


def _padded(units: int, shape: Shape) -> int:
    return -(-units // shape.block) * shape.block * shape.gates


def _lists(columns: Array, rows: Array, places: Array, size: int) -> Lists:
    order = np.lexsort((rows, columns))
    ends = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=size))]).astype(np.int64)
    return Lists(ends, rows[order].astype(np.int32), places[order].astype(np.int64))


def _spread(a, at, row, rows, depth, strips):
    """strips[s, k, l] = a[s*LANES + l, k]; lanes beyond the last row stay as they are."""
    wide()
    whole = depth // LANES * LANES
    for s in range((rows + LANES - 1) // LANES):
        count, here, first = min(LANES, rows - s * LANES), s * depth * LANES, at + s * LANES * row
        many = whole if count == LANES else 0
        for k in range(0, many, LANES):
            transpose(a, first + k, row, strips, here + k * LANES, LANES)
        for k in range(many, depth):
            for l in range(count):
                strips[here + k * LANES + l] = a[first + l * row + k]


def _product_sparse(strips, rows, depth, values, index, ends, first, last, start, start_panel, out, out_at, room):
    """out[p - first, m, :] = start[p, :] + sum over the weights of each column, as matmul.product of a dense matrix.

    room has 4 * LANES * LANES numbers.
    """
    wide()
    gap, count = depth * LANES, (rows + LANES - 1) // LANES
    for p in range(first, last):
        s = 0
        while s < count:
            vectors = 4 if count - s >= 4 else 2 if count - s >= 2 else 1
            for c in range(0, WIDTH, LANES):
                for j in range(LANES):
                    at = ends[p * WIDTH + c + j]
                    n, begin = ends[p * WIDTH + c + j + 1] - at, start[p * start_panel + c + j]
                    if vectors == 4:
                        sparse_tile(4, values, index, at, n, strips, s * gap, gap, begin, room, j * 4 * LANES)
                    elif vectors == 2:
                        sparse_tile(2, values, index, at, n, strips, s * gap, gap, begin, room, j * 2 * LANES)
                    else:
                        sparse_tile(1, values, index, at, n, strips, s * gap, gap, begin, room, j * LANES)
                for v in range(vectors):
                    m, row = (s + v) * LANES, vectors * LANES
                    here = out_at + ((p - first) * rows + m) * WIDTH + c
                    if m + LANES <= rows:
                        transpose(room, v * LANES, row, out, here, WIDTH)
                    else:
                        for l in range(rows - m):
                            for j in range(LANES):
                                out[here + l * WIDTH + j] = room[j * row + v * LANES + l]
            s += vectors


def _sparse_gradients(
    d, d_at, d_row, y, y_at, y_row, index, ends, place, weights, w_at, rows, units, panels, member, threads
):
    """One thread's share of dW += d^T y at the places of a pattern, over a chunk's rows: of some panels' columns.

    d has WIDTH numbers for each panel, y has `units`; column c's weights lie at w_at + place of a dense matrix.
    """
    wide()
    first, last = panels * member // threads * WIDTH, panels * (member + 1) // threads * WIDTH
    if first == last or ends[first] == ends[last]:
        return
    own = last - first
    most = 0
    for c in range(first, last):
        most = max(most, ends[c + 1] - ends[c])
    sums = np.empty(most, d.dtype)
    ds, ys = np.empty(8 * LANES * own, d.dtype), np.empty(8 * LANES * units, d.dtype)
    done = 0
    while done < rows:
        vectors = 8 if rows - done >= 8 * LANES else 1
        here = min(vectors * LANES, rows - done)
        if here < LANES:
            clear(ds, 0, LANES * own)
            clear(ys, 0, LANES * units)
        spread(d, d_at + done * d_row + first, d_row, here, own, ds)
        spread(y, y_at + done * y_row, y_row, here, units, ys)
        for c in range(first, last):
            at, n = ends[c], ends[c + 1] - ends[c]
            if n:
                if vectors == 8:
                    sparse_sums(8, ds, (c - first) * LANES, own * LANES, index, at, n, ys, units * LANES, sums)
                else:
                    sparse_sums(1, ds, (c - first) * LANES, own * LANES, index, at, n, ys, units * LANES, sums)
                for k in range(n):
                    weights[w_at + place[at + k]] += sums[k]
        done += here


@cache
def products(width: int, dtype: Any) -> dict[str, Any]:
    """The compiled functions for panels of so many columns, under the names by which the loops call them."""
    sizes: dict[str, Any] = {"LANES": lanes(dtype), "WIDTH": width}
    label = f"{width}-{np.dtype(dtype).name}"
    sizes["spread"] = specialise(_spread, label, **named_in(_spread, sizes))
    functions: dict[str, Callable] = {"product_sparse": _product_sparse, "sparse_gradients": _sparse_gradients}
    found = {key: specialise(function, label, **named_in(function, sizes)) for key, function in functions.items()}
    return found | {"spread": sizes["spread"]}
