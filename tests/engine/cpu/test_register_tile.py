"""Products and packing against NumPy, at sizes that fill no tile. Whole numbers make them exact: no tolerance."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from compiled_products import compiled

from throughtime.engine.cpu.board import ALONE
from throughtime.engine.cpu.matmul import FEW, NEAR, in_strips, narrow_panel
from throughtime.engine.cpu.panels import address, depth_of, packers
from throughtime.engine.cpu.register_tile import REGISTERS, lanes, most_rows

DTYPE = pytest.mark.parametrize("dtype", [np.dtype("float64"), np.dtype("float32")], ids=str)
VECTORS = pytest.mark.parametrize("vectors", [2, 3, 4])  # 3: a GRU, 4: an LSTM
FILLER = 99.0  # where nothing may be read, or written


def whole_numbers(rng, *shape):
    return rng.integers(-4, 5, shape)


def padded(n, width):
    return -(-n // width) * width


def as_panels(matrix, width, dtype):
    """(depth, columns) in panels: panels[p, k, j] = matrix[k, p*width + j], 0 beyond the last column."""
    depth, columns = matrix.shape
    wide = np.zeros((depth, padded(columns, width)), dtype)
    wide[:, :columns] = matrix
    return np.ascontiguousarray(wide.reshape(depth, -1, width).transpose(1, 0, 2))


def multiply(a, panels, start, vectors, first=0, last=None, gap=3, at=5, narrow=-1):
    """A product of 2-D arrays: `a` begins at an odd place, FILLER is around the result."""
    (rows, depth), (count, _, width) = a.shape, panels.shape
    last = count if last is None else last
    flat = np.full(at + rows * (depth + gap) + 1, FILLER, a.dtype)
    np.lib.stride_tricks.as_strided(flat[at:], (rows, depth), (a.itemsize * (depth + gap), a.itemsize))[...] = a
    size, lane = (last - first) * rows * width, lanes(a.dtype)
    out = np.full(size + 5 + 4 * width, FILLER, a.dtype)  # four rows, which fill the last tile
    begin = start.reshape(-1), 0 if start.ndim == 1 else width
    strips = np.full((rows + lane) * depth, FILLER, a.dtype)
    if in_strips(vectors):
        compiled("strips", vectors, a.dtype)(flat, at, depth + gap, rows, depth, strips)
    compiled("product", vectors, a.dtype)(
        flat, at, depth + gap, strips, rows, depth, panels.reshape(-1), first, last, *begin, out, 5, narrow
    )
    assert (out[:5] == FILLER).all()
    assert (out[5 + size + 3 * width :] == FILLER).all()
    assert rows > FEW or (out[5 + size :] == FILLER).all()
    assert (strips[-(-rows // lane) * lane * depth :] == FILLER).all()
    return out[5 : 5 + size].reshape(last - first, rows, width)


def test_tiles_fit_the_registers():
    for vectors in (1, 2, 3, 4):
        assert (most_rows(vectors) + 1) * vectors < REGISTERS


@DTYPE
@VECTORS
def test_products_of_odd_sizes(vectors, dtype):
    rng = np.random.default_rng(0)
    width = vectors * lanes(dtype)
    for rows in range(1, 18):
        for depth in (*range(1, 12), 16, 17, 31, 40):
            columns = int(rng.integers(1, 70))
            a, b = whole_numbers(rng, rows, depth).astype(dtype), whole_numbers(rng, depth, columns)
            bias = as_panels(whole_numbers(rng, 1, columns), width, dtype)
            c = multiply(a, as_panels(b, width, dtype), bias[:, 0], vectors)
            expected = as_panels(a @ b + bias[:, 0].reshape(-1)[:columns], width, dtype)
            np.testing.assert_array_equal(c, expected, err_msg=f"{rows} x {depth} x {columns}")


@DTYPE
def test_a_narrow_panel(dtype):
    """One vector of the last panel is worked out where it has numbers in one only, and the other panels are whole."""
    rng = np.random.default_rng(7)
    lane, zeros = lanes(dtype), np.zeros(2 * lanes(dtype), dtype)
    for rows in (*range(1, 41), 97):
        for columns in (1, lane, lane + 1, 2 * lane, 2 * lane + 1, 5 * lane - 1, 5 * lane, 6 * lane):
            depth = (1, 7, 33)[rows % 3]
            narrow = narrow_panel(columns, 2 * lane, lane)
            assert narrow == (columns // (2 * lane) if columns % (2 * lane) in range(1, lane + 1) else -1)
            a, b = whole_numbers(rng, rows, depth).astype(dtype), whole_numbers(rng, depth, columns)
            c = multiply(a, as_panels(b, 2 * lane, dtype), zeros, 2, narrow=narrow)
            flat = c.transpose(1, 0, 2).reshape(rows, -1)
            np.testing.assert_array_equal(flat[:, :columns], a @ b.astype(dtype), err_msg=f"{rows} x {columns}")
            assert rows < lane or narrow < 0 or (flat[-1, -(-columns // lane) * lane :] == FILLER).all()


@DTYPE
@pytest.mark.parametrize("vectors", [3, 4])
def test_a_ragged_panel(vectors, dtype):
    """The parts of the last units lie behind one another, and in the result as those of all others; other threads'
    panels are left alone."""
    rng = np.random.default_rng(8)
    lane, deep = lanes(dtype), NEAR // (vectors * lanes(dtype) * dtype.itemsize)
    for rows in (*range(1, 15), 25):
        for few in range(1, lane):
            depth, whole = (1, 7, deep + 5)[(rows + few) % 3], few % 3
            units, a = whole * lane + few, whole_numbers(rng, rows, depth).astype(dtype)
            w, bias = whole_numbers(rng, vectors, units, depth), whole_numbers(rng, vectors, units, 1)
            b, start = ragged_panels(w, lane, dtype), ragged_panels(bias, lane, dtype)[:, 0]
            full = (a @ w.transpose(0, 2, 1) + bias.transpose(0, 2, 1)).transpose(1, 2, 0)  # rows, units, parts
            got = multiply(a, b, start, vectors, narrow=units)
            by_unit = got.reshape(whole + 1, rows, vectors, lane).transpose(1, 0, 3, 2).reshape(rows, -1, vectors)
            np.testing.assert_array_equal(by_unit[:, :units], full, err_msg=f"{rows} x {units}")
            own = multiply(a, b, start, vectors, 0, whole, narrow=units)
            np.testing.assert_array_equal(own, got[:whole])


def ragged_panels(w, lane, dtype):
    """Weights (parts, units, depth) in panels (panel, depth, parts*lane), the last of them ragged."""
    parts, units, depth = w.shape
    panels = np.zeros((-(-units // lane), depth, parts * lane), dtype)
    for p in range(len(panels)):
        own = w[:, p * lane : (p + 1) * lane]
        panels[p, :, : parts * own.shape[1]] = own.reshape(-1, depth).T
    return panels


@DTYPE
@VECTORS
def test_deep_products(vectors, dtype):
    """Deeper than the piece of a panel that is taken at once."""
    rng = np.random.default_rng(1)
    width = vectors * lanes(dtype)
    deep = NEAR // (width * dtype.itemsize)
    zeros = np.zeros(width, dtype)
    for rows in (1, 2, 5, 13):
        for depth in (deep - 1, deep, deep + 1, 2 * deep + 3):
            a, b = whole_numbers(rng, rows, depth).astype(dtype), whole_numbers(rng, depth, 5 * width + 1)
            c = multiply(a, as_panels(b, width, dtype), zeros, vectors)
            np.testing.assert_array_equal(c, as_panels(a @ b, width, dtype))


@DTYPE
@VECTORS
def test_some_of_the_panels(vectors, dtype):
    """A thread's share: the others' panels are neither read nor written."""
    rng = np.random.default_rng(2)
    width = vectors * lanes(dtype)
    for rows in (1, 3, 8):
        a, b = whole_numbers(rng, rows, 9).astype(dtype), as_panels(whole_numbers(rng, 9, 11 * width), width, dtype)
        bias = whole_numbers(rng, 11, width).astype(dtype)
        whole = multiply(a, b, bias, vectors)
        for first, last in ((0, 1), (3, 4), (2, 9), (10, 11), (5, 5)):
            np.testing.assert_array_equal(multiply(a, b, bias, vectors, first, last), whole[first:last])


@DTYPE
@VECTORS
def test_a_row_alone_has_the_bits_that_it_has_in_a_batch(vectors, dtype):
    rng = np.random.default_rng(3)
    width = vectors * lanes(dtype)
    deep = NEAR // (width * dtype.itemsize)
    for depth in (1, 7, 40, deep + 7):
        a, b = rng.normal(size=(14, depth)).astype(dtype), as_panels(rng.normal(size=(depth, 70)), width, dtype)
        bias = rng.normal(size=b.shape[::2]).astype(dtype)
        batch = multiply(a, b, bias, vectors)
        for rows in (1, 2, 3, 4, 7, 13):
            for first in range(0, 14 - rows, 5):
                some = multiply(a[first : first + rows], b, bias, vectors)
                assert some.tobytes() == batch[:, first : first + rows].tobytes(), (depth, rows, first)
        one = multiply(a[:1], b, bias, vectors, 1, 2)  # one panel, too
        assert one.tobytes() == batch[1:2, :1].tobytes()
        flat = b.transpose(1, 0, 2).reshape(depth, -1).astype("longdouble")
        exact, scale = a @ flat + bias.reshape(-1), np.abs(a) @ np.abs(flat) + np.abs(bias.reshape(-1))
        error = np.abs(batch.transpose(1, 0, 2).reshape(14, -1) - exact)
        assert (error <= (depth + 1) / 2 * np.finfo(dtype).eps * scale).all()  # eps/2 for each multiply-add


@DTYPE
def test_accumulate(dtype):
    """out += dᵀ y, rows of a weight gradient: the last panel is partly filled, and nothing beyond it is touched."""
    rng = np.random.default_rng(4)
    width = 2 * lanes(dtype)
    accumulate = compiled("accumulate", 2, dtype)
    deep = NEAR // (width * dtype.itemsize)
    for count in (*range(1, 18), 24, 33):
        for depth, columns in ((40, 2 * width + 3), (deep + 5, width + 1), *((3, n) for n in range(1, 2 * width + 2))):
            d, y = whole_numbers(rng, depth, count + 2).astype(dtype), whole_numbers(rng, depth, columns)
            before = whole_numbers(rng, count + 1, columns + 4).astype(dtype)
            out, flat = before.copy(), np.append(d.reshape(-1), np.full(lanes(dtype), np.nan, dtype))
            panels, edge = as_panels(y, width, dtype).reshape(-1), np.full(8 * width, np.nan, dtype)
            target = out.reshape(-1), 2, columns + 4, columns
            accumulate(flat, 1, count + 2, count, panels, 0, depth, *target, edge)
            expected = before.copy()
            expected[:count, 2 : 2 + columns] += d[:, 1 : count + 1].T @ y.astype(dtype)
            np.testing.assert_array_equal(out, expected, err_msg=f"{count} rows, {depth} x {columns}")


SIZES = [(1, 1), (1, 9), (3, 8), (7, 5), (8, 8), (16, 33), (17, 16), (40, 1), (64, 64), (65, 70)]  # units, columns


def shares(units, grain):
    """The whole, and three threads' parts of it."""
    cuts = [0, units // (3 * grain) * grain, units // (2 * grain) * grain, units]
    return [[(0, 0, 0, units, 0, 1, 0)], [(0, 0, a, b, k, 3, 0) for k, (a, b) in enumerate(pairwise(cuts))]]


@DTYPE
@pytest.mark.parametrize(("gates", "ragged"), [(1, False), (3, False), (3, True), (4, True)])
def test_packing_and_back(gates, ragged, dtype):
    """Every weight is at its place, in both packings, by one thread or three; beyond the last unit all is 0."""
    rng = np.random.default_rng(5)
    pack = packers(dtype)
    block, back = lanes(dtype) * (1 if gates > 2 else 2), 2 * lanes(dtype)
    for units, columns in SIZES:
        w = rng.normal(size=(gates * units, columns)).astype(dtype)
        panels, meeting, depth = -(-units // block), np.zeros(ALONE, np.int64), depth_of(units, block, gates, ragged)
        rows = rows_of(units, block, gates, ragged)  # of every weight, in the order of w
        assert rows.max() < depth <= panels * gates * block
        assert not ragged or depth < gates * units + block
        for parts in shares(units, back):
            forward = np.full(panels * columns * gates * block, np.nan, dtype)
            for part in parts:
                three = (w.reshape(-1), w[:0].reshape(-1), w[:0].reshape(-1))
                sizes = (gates, 0, 0), units, (columns, columns, columns), block, ragged
                pack["gates"](address("gates", dtype), three, *sizes, forward, (0, 0, 0), part, meeting)
            found = forward.reshape(panels, columns, gates * block).transpose(0, 2, 1).reshape(-1, columns)
            np.testing.assert_array_equal(found[rows], w)
            assert not np.delete(found, rows, axis=0).any()

            transposed = np.full(-(-columns // back) * depth * back, np.nan, dtype)
            for part in parts:
                sizes = (gates, 0, 0), units, (columns, columns, columns), (1, 1, 1), block, ragged
                pack["transposed"](address("transposed", dtype), three, *sizes, transposed, (0, 0, 0), part, meeting)
            found = transposed.reshape(-1, depth, back).transpose(1, 0, 2).reshape(depth, -1)
            np.testing.assert_array_equal(found[rows, :columns], w)
            assert not np.delete(found, rows, axis=0).any()
            assert not found[:, columns:].any()


def rows_of(units, block, gates, ragged):
    """Where the rows (gate, unit) of a matrix lie among those of its panels."""
    unit, gate = np.arange(units), np.arange(gates)[:, None]
    count = np.minimum(block, units - unit // block * block) if ragged else block
    return (unit // block * gates * block + gate * count + unit % block).reshape(-1)


@DTYPE
def test_rows_as_panels(dtype):
    rng = np.random.default_rng(6)
    pack, width = compiled("rows", 2, dtype), 2 * lanes(dtype)
    for rows, columns in SIZES:
        x = rng.normal(size=(rows, columns + 3)).astype(dtype)
        out = np.full(3 + rows * padded(columns, width) + 4, FILLER, dtype)
        pack(x.reshape(-1), 2, columns + 3, rows, columns, out, 3)
        found = out[3:-4].reshape(-1, rows, width)
        np.testing.assert_array_equal(found, as_panels(x[:, 2 : 2 + columns], width, dtype))
        assert (out[:3] == FILLER).all()
        assert (out[-4:] == FILLER).all()
