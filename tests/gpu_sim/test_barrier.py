"""The barrier of a row of blocks, which the engine brings along."""

from __future__ import annotations

import numpy as np
import pytest
from numba import cuda
from scheduler import Stuck
from watched import Race

from throughtime.engine.cuda.barrier import BLOCK, HIGHEST, ROW

arrive_in_block, wait_in_block = BLOCK
arrive_in_row, wait_in_row = ROW


@cuda.jit
def gather(x, out, meetings, rounds, absent):
    """Every row of blocks doubles and reverses its numbers, again and again."""
    n = cuda.gridDim.x * cuda.blockDim.x
    i, row = cuda.grid(1), cuda.blockIdx.y * n
    for _ in range(rounds):
        out[row + i] = 2 * cuda.ldcg(x, row + n - 1 - i)
        if cuda.blockIdx.x != absent:
            wait_in_row(meetings, arrive_in_row(meetings))
        x[row + i] = cuda.ldcg(out, row + i)
        if cuda.blockIdx.x != absent:
            wait_in_row(meetings, arrive_in_row(meetings))


@pytest.mark.parametrize("rounds", [1, 4])
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_blocks_of_a_row_meet(schedule, blocks, rounds):
    start = np.random.default_rng(0).standard_normal((2, blocks * 4))
    x, out = cuda.to_device(start.reshape(-1)), cuda.device_array(start.size)
    meetings = cuda.to_device(np.zeros(2, np.uint32))
    for _ in range(3):  # the numbers left behind by one launch serve the next
        gather[(blocks, 2), 4](x, out, meetings, rounds, -1)
        assert set(meetings.copy_to_host()) <= {0, HIGHEST}
    wanted = start * 2.0 ** (3 * rounds)
    np.testing.assert_array_equal(x.copy_to_host().reshape(start.shape), wanted[:, ::-1] if rounds % 2 else wanted)


def test_grids_of_several_widths_share_the_numbers(schedule):
    meetings = cuda.to_device(np.zeros(2, np.uint32))
    for blocks in (3, 1, 2, 3):
        x, out = cuda.to_device(np.ones(blocks * 8)), cuda.device_array(blocks * 8)
        gather[(blocks, 2), 4](x, out, meetings, 1, -1)
        np.testing.assert_array_equal(x.copy_to_host(), 2)


def test_a_block_that_stays_away(schedule, monkeypatch):
    monkeypatch.setattr("scheduler.TURNS", 2000)
    x, out = cuda.to_device(np.ones(12)), cuda.device_array(12)
    with pytest.raises((Race, Stuck)):
        gather[(3, 1), 4](x, out, cuda.to_device(np.zeros(1, np.uint32)), 2, 1)


@cuda.jit
def shift(x, out, meetings, alone):
    i = cuda.grid(1)
    x[i] = i
    if alone:
        wait_in_block(meetings, arrive_in_block(meetings))
    else:
        wait_in_row(meetings, arrive_in_row(meetings))
    out[i] = cuda.ldcg(x, (i + 1) % x.size)


def test_a_block_that_meets_alone_meets_no_other(schedule):
    x, out = cuda.device_array(8), cuda.device_array(8)
    meetings = cuda.to_device(np.zeros(1, np.uint32))
    shift[1, 8](x, out, meetings, True)
    shift[2, 4](x, out, meetings, False)
    np.testing.assert_array_equal(out.copy_to_host(), np.roll(np.arange(8), -1))
    with pytest.raises(Race):
        shift[2, 4](x, out, meetings, True)
