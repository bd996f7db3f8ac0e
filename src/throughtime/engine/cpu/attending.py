"""Attention: every query of a sequence against every entry of its memory, and the way back, a sequence at a time.

    e[t, s] = q_t . m_s    or    sum_a v_a tanh(w[t, a] + u[s, a])
    a[t, :] = softmax of e[t, :] over the real entries s,    c_t = sum_s a[t, s] m_s

A thread takes whole sequences, and every sum runs in the order of its index: the bits are the same for any number of
threads. What stands behind a sequence's end, of the queries or of the memory, is neither read nor weighed; the tanh
units are computed again on the way back, so that memory does not grow with T*S*A.

Dimensions: B sequences, T queries and S entries of each, K numbers of an entry, A tanh units. Arrays are time first:
the rows of a sequence lie B*K apart.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...jit import PLACEHOLDER, named_in, specialise
from ...scalar import tanh, tanh_slope
from .. import memory
from ..sizes import Share
from . import shares, threads
from .attending_parts import CHUNK, VECTORS, compiled
from .by_address import accumulate, pack_rows
from .matmul import addresses
from .own_share import mine
from .primitives import clear, copy, wide
from .register_tile import lanes
from .spans import move

Array = np.ndarray
TALL = 8  # rows of the tallest tile of a gradient of the memory
PRODUCT = "product", "strips"
HEAVY = 16  # multiply-adds that one tanh costs, and its slope about as much
WIDTH = pack_columns = spread = PLACEHOLDER
softmax = softmax_back = weigh = weigh_back = PLACEHOLDER


class Sizes(NamedTuple):
    """Of a pass, handed over as those of the loops are (sizes.py)."""

    batch: int
    queries: int
    entries: int
    numbers: int
    units: int


class Panels(NamedTuple):
    """The entries of a memory (S, B, K) packed once, to be looked at as often as one likes."""

    columns: Array  # (B, …): panels of entries, for products with each of them
    rows: Array  # (B, …): panels of numbers, for sums over the entries
    shape: tuple[int, int, int]


def packed(m: Array, ends: Array) -> Panels:
    """The entries of m (S, B, K) before the ends (B,)."""
    (entries, batch, numbers), width = m.shape, VECTORS * lanes(m.dtype)
    columns = memory.empty((batch, -(-entries // width) * width * numbers), m.dtype)
    rows = memory.empty((batch, -(-numbers // width) * width * entries), m.dtype)
    size = Sizes(batch, 0, entries, numbers, 0)[:]
    arguments = (addresses(VECTORS, m.dtype, "rows"), _flat(m), columns, rows, ends, size)
    threads.run(_kernels(m.dtype)["pack"], arguments, *shares.of_rows(batch, numbers, entries * numbers))
    return Panels(columns, rows, (entries, batch, numbers))


def dot(q: Array, m: Panels, q_ends: Array, m_ends: Array) -> tuple[Array, Array]:
    """Weights (T, B, S) and contexts (T, B, K) of q (T, B, K) and m (S, B, K) by q . m; 0 behind the ends (B,)."""
    return _forward("dot", (_flat(q),), m, len(q), 0, q_ends, m_ends)


def additive(w: Array, u: Panels, v: Array, m: Panels, q_ends: Array, m_ends: Array) -> tuple[Array, Array]:
    """The same by v . tanh(w + u), of w (T, B, A), u (S, B, A) and v (A,)."""
    return _forward("additive", (_flat(w), u.columns, _flat(v)), m, len(w), len(v), q_ends, m_ends)


def dot_back(g: Array, a: Array, q: Array, m: Panels, q_ends: Array, m_ends: Array, dm: Array) -> Array:
    """dq of g = dL/dc (T, B, K) and the weights a; to dm is added."""
    dq = memory.zeros(q.shape, q.dtype)
    _backward("dot_back", (_flat(q), dq.reshape(-1)), g, a, m, dm, 0, q_ends, m_ends)
    return dq


def additive_back(
    g: Array, a: Array, w: Array, u: Array, v: Array, m: Panels, q_ends: Array, m_ends: Array,
    du: Array, dv: Array, dm: Array,
) -> Array:  # fmt: skip
    """dw of g = dL/dc (T, B, K) and the weights a; to du, to dv (B, A), of each sequence, and to dm, without what comes
    by way of u, is added."""
    dw = memory.zeros(w.shape, w.dtype)
    given = (_flat(w), _flat(u), _flat(v), dw.reshape(-1), du.reshape(-1), dv.reshape(-1))
    _backward("additive_back", given, g, a, m, dm, len(v), q_ends, m_ends)
    return dw


def _forward(
    name: str, given: tuple, m: Panels, queries: int, units: int, q_ends: Array, m_ends: Array
) -> tuple[Array, Array]:
    (entries, batch, numbers), dtype = m.shape, m.rows.dtype
    weights, context = memory.zeros((queries, batch, entries), dtype), memory.zeros((queries, batch, numbers), dtype)
    parts, whole = shares.of_rows(batch, numbers, queries * entries * (2 * numbers + HEAVY * units))
    room = _rooms(len(parts), (queries, entries, numbers, units), dtype)[1]
    size = Sizes(batch, queries, entries, numbers, units)[:]
    arrays = (m.rows, weights.reshape(-1), context.reshape(-1), q_ends, m_ends, size, _zeros(dtype), room)
    columns = (m.columns,) if name == "dot" else ()
    threads.run(_kernels(dtype)[name], (addresses(VECTORS, dtype, *PRODUCT), *given, *columns, *arrays), parts, whole)
    return weights, context


def _backward(
    name: str, given: tuple, g: Array, a: Array, m: Panels, dm: Array, units: int, q_ends: Array, m_ends: Array
) -> None:
    (entries, batch, numbers), queries, dtype = m.shape, len(g), m.rows.dtype
    parts, whole = shares.of_rows(batch, numbers, queries * entries * (4 * numbers + 2 * HEAVY * units))
    panels, room = _rooms(len(parts), (queries, entries, numbers, units), dtype)
    scores = memory.empty((len(parts), queries * entries), dtype)
    size = Sizes(batch, queries, entries, numbers, units)[:]
    rows = (m.rows,) if name == "dot_back" else ()
    arrays = (_flat(g), _flat(a), m.columns, *rows, dm.reshape(-1), q_ends, m_ends)
    to = addresses(VECTORS, dtype, *PRODUCT), addresses(VECTORS, dtype, "rows", "accumulate")
    threads.run(_kernels(dtype)[name], (*to, *given, *arrays, size, _zeros(dtype), panels, room, scores), parts, whole)


def _rooms(team: int, sizes: tuple[int, int, int, int], dtype: Any) -> tuple[Array, Array]:
    """Of each thread: for packed rows or columns of a sequence, twice, and for the chunk of a product."""
    width, (queries, entries, numbers, units) = VECTORS * lanes(dtype), sizes
    whole = [-(-n // width) * width for n in (entries, max(numbers, units))]
    packed = max(whole[0] * max(numbers, units), whole[1] * max(queries, entries))
    return memory.empty((team, 2 * packed), dtype), memory.empty((team, max(CHUNK * max(whole), 8 * width)), dtype)


def _flat(x: Array) -> Array:
    """As one row; a copy of what is read-only, for which Numba would compile every kernel again."""
    return x.reshape(-1) if x.flags.writeable else np.array(x).reshape(-1)


@cache
def _zeros(dtype: Any) -> Array:
    return np.zeros(VECTORS * lanes(dtype), dtype)


@cache
def _kernels(dtype: Any) -> dict[str, Any]:
    names, label = compiled(dtype), np.dtype(dtype).name
    shared: dict[str, Callable] = {"weigh": _weigh, "weigh_back": _weigh_back}
    for key, function in shared.items():
        names = names | {key: specialise(function, label, **named_in(function, names))}
    passes: dict[str, Callable] = {
        "pack": _pack,
        "dot": _dot,
        "dot_back": _dot_back,
        "additive": _additive,
        "additive_back": _additive_back,
    }
    return {key: specialise(function, label, **named_in(function, names)) for key, function in passes.items()}


def _pack(to, m, columns, rows, m_ends, sizes, share, meeting):
    """The entries of each sequence as columns and as rows of panels."""
    wide()
    share, size = Share(*mine(share, meeting)), Sizes(*sizes)
    batch, depth = size.batch, size.numbers
    for b in range(share.first_row, share.end_row):
        pack_columns(m, b * depth, batch * depth, m_ends[b], depth, columns[b])
        pack_rows(to[0], m, b * depth, batch * depth, m_ends[b], depth, rows[b], 0)


def _dot(products, q, columns, rows, weights, context, q_ends, m_ends, sizes, zeros, room, share, meeting):
    """The scores of all queries of a sequence, its weights, its contexts."""
    wide()
    share, size = Share(*mine(share, meeting)), Sizes(*sizes)
    batch, depth, chunk = size.batch, size.numbers, room[share.member]
    for b in range(share.first_row, share.end_row):
        queries, entries = q_ends[b], m_ends[b]
        if entries:
            at, row = b * size.entries, batch * size.entries
            own, q_row = columns[b], batch * depth
            spread(products, q, b * depth, q_row, queries, depth, own, entries, zeros, chunk, weights, at, row)
            weigh(products, rows[b], weights, context, b, queries, entries, sizes, zeros, chunk)


def _dot_back(
    products, adding, q, dq, g, a, columns, rows, dm, q_ends, m_ends, sizes, zeros, panels, room, scores, share, meeting
):
    """dq_t = sum_s de[t, s] m_s,    dm_s += sum_t de[t, s] q_t."""
    wide()
    share, size = Share(*mine(share, meeting)), Sizes(*sizes)
    batch, depth, own, chunk = size.batch, size.numbers, panels[share.member], room[share.member]
    de = scores[share.member]
    for b in range(share.first_row, share.end_row):
        queries, entries = q_ends[b], m_ends[b]
        if entries and queries:
            at, row = b * depth, batch * depth
            weigh_back(products, adding, g, a, columns[b], dm, de, b, queries, entries, sizes, zeros, own, chunk)
            spread(products, de, 0, entries, queries, entries, rows[b], depth, zeros, chunk, dq, at, row)
            pack_rows(adding[0], q, at, row, queries, depth, own, 0)
            accumulate(adding[1], de, 0, entries, entries, own, 0, queries, dm, at, row, depth, chunk)


def _additive(products, w, u, v, rows, weights, context, q_ends, m_ends, sizes, zeros, room, share, meeting):
    """The same with scores of tanh units: WIDTH entries at once, one unit after another."""
    wide()
    share, size = Share(*mine(share, meeting)), Sizes(*sizes)
    batch, units, chunk = size.batch, size.units, room[share.member]
    for b in range(share.first_row, share.end_row):
        queries, entries = q_ends[b], m_ends[b]
        if entries == 0:
            continue
        keys = u[b]
        width = (
            zeros.size
        )  # WIDTH, which LLVM does not know: it would unroll the loop and leave it scalar, 4 times slower
        for t in range(queries):
            for p in range((entries + WIDTH - 1) // WIDTH):
                clear(chunk, 0, WIDTH)
                for k in range(units):
                    x, factor = w[(t * batch + b) * units + k], v[k]
                    copy(chunk, WIDTH, keys, (p * units + k) * WIDTH, WIDTH)
                    for j in range(width):
                        chunk[j] += factor * tanh(x + chunk[WIDTH + j])
                at = (t * batch + b) * size.entries + p * WIDTH
                move(weights, at, 0, chunk, 0, 0, 1, min(WIDTH, entries - p * WIDTH), WIDTH)
        weigh(products, rows[b], weights, context, b, queries, entries, sizes, zeros, chunk)


def _additive_back(
    products, adding, w, u, v, dw, du, dv, g, a, columns, dm, q_ends, m_ends, sizes, zeros, panels, room, scores, share,
    meeting,
):  # fmt: skip
    """WIDTH units at once: dw_t = sum_s d[t, s], du_s += sum_t d[t, s], d = de v tanh'(w + u); dv += sum de tanh(w+u).

    A block of the units lies in `chunk`: v, w_t, u_s, du_s, dw_t, dv, each WIDTH numbers.
    """
    wide()
    share, size = Share(*mine(share, meeting)), Sizes(*sizes)
    batch, units, own, chunk = size.batch, size.units, panels[share.member], room[share.member]
    de = scores[share.member]
    V, W, U, DU, DW, DV = 0, WIDTH, 2 * WIDTH, 3 * WIDTH, 4 * WIDTH, 5 * WIDTH
    for b in range(share.first_row, share.end_row):
        queries, entries = q_ends[b], m_ends[b]
        if entries == 0 or queries == 0:
            continue
        weigh_back(products, adding, g, a, columns[b], dm, de, b, queries, entries, sizes, zeros, own, chunk)
        for first in range(0, units, WIDTH):
            count = min(WIDTH, units - first)
            pack_rows(adding[0], u, b * units + first, batch * units, entries, count, own, 0)
            sums = entries * WIDTH
            clear(own, sums, sums)
            clear(chunk, 0, 6 * WIDTH)
            move(chunk, V, 0, v, first, 0, 1, count, WIDTH)
            move(chunk, DV, 0, dv, b * units + first, 0, 1, count, WIDTH)
            for s in range(entries):
                move(own, sums + s * WIDTH, 0, du, (s * batch + b) * units + first, 0, 1, count, WIDTH)
            for t in range(queries):
                at = (t * batch + b) * units + first
                move(chunk, W, 0, w, at, 0, 1, count, WIDTH)
                clear(chunk, DW, WIDTH)
                for s in range(entries):
                    slope = de[t * entries + s]
                    copy(chunk, U, own, s * WIDTH, WIDTH)
                    copy(chunk, DU, own, sums + s * WIDTH, WIDTH)
                    for j in range(WIDTH):
                        x = chunk[W + j] + chunk[U + j]
                        d = slope * chunk[V + j] * tanh_slope(x)
                        chunk[DU + j] += d
                        chunk[DW + j] += d
                        chunk[DV + j] += slope * tanh(x)
                    copy(own, sums + s * WIDTH, chunk, DU, WIDTH)
                move(dw, at, 0, chunk, DW, 0, 1, count, WIDTH)
            for s in range(entries):
                move(du, (s * batch + b) * units + first, 0, own, sums + s * WIDTH, 0, 1, count, WIDTH)
            move(dv, b * units + first, 0, chunk, DV, 0, 1, count, WIDTH)


def _weigh(products, rows, weights, context, b, queries, entries, sizes, zeros, chunk):
    """Scores of a sequence to weights, in place, and its contexts."""
    size = Sizes(*sizes)
    batch, depth, at, row = size.batch, size.numbers, b * size.entries, size.batch * size.entries
    for t in range(queries):
        softmax(weights, at + t * row, entries)
    spread(products, weights, at, row, queries, entries, rows, depth, zeros, chunk, context, b * depth, batch * depth)


def _weigh_back(products, adding, g, a, columns, dm, de, b, queries, entries, sizes, zeros, own, chunk):
    """de[t, s] of a sequence from dL/dc, and dm_s = sum_t a[t, s] g_t."""
    size = Sizes(*sizes)
    batch, depth, at, row = size.batch, size.numbers, b * size.entries, size.batch * size.entries
    spread(products, g, b * depth, batch * depth, queries, depth, columns, entries, zeros, chunk, de, 0, entries)
    for t in range(queries):
        softmax_back(a, at + t * row, de, t * entries, entries)
    pack_rows(adding[0], g, b * depth, batch * depth, queries, depth, own, 0)
    accumulate(adding[1], a, at, row, entries, own, 0, queries, dm, b * depth, batch * depth, depth, chunk)
