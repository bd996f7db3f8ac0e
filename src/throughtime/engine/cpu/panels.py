"""Weights as panels, packed once per sequence, not once per step as BLAS does.

The loops of plain cells pack them at their head, in the same pass, into memory that they are given (`room_forward`,
`room_backward`): divided as the pass is, each thread has the panels that it reads in its own caches, and the team is
called once. For all else, tangents and pieces of a run among it, they are packed beforehand (`pack_forward`,
`pack_backward`).

Packed weights are panels of W = vectors * lanes columns, stored one after another, row by row: panel p, row k, column j
at (p*depth + k)*W + j.

A panel holds a block of units, the parts of each side by side. `ragged`: the last one, of fewer units, holds their
parts directly behind one another, unit u of part g in column g*count + u; the numbers of a gradient lie likewise. Of
100 units in blocks of 16, four gates, the last four fill one vector of four, and 12 % of the products would be zeros.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ...jit import PLACEHOLDER, address_of, named_in, register_jitable, specialise
from .. import memory
from ..sizes import Share
from . import shares, threads
from .by_address import as_called, pack_gates, pack_transposed
from .own_share import mine
from .primitives import clear, wide
from .register_tile import lanes, transpose
from .shape import Shape, Wires
from .spans import move

Array = np.ndarray
Room = tuple[int, tuple[slice, ...]]  # numbers in all, and where each matrix lies among them
WIDTH = LANES = PLACEHOLDER


def pack_forward(kernel: Any, parameters: tuple, pattern: Any = None) -> tuple[Array, ...]:
    """(w_ih, b_ih, w_hh, b_hh) in panels: blocks of units, all parts side by side, 0 beyond the last unit; and of a
    cell with a stage those of its product after them. pattern: of w_hh, whose weights alone are then taken, in the
    order of its lists."""
    shape, (w_ih, w_hh, b_ih, b_hh, *_) = kernel.shape, parameters
    units = w_hh.shape[1]
    if shape.whole and pattern is None:
        x, r, b_x, b_r = gates_side_by_side(w_ih, w_hh, b_ih, b_hh, units, shape.block, shape.back, shape.ragged)
        return x, b_x, r, b_r
    first, second = squares(shape, w_hh)
    cut = shape.first * units
    first = first if pattern is None else w_hh[:0]
    x, r, b_x, b_r = gates_side_by_side(w_ih, first, b_ih, b_hh[:cut], units, shape.block, shape.back)
    if pattern is not None:
        r = w_hh.reshape(-1)[pattern.lists(shape)[0].place]
    if not shape.staged:
        return x, b_x, r, b_r
    a, _, b_a, _ = gates_side_by_side(second, w_hh[:0], b_hh[cut:], b_hh[:0], units, shape.block, shape.back)
    return x, b_x, r, b_r, a, b_a


def room_forward(shape: Shape, inputs: int, units: int) -> Room:
    """For what `pack_forward` gives of a plain cell, whose loops pack it themselves."""
    g, r = shape.gates * units, shape.first * units
    *_, size, slices = _forward_places(units, shape.block, shape.dtype.itemsize, (g, inputs), (r, units), g, r)
    x, hh, b_x, b_r = slices
    return size, (x, b_x, hh, b_r)


def room_backward(shape: Shape, inputs: int, units: int) -> Room:
    """Likewise."""
    matrices = (shape.first * units, units), (shape.gates * units, inputs), (0, units)
    *_, size, slices = _back_places(
        units, shape.block, shape.back, shape.ragged, (1, 1, 1), shape.dtype.itemsize, *matrices
    )
    return size, slices[:2]


def taken_up(room: Room, dtype: Any) -> tuple[Array, ...]:
    """Memory for it, of each matrix by itself."""
    size, places = room
    out = memory.empty((size,), dtype)
    return tuple([out[place] for place in places])


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
    shape, w_ih, w_hh = kernel.shape, parameters[0], parameters[1]
    if shape.whole and pattern is None:
        first, second = w_hh, w_hh[:0]
    else:
        first, second = squares(shape, w_hh) if pattern is None else (w_hh[:0], w_hh[:0])
    units, signals = w_hh.shape[1], (shape.signals, 1, shape.staged or 1)
    r, x, a = _transposed(first, w_ih, second, signals, units, shape.block, shape.back, shape.ragged)
    if pattern is not None:
        r = w_hh.reshape(-1)[pattern.lists(shape)[1].place]
    return (r, x, a) if shape.staged else (r, x)


@register_jitable
def depth_of(units, block, parts, ragged):
    """Numbers of all blocks of so many parts; a block that is not full takes as many as fill `block`, or all."""
    whole, few = units // block, units % block
    if ragged:
        return (whole * parts + (few * parts + block - 1) // block) * block
    return (units + block - 1) // block * block * parts


def _dense(wires: Wires, parts: int, signals: int, squares: Array, units: int) -> Array:
    if wires == tuple((0, part) for part in range(parts)):
        return squares
    out = np.zeros((parts, units, signals, units), squares.dtype)
    for (signal, part), square in zip(wires, squares.reshape(len(wires), units, units), strict=True):
        out[part, :, signal] = square
    return out.reshape(parts * units, signals * units)


def gates_side_by_side(
    a: Array, b: Array, a_bias: Array, b_bias: Array, units: int, block: int, grain: int, ragged: bool = False
) -> tuple[Array, Array, Array, Array]:
    """Two matrices (parts*N, depth) and their biases (parts*N,), some of them empty, for the way forward. All lie in
    one array and are packed by one call: of a small network the calls take longer than the packing. grain: units that
    stay with one thread."""
    dtype = a.dtype
    parts, depths, places, size, (one, two, three, four) = _forward_places(
        units, block, dtype.itemsize, a.shape, b.shape, len(a_bias), len(b_bias)
    )
    out = memory.empty((size,), dtype)
    pack, flat = address("gates", dtype), (a.reshape(-1), b.reshape(-1), a_bias, b_bias)
    arguments = (pack, flat, parts, units, depths, block, ragged, out, places)
    threads.run(packers(dtype)["gates"], arguments, *shares.of_packing(units, grain, out.nbytes))
    return out[one], out[two], out[three], out[four]


@lru_cache(maxsize=1024)
def _forward_places(
    units: int, block: int, itemsize: int, a: tuple[int, int], b: tuple[int, int], a_bias: int, b_bias: int
) -> tuple[tuple, tuple, tuple, int, tuple]:
    """Of each matrix its parts and its depth, that of a bias is 1; where its panels begin; the numbers of all; where
    each lies among them."""
    sizes = a, b, (a_bias, 1), (b_bias, 1)
    parts, depths = tuple(rows // units for rows, _ in sizes), tuple(depth for _, depth in sizes)
    each = [-(-units // block) * depth * own * block for own, depth in zip(parts, depths, strict=True)]
    return parts, depths, *_one_after_another(each, itemsize)


def _transposed(
    a: Array, b: Array, c: Array, signals: tuple, units: int, block: int, back: int, ragged: bool
) -> tuple[Array, ...]:
    """The same of three matrices (parts*N, signals*columns), of each so many signals, for the way back."""
    dtype = a.dtype
    parts, columns, places, size, (one, two, three) = _back_places(
        units, block, back, ragged, signals, dtype.itemsize, a.shape, b.shape, c.shape
    )
    out = memory.empty((size,), dtype)
    pack, flat = address("transposed", dtype), (a.reshape(-1), b.reshape(-1), c.reshape(-1))
    arguments = (pack, flat, parts, units, columns, signals, block, ragged, out, places)
    threads.run(packers(dtype)["transposed"], arguments, *shares.of_packing(units, back, out.nbytes))
    return out[one], out[two], out[three]


@lru_cache(maxsize=1024)
def _back_places(
    units: int, block: int, back: int, ragged: bool, signals: tuple, itemsize: int, *sizes: tuple[int, int]
) -> tuple[tuple, tuple, tuple, int, tuple]:
    """Likewise."""
    parts = tuple(rows // units for rows, _ in sizes)
    columns = tuple(wide // count for (_, wide), count in zip(sizes, signals, strict=True))
    rows = [depth_of(units, block, own, ragged) for own in parts]
    each = [s * -(-c // back) * r * back for s, c, r in zip(signals, columns, rows, strict=True)]
    return parts, columns, *_one_after_another(each, itemsize)


def _one_after_another(sizes: list[int], itemsize: int) -> tuple[tuple, int, tuple]:
    """Where arrays of such sizes begin in one, each at a line of the cache; the size of that; and the slices."""
    line, starts, end = memory.LINE // itemsize, [], 0
    for size in sizes:
        starts.append(end)
        end += -(-size // line) * line
    return tuple(starts), end, tuple(slice(at, at + size) for at, size in zip(starts, sizes, strict=True))


@cache
def address(name: str, dtype: Any) -> int:
    """The address of a compiled function that packs one matrix, "gates" or "transposed"; see by_address.py."""
    functions: dict[str, Callable] = {"gates": _pack_gates, "transposed": _pack_transposed}
    own, label = functions[name], np.dtype(dtype).name
    return address_of(own, label, as_called(own, dtype), **named_in(own, _sizes(dtype)))


@cache
def packers(dtype: Any) -> dict[str, Any]:
    """The compiled loops that pack several matrices."""
    functions: dict[str, Callable] = {"gates": _gates_of_all, "transposed": _transposed_of_all}
    label = np.dtype(dtype).name
    return {key: specialise(loop, label, **named_in(loop, _sizes(dtype))) for key, loop in functions.items()}


def _sizes(dtype: Any) -> dict[str, int]:
    return {"LANES": lanes(dtype), "WIDTH": 2 * lanes(dtype)}


def _gates_of_all(pack, matrices, parts, units, depths, block, ragged, panels, places, share, meeting):
    share = Share(*mine(share, meeting))
    first, last = share.first_unit // block, (share.end_unit + block - 1) // block
    for i in range(len(matrices)):
        w = matrices[i]
        pack_gates(pack, w, w, 0, parts[i], units, depths[i], block, ragged, panels, places[i], first, last)


def _transposed_of_all(pack, matrices, parts, units, columns, signals, block, ragged, panels, places, share, meeting):
    share = Share(*mine(share, meeting))
    for i in range(len(matrices)):
        count = (columns[i] + WIDTH - 1) // WIDTH * signals[i]
        first, last = count * share.member // share.team, count * (share.member + 1) // share.team
        pack_transposed(
            pack, matrices[i], parts[i], units, columns[i], signals[i], block, ragged, panels, places[i], first, last
        )


def _pack_gates(weights, own, keep, gates, units, depth, block, ragged, panels, at, first, last):
    """Panels of `block` units, the gates of a matrix side by side, from panels[at] on:
    panels[p, k, g*block + u] = w[g*units + p*block + u, k]; of a ragged last panel g*count + u. For first <= p < last;
    keep: 1 if their weights are copied to `own` at first, and packed as they are there."""
    wide()
    width, read = gates * block, own if keep else weights
    for p in range(first, last):
        count = min(block, units - p * block)
        whole = depth // LANES * LANES if count == block else 0
        if count < block:
            clear(panels, at + p * depth * width, depth * width)
        for g in range(gates):
            apart = count if ragged else block
            source, target = (g * units + p * block) * depth, at + p * depth * width + g * apart
            if keep:
                for k in range(source, source + count * depth):
                    own[k] = weights[k]
            for k in range(0, whole, LANES):
                for u in range(0, block, LANES):
                    transpose(read, source + u * depth + k, depth, panels, target + k * width + u, width)
            for k in range(whole, depth):
                for u in range(count):
                    panels[target + k * width + u] = read[source + u * depth + k]


def _pack_transposed(weights, gates, units, columns, signals, block, ragged, panels, at, first, last):
    """The same for the way back, and for each signal after one another:
    panels[q, (p*gates + g)*block + u, j] = w[g*units + p*block + u, q*WIDTH + j]; likewise, for first <= q < last.

    Taken by panels, as they lie in memory, or row by row, it lasted 1.2 to 2.5 times as long (64 to 1024 units)."""
    wide()
    depth, pieces = depth_of(units, block, gates, ragged), (columns + WIDTH - 1) // WIDTH
    full = units // block * gates * block
    if full < depth:  # rows of the last block, beyond the last unit too
        for q in range(first, last):
            clear(panels, at + (q * depth + full) * WIDTH, (depth - full) * WIDTH)
    for p in range((units + block - 1) // block):
        rows = min(block, units - p * block)
        apart = rows if ragged else block
        for g in range(gates):
            for q in range(first, last):
                signal, column = q // pieces, q % pieces * WIDTH
                count = min(WIDTH, columns - column)
                source = ((g * units + p * block) * signals + signal) * columns + column
                target = at + (q * depth + p * gates * block + g * apart) * WIDTH
                for u in range(rows):
                    place = target + u * WIDTH
                    move(panels, place, 0, weights, source + u * signals * columns, 0, 1, count, WIDTH)
                    if count < WIDTH:
                        clear(panels, place + count, WIDTH - count)
