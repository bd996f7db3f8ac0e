"""Every tile of the products compiles for the H100 without a stack; the table shows only those that its sizes take.

Numbers are copied one by one or 16 bytes at once, in the tests by turns; THROUGHTIME_TESTS=all has both of every tile.
"""

from __future__ import annotations

import itertools

import numpy as np
import offline
import pytest
from whole import ALL

from throughtime.engine.cuda import tiled_matmul

FORMS = (tiled_matmul.ALONG_BOTH, tiled_matmul.ALONG_LEFT, tiled_matmul.OVER)


@pytest.fixture(scope="module", autouse=True)
def _compiler():
    offline.install()


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cut", range(3))
def test_products_stay_in_registers(dtype, form, cut):
    ways = (1, 16 // dtype.itemsize)
    turn = (cut + FORMS.index(form) + dtype.itemsize // 8) % 2
    cut, array = tiled_matmul.CUTS[dtype.itemsize][cut], np.empty(1, dtype)
    for together in ways if ALL else ways[turn:][:1]:
        kernel = tiled_matmul.kernel(dtype, form, cut, together)
        found = offline.resources(kernel, (array, array, array, array, (1,) * 18))
        assert found.stack == found.spill == 0, found
        assert -(-found.registers // 8) * 8 * cut.threads <= 65536, found
        assert sum(found.shared) <= 48 * 1024, found
        assert all(size % 16 == 0 for size in found.shared), found
        assert dtype == np.float64 or found.doubles == 0, found


def test_slabs_share_no_bank():
    """What eight neighbouring threads, a quarter of a warp, read at once lies in eight different groups of banks."""
    for itemsize, form in itertools.product(
        (4, 8), (tiled_matmul.ALONG_BOTH, tiled_matmul.ALONG_LEFT, tiled_matmul.OVER)
    ):
        for cut in tiled_matmul.CUTS[itemsize]:
            names = tiled_matmul.constants(np.dtype(f"f{itemsize}"), form, cut, 1)
            steps = {"A": names["I_STEP"], "B": names["J_STEP"]}
            assert steps["A"] * steps["B"] == cut.threads
            starts = np.arange(8) * names["B_NEXT"] * itemsize
            assert len(set(starts // 16 % 8)) == 8
