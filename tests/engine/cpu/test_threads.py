"""The team of threads: its number, its errors and interrupts, callers that find it busy, and forks. Bits: test_bits.py.

The team is driven with small compiled loops, which fail or take their time at a chosen place.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import everything, problem, same_bits
from numba import njit, types

import throughtime as tt
from throughtime.engine.cpu import board as boards
from throughtime.engine.cpu import own_share
from throughtime.engine.cpu import threads as team
from throughtime.engine.cpu.meeting import meet
from throughtime.engine.cpu.own_share import mine
from throughtime.engine.cpu.serving import joining, serving

PATIENCE = 2.0  # seconds
WHOLE = (0, 1)
NOBODY = -1
usleep = types.ExternalFunction("usleep", types.int32(types.uint32))


def parts(count):
    return [(index, count) for index in range(count)]


@njit(nogil=True)
def note(done, each, failing, share, meeting):
    """Count the part in done[member], after so many microseconds each, when all others have come; or fail."""
    member, count = mine(share, meeting)
    if failing == member or failing == 100:
        raise MemoryError("on purpose")
    usleep(np.uint32(each * member))
    round_ = meet(meeting, count, 0)
    done[member] += 1
    meet(meeting, count, round_)


@pytest.fixture(autouse=True)
def _a_team_of_its_own(monkeypatch):
    monkeypatch.setattr(team, "_team", team._Team())


def works():
    """The team does all parts, each once, and is back only when they are done."""
    done = np.zeros(4, np.int64)
    for k in range(3):
        assert team.run(note, (done, 10_000, NOBODY), parts(3), WHOLE)
        assert done.tolist() == [k + 1] * 3 + [0]


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


@pytest.mark.parametrize("where", [0, 1, 2, 100], ids=["caller", "worker", "last", "all"])
def test_an_error_in_one_part_hangs_nobody(where):
    """It reaches the caller, and those who wait for that part are let go."""
    begin = time.monotonic()
    with pytest.raises(MemoryError, match="on purpose" if where in (0, 100) else "no memory for what a thread needs"):
        team.run(note, (np.zeros(3, np.int64), 0, where), parts(3), WHOLE)
    assert time.monotonic() - begin < PATIENCE
    works()


def test_an_interrupt_while_waiting_for_the_others():
    """Ctrl-C comes while a worker is slow. Nothing that it uses is given back before it is done."""
    works()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have background jobs ignore it
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        team.run(note, (np.zeros(2, np.int64), 300_000, NOBODY), parts(2), WHOLE)
    assert time.monotonic() - begin > 0.29
    timer.join()
    signal.signal(signal.SIGINT, before)
    works()


@njit(nogil=True)
def slow(done, microseconds, share, meeting):
    """The worker takes so long, and the caller does not."""
    member, _ = mine(share, meeting)
    if member == 1:
        usleep(np.uint32(microseconds))
    done[member] += 1


def test_an_interrupt_between_the_loop_and_its_end(monkeypatch):
    """The worker is waited for all the same: it uses the caller's arrays."""
    works()
    team.run(slow, (np.zeros(2, np.int64), 0), parts(2), WHOLE)  # compiled
    join, calls = team.joining(), []

    def interrupted(*given):
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return join(*given)

    done = np.zeros(2, np.int64)
    with monkeypatch.context() as patch:
        patch.setattr(team, "joining", lambda: interrupted)
        with pytest.raises(KeyboardInterrupt):
            team.run(slow, (done, 100_000), parts(2), WHOLE)
    assert done.tolist() == [1, 1]
    works()


def test_a_pass_that_was_left_open_is_ended_by_the_next():
    works()
    own = team._team
    own.open = ()
    works()
    assert own.open is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_has_ended_is_replaced():
    works()
    worker, end = team._team.workers[1], time.monotonic() + PATIENCE
    ended = ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident), ctypes.py_object(SystemExit))
    assert ended == 1
    worker.calls.put(None)
    while not worker.ended:
        assert time.monotonic() < end
        time.sleep(1e-3)
    works()
    assert team._team.workers[1] is not worker


@pytest.mark.parametrize("answering", [0, 1])
def test_who_does_not_answer_is_left_out(answering):
    """Of two workers that seem to poll, none or one does: the caller does all, soon, and both may be asked again."""
    board, done = boards.board(2, 3), np.zeros(3, np.int64)
    first, second = (boards.WORKERS + boards.STATE + k * boards.APART for k in range(2))
    board[boards.GATHER], board[boards.SEND] = own_share.addresses()
    note(np.zeros(3, np.int64), 0, NOBODY, WHOLE, team._alone)  # compiled
    board[boards.MEMBERS] = 3  # a pass is near: nobody goes to sleep for long
    if answering:
        poll = threading.Thread(target=serving(), args=(board, 0))
        poll.start()
        wait_for(lambda: board[first] == boards.AWAKE)
    board[first] = board[second] = boards.AWAKE
    boards.prepare(board, team._flat(tuple(parts(3))), 3, 50_000_000)
    begin = time.monotonic()
    note(done, 0, NOBODY, WHOLE, board)
    assert 0.05 < time.monotonic() - begin < PATIENCE
    assert done.tolist() == [1, 0, 0]
    assert board[boards.FUNCTION] == board[boards.MEMBERS] == 0  # nobody has anything to do
    assert joining()(board, 2)[0] == boards.NOBODY
    if answering:
        board[boards.STOP] = 1
        poll.join()
    assert board[first] == (boards.ASLEEP if answering else boards.AWAKE)
    assert board[second] == boards.AWAKE


def wait_for(happens):
    end = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < end
        time.sleep(1e-4)


def test_a_pass_that_begins_late_is_divided(monkeypatch):
    """Its workers nap, while a loop is compiled or fetched: they are no longer waited for than they need to wake."""
    monkeypatch.setattr(boards, "ANSWER", 1_000_000)
    prepare, divided = boards.prepare, []
    team.run(note, (np.zeros(2, np.int64), 0, NOBODY), parts(2), WHOLE)  # compiled
    monkeypatch.setattr(boards, "PATIENCE", 50_000_000)
    own = team._team

    def late(*given):
        prepare(*given)
        time.sleep(0.02)

    monkeypatch.setattr(boards, "prepare", late)
    own.board[boards.PATIENT] = 50_000_000
    while sum(divided) < 10:  # beside busy processes some are not; when naps were taken for absence, 2 to 7 of 40 were
        own.lateness = team.Lateness()
        divided.append(team.run(note, (np.zeros(2, np.int64), 0, NOBODY), parts(2), WHOLE))
        assert len(divided) < 40


def test_how_long_a_worker_has_to_answer(monkeypatch):
    """A part of what the pass took last; for ever where threads share processors."""
    monkeypatch.setattr(boards, "ANSWER", 10_000)
    own, shares = team._Team(), tuple(parts(2))
    own.processors = 2
    assert own._answer(note, shares) == boards.PATIENCE  # not known
    own.took[note, shares] = 80_000_000
    assert own._answer(note, shares) == 10_000_000
    own.took[note, shares] = 1000
    assert own._answer(note, shares) == boards.ANSWER
    assert own._answer(note, tuple(parts(3))) == boards.FREE


def test_arguments_that_fit_no_board_are_one_threads(monkeypatch):
    """Those of the way back of a cell with hundreds of parameters."""
    works()
    monkeypatch.setattr(own_share, "ROOM", 4)
    late = []
    monkeypatch.setattr(team._team.lateness, "judge", lambda *given: late.append(given), raising=False)

    @njit(nogil=True)
    def loop(done, share, meeting):
        member, _ = mine(share, meeting)
        done[member] += 1

    done = np.zeros(2, np.int64)
    for _ in range(2):
        assert not team.run(loop, (done,), parts(2), WHOLE)
    assert done.tolist() == [2, 0]
    assert not late


def test_a_fork_within_a_pass():
    """By a signal's handler, say: the child's part of the pass fails, as its workers are not there."""
    works()
    team.run(slow, (np.zeros(2, np.int64), 0), parts(2), WHOLE)
    child = []

    def loop(*given):
        slow(*given)
        child.append(os.fork())

    done = np.zeros(2, np.int64)
    try:
        assert team.run(loop, (done, 200_000), parts(2), WHOLE)
    except MemoryError:
        os._exit(7)
    assert done.tolist() == [1, 1]
    assert os.waitstatus_to_exitcode(os.waitpid(child[0], 0)[1]) == 7


def test_a_thread_that_cannot_start(monkeypatch):
    """The team is handed back, and works once threads can start again."""

    def no_thread(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="can't start"):
            team.run(note, (np.zeros(2, np.int64), 0, NOBODY), parts(2), WHOLE)
    works()


def test_arrays_belong_to_nobody_afterwards():
    """A worker counts no owner of the caller's arrays, which are gone before it is done."""
    done = np.zeros(3, np.int64)
    works()
    before = sys.getrefcount(done)
    for _ in range(200):
        team.run(note, (done, 0, NOBODY), parts(3), WHOLE)
    assert sys.getrefcount(done) == before
    assert done.tolist() == [200] * 3


def test_a_worker_sleeps_after_a_while():
    works()
    own, end = team._team, time.monotonic() + PATIENCE
    while not all(boards.is_asleep(own.board, k) for k in range(2)):
        assert time.monotonic() < end
        time.sleep(1e-3)
    own.awake()
    time.sleep(2 * team.OFTEN)
    assert not own.awake()
    works()


LAST_ACT = """
import numpy as np, throughtime as tt
from throughtime.engine.cpu import shares, threads
shares.SMALL, shares.planned = 0, lambda *given, **more: ("rows", 2)
tt.set_num_threads(2)
tt.Network("tanh", 8, 40, seed=0).unroll(np.ones((20, 8, 8)))
assert threads._team.workers
"""


def test_an_interpreter_ends_while_workers_still_poll():
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", LAST_ACT], capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stderr) == (0, "")


# ---- callers -------------------------------------------------------------------------------------


def test_a_busy_team_lets_the_second_caller_work_alone():
    works()
    first_done, done = np.zeros(2, np.int64), np.zeros(2, np.int64)
    first = threading.Thread(target=team.run, args=(note, (first_done, 300_000, NOBODY), parts(2), WHOLE))
    first.start()
    time.sleep(0.1)
    assert not team.run(note, (done, 0, NOBODY), parts(2), WHOLE)
    first.join()
    assert done.tolist() == [1, 0]
    assert first_done.tolist() == [1, 1]
    works()


def test_alone_gives_the_same_bits(threads, monkeypatch):
    p = problem("tanh", 8, 40, 7, 48)
    threads(2)
    together = everything(p)
    assert team._team.workers
    with team._team.free:
        monkeypatch.setattr(team._Team, "together", None)  # not called now
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
