"""Weights as panels, packed once per sequence, not once per step as BLAS does.

Packed weights are panels of W = vectors * lanes columns, stored one after another, row by row: panel p, row k, column j
at (p*depth + k)*W + j.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ...jit import PLACEHOLDER, named_in, specialise
from .. import memory
from ..sizes import Share
from . import shares, threads
from .primitives import clear
from .register_tile import lanes, transpose
from .shape import Shape, Wires
from .spans import move

Array = np.ndarray
Matrices = tuple[Array, Array, Array]
WIDTH = LANES = PLACEHOLDER


def pack_forward(kernel: Any, parameters: tuple, pattern: Any = None) -> tuple[Array, ...]:
    """(w_ih, b_ih, w_hh, b_hh) in panels: blocks of units, all parts side by side, 0 beyond the last unit; and of a
    cell with a stage those of its product after them. pattern: of w_hh, whose weights alone are then taken, in the
    order of its lists."""
    shape, units = kernel.shape, parameters[1].shape[1]
    w_ih, w_hh, b_ih, b_hh = parameters[:4]
    first, second = squares(shape, w_hh)
    if pattern is None:
        x, r, a = gates_side_by_side((w_ih, first, second), units, shape.block, shape.back)
    else:
        x, _, a = gates_side_by_side((w_ih, w_hh[:0], second), units, shape.block, shape.back)
        r = w_hh.reshape(-1)[pattern.lists(shape)[0].place]
    if not shape.staged:
        return x, _bias(shape, b_ih, units), r, _bias(shape, b_hh, units)
    cut = shape.first * units
    return x, _bias(shape, b_ih, units), r, _bias(shape, b_hh[:cut], units), a, _bias(shape, b_hh[cut:], units)


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
    shape, (w_ih, w_hh) = kernel.shape, parameters[:2]
    first, second = squares(shape, w_hh) if pattern is None else (w_hh[:0], w_hh[:0])
    signals = shape.signals, 1, max(1, shape.staged)
    r, x, a = _transposed((first, w_ih, second), signals, w_hh.shape[1], shape.block, shape.back)
    if pattern is not None:
        r = w_hh.reshape(-1)[pattern.lists(shape)[1].place]
    return (r, x, a) if shape.staged else (r, x)


def _dense(wires: Wires, parts: int, signals: int, squares: Array, units: int) -> Array:
    if wires == tuple((0, part) for part in range(parts)):
        return squares
    out = np.zeros((parts, units, signals, units), squares.dtype)
    for (signal, part), square in zip(wires, squares.reshape(len(wires), units, units), strict=True):
        out[part, :, signal] = square
    return out.reshape(parts * units, signals * units)


def gates_side_by_side(matrices: Matrices, units: int, block: int, grain: int) -> list[Array]:
    """Three matrices (parts*N, depth), some of them empty, for the way forward. All lie in one array and are packed by
    one call: of a small network the calls take longer than the packing. grain: units that stay with one thread."""
    dtype = matrices[0].dtype
    parts, depths, places, size = _forward_places(units, block, dtype.itemsize, *[m.shape for m in matrices])
    out = _room(size, dtype, units % block > 0)
    arguments = (_flat(matrices), parts, units, depths, block, out, places[:3])
    threads.run(packers(dtype)["pack_gates"], arguments, *shares.of_packing(units, grain, out.nbytes))
    return [out[place : place + size] for place, size in zip(places[:3], places[3:], strict=True)]


@lru_cache(maxsize=1024)
def _forward_places(units: int, block: int, itemsize: int, *sizes: tuple[int, int]) -> tuple[tuple, tuple, tuple, int]:
    """Of each matrix its parts and its depth; where its panels begin, and then how many numbers they are; all of it."""
    parts, depths = tuple(rows // units for rows, _ in sizes), tuple(depth for _, depth in sizes)
    each = [-(-units // block) * depth * own * block for own, depth in zip(parts, depths, strict=True)]
    return parts, depths, *_one_after_another(each, itemsize)


def _transposed(matrices: Matrices, signals: tuple, units: int, block: int, back: int) -> list[Array]:
    """The same of matrices (parts*N, signals*columns), of each so many signals, for the way back."""
    dtype = matrices[0].dtype
    parts, columns, places, size = _back_places(
        units, block, back, signals, dtype.itemsize, *[m.shape for m in matrices]
    )
    out = _room(size, dtype, units % block > 0 or max([count % back for count in columns]) > 0)
    arguments = (_flat(matrices), parts, units, columns, signals, block, out, places[:3])
    threads.run(packers(dtype)["pack_transposed"], arguments, *shares.of_packing(units, back, out.nbytes))
    return [out[place : place + size] for place, size in zip(places[:3], places[3:], strict=True)]


@lru_cache(maxsize=1024)
def _back_places(
    units: int, block: int, back: int, signals: tuple, itemsize: int, *sizes: tuple[int, int]
) -> tuple[tuple, tuple, tuple, int]:
    parts = tuple(rows // units for rows, _ in sizes)
    columns = tuple(wide // count for (_, wide), count in zip(sizes, signals, strict=True))
    rows = [-(-units // block) * own * block for own in parts]
    each = [s * -(-c // back) * r * back for s, c, r in zip(signals, columns, rows, strict=True)]
    return parts, columns, *_one_after_another(each, itemsize)


def _one_after_another(sizes: list[int], itemsize: int) -> tuple[tuple, int]:
    """Where arrays of such sizes begin in one, each at a line of the cache, and then the sizes; and that of all."""
    line, starts, end = memory.LINE // itemsize, [], 0
    for size in sizes:
        starts.append(end)
        end += -(-size // line) * line
    return (*starts, *sizes), end


def _flat(matrices: Matrices) -> tuple[Array, Array, Array]:
    a, b, c = matrices
    return a.reshape(-1), b.reshape(-1), c.reshape(-1)


def _bias(shape: Shape, bias: Array, units: int) -> Array:
    block, panels, parts = shape.block, -(-units // shape.block), len(bias) // units
    padded = bias
    if panels * block > units:
        padded = np.zeros((parts, panels * block), shape.dtype)
        padded[:, :units] = bias.reshape(parts, units)
    elif parts == 1 or panels == 1:
        return bias
    return padded.reshape(parts, panels, block).swapaxes(0, 1).reshape(-1)


def _room(size: int, dtype: np.dtype, padded: bool) -> Array:
    return memory.zeros((size,), dtype) if padded else memory.empty((size,), dtype)


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


def _pack_gates(matrices, parts, units, depths, block, panels, places, share, meeting):
    """Panels of `block` units, the gates of each matrix side by side, from a place of its own on:
    panels[p, k, g*block + u] = w[g*units + p*block + u, k]."""
    share = Share(*share)
    for i in range(len(matrices)):
        w, gates, depth, place = matrices[i], parts[i], depths[i], places[i]
        width = gates * block
        for p in range(share.first_unit // block, (share.end_unit + block - 1) // block):
            count = min(block, units - p * block)
            whole = depth // LANES * LANES if count == block else 0
            for g in range(gates):
                source, target = (g * units + p * block) * depth, place + p * depth * width + g * block
                for k in range(0, whole, LANES):
                    for u in range(0, block, LANES):
                        transpose(w, source + u * depth + k, depth, panels, target + k * width + u, width)
                for k in range(whole, depth):
                    for u in range(count):
                        panels[target + k * width + u] = w[source + u * depth + k]


def _pack_transposed(matrices, parts, units, columns, signals, block, panels, places, share, meeting):
    """The same for the way back, and for each signal after one another:
    panels[q, (p*gates + g)*block + u, j] = w[g*units + p*block + u, q*WIDTH + j]."""
    share = Share(*share)
    for i in range(len(matrices)):
        w, gates, across, count_of = matrices[i], parts[i], columns[i], signals[i]
        depth, pieces = (units + block - 1) // block * gates * block, (across + WIDTH - 1) // WIDTH
        for kq in range(count_of * pieces):
            k, q = kq // pieces, kq % pieces
            count = min(WIDTH, across - q * WIDTH)
            for g in range(gates):
                for unit in range(share.first_unit, share.end_unit):
                    row = (unit // block * gates + g) * block + unit % block
                    source = ((g * units + unit) * count_of + k) * across + q * WIDTH
                    move(panels, places[i] + (kq * depth + row) * WIDTH, 0, w, source, 0, 1, count, WIDTH)


def _pack_rows(x, at, row, rows, columns, panels):
    """Rows of a matrix as panels: panels[q, m, j] = x[m, q*WIDTH + j], 0 beyond the last column."""
    for q in range((columns + WIDTH - 1) // WIDTH):
        count = min(WIDTH, columns - q * WIDTH)
        for m in range(rows):
            place = (q * rows + m) * WIDTH
            move(panels, place, 0, x, at + m * row + q * WIDTH, 0, 1, count, WIDTH)
            if count < WIDTH:
                clear(panels, place + count, WIDTH - count)
