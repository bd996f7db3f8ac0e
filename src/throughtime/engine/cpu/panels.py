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
from .shape import Shape, Wires

Array = np.ndarray
WIDTH = LANES = PLACEHOLDER


def pack_forward(kernel: Any, parameters: tuple, pattern: Any = None) -> tuple[Array, ...]:
    """(w_ih, b_ih, w_hh, b_hh) in panels: blocks of units, all parts side by side, 0 beyond the last unit; and of a
    cell with a stage those of its product after them. pattern: of w_hh, whose weights alone are then taken, in the
    order of its lists."""
    shape, units = kernel.shape, parameters[1].shape[1]
    w_ih, w_hh, b_ih, b_hh = parameters[:4]
    first, second = squares(shape, w_hh)
    cut = shape.first * units
    recurrent = _panels(shape, first, units) if pattern is None else w_hh.reshape(-1)[pattern.lists(shape)[0].place]
    found = [_panels(shape, w_ih, units), _bias(shape, b_ih, units), recurrent]
    found.append(_bias(shape, b_hh[:cut], units))
    return (*found, _panels(shape, second, units), _bias(shape, b_hh[cut:], units)) if shape.staged else tuple(found)


def squares(shape: Shape, w_hh: Array) -> tuple[Array, Array]:
    """Of each of the two products the weights (parts*N, signals*N), 0 where a signal does not feed a part."""
    if shape.whole:
        return w_hh, w_hh[:0]
    cut, units = len(shape.sends) * w_hh.shape[1], w_hh.shape[1]
    return (
        _dense(shape.sends, shape.first, shape.signals, w_hh[:cut], units),
        _dense(shape.stage, shape.second, shape.staged, w_hh[cut:], units),
    )


def pack_backward(kernel: Any, parameters: tuple, pattern: Any = None) -> tuple[Array, ...]:
    """(w_hh, w_ih) transposed, in panels of `back` columns, those of each signal after one another; and of a cell with
    a stage the weights of its product after them."""
    shape, units = kernel.shape, parameters[1].shape[1]
    if pattern is not None:
        few = parameters[1].reshape(-1)[pattern.lists(shape)[1].place]
        return few, _transposed(shape, parameters[0], units)
    first, second = squares(shape, parameters[1])
    found = _transposed(shape, first, units, shape.signals), _transposed(shape, parameters[0], units)
    return (*found, _transposed(shape, second, units, shape.staged)) if shape.staged else found


def _dense(wires: Wires, parts: int, signals: int, squares: Array, units: int) -> Array:
    if wires == tuple((0, part) for part in range(parts)):
        return squares
    out = np.zeros((parts, units, signals, units), squares.dtype)
    for (signal, part), square in zip(wires, squares.reshape(len(wires), units, units), strict=True):
        out[part, :, signal] = square
    return out.reshape(parts * units, signals * units)


def _panels(shape: Shape, matrix: Array, units: int) -> Array:
    """A matrix (parts*N, depth) for the way forward."""
    block, panels, (rows, depth) = shape.block, -(-units // shape.block), matrix.shape
    out = _room(panels * depth * (rows // units) * block, shape.dtype, padded=units % block > 0)
    if out.size:
        arguments = (matrix.reshape(-1), rows // units, units, depth, block, out)
        threads.run(packers(shape.dtype)["pack_gates"], arguments, *shares.of_packing(units, shape.back, out.size))
    return out


def _bias(shape: Shape, bias: Array, units: int) -> Array:
    block, panels, parts = shape.block, -(-units // shape.block), len(bias) // units
    padded = bias
    if panels * block > units:
        padded = np.zeros((parts, panels * block), shape.dtype)
        padded[:, :units] = bias.reshape(parts, units)
    elif parts == 1:
        return bias
    return padded.reshape(parts, panels, block).swapaxes(0, 1).reshape(-1)


def _transposed(shape: Shape, matrix: Array, units: int, signals: int = 1) -> Array:
    """A matrix (parts*N, signals*columns) for the way back."""
    block, back, parts, columns = shape.block, shape.back, len(matrix) // units, matrix.shape[1] // signals
    size = -(-columns // back) * -(-units // block) * parts * block * back
    out = _room(signals * size, shape.dtype, padded=units % block > 0 or columns % back > 0)
    for k in range(signals if size else 0):
        own = matrix if signals == 1 else np.ascontiguousarray(matrix[:, k * columns : (k + 1) * columns])
        arguments = (own.reshape(-1), parts, units, columns, block, out[k * size : (k + 1) * size])
        threads.run(packers(shape.dtype)["pack_transposed"], arguments, *shares.of_packing(units, back, size))
    return out


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
