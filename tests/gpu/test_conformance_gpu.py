"""The GPU against the CPU: every cell, size and precision, on inputs that are new in every run.

The seed is printed by a test that fails; THROUGHTIME_SEED repeats it. Device memory is full of NaN before a run, so
that a number that no kernel has written shows.
"""

from __future__ import annotations

import os
import secrets

import numpy as np
import pytest
from networks import CELLS, everything, on_host, problem

SEED = int(os.environ.get("THROUGHTIME_SEED") or secrets.randbits(32))
BOUND = {"float64": 1e-12, "float32": 2e-5}  # relative to the largest number of an array
CELL = pytest.mark.parametrize("cell", CELLS)
DTYPE = pytest.mark.parametrize("dtype", BOUND)
# (N, B): one block, one block for each of many sequences, a cluster, a grid that keeps its weights, one that streams
# them; in float64 and with fewer gates the limits lie elsewhere.
SIZES = [(3, 1), (64, 200), (120, 5), (300, 5), (700, 40)]


@pytest.fixture(autouse=True)
def seed():
    """Shown with a failure."""
    print(f"THROUGHTIME_SEED={SEED}")
    return SEED


@pytest.fixture(autouse=True)
def full_of_nan(monkeypatch):
    """Every array of the library begins so, also where the memory was used before, by the same run maybe."""
    from throughtime.engine.cuda import pool, streams, toolkit

    take = pool.take

    def fresh(size, home):
        lease = take(size, home)
        toolkit.done(toolkit.driver().cuMemsetD8Async(lease.address, 0xFF, size, streams.queue().handle))
        return lease

    monkeypatch.setattr(pool, "take", fresh)


def run_of(p, device):
    """All numbers of a forward and backward pass, of perturbations and, where it is not too large, of a Jacobian."""
    p = p._replace(net=p.net.to(device))
    run = p.unroll()
    numbers = {name: on_host(value) for name, value in everything(p, run).items()}
    v = np.random.default_rng(SEED).standard_normal((*p.start.shape, 2)).astype(p.start.dtype)
    steps = len(p.x)
    numbers["jvp"], numbers["vjp"] = on_host(run.jvp(v, 1, steps)), on_host(run.vjp(v, 1, steps))
    if v.shape[0] * v.shape[1] ** 2 < 4e6:
        numbers["jacobian"] = on_host(run.jacobian(steps))
    return numbers


def close(found, wanted, dtype):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, name
        assert found[name].shape == value.shape, name
        scale = np.abs(value).max(initial=1e-3)
        error = np.abs(found[name] - value).max(initial=0)
        assert error <= BOUND[dtype] * scale, f"{name}: error {error:.1e} beside {scale:.1e}"


@DTYPE
@CELL
@pytest.mark.parametrize(("units", "batch"), SIZES)
def test_the_devices_agree(cell, units, batch, dtype):
    if cell == "relu":  # of very many units one stands so close to the kink that rounding takes it across
        units, batch = min(units, 70), min(batch, 5)
    lengths = np.random.default_rng(SEED).integers(0, 6, batch)
    p = problem(cell, 5, batch, 7, units, dtype=dtype, lengths=lengths, seed=SEED)
    wanted = run_of(p, "cpu")
    close(run_of(p, "cuda"), wanted, dtype)


@DTYPE
@pytest.mark.parametrize("cell", ["lstm", "adapting"])
def test_layers_in_both_directions_agree(cell, dtype):
    p = problem(cell, 6, 4, 3, 20, layers=2, dtype=dtype, lengths=[6, 2, 0, 5], seed=SEED, bidirectional=True)

    def passes(device):
        there = p._replace(net=p.net.to(device))
        return {name: on_host(value) for name, value in everything(there).items()}

    wanted = passes("cpu")
    close(passes("cuda"), wanted, dtype)


@DTYPE
@pytest.mark.parametrize(("units", "batch"), SIZES)
def test_the_same_bits_every_time(units, batch, dtype):
    p = problem("lstm", 50, batch, 7, units, dtype=dtype, seed=SEED)
    first = run_of(p, "cuda")
    for _ in range(3):
        again = run_of(p, "cuda")
        assert all(again[name].tobytes() == value.tobytes() for name, value in first.items())
