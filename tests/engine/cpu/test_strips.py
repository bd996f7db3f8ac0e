"""A product whose rows are packed in strips has the bits of the one whose rows are not, and so has a gradient."""

from __future__ import annotations

import numpy as np
import pytest
from networks import same_bits

import throughtime as tt
from throughtime.engine.cpu.matmul import products
from throughtime.engine.cpu.register_tile import lanes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("strips", "deep"), [(1, 1), (2, 3), (3, 40)])
def test_packed_is_unpacked(dtype, strips, deep):
    kernels, lane = products(2, np.dtype(dtype)), lanes(dtype)
    rows, depth, width, panels = strips * lane, deep * lane, 2 * lane, 3
    rng = np.random.default_rng(deep)
    row = depth + 5
    a, b, start = (rng.normal(size=n).astype(dtype) for n in (rows * row + 7, panels * depth * width, panels * width))
    expected, packed = np.empty(panels * rows * width, dtype), np.empty(rows * depth, dtype)
    kernels["product"](a, 7, row, rows, depth, b, 0, panels, start, width, expected, 0)
    kernels["pack_strips"](a, 7, row, rows, depth, packed)
    for p in range(panels):
        found = np.full(rows * width, np.nan, dtype)
        kernels["product_packed"](packed, rows, depth, b, p, start, p * width, found)
        np.testing.assert_array_equal(found, expected[p * rows * width : (p + 1) * rows * width])


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
