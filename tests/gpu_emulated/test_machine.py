"""Kernels with inferred types, compiled and run on the CPU: every family against the CPU engine, at toy and real sizes.

The checks of tests/gpu_sim run here on other kernels: there they are plain Python. What those draw and compare is the
same; `scheduler` is machine.py instead. Compiling takes most of the time, so of the cuts and sizes some are taken, of
every kind one, and precisions by turns; THROUGHTIME_TESTS=all takes all of them.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import driverless
import machine
import numba
import numpy as np
import pytest
from numba import cuda
from whole import ALL

import throughtime as tt
from throughtime.engine.cuda.barrier import CLUSTER, HIGHEST, ROW
from throughtime.engine.cuda.copies_ahead import arrived, bring, sent_off
from throughtime.engine.cuda.register_arrays import ALIGNED
from throughtime.engine.cuda.thread_exchange import give, side_by_side

SIMULATOR = Path(__file__).parents[1] / "gpu_sim"
with mock.patch.dict(sys.modules, scheduler=machine), mock.patch.object(sys, "path", [str(SIMULATOR), *sys.path]):
    import test_batched_qr as in_frames
    import test_jacobians as in_jacobians
    import test_loops as in_loops
    import test_projections as in_products
    import test_wired_cells as in_wired
    from networks import library_cell

SEEDS = (None, 0, 1, 2)
PRECISIONS = (np.float32, np.float64)


@pytest.fixture(autouse=True)
def engine():
    with driverless.engine(in_loops, in_products, in_frames, in_jacobians):
        yield


@pytest.fixture(params=SEEDS, ids="seed {}".format)
def schedule(request, monkeypatch):
    monkeypatch.setattr(machine, "SEED", request.param)
    return request.param


# -------------------------------------------------------------------------------------------------------- the loops

cut_by = in_loops.cut_by

# A cell that is like another one to the loops is compiled for some cuts only.
CUTS = {
    "adapting": (*in_loops.CUTS,),
    "lstm": ("one block", "a cluster, two rows, two units", "a grid, two units", "a grid, streamed"),
    "tanh": ("one block", "a grid, streamed"),
    "gru": ("one block, two rows, two units", "a grid"),
    "rate": ("one block", "a grid, two units"),
}
if not ALL:
    CUTS = {
        "adapting": ("one block",),
        "lstm": ("a cluster, two rows, two units",),
        "tanh": ("a grid, streamed",),
        "gru": ("one block, two rows, two units",),
        "rate": ("a grid, two units",),
    }


@pytest.mark.parametrize(("name", "cut"), [(name, cut) for name, cuts in CUTS.items() for cut in cuts])
def test_every_cut(cut_by, monkeypatch, name, cut):
    """Ensembles, lengths, a window, both directions, in every schedule."""
    cut_by(cut)
    for seed in SEEDS:
        monkeypatch.setattr(machine, "SEED", seed)
        p = in_loops.draw(library_cell(name), 5, 2, 2, [in_loops.T, 2, 1, 0], "float64")
        in_loops.check(p, windows=((0, in_loops.T), (1, 3), (2, 2)))
        in_loops.check(p, reverse=True)


@pytest.mark.parametrize("cut", ["a cluster", "a grid, groups of two warps"])
def test_rows_in_tiles(monkeypatch, cut):
    monkeypatch.setattr(in_loops.plans, "plan", lambda *_: in_loops.TILED[cut])
    in_loops.check(in_loops.draw("lstm", 4, 2, 5, [in_loops.T, 2, 1, 0, in_loops.T], "float32", offset=4), copies=1)


WIRED = [
    ("everything", "one block, two rows, two units", "float32"), ("stage", "a grid, streamed", "float64"),
    ("parameters and fields", "a grid, two units", "float32"), ("two signals", "a cluster", "float64"),
    ("no product", "one block", "float32"), ("only the stage", "a grid", "float32"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "cut", "dtype"), WIRED if ALL else WIRED[:3])
def test_cells_that_are_not_plain(monkeypatch, name, cut, dtype):
    in_wired.forced(monkeypatch, cut)
    monkeypatch.setattr(machine, "SEED", 1)
    in_wired.check(in_wired.problem(name, 5, 2, 2, [in_loops.T, 2, 1, 0], dtype), start=1)


@numba.njit
def by_an_array(u):
    own = np.zeros(1)
    own[0] = u
    return own.sum()


@tt.cell()
class ForTheCPU(NamedTuple):
    def forward(cell, x, r, s):
        return (by_an_array(x[0] + r[0]),), ()

    def backward(cell, ds, s, s_next, saved):
        return ds, ds, (0.0,)


def test_a_cell_that_only_the_cpu_compiles():
    with pytest.raises(ValueError, match=r'ForTheCPU compiles for the CPU and not for the GPU.*net\.to\("cpu"\)'):
        in_loops.on_gpu(in_loops.draw(ForTheCPU(), 3, 1, 1, None, "float32"), False)


@pytest.mark.parametrize("cut", ["one block, two rows, two units", "a grid, streamed"][0 if ALL else 1 :])
def test_the_same_bits_of_loops(cut_by, monkeypatch, cut):
    in_loops.test_the_same_bits_in_every_schedule(cut_by, monkeypatch, cut)


# ------------------------------------------------------------------------------------- the checks of tests/gpu_sim

test_input_part = in_products.test_input_part
test_input_from_columns_of_the_states = in_products.test_input_from_columns_of_the_states
test_input_gradients = in_products.test_input_gradients
test_weight_gradients = in_products.test_weight_gradients
test_vectors_of_an_ensemble = in_products.test_vectors_of_an_ensemble
test_long_sums_are_cut_into_slices = in_products.test_long_sums_are_cut_into_slices
test_the_same_bits_of_products = in_products.test_same_bits_in_every_schedule
test_packing = in_products.test_packing
test_transposed_packing_of_several_tiles = in_products.test_transposed_packing_of_several_tiles
test_small_work = in_products.test_small_work

test_frames_of_any_size = in_frames.test_frames_of_any_size
test_ill_conditioned_frames = in_frames.test_ill_conditioned_frames
WIDER = [(4, 20, 19, np.float32), (8, 7, 5, np.float64), (4, 20, 19, np.float64), (8, 7, 5, np.float32)]


@pytest.mark.parametrize(("side", "size", "columns", "real"), WIDER if ALL else WIDER[:2])
def test_wider_blocks(side, size, columns, real, monkeypatch):
    in_frames.test_wider_blocks(side, size, columns, real, monkeypatch)


test_a_lost_rank_is_minus_infinity_exactly = in_frames.test_a_lost_rank_is_minus_infinity_exactly
test_frames_of_several_tiles_end_where_they_can = in_frames.test_frames_of_several_tiles_end_where_they_can
test_rows_of_very_different_size_are_no_lost_rank = in_frames.test_rows_of_very_different_size_are_no_lost_rank
test_frames_that_are_not_finite_touch_no_other = in_frames.test_frames_that_are_not_finite_touch_no_other
if ALL:
    test_huge_and_tiny_frames = in_frames.test_huge_and_tiny_frames
    test_the_same_bits_of_frames = in_frames.test_the_same_bits_in_any_schedule
test_like_the_cpu = in_frames.test_like_the_cpu
test_lengths_of_rows = in_frames.test_lengths_of_rows

FORMS = (in_products.tiled_matmul.ALONG_BOTH, in_products.tiled_matmul.ALONG_LEFT, in_products.tiled_matmul.OVER)
TILES = [
    (cut, form, dtype, vectors)
    for k, (cut, form, dtype) in enumerate(itertools.product(range(3), FORMS, PRECISIONS))
    for vectors in (True, False)
    if ALL or vectors == (k // 2 % 2 == k % 2)
]


@pytest.mark.parametrize(("cut", "form", "dtype", "vectors"), TILES)
def test_every_tile(cut, form, dtype, vectors, monkeypatch):
    in_products.test_every_tile(dtype, form, cut, vectors, monkeypatch)


JACOBIANS = [("tanh", 1, 18), ("lstm", 2, 5), ("gru", 1, 3), ("rate", 3, 4)]


@pytest.mark.parametrize(
    ("name", "nets", "units", "dtype"),
    [(*case, each) for k, case in enumerate(JACOBIANS) for each in (PRECISIONS if ALL else PRECISIONS[k % 2 :][:1])],
)
def test_jacobians(name, nets, units, dtype):
    in_jacobians.test_jacobians(name, nets, units, dtype)


# ------------------------------------------------------------------------------------------------------ real sizes


REAL = [
    ("lstm", 512, 18, "float32", None), ("lstm", 64, 4, "float32", 0), ("lstm", 256, 4, "float64", 0),
    ("adapting", 64, 70, "float32", 1), ("tanh", 512, 4, "float32", 2), ("gru", 1024, 4, "float64", None),
    ("tanh", 2048, 2, "float32", 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "units", "batch", "dtype", "seed"), REAL if ALL else REAL[:1])
def test_real_sizes(monkeypatch, name, units, batch, dtype, seed):
    """In the cuts of plans.py: one block, a cluster, a grid that keeps its weights, one that always fetches them. By
    default the third."""
    monkeypatch.setattr(in_loops, "T", 3)  # so that a buffer used in turns is used again
    monkeypatch.setattr(machine, "SEED", seed)
    p = in_loops.draw(library_cell(name), units, 1, batch, None, dtype)
    for array in p.parameters:
        array /= np.sqrt(units).astype(dtype)
    in_loops.check(p, copies=1)


@pytest.mark.parametrize(("real", "condition"), [(np.float32, 1e3), (np.float64, 1e12)])
def test_wide_frames_of_real_size(monkeypatch, real, condition):
    """In tiles of 64 columns, by blocks of 256 threads: a frame of noise, one that is ill conditioned, a lost rank. In
    float64 two tiles of 32 as well, as of many frames of 64 columns."""
    for size, columns in ((130, 100), (256, 256), (96, 64)) if real is np.float32 else ((130, 100), (96, 64)):
        if columns == 64:
            monkeypatch.setattr(in_frames.batched_qr, "MANY", 3)
            assert in_frames.batched_qr.side_for(columns, 3, real) == (8 if real is np.float64 else 16)
        noise, lost = in_frames.RNG.standard_normal((2, size, columns))
        lost[:, 50] = lost[:, 3] - lost[:, 40]
        a = np.stack([noise, in_frames.conditioned(size, columns, condition), lost]).astype(real)
        q, log_r = in_frames.decomposed(a)
        for b in range(2):
            in_frames.check(a[b], q[b], log_r[b])
        np.testing.assert_allclose(q[2].T @ q[2], np.eye(columns), rtol=0, atol=16 * columns * in_frames.EPS[real])
        assert np.isneginf(log_r[2, 50])
        assert np.isfinite(log_r[2, :50]).all()


# ------------------------------------------------------------------------------------ the machine itself, and its tests


arrive, wait = ROW
arrive_in_cluster, wait_in_cluster = CLUSTER


def start(kernel, grid, threads, *arguments):
    machine.run(kernel, (*grid, 1, 1)[:3], threads, arguments)


@cuda.jit
def meet(x, out, meetings, rounds, absent):
    """Every row of blocks doubles and reverses its numbers, again and again."""
    n = cuda.gridDim.x * cuda.blockDim.x
    i, row = cuda.grid(1), cuda.blockIdx.y * n
    for _ in range(rounds):
        out[row + i] = 2 * x[row + n - 1 - i]
        if cuda.blockIdx.x != absent:
            wait(meetings, arrive(meetings))
        x[row + i] = out[row + i]
        if cuda.blockIdx.x != absent:
            wait(meetings, arrive(meetings))


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_blocks_of_a_row_meet(schedule, blocks):
    numbers = np.random.default_rng(0).standard_normal((2, blocks * 64))
    x, meetings = numbers.reshape(-1).copy(), np.zeros(2, np.uint32)
    for _ in range(3):  # the numbers left behind by one launch serve the next
        start(meet, (blocks, 2), 64, x, np.empty(x.size), meetings, 3, -1)
        assert set(meetings) <= {0, HIGHEST}
    np.testing.assert_array_equal(x.reshape(2, -1), numbers[:, ::-1] * 2.0**9)


def test_a_block_that_stays_away():
    with pytest.raises(machine.EmulationError, match="never comes"):
        start(meet, (3, 1), 4, np.ones(12), np.ones(12), np.zeros(1, np.uint32), 2, 1)


@cuda.jit
def hand_over(x, meetings, kind):
    """Every block of a cluster of four gives its numbers to all."""
    side_by_side(4)
    h = cuda.shared.array(128, x.dtype, alignment=ALIGNED)
    i, own = cuda.threadIdx.x, cuda.grid(1)
    if kind != 1:
        wait_in_cluster(meetings, arrive_in_cluster(meetings))
    give(h, own % 128, 1, (x[own],), 4)
    before = meetings.dtype.type(0)
    if kind != 2:
        before = arrive_in_cluster(meetings)
    if kind != 3:
        wait_in_cluster(meetings, before)
    x[own] = h[32 * (i % 4) + i]


def test_blocks_of_a_cluster(schedule):
    x, meetings = np.arange(512.0), np.zeros(1, np.uint32)
    start(hand_over, (16,), 32, x, meetings, 0)
    i = np.arange(32)
    wanted = 128 * np.arange(4)[:, None, None] + np.tile(32 * (i % 4) + i, (4, 1))
    np.testing.assert_array_equal(x, wanted.reshape(-1))


@pytest.mark.parametrize(("kind", "sentence"), [(1, "not begun"), (2, "not arrived"), (3, "not waited")])
def test_a_meeting_of_a_cluster_that_is_missing(schedule, kind, sentence):
    with pytest.raises(machine.EmulationError, match=sentence):
        start(hand_over, (4,), 32, np.arange(128.0), np.zeros(1, np.uint32), kind)


def test_blocks_that_do_not_fill_a_cluster():
    with pytest.raises(machine.EmulationError, match="6 blocks in clusters of 4"):
        start(hand_over, (6,), 32, np.arange(192.0), np.zeros(1, np.uint32), 0)


@cuda.jit
def shuffled(out):
    i = cuda.threadIdx.x
    out[0, i] = cuda.shfl_sync(0xFFFFFFFF, i, 5)
    out[1, i] = cuda.shfl_xor_sync(0xFFFFFFFF, i, 6)
    out[2, i] = cuda.shfl_down_sync(0xFFFFFFFF, i, 3)
    out[3, i] = cuda.shfl_up_sync(0xFFFFFFFF, i, 3)


def test_shuffles(schedule):
    out = np.full((4, 64), -1)
    start(shuffled, (1,), 64, out)
    i = np.arange(64)
    lane, warp = i % 32, i // 32 * 32
    wanted = (warp + 5, i ^ 6, np.where(lane + 3 < 32, i + 3, i), np.where(lane >= 3, i - 3, i))
    np.testing.assert_array_equal(out, wanted)


@cuda.jit
def some_meet(x, kind):
    i = cuda.threadIdx.x
    if kind == 0 and i < 40:
        cuda.syncthreads()
    if kind == 1:
        if i < 32:
            cuda.syncthreads()
            x[i] = 1
        else:
            cuda.syncthreads()
            x[i] = 2
    if kind == 2 and i < 10:
        x[i] = cuda.shfl_xor_sync(0xFFFFFFFF, x[i], 1)


@pytest.mark.parametrize(("kind", "sentence"), [(0, "barrier"), (1, "two different barriers"), (2, "warp")])
def test_a_meeting_that_some_threads_miss(schedule, kind, sentence):
    with pytest.raises(machine.EmulationError, match=f"some_meet.*{sentence}"):
        start(some_meet, (1,), 64, np.zeros(64), kind)
    start(some_meet, (1,), 64, np.zeros(64), 3)  # and the machine is fit for the next


@cuda.jit
def reverse(x, meets):
    """Reversed through shared memory, with or without a barrier."""
    shared = cuda.shared.array(256, x.dtype)
    i = cuda.threadIdx.x
    shared[i] = x[i]
    if meets:
        cuda.syncthreads()
    x[i] = shared[255 - i]


def test_a_missing_barrier_is_seen(schedule):
    numbers = np.arange(256.0)
    right, wrong = numbers.copy(), numbers.copy()
    start(reverse, (1,), 256, right, True)
    start(reverse, (1,), 256, wrong, False)
    np.testing.assert_array_equal(right, numbers[::-1])
    assert np.isnan(wrong).any()


@cuda.jit
def reach(x, i, kind):
    shared = cuda.shared.array(4, x.dtype, alignment=ALIGNED)
    if kind == 0:
        x[0] = x[i]
    elif kind == 1:
        x[i] = 1
    elif kind == 2:
        shared[i] = x[0]
        cuda.syncthreads()
        x[0] = shared[i]
    elif kind == 3:
        bring(shared, 0, x, i, 4, 4)
        sent_off()


@pytest.mark.parametrize(("kind", "i"), [(0, 9), (1, 8), (1, -1 << 40), (2, 40), (3, 8)])
def test_memory_that_is_not_the_kernels(kind, i):
    with pytest.raises(machine.EmulationError, match="outside of all arrays"):
        start(reach, (1,), 1, np.ones(8, np.float32), i, kind)


@cuda.jit
def copy_vectors(x, out):
    unaligned = cuda.shared.array(8, x.dtype)
    bring(unaligned, 0, x, 0, 4, 4)
    sent_off()
    arrived(1)
    out[0] = unaligned[0]


def test_an_array_that_is_not_declared_to_be_aligned():
    with pytest.raises(machine.EmulationError, match="copy of 16 bytes to place 4 "):
        start(copy_vectors, (1,), 1, np.ones(8, np.float32), np.ones(1, np.float32))


@cuda.jit
def early(x, out, waits):
    shared = cuda.shared.array(256, x.dtype, alignment=ALIGNED)
    i = cuda.threadIdx.x
    bring(shared, 4 * i, x, 4 * i, 3, 4)
    sent_off()
    sent_off()
    if waits:
        arrived(1)
    for k in range(4):
        out[4 * i + k] = shared[4 * i + k]


def test_copies_ahead_of_use():
    x, out = np.ones(256, np.float32), np.zeros(256, np.float32)
    start(early, (1,), 64, x, out, True)
    np.testing.assert_array_equal(out.reshape(-1, 4), np.tile([1, 1, 1, 0], (64, 1)))
    start(early, (1,), 64, x, out, False)
    assert np.isnan(out).all()


@cuda.jit
def unwritten(out, n):
    w = cuda.local.array(4, out.dtype)
    for k in range(n):
        w[k] = k
    for k in range(4):
        out[k] = w[k]


def test_local_arrays_that_nobody_has_written():
    out = np.zeros(4)
    start(unwritten, (1,), 1, out, 2)
    np.testing.assert_array_equal(out, [0, 1, np.nan, np.nan])


@cuda.jit
def vote(x):
    x[0] = cuda.ballot_sync(0xFFFFFFFF, x[0] > 0)


def test_what_is_not_known_is_named():
    with pytest.raises(machine.EmulationError, match=r"llvm\.nvvm\.vote"):
        start(vote, (1,), 32, np.ones(1))


@cuda.jit
def cached(x):
    x[1] = cuda.ldcg(x, 0)


def test_a_load_that_may_be_moved_across_barriers():
    """Numba's own is none that stays in its place."""
    with pytest.raises(machine.EmulationError, match=r"ld\.global\.cg\.b64.*side effect"):
        start(cached, (1,), 1, np.ones(2))


@cuda.jit(launch_bounds=(64, 1))
def bounded(x, i):
    x[i] = cuda.shared.array(49 * 1024, np.uint8)[i]


def test_launches_that_a_device_refuses():
    with pytest.raises(machine.EmulationError, match="128 threads, more than the 64"):
        start(bounded, (1,), 128, np.ones(1, np.uint8), 0)
    with pytest.raises(machine.EmulationError, match="shared memory"):
        start(bounded, (1,), 64, np.ones(1, np.uint8), 0)
