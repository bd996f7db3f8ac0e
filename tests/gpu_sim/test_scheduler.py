"""The scheduler itself: what is right gives the same bits in every order, what is wrong is caught."""

from __future__ import annotations

import numpy as np
import pytest
import scheduler
import simulator
import watched
from numba import cuda, float64
from scheduler import Stuck
from watched import Race


def on_device(*arrays):
    return [cuda.to_device(np.asarray(array, float)) for array in arrays]


@cuda.jit
def reverse_in_block(x, out):
    shared = cuda.shared.array(64, float64)
    i = cuda.threadIdx.x
    shared[i] = x[i]
    cuda.syncthreads()
    out[i] = shared[63 - i]


@cuda.jit
def reverse_without_meeting(x, out):
    shared = cuda.shared.array(64, float64)
    i = cuda.threadIdx.x
    shared[i] = x[i]
    out[i] = shared[63 - i]


def test_a_block_meets(schedule):
    x, out = on_device(np.arange(64), np.zeros(64))
    reverse_in_block[1, 64](x, out)
    np.testing.assert_array_equal(out.copy_to_host(), np.arange(64)[::-1])


def test_a_missing_barrier_is_caught(schedule):
    x, out = on_device(np.arange(64), np.zeros(64))
    with pytest.raises(Race, match="shared array"):
        reverse_without_meeting[1, 64](x, out)


def test_a_missing_barrier_changes_the_result_with_the_schedule(monkeypatch):
    """Also without the watch: the schedules differ enough for a race to show."""
    monkeypatch.setattr(watched.Tracked, "check", lambda *_: None)
    results = set()
    for seed in range(4):
        monkeypatch.setattr(scheduler, "SEED", seed)
        totals = on_device(np.zeros(64), np.zeros(1))
        count_without_meeting[2, 32](*totals)
        results.add(totals[0].copy_to_host().tobytes())
    assert len(results) > 1


@cuda.jit
def count_without_meeting(out, counter):
    counter[0] += 1
    out[cuda.grid(1)] = counter[0]


@cuda.jit
def diffuse(x, y, steps):
    """Every thread of the grid mixes its number with its neighbour's, who may sit in another block."""
    i, n = cuda.grid(1), x.size
    for k in range(steps):
        if k % 2 == 0:
            y[i] = 0.5 * (cuda.ldcg(x, i) + cuda.ldcg(x, (i + 1) % n))
        else:
            x[i] = 0.5 * (cuda.ldcg(y, i) + cuda.ldcg(y, (i + 1) % n))
        cuda.cg.this_grid().sync()


@cuda.jit
def diffuse_in_blocks(x, y, steps):
    i, n = cuda.grid(1), x.size
    for k in range(steps):
        if k % 2 == 0:
            y[i] = 0.5 * (cuda.ldcg(x, i) + cuda.ldcg(x, (i + 1) % n))
        else:
            x[i] = 0.5 * (cuda.ldcg(y, i) + cuda.ldcg(y, (i + 1) % n))
        cuda.syncthreads()


def test_a_grid_meets(schedule):
    start = np.random.default_rng(0).standard_normal(96)
    x, y = on_device(start, np.zeros(96))
    diffuse[3, 32](x, y, 4)
    wanted = start
    for _ in range(4):
        wanted = 0.5 * (wanted + np.roll(wanted, -1))
    assert x.copy_to_host().tobytes() == wanted.tobytes()


def test_blocks_that_do_not_meet_are_caught(schedule):
    x, y = on_device(np.ones(96), np.zeros(96))
    with pytest.raises(Race, match="have not met"):
        diffuse_in_blocks[3, 32](x, y, 4)


@cuda.jit
def hand_over(x, flag, atomically):
    """Block 0 writes, block 1 waits for the flag and reads."""
    if cuda.blockIdx.x == 0:
        x[0] = 5
        if atomically:
            cuda.atomic.add(flag, 0, 1)
        else:
            flag[0] = 1
    else:
        while cuda.atomic.add(flag, 0, 0) == 0:
            pass
        x[1] = x[0]


def test_blocks_meet_through_an_atomic_number(schedule):
    x, flag = on_device(np.zeros(2), np.zeros(1))
    hand_over[2, 1](x, flag, True)
    np.testing.assert_array_equal(x.copy_to_host(), [5, 5])
    x, flag = on_device(np.zeros(2), np.zeros(1))
    with pytest.raises(Race):
        hand_over[2, 1](x, flag, False)


def test_too_many_blocks_cannot_meet():
    x, y = on_device(np.ones(64), np.zeros(64))
    with pytest.raises(Stuck, match="32 blocks meet"):
        diffuse[32, 2](x, y, 1)


@cuda.jit
def half_a_block(x):
    if cuda.threadIdx.x < 32:
        cuda.syncthreads()
    x[cuda.threadIdx.x] = 1


def test_half_a_block_waits_in_vain(schedule):
    with pytest.raises(Stuck, match=r"wait for its block at test_scheduler.py:\d+"):
        half_a_block[1, 64](*on_device(np.zeros(64)))


@cuda.jit
def two_places(x):
    if cuda.threadIdx.x < 32:
        cuda.syncthreads()
    else:
        cuda.syncthreads()
    x[cuda.threadIdx.x] = 1


def test_one_barrier_from_two_places_is_caught(schedule):
    with pytest.raises(Stuck, match="one barrier, two places"):
        two_places[1, 64](*on_device(np.zeros(64)))


@cuda.jit
def crossed(x):
    if cuda.blockIdx.x == 0:
        cuda.cg.this_grid().sync()
    else:
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            cuda.cg.this_grid().sync()


def test_a_deadlock_is_caught(schedule):
    with pytest.raises(Stuck, match=r"(?s)wait for the grid.*threads 0 wait for the grid.*have returned"):
        crossed[2, 4](*on_device(np.zeros(8)))


@cuda.jit(device=True)
def sum_over_warp(value):
    other = 1
    while other < 32:
        value += cuda.shfl_xor_sync(0xFFFFFFFF, value, other)
        other *= 2
    return value


@cuda.jit
def warp_sums(x, out):
    out[cuda.grid(1)] = sum_over_warp(x[cuda.grid(1)])


def test_shuffles(schedule):
    values = np.random.default_rng(1).standard_normal(128)
    x, out = on_device(values, np.zeros(128))
    warp_sums[2, 64](x, out)
    sums = values.reshape(4, 32)
    for _ in range(5):
        sums = sums.reshape(4, -1, 2).sum(axis=-1)
    assert out.copy_to_host().tobytes() == np.repeat(sums.reshape(4), 32).tobytes()


@cuda.jit
def neighbour_in_warp(x, out, meets):
    shared = cuda.shared.array(32, float64)
    i = cuda.threadIdx.x
    shared[i] = x[i]
    if meets:
        cuda.syncwarp()
    else:
        cuda.shfl_xor_sync(0xFFFFFFFF, x[i], 1)
    out[i] = shared[31 - i]


def test_a_shuffle_orders_nothing_in_memory(schedule):
    x, out = on_device(np.arange(32), np.zeros(32))
    neighbour_in_warp[1, 32](x, out, True)
    np.testing.assert_array_equal(out.copy_to_host(), np.arange(32)[::-1])
    with pytest.raises(Race):
        neighbour_in_warp[1, 32](x, out, False)


@cuda.jit
def reads_before_writing(out):
    shared, own = cuda.shared.array(4, float64), cuda.local.array(2, float64)
    out[0] = own[1]
    out[1] = shared[0]


def test_unwritten_memory_shows():
    out = cuda.to_device(np.zeros(2))
    with pytest.raises(Race, match="nobody has written"):
        reads_before_writing[1, 1](out)
    assert np.isnan(out.copy_to_host()[0])


@cuda.jit
def element(x, i):
    x[i] = 1


@pytest.mark.parametrize("i", [-1, 3])
def test_indices_stay_inside(i):
    with pytest.raises(IndexError, match=f"index {i} of array of 3"):
        element[1, 1](cuda.to_device(np.zeros(3)), i)


def test_a_configured_kernel_keeps_its_configuration():
    first, out = warp_sums[1, 32], on_device(np.ones(64), np.zeros(64))
    warp_sums[2, 32](*out)
    out = on_device(np.ones(64), np.zeros(64))
    first(*out)
    np.testing.assert_array_equal(out[1].copy_to_host(), [32] * 32 + [0] * 32)


def test_numbas_own_simulator_agrees():
    """One kernel of one block without its scheduler, so that the two are known to mean the same."""
    x, out = on_device(np.arange(64), np.zeros(64))
    simulator.uninstall()
    try:
        reverse_in_block[1, 64](x, out)
    finally:
        simulator.install()
    np.testing.assert_array_equal(out.copy_to_host(), np.arange(64)[::-1])
