"""The kernels of losses, normalisations and optimisers compile for the H100 without a stack, in their own precision."""

from __future__ import annotations

import numpy as np
import offline
import pytest
from whole import ALL

from throughtime.engine.cuda import dense, descent, device, loss_kernels, over_time, row_norms, sums, update_rows


@pytest.fixture(scope="module", autouse=True)
def _compiler():
    offline.install()


def kernels(dtype):
    """name -> kernel, arguments, whether it computes in the precision of its arrays alone."""
    x, real, doubles, whole = np.empty(4, dtype), dtype.type, np.empty(4), np.empty(4, np.int64)
    plain = device.plain
    shares = (doubles, 0.5, 3, doubles, x)
    return {
        "plain": (plain(descent.plain), (x, x, real(1), doubles), False),
        "momentum": (plain(descent.momentum), (x, x, x, real(1), real(1), True, doubles), False),
        "rmsprop": (plain(descent.rmsprop), (x, x, x, x, x, *(real(1),) * 5, doubles), False),
        "adam": (plain(descent.adam), (x, x, x, x, x, *(real(1),) * 6, doubles), False),
        "softmax_rows": (loss_kernels._softmax_kernel(), (x, whole, doubles, 0.5, 3, doubles, x), False),
        "squared_errors": (plain(loss_kernels.squared_errors), (x, x, *shares), False),
        "yes_and_no": (plain(loss_kernels.yes_and_no), (x, x, *shares), False),
        "add_squares": (sums.kernel_of(sums.add_squares), (x, doubles), False),
        "begin_row": (sums.kernel_of(update_rows.begin_row), (doubles, doubles, doubles, 4, doubles, 1), False),
        "normalise_rows": (row_norms._kernel(row_norms.normalise_rows), (x, x, x, real(1), x, x, x, 3), True),
        "back_through_rows": (row_norms._kernel(row_norms.back_through_rows), (*(x,) * 6, 3), True),
        "take_rows": (plain(dense.take_rows), (whole, x, x, 3), True),
        "add_rows_of_pieces": (plain(dense.add_rows_of_pieces), (whole, 3, x, 3, x, 3), True),
        "take_last": (plain(over_time.take_last), (x, 3, whole, x, 2, 3), True),
    }


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
def test_they_stay_in_registers(dtype):
    """In float64, where less can go wrong, every other one; with THROUGHTIME_TESTS=all each."""
    for name, (kernel, arguments, alone) in [*kernels(dtype).items()][:: 1 if ALL or dtype == np.float32 else 2]:
        found = offline.resources(kernel, arguments)
        assert found.stack == found.spill == found.approximate == 0, (name, found)
        assert sum(found.shared) <= 48 * 1024, (name, found)
        assert not (alone and dtype == np.float32 and found.doubles), (name, found)
        if name in ("plain", "momentum", "rmsprop", "adam") and dtype == np.float32:
            assert found.doubles <= 2, (name, found)  # they look at one number, whether all is lost
