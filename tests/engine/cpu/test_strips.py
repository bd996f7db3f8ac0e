"""Rows in strips: where each number lies, and that a product has the bits of the one whose rows are not packed."""

from __future__ import annotations

import numpy as np
import pytest
from compiled_products import compiled
from networks import same_bits

import throughtime as tt
from throughtime.engine.cpu.register_tile import lanes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "depth"), [(5, 1), (16, 16), (13, 40), (33, 7), (48, 70)])
def test_where_numbers_lie(dtype, rows, depth):
    """Of rows that end with their array: the lanes behind the last one repeat it, and nothing is read behind it."""
    lane, row = lanes(dtype), depth + 3
    a = np.arange(7 + (rows - 1) * row + depth, dtype=dtype)
    strips = np.full((-(-rows // lane), depth, lane), np.nan, dtype)
    compiled("strips", 2, dtype)(a, 7, row, rows, depth, strips.reshape(-1))
    m, k = np.minimum(np.arange(len(strips) * lane), rows - 1), np.arange(depth)
    np.testing.assert_array_equal(strips.swapaxes(1, 2).reshape(-1, depth), a[7 + m[:, None] * row + k])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("strips", "deep"), [(1, 1), (2, 3), (3, 40)])
def test_packed_is_unpacked(dtype, strips, deep):
    """Few rows at a time are not packed."""
    product, lane = compiled("product", 2, dtype), lanes(dtype)
    rows, depth, width, panels = strips * lane + 1, deep * lane, 2 * lane, 3
    rng = np.random.default_rng(deep)
    row = depth + 5
    a, b, start = (rng.normal(size=n).astype(dtype) for n in (rows * row + 7, panels * depth * width, panels * width))
    found, packed = np.full(((panels * rows) + lane) * width, np.nan, dtype), np.empty((rows + lane) * depth, dtype)
    compiled("strips", 2, dtype)(a, 7, row, rows, depth, packed)
    product(a, 7, row, packed, rows, depth, b, 0, panels, start, width, found, 0, -1)
    found = found[: panels * rows * width].reshape(panels, rows, width)
    for few in (1, 2, 3, 4):
        for first in range(0, rows - few + 1, few):
            some = np.full((panels, few, width), np.nan, dtype)
            at = 7 + first * row
            product(a, at, row, packed, few, depth, b, 0, panels, start, width, some.reshape(-1), 0, -1)
            np.testing.assert_array_equal(some, found[:, first : first + few])


@pytest.mark.parametrize(("dtype", "units"), [("float32", 70), ("float64", 37)])
def test_a_sequence_has_the_same_bits_alone_and_among_many(dtype, units):
    """Alone it is never packed; among 19 it lies in a strip, or among the rows that are left over."""
    net = tt.Network("gru", 40, units, seed=0, dtype=dtype)
    x = np.random.default_rng(1).normal(size=(6, 19, 40))
    run = net.unroll(x)
    g = np.random.default_rng(2).normal(size=run.output.shape)
    whole = run.backprop(g, per_sequence=True)
    for b in (0, 9, 15, 16, 18):
        alone = net.unroll(x[:, b : b + 1]).backprop(g[:, b : b + 1])
        np.testing.assert_array_equal(alone.input, whole.input[:, b : b + 1])
        np.testing.assert_array_equal(alone.states, whole.states[:, b : b + 1])
        same_bits(alone.parameters, {name: value[b] for name, value in whole.parameters.items()})
