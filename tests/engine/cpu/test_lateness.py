"""A team whose workers do not get their processors lets the caller work alone, longer each time, and tries again."""

import time
from queue import SimpleQueue

import numpy as np
import pytest
from numba import njit, types

from throughtime.engine.cpu import board
from throughtime.engine.cpu import threads as team
from throughtime.engine.cpu.board import ALONE
from throughtime.engine.cpu.lateness import BORNE, LONGEST, PAUSE, Lateness
from throughtime.engine.cpu.own_share import mine

TWO = [(0, 2), (1, 2)]
usleep = types.ExternalFunction("usleep", types.int32(types.uint32))


@pytest.fixture
def strict(monkeypatch):
    monkeypatch.setattr(team, "Lateness", Lateness)


def test_it_waits_longer_each_time_and_forgives_at_once():
    late, now = Lateness(), 10.0
    for k in range(9):
        late.judge(2e-2, 1e-2, now)
        wait = max(min(PAUSE * 2**k, LONGEST), 0.2 if k else 0.0)
        assert late.alone(now + 0.99 * wait)
        assert not late.alone(now + 1.01 * wait)
        now += wait + 0.021
    late.judge(2e-2, 1.9e-2, now)
    assert not late.alone(now)
    late.judge(2e-2, 1e-2, now)
    assert not late.alone(now + 1.01 * PAUSE)


def test_short_passes_may_be_late_for_a_while():
    """As they are where another library's threads still spin; one on time begins the count anew."""
    late = Lateness()
    for start in (1.0, 1.1):
        for now in np.arange(start, start + 0.9 * BORNE - 1e-3, 1e-3):
            late.judge(1e-3, 2e-4, now)
            assert not late.alone(now)
        late.judge(1e-3, 9e-4, now + 1e-3)
    for now in np.arange(2.0, 2.0 + 1.1 * BORNE, 1e-3):
        late.judge(1e-3, 2e-4, now)
    assert late.alone(now)


def test_what_was_long_ago_does_not_count():
    late = Lateness()
    for now in (1.0, 1.06, 1.2, 3.0):
        late.judge(1e-3, 0.0, now)
        assert not late.alone(now)


def test_a_long_pass_is_not_tried_at_every_turn():
    late = Lateness()
    late.judge(0.5, 0.2, 0.0)
    assert late.alone(0.49)
    assert not late.alone(0.51)
    late.judge(0.5, 0.2, 1.0)
    assert late.alone(5.9)
    assert not late.alone(6.1)


@pytest.mark.parametrize(("taken", "ran"), [(1e-4, 1e-5), (3e-4, 1e-4), (1e-2, 8e-3), (0.0, 0.0)])
def test_what_costs_little_is_not_late(taken, ran):
    late = Lateness()
    late.judge(taken, ran, 1.0)
    assert not late.alone(1.0)


@njit(nogil=True)
def slow(seconds, share, meeting):
    """The worker's part takes so long, and no processor time."""
    member, _ = mine(share, meeting)
    if member == 1:
        usleep(np.uint32(1e6 * seconds))


def test_a_worker_that_sleeps_is_late(strict, monkeypatch):
    monkeypatch.setattr(team, "_team", team._Team())
    slow(0.0, (0, 1), np.zeros(ALONE, np.int64))  # compiled
    assert team.run(slow, (1.1 * BORNE,), TWO, (0, 1))
    assert not team.run(slow, (0.01,), TWO, (0, 1))
    assert team.run(slow, (0.0,), TWO, (0, 1), patient=True)


def test_a_worker_that_does_not_come_is_late(strict, monkeypatch):
    monkeypatch.setattr(team, "_team", team._Team())
    slow(0.0, (0, 1), np.zeros(ALONE, np.int64))
    assert team.run(slow, (0.0,), TWO, (0, 1))
    team._team.board[board.PATIENT] = 100_000
    time.sleep(0.1)  # the worker sleeps
    with monkeypatch.context() as patch:
        patch.setattr(team._team.workers[0], "calls", SimpleQueue())  # nobody looks there
        end = time.monotonic() + 1.1 * BORNE
        while time.monotonic() < end:
            assert not team.run(slow, (0.0,), TWO, (0, 1), patient=True)
        assert team._team.lateness.alone()


def test_waiting_for_a_compilation_is_not(strict, monkeypatch):
    monkeypatch.setattr(team, "_team", team._Team())
    slow(0.0, (0, 1), np.zeros(ALONE, np.int64))

    class Loop:
        overloads = ()

        def __call__(self, *given):
            self.overloads = ("one",)
            slow(*given)

    loop = Loop()
    assert team.run(loop, (1.1 * BORNE,), TWO, (0, 1))
    assert team.run(loop, (1.1 * BORNE,), TWO, (0, 1))
    assert not team.run(loop, (0.01,), TWO, (0, 1))
