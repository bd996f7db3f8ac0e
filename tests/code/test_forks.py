"""A fork while other threads hold locks: compiling, measuring the machine, looking whether a cell has changed."""

import multiprocessing
import os
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

import throughtime as tt
from throughtime.cells import versions
from throughtime.code import forks
from throughtime.engine.cpu import machine
from throughtime.jit import compiler, specialise

pytestmark = pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="this system has no fork")
PATIENCE = 30.0  # seconds, after which a child hangs


@contextmanager
def held(lock, release=True):
    """The lock in the hands of another thread, which lets it go a while after the block has begun."""
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with lock:
            inside.set()
            leave.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(PATIENCE)
    later = threading.Timer(0.2, leave.set)
    if release:
        later.start()
    yield thread
    leave.set()
    thread.join()


def in_a_child(function):
    """What the function returns in a forked child."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=lambda: there.send(function()), daemon=True)
    process.start()
    try:
        assert here.poll(PATIENCE), "the child waits for a thread that it does not have"
        return here.recv()
    finally:
        process.kill()
        process.join()


def doubled(x):
    return 2 * x


def test_the_child_of_a_fork_compiles_while_another_thread_did():
    """The fork waits until the other is done."""
    with held(compiler) as other:
        assert in_a_child(lambda: specialise(doubled, "in_a_child")(np.float64(4.0))) == 8.0
    assert not other.is_alive()
    assert specialise(doubled, "in_the_parent")(np.float64(4.0)) == 8.0  # and the lock was handed back


@pytest.mark.parametrize("lock", [versions._lock, machine._one_at_a_time], ids=["cells", "machine"])
def test_the_child_of_a_fork_finds_locks_free(lock):
    """That of those who look at a cell, and of the one who measures the machine."""

    def work():
        free = lock.acquire(blocking=False)
        if free:
            lock.release()
        versions._now.clear()
        return free, tt.Network("gru", 2, 8, seed=0).unroll(np.ones((3, 2))).output.shape

    with held(lock, release=False):
        assert in_a_child(work) == (True, (3, 8))
        assert not lock.acquire(blocking=False), "the parent's lock is still held"


def test_a_thread_that_is_stuck_does_not_stop_a_fork(monkeypatch):
    hooks = {}
    monkeypatch.setattr(os, "register_at_fork", lambda **given: hooks.update(given))
    owner = SimpleNamespace(_lock=threading.RLock())
    forks.wait_before_fork(owner, patience=0.05)
    before = owner._lock
    with held(owner._lock, release=False):
        hooks["before"]()
        hooks["after_in_parent"]()
        assert owner._lock is before
        hooks["before"]()
        hooks["after_in_child"]()
        assert owner._lock is not before
    hooks["before"]()
    hooks["after_in_child"]()
    assert owner._lock.acquire(blocking=False)
