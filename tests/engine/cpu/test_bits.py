"""The same bits for any number of threads, from run to run, from several Python threads at once and after a fork."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import CELLS, everything, problem, same_bits

from throughtime.engine.cpu import shares

CELL = pytest.mark.parametrize("cell", CELLS)
DTYPE = pytest.mark.parametrize("dtype", ["float64", "float32"])
# (T, B, N): a few rows and a ragged panel; one row, which threads can share only by its units; many rows.
SHAPES = [(40, 5, 33), (8, 1, 200), (8, 40, 48)]
SIZES = pytest.mark.parametrize(("steps", "batch", "units"), SHAPES, ids=["40x5x33", "8x1x200", "8x40x48"])


def answers(p):
    """Every number that the library can compute from one run."""
    run = p.unroll()
    rng = np.random.default_rng(2)
    v = rng.standard_normal((*p.start.shape, 3)).astype(p.start.dtype)
    numbers = everything(p, run) | {"jvp": run.jvp(v, 0, len(p.x)), "vjp": run.vjp(v, 0, len(p.x))}
    truncated = p.backprop(run, 2)
    return (
        numbers
        | {"window": truncated.states}
        | {f"window {name}": value for name, value in truncated.parameters.items()}
    )


def test_these_sizes_are_shared_out_by_rows_and_by_units(threads, monkeypatch):
    """A test of the tests below: were these problems too small to be shared out, equal bits would say nothing."""
    seen, divide = set(), shares.of_steps

    def watch(*arguments, **options):
        parts, whole = divide(*arguments, **options)
        if len(parts) > 1:
            seen.add((shape, "units" if parts[0][1] == parts[1][1] else "rows"))
        return parts, whole

    monkeypatch.setattr(shares, "of_steps", watch)
    for count in (2, 3):
        threads(count)
        for shape in SHAPES:
            steps, batch, units = shape
            for cell in ("tanh", "lstm"):
                everything(problem(cell, steps, batch, 7, units, layers=2))
    assert {shape for shape, _ in seen} == set(SHAPES)
    assert {way for _, way in seen} == {"rows", "units"}


@DTYPE
@SIZES
@CELL
def test_same_bits_for_any_number_of_threads(threads, cell, steps, batch, units, dtype):
    lengths = None if batch == 1 else np.arange(batch) % (steps + 1)
    p = problem(cell, steps, batch, 7, units, layers=2, dtype=dtype, lengths=lengths)
    threads(1)
    one = answers(p)
    for count in (2, 3, 1):
        threads(count)
        same_bits(answers(p), one)
        same_bits(answers(p), one)  # and again


@SIZES
def test_both_directions_have_the_same_bits_for_any_number_of_threads(threads, steps, batch, units):
    p = problem("lstm", steps, batch, 7, units, layers=2, bidirectional=True)
    threads(1)
    one = everything(p)
    for count in (2, 3):
        threads(count)
        same_bits(everything(p), one)


@pytest.mark.parametrize(("steps", "copies"), [(5, 2), (11, 1)], ids=["steps one by one", "one step left over"])
def test_gradients_of_states_alone(threads, steps, copies):
    """Threads that share a step by units, where only the gradients of states are wanted."""
    p = problem("lstm", steps, 40 // (3 - copies), 3, 300)
    run = p.unroll()
    v = np.random.default_rng(0).standard_normal((*p.start.shape, copies))
    threads(1)
    alone = run.vjp(v, 0, steps)
    threads(2)
    for _ in range(8):
        np.testing.assert_array_equal(run.vjp(v, 0, steps), alone)


@SIZES
@pytest.mark.parametrize("cell", ["tanh", "lstm"])
def test_four_python_threads_at_once(threads, cell, steps, batch, units):
    p = problem(cell, steps, batch, 7, units, layers=2)
    threads(2)
    alone = everything(p)
    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(lambda _: everything(p), range(12)):
            same_bits(together, alone)


@pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"
)  # that is what is tested
def test_after_a_fork(threads):
    p = problem("gru", 8, 40, 7, 48)
    threads(2)
    before = everything(p)  # the parent's threads exist now; the child inherits none of them
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    child = fork.Process(target=lambda: there.send(everything(p)), daemon=True)
    child.start()
    assert here.poll(60), "the forked process did not answer within a minute"
    same_bits(here.recv(), before)
    child.join(60)
    assert child.exitcode == 0
    same_bits(everything(p), before)  # and the parent still works
