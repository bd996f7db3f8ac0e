"""Pieces of arrays against NumPy: of whole vectors and of every shorter length, and nothing beside them is touched."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from throughtime.engine.cpu import spans
from throughtime.engine.cpu.register_tile import lanes

DTYPE = pytest.mark.parametrize("dtype", [np.float32, np.float64])
WAYS = pytest.mark.parametrize("masks", [True, False])  # without, as on machines with short vectors


@pytest.fixture
def compiled(masks, monkeypatch):
    """Numba's compiler, for vectors of 16 bytes and without masks if asked."""
    if not masks:
        monkeypatch.setattr(spans, "VECTOR_BYTES", 16)
    return numba.njit


@DTYPE
@WAYS
def test_move(dtype, compiled):
    full = 2 * lanes(dtype)

    @compiled
    def run(target, source, count):
        spans.move(target, 3, 2 * full, source, 5, full + 1, 2, count, full)

    source = np.arange(4 * full, dtype=dtype)
    for count in range(full + 1):
        target, expected = np.full(4 * full, -1, dtype), np.full(4 * full, -1, dtype)
        run(target, source, count)
        for j in range(2):
            to, at = 3 + 2 * full * j, 5 + (full + 1) * j
            expected[to : to + count] = source[at : at + count]
        np.testing.assert_array_equal(target, expected)


@DTYPE
@WAYS
def test_add(dtype, compiled):
    full = 2 * lanes(dtype)

    @compiled
    def run(target, source, count):
        spans.add(target, 3, source, 5, count, full)

    source = np.arange(4 * full, dtype=dtype) + dtype(0.25)
    for count in range(full + 1):
        target, expected = np.full(2 * full, 7, dtype), np.full(2 * full, 7, dtype)
        run(target, source, count)
        expected[3 : 3 + count] += source[5 : 5 + count]
        np.testing.assert_array_equal(target, expected)


@DTYPE
@WAYS
def test_trim(dtype, compiled):
    """What stands behind the end becomes 0, even where it is not finite."""
    full = 2 * lanes(dtype)

    @compiled
    def run(array, count):
        spans.trim(array, 3, 2, count, full)

    for count in range(full + 1):
        array = np.full(3 * full, np.nan, dtype)
        expected = array.copy()
        run(array, count)
        for at in (3, 3 + full):
            expected[at + count : at + full] = 0
        np.testing.assert_array_equal(array, expected)


@DTYPE
def test_spread_blocks(dtype):
    """In place, over themselves; what stands behind the numbers of a block is nobody's."""
    full = lanes(dtype)

    @numba.njit
    def run(array, count):
        spans.spread_blocks(array, 3, 4, count, full)

    for count in range(1, full + 1):
        array = np.arange(3 + 4 * full + 1, dtype=dtype)
        source = array.copy()
        run(array, count)
        for j in range(4):
            np.testing.assert_array_equal(array[3 + j * full :][:count], source[3 + j * count :][:count])
        np.testing.assert_array_equal(array[[0, 1, 2, -1]], source[[0, 1, 2, -1]])
