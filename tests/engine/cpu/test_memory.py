"""Memory that is used again is never shared by two, and a pass forward and back takes no more than the docs say."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import throughtime as tt
from throughtime.engine import memory

SIZE = 1 << 17  # elements: a megabyte of float64, far above what is left to NumPy
SOURCE = str(Path(tt.__file__).resolve().parents[1])


@pytest.fixture(autouse=True)
def _nothing_kept():
    memory.release()
    yield
    memory.release()


@pytest.fixture(autouse=True, scope="module")
def _only_what_is_new():
    """A collection looks at the objects of these tests, and not at the million that other tests have left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def place(array):
    return array.__array_interface__["data"][0]


VIEWS = {
    "a slice": lambda a: a[5:],
    "a slice of a slice": lambda a: a[5:][3:][::2],
    "reversed": lambda a: a[::-1],
    "reshaped": lambda a: a.reshape(16, -1).T,
    "view()": lambda a: a.view(),
    "another dtype": lambda a: a.view(np.int64)[1:],
    "bytes": lambda a: a.view(np.uint8)[8:16],
    "broadcast": lambda a: np.broadcast_to(a[:1], (3, 1)),
    "strided": lambda a: np.lib.stride_tricks.as_strided(a, (4,), (16,)),
    "sliding": lambda a: np.lib.stride_tricks.sliding_window_view(a, 3),
    "asarray": lambda a: np.asarray(a)[:2],
    "frombuffer": lambda a: np.frombuffer(a.data, np.float64)[1:],
    "memoryview": lambda a: memoryview(a)[1:],
    "memoryview of a view": lambda a: memoryview(a.reshape(16, -1)[2:]),
    "a subclass": lambda a: a.view(np.ma.MaskedArray)[2:],
    "a record's field": lambda a: a.view([("x", "f8"), ("y", "f8")])["y"],
    "an element array": lambda a: a[3:4].reshape(()),
    "an iterator": lambda a: a.flat,
    "ravel": lambda a: a.reshape(16, -1).ravel(),
    "real": lambda a: a.view(np.complex128).imag,
}


@pytest.mark.parametrize("look", VIEWS.values(), ids=VIEWS.keys())
def test_a_block_is_not_given_away_while_anything_looks_at_it(look):
    array = memory.empty(SIZE, np.float64)
    first = place(array)
    view = look(array)
    del array
    gc.collect()
    others = [memory.empty(SIZE, np.float64) for _ in range(3)]
    assert first not in [place(other) for other in others]
    del view
    gc.collect()
    assert place(memory.empty(SIZE, np.float64)) == first  # and after the last look it is


def test_a_look_at_the_owner_holds_the_block_and_is_none():
    """What an array was made from is an array too: slices, copies and sums of it own nothing."""
    array = memory.empty(SIZE, np.float64)
    first, owner = place(array), array.base
    for look in (owner[:8], owner.view(np.ndarray), owner.copy(), owner.sum(), memoryview(owner)[4:]):
        del look
    gc.collect()
    assert memory.kept() == 0
    del array
    assert place(memory.empty(SIZE, np.float64)) != first
    del owner
    assert place(memory.empty(SIZE, np.float64)) == first


def test_what_is_larger_than_all_that_is_kept_displaces_nothing(monkeypatch):
    monkeypatch.setattr(memory, "KEPT_BYTES", 5 << 20)
    small, large = memory.empty(SIZE, np.float64), memory.empty(6 * SIZE, np.float64)
    first = place(small)
    del small, large
    assert place(memory.empty(SIZE, np.float64)) == first


def test_a_chain_of_views_holds_the_block():
    """NumPy shortens the chain of bases; whatever it leaves out, the owner of the block must stay."""
    view = memory.empty((64, SIZE // 64), np.float64)
    first = place(view)
    for _ in range(20):
        view = view[:, 1:].view()
        gc.collect()
        assert place(memory.empty(SIZE, np.float64)) != first
    view.setflags(write=False)
    assert place(memory.empty(SIZE, np.float64)) != first


def test_memory_of_about_the_size_is_used_again():
    first = place(memory.empty(SIZE, np.float64))
    assert place(memory.empty(SIZE, np.float64)) == first
    assert place(memory.zeros((2, SIZE // 2), np.float64)) == first  # any shape
    assert place(memory.empty(2 * SIZE, np.float32)) == first  # and type
    assert place(memory.empty(SIZE - SIZE // 16, np.float64)) == first  # a little smaller
    assert place(memory.empty(SIZE // 2, np.float64)) != first  # not half
    assert place(memory.empty(2 * SIZE, np.float64)) != first


def test_blocks_begin_with_a_cache_line():
    assert all(place(memory.empty(SIZE + 1000 * k, np.float32)) % memory.LINE == 0 for k in range(5))


def test_what_is_used_again_is_what_was_asked_for():
    memory.empty(SIZE, np.float64).fill(7.0)
    zeros = memory.zeros((4, SIZE // 4), np.float64)
    assert not zeros.any()
    assert zeros.flags.c_contiguous
    assert zeros.flags.writeable
    assert zeros.flags.aligned
    source = np.arange(2.0 * SIZE).reshape(2, SIZE)[:, ::2]
    again = memory.copy(source)
    np.testing.assert_array_equal(again, source)
    assert not np.shares_memory(again, source)
    for shape in ((), 0, (0, 5), (3, 0), 5, (2, 3), [2, 3], np.int64(4)):
        like = np.zeros(shape)
        for make in (memory.empty, memory.zeros):
            assert make(shape, "float32").shape == like.shape
            assert make(shape, "float32").dtype == np.float32


def test_release_gives_all_back():
    arrays = [memory.empty(SIZE, np.float64) for _ in range(5)]
    del arrays
    assert 5 * 8 * SIZE <= memory.kept() < 6 * 8 * SIZE
    memory.release()
    assert memory.kept() == 0
    array = memory.empty(SIZE, np.float64)
    memory.release()  # what is in use is not touched
    array[...] = 1
    assert array.sum() == SIZE


def test_no_more_is_kept_than_promised(monkeypatch):
    monkeypatch.setattr(memory, "KEPT_BYTES", 5 << 20)
    arrays = [memory.empty(SIZE + 600 * k, np.float64) for k in range(20)]
    while arrays:
        arrays.pop()
        assert memory.kept() <= 5 << 20
    assert memory.kept()


def test_hammered_by_many_threads():
    """Each thread writes its own number into what it is given and must find it there; views outlive their arrays."""
    wrong = []

    def hammer(own):
        rng = np.random.default_rng(own)
        held = []
        for turn in range(300):
            array = memory.empty(int(rng.integers(9000, 9800)), np.float64)
            array.fill(own + turn)
            held.append((array[10:][::3], own + turn))
            del array
            if len(held) > 6:
                view, number = held.pop(int(rng.integers(len(held))))
                if not (view == number).all():
                    wrong.append((own, number))
            if turn % 100 == 50:
                memory.release()
        wrong.extend((own, number) for view, number in held if not (view == number).all())

    workers = [threading.Thread(target=hammer, args=(1000 * k,)) for k in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_blocks_in_cycles_come_back_through_the_garbage_collector():
    places = set()
    for _ in range(50):
        array = memory.empty(SIZE, np.float64)
        places.add(place(array))
        cycle = [array]
        cycle.append(cycle)
        del array, cycle
        gc.collect()
    assert len(places) == 1


def test_results_stay_when_their_run_is_gone():
    """What a user holds is a view of a run's memory; a later run of the same sizes must not write into it."""
    net = tt.Network("tanh", 4, 40, seed=0)
    x = np.random.default_rng(0).normal(size=(60, 8, 4))
    run = net.unroll(x)
    grads = run.backprop(np.ones_like(run.output))
    kept = [run.states[3:], run.output[1:, 2], grads.states, grads.input[5]]
    copies = [view.copy() for view in kept]
    del run, grads
    for seed in range(5):
        later = tt.Network("tanh", 4, 40, seed=seed + 1).unroll(x + 1)
        later.backprop(np.ones_like(later.output))
        del later
        for view, copy in zip(kept, copies, strict=True):
            np.testing.assert_array_equal(view, copy)


def fresh(code, *arguments):
    """What a process of its own prints; it must not complain about anything, not even at its end."""
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert not answer.stderr
    return answer.stdout


def test_the_end_of_the_process_is_quiet():
    """Arrays die with the interpreter, after the modules that they need."""
    assert (
        fresh("""
        import sys
        from throughtime.engine import memory
        array = memory.empty(1 << 17, "float64")
        sys.held = [memory.empty(1 << 17, "float64")]      # outlives the module
        import builtins
        builtins.held = memory.empty(1 << 17, "float64")[3:]
        print("end")
    """)
        == "end\n"
    )


PEAK = """
    import ctypes, gc, sys
    import numpy as np
    import throughtime as tt
    from throughtime.engine import memory

    def status(key):
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

    cell, threads, layers, directions = sys.argv[1], *map(int, sys.argv[2:5])
    T, B, I, N = map(int, sys.argv[5:])
    shape = {"num_layers": layers, "bidirectional": directions == 2}
    tt.set_num_threads(threads)

    def pass_(net, x, g):
        run = net.unroll(x)
        return run, run.backprop(g)

    def trimmed():
        # resident memory, without what is free: it must not be used again uncounted
        memory.release()
        gc.collect()
        if hasattr(ctypes.CDLL(None), "malloc_trim"):
            ctypes.CDLL(None).malloc_trim(0)
        return status("VmRSS")

    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(T, B, I)), rng.normal(size=(T, B, N * directions))
    for t, b, i, n in ((3, 40, 3, 70), (2, B, I, N)):    # machine code, threads and their stacks are there now
        pass_(tt.Network(cell, i, n, seed=0, **shape), np.ones((t, b, i)), np.ones((t, b, n * directions)))
    before = trimmed()
    net = tt.Network(cell, I, N, seed=0, **shape)
    trimmed()    # what its making took beside it
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")    # VmHWM, the peak of VmRSS, starts again
    run, grads = pass_(net, x, g)
    peak = status("VmHWM") - before

    record, S = tt.CELLS[cell].__throughtime__, net.state_size
    K = record.saved + record.emits         # what a unit sends is kept, where it is not its h
    P = sum(p.size for p in net.parameters.values())
    units = N * layers * directions
    saved = T * B * K * units               # what the way back reuses
    side_by_side = T * B * units * (directions == 2)    # what both directions of a layer send
    states = 2 * (T + 1) * B * S            # run.states and grads.states
    inputs = 2 * T * B * I                  # run.input and grads.input
    formula = 8 * (1.25 * (saved + side_by_side + states + inputs) + 4 * P)
    held = sum(a.nbytes for a in (run.states, run.input, grads.states, grads.input))
    assert held == 8 * (states + inputs)
    print(peak, formula)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak is measured by Linux's /proc")
@pytest.mark.parametrize(
    ("cell", "count", "shape", "sizes"),
    [
        ("lstm", 1, (1, 1), (200, 16, 32, 256)),
        ("lstm", 2, (1, 1), (200, 16, 32, 256)),
        ("gru", 2, (1, 1), (100, 32, 64, 256)),
        ("tanh", 2, (1, 1), (400, 16, 32, 256)),
        ("rate", 2, (1, 1), (400, 16, 32, 256)),
        ("lstm", 2, (1, 1), (3000, 1, 32, 128)),
        ("lstm", 2, (3, 1), (200, 16, 32, 256)),
        ("tanh", 2, (3, 1), (400, 16, 32, 256)),
        ("lstm", 2, (1, 2), (200, 16, 32, 256)),
        ("tanh", 2, (1, 2), (400, 16, 32, 256)),
        ("lstm", 2, (1, 1), (20, 1, 32, 512)),
        ("gru", 1, (2, 1), (2, 2, 64, 512)),
    ],
)
def test_peak_memory_of_forward_and_backward(cell, count, shape, sizes):
    """Peak <= 1.25 (T*B*K*N + 2 (T+1)*B*S + 2 T*B*I) + 4 P, with K*N and S those of all layers and directions, and some
    megabytes.

    These are the saved activations, and the states and the input with their gradients; and the parameters, those of
    the network, the run's copy, packed, and their gradient. For an LSTM K = 4, S = 2 N and P = 4 N (I + N + 2). Two
    directions have T*B*D*N more for each layer: what both send, side by side, for states are kept as they lie in time.
    The peak is that of the resident memory of a process of its own: what compiled code allocates counts too.
    """
    peak, formula = map(float, fresh(PEAK, cell, count, *shape, *sizes).split())
    assert 0.6 * formula < peak <= formula + 6e6, f"peak {peak / 1e6:.1f} MB of {formula / 1e6:.1f} MB"


def test_kept_memory_is_given_back_when_asked():
    array = memory.empty(SIZE, np.float64)
    del array
    assert memory.kept()
    tt.release_memory()
    assert memory.kept() == 0
