"""The parts of attention's kernels: products of one sequence's rows, columns as panels, softmax and its way back."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ...jit import PLACEHOLDER, named_in, specialise
from ...scalar import exp
from .by_address import pack_strips, product
from .matmul import narrow_panel
from .primitives import clear
from .register_tile import lanes, transpose
from .spans import move

VECTORS = 2  # of a panel, as in dense.py
CHUNK = 48  # rows of a product that lie in panels before they are written out: whole strips and tiles
WIDTH = LANES = ZERO = ONE = LEAST = PLACEHOLDER


@cache
def compiled(dtype: Any) -> dict[str, Any]:
    """The compiled parts, and those of the engine that they stand on, under the names by which kernels call them."""
    real, label = np.dtype(dtype).type, np.dtype(dtype).name
    names: dict[str, Any] = {"WIDTH": VECTORS * lanes(dtype), "LANES": lanes(dtype), "ZERO": real(0), "ONE": real(1)}
    names |= {"LEAST": real(-np.inf)}
    own: dict[str, Callable] = {
        "pack_columns": _pack_columns, "spread": _spread, "softmax": _softmax, "softmax_back": _softmax_back,
    }  # fmt: skip
    return names | {key: specialise(function, label, **named_in(function, names)) for key, function in own.items()}


def _softmax(e, at, count):
    """In place; scores that are all -inf, and those alone, give weights 0. NaN goes to all of them."""
    top = LEAST
    for s in range(at, at + count):
        top = e[s] if e[s] > top else top
    top = ZERO if top == LEAST else top
    total = ZERO
    for s in range(at, at + count):
        e[s] = exp(e[s] - top)
    for s in range(at, at + count):
        total += e[s]
    total = ONE if total == ZERO else total
    for s in range(at, at + count):
        e[s] /= total


def _softmax_back(a, at, de, to, count):
    """de[s] = a[s] (da[s] - sum_r a[r] da[r]), in the place of da; 0 where a is 0, whatever da is."""
    along = ZERO
    for s in range(count):
        along += ZERO if a[at + s] == ZERO else a[at + s] * de[to + s]
    for s in range(count):
        de[to + s] = ZERO if a[at + s] == ZERO else a[at + s] * (de[to + s] - along)


def _spread(addresses, a, at, row, rows, depth, panels, columns, zeros, chunk, out, to, to_row):
    """out[r, j] = sum_k a[r, k] panels[., k, j]."""
    of_panels, of_strips = addresses
    count, narrow = (columns + WIDTH - 1) // WIDTH, narrow_panel(columns, WIDTH, LANES)
    strips = np.empty((min(rows, CHUNK) + LANES) * depth, a.dtype)
    for first in range(0, rows, CHUNK):
        n = min(CHUNK, rows - first)
        pack_strips(of_strips, a, at + first * row, row, n, depth, strips)
        product(of_panels, a, at + first * row, row, strips, n, depth, panels, 0, count, zeros, 0, chunk, 0, narrow)
        for r in range(n):
            for p in range(count):
                place, width = to + (first + r) * to_row + p * WIDTH, min(WIDTH, columns - p * WIDTH)
                move(out, place, 0, chunk, (p * n + r) * WIDTH, 0, 1, width, WIDTH)


def _pack_columns(x, at, row, rows, depth, panels):
    """Rows of a matrix as columns of panels: panels[p, k, j] = x[p*WIDTH + j, k], 0 behind the last row."""
    for p in range((rows + WIDTH - 1) // WIDTH):
        source, target, count = at + p * WIDTH * row, p * depth * WIDTH, min(WIDTH, rows - p * WIDTH)
        whole = depth // LANES * LANES if count == WIDTH else 0
        for k in range(0, whole, LANES):
            for j in range(0, WIDTH, LANES):
                transpose(x, source + j * row + k, row, panels, target + k * WIDTH + j, WIDTH)
        for k in range(whole, depth):
            for j in range(count):
                panels[target + k * WIDTH + j] = x[source + j * row + k]
            if count < WIDTH:
                clear(panels, target + k * WIDTH + count, WIDTH - count)
