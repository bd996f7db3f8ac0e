"""Weights as panels, packed once per sequence, not once per step as BLAS does.

Packed weights are panels of W = vectors * lanes columns, stored one after another, row by row: panel p, row k, column j
at (p*depth + k)*W + j.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ...jit import PLACEHOLDER, named_in, specialise
from .. import memory
from ..sizes import Share
from . import shares, threads
from .primitives import clear, move
from .register_tile import lanes, transpose

Array = np.ndarray
WIDTH = LANES = PLACEHOLDER


def pack_forward(kernel: Any, parameters: tuple) -> tuple[Array, Array, Array, Array]:
    """(w_ih, b_ih, w_hh, b_hh) in panels: blocks of units, all gates side by side, 0 beyond the last unit."""
    block, gates, units = kernel.shape.block, kernel.record.gates, parameters[1].shape[1]
    panels, pack_gates = -(-units // block), packers(kernel.dtype)["pack_gates"]
    packed = []
    for matrix in parameters[:2]:
        depth = matrix.shape[1]
        out = _room(panels * depth * kernel.shape.width, kernel.dtype, padded=units % block > 0)
        arguments = (matrix.reshape(-1), gates, units, depth, block, out)
        threads.run(pack_gates, arguments, *shares.of_packing(units, kernel.shape.back, out.size))
        packed.append(out)
    padded = np.zeros((2, gates, panels * block), kernel.dtype)
    for side, bias in enumerate(parameters[2:]):
        padded[side, :, :units] = bias.reshape(gates, units)
    biases = padded.reshape(2, gates, panels, block).transpose(0, 2, 1, 3).reshape(2, -1)
    return packed[0], biases[0], packed[1], biases[1]


def pack_backward(kernel: Any, parameters: tuple) -> tuple[Array, Array]:
    """(w_hh, w_ih) transposed, in panels of `back` columns."""
    block, gates, back, units = kernel.shape.block, kernel.record.gates, kernel.shape.back, parameters[1].shape[1]
    depth = -(-units // block) * kernel.shape.width
    packed = []
    for matrix in (parameters[1], parameters[0]):
        columns = matrix.shape[1]
        out = _room(-(-columns // back) * depth * back, kernel.dtype, padded=units % block > 0 or columns % back > 0)
        arguments = (matrix.reshape(-1), gates, units, columns, block, out)
        threads.run(packers(kernel.dtype)["pack_transposed"], arguments, *shares.of_packing(units, back, out.size))
        packed.append(out)
    return packed[0], packed[1]


def _room(size: int, dtype: np.dtype, padded: bool) -> Array:
    return memory.zeros(size, dtype) if padded else memory.empty(size, dtype)


@cache
def packers(dtype: Any) -> dict[str, Any]:
    """The compiled packing functions."""
    functions: dict[str, Callable] = {
        "pack_gates": _pack_gates,
        "pack_transposed": _pack_transposed,
        "pack_rows": _pack_rows,
    }
    label, sizes = np.dtype(dtype).name, {"LANES": lanes(dtype), "WIDTH": 2 * lanes(dtype)}
    return {key: specialise(function, label, **named_in(function, sizes)) for key, function in functions.items()}


def _pack_gates(w, gates, units, depth, block, panels, share, meeting):
    """Panels of `block` units, their gates side by side: panels[p, k, g*block + u] = w[g*units + p*block + u, k]."""
    width, share = gates * block, Share(*share)
    for p in range(share.first_unit // block, (share.end_unit + block - 1) // block):
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


def _pack_transposed(w, gates, units, columns, block, panels, share, meeting):
    """The same for the way back: panels[q, (p*gates + g)*block + u, j] = w[g*units + p*block + u, q*WIDTH + j]."""
    depth, share = (units + block - 1) // block * gates * block, Share(*share)
    for q in range((columns + WIDTH - 1) // WIDTH):
        count = min(WIDTH, columns - q * WIDTH)
        for g in range(gates):
            for unit in range(share.first_unit, share.end_unit):
                row = (unit // block * gates + g) * block + unit % block
                source = (g * units + unit) * columns + q * WIDTH
                move(panels, (q * depth + row) * WIDTH, 0, w, source, 0, 1, count, WIDTH)


def _pack_rows(x, at, row, rows, columns, panels):
    """Rows of a matrix as panels: panels[q, m, j] = x[m, q*WIDTH + j], 0 beyond the last column."""
    for q in range((columns + WIDTH - 1) // WIDTH):
        count = min(WIDTH, columns - q * WIDTH)
        for m in range(rows):
            place = (q * rows + m) * WIDTH
            move(panels, place, 0, x, at + m * row + q * WIDTH, 0, 1, count, WIDTH)
            if count < WIDTH:
                clear(panels, place + count, WIDTH - count)
