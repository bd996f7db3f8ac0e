"""The team of threads: its number, its errors and interrupts, callers that find it busy, and forks. Bits: test_bits.py.

The team is driven with loops in plain Python, which can be made to fail at a chosen place. A loop that waits for the
others as the compiled ones do, `wait_for_all`, gives up after some seconds, so that a hang is a failure.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import everything, problem, same_bits

import throughtime as tt
from throughtime.engine.cpu import threads as team

PATIENCE = 2.0  # seconds
WHOLE = ("whole", 1)


def parts(count):
    return [(index, count) for index in range(count)]


def wait_for_all(meeting, count):
    """Like `meeting.meet`, for the first round."""
    with lock:
        meeting[0] += 1
    end = time.monotonic() + PATIENCE
    while meeting[0] < count:
        assert time.monotonic() < end, "waited for a thread that never came"
        time.sleep(0.001)


lock = threading.Lock()


@pytest.fixture(autouse=True)
def _a_team_of_its_own(monkeypatch):
    monkeypatch.setattr(team, "_team", team._Team())


def works():
    """The team does all parts, each once, and is back only when they are done."""
    done = []

    def loop(part, meeting):
        wait_for_all(meeting, part[1])
        time.sleep(0.01 * part[0])
        done.append(part)

    for _ in range(3):
        done.clear()
        team.run(loop, (), parts(3), WHOLE)
        assert sorted(done) == parts(3)


def test_a_team_works():
    works()


# ---- the number ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 7, np.int64(3), np.uint8(5)])
def test_numbers_of_threads(threads, count):
    threads(count)
    assert tt.get_num_threads() == count
    assert type(tt.get_num_threads()) is int


@pytest.mark.parametrize("count", [0, -1, 1.0, 2.5, True, "2", None, [2], np.nan])
def test_what_is_no_number_of_threads(threads, count):
    threads(3)
    with pytest.raises(ValueError, match=r"`count` is .*positive integer"):
        tt.set_num_threads(count)
    assert tt.get_num_threads() == 3


def test_the_default_is_what_the_process_may_use():
    assert team.available() >= 1


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "where",
    [pytest.param(0, id="caller"), pytest.param(1, id="worker"), pytest.param(2, id="last")],
)
def test_an_error_in_one_part_hangs_nobody(where, error):
    """It reaches the caller, and those who wait for that part are let go."""

    def loop(part, meeting):
        if part[0] == where:
            time.sleep(0.05)  # the others wait already
            raise error("on purpose")
        wait_for_all(meeting, part[1])

    begin = time.monotonic()
    with pytest.raises(error, match="on purpose"):
        team.run(loop, (), parts(3), WHOLE)
    assert time.monotonic() - begin < PATIENCE / 2
    works()


def test_errors_in_all_parts():
    def loop(part, meeting):
        raise ValueError(f"part {part[0]}")

    with pytest.raises(ValueError, match="part 0"):
        team.run(loop, (), parts(4), WHOLE)
    works()


def test_an_interrupt_while_waiting_for_the_others():
    """The caller is done and waits for a slow worker when Ctrl-C comes. The next call must not take the old answer."""
    finished, interrupted = [], threading.Event()

    def loop(call, part, meeting):
        if part[0] == 1:
            interrupted.wait(10)
            time.sleep(0.3)
        finished.append((call, *part))

    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        interrupted.set()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have background jobs ignore it
    timer = threading.Timer(0.1, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        team.run(loop, ("interrupted",), parts(2), WHOLE)
    timer.join()
    signal.signal(signal.SIGINT, before)
    for call in range(3):
        team.run(loop, (call,), parts(2), WHOLE)
        assert [part for part in finished if part[0] == call] == [(call, 0, 2), (call, 1, 2)]


def test_a_thread_that_cannot_start(monkeypatch):
    """The team is handed back, and works once threads can start again."""

    def no_thread(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="can't start"):
            team.run(lambda part, meeting: None, (), parts(2), WHOLE)
    works()


# ---- callers -------------------------------------------------------------------------------------


def test_a_busy_team_lets_the_second_caller_work_alone():
    inside, leave, alone = threading.Event(), threading.Event(), []

    def slow(part, meeting):
        inside.set()
        assert leave.wait(PATIENCE)

    first = threading.Thread(target=team.run, args=(slow, (), parts(2), WHOLE))
    first.start()
    assert inside.wait(PATIENCE)
    team.run(lambda part, meeting: alone.append(part), (), parts(2), WHOLE)
    leave.set()
    first.join()
    assert alone == [WHOLE]
    works()


def test_alone_gives_the_same_bits(threads, monkeypatch):
    p = problem("tanh", 8, 40, 7, 48)
    threads(2)
    together = everything(p)
    assert team._team.workers
    with team._team.free:
        monkeypatch.setattr(team, "_run_together", None)  # not called now
        same_bits(everything(p), together)


def test_many_threads_on_different_networks(threads):
    """Some share the team, some find it busy, all are right."""
    threads(2)
    problems = [problem("tanh", 40, 5 + k, 3, 33, seed=k) for k in range(3)]
    problems += [problem("tanh", 8, 1, 7, 120 + 40 * k, layers=2, seed=k) for k in range(3)]
    alone = [everything(p) for p in problems]

    def again(k):
        for _ in range(4):
            same_bits(everything(problems[k]), alone[k])
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(again, [0, 1, 2, 3, 4, 5, 0, 1]))


def test_a_fork_while_the_team_is_busy(threads):
    """The child's copy of the lock is held by a thread that it does not have."""
    p = problem("tanh", 8, 40, 7, 48)
    threads(2)
    expected = everything(p)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def child():
        numbers = everything(p)
        there.send((numbers, len(team._team.workers)))

    with team._team.free:
        process = context.Process(target=child, daemon=True)
        process.start()
    assert here.poll(30), "the forked process did not answer"
    numbers, workers = here.recv()
    process.join(10)
    same_bits(numbers, expected)
    assert workers == 1  # a team of its own
    assert process.exitcode == 0
