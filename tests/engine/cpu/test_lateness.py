"""A team whose workers do not get their processors lets the caller work alone, longer each time, and tries again."""

import time

import numpy as np
import pytest

from throughtime.engine.cpu import threads as team
from throughtime.engine.cpu.lateness import LONGEST, PAUSE, Lateness

TWO = [(0, 2), (1, 2)]


@pytest.fixture
def strict(monkeypatch):
    monkeypatch.setattr(team, "Lateness", Lateness)


def test_it_waits_longer_each_time_and_forgives_at_once():
    late, now = Lateness(), 10.0
    for k in range(9):
        late.judge(2e-3, 1e-3, now)
        wait = min(PAUSE * 2**k, LONGEST)
        assert late.alone(now + 0.99 * wait)
        assert not late.alone(now + 1.01 * wait)
        now += 2 * wait
    late.judge(2e-3, 1.9e-3, now)
    assert not late.alone(now)
    late.judge(2e-3, 1e-3, now)
    assert not late.alone(now + 1.01 * PAUSE)


def test_a_long_pass_is_not_tried_at_every_turn():
    late = Lateness()
    late.judge(0.5, 0.2, 0.0)
    assert late.alone(4.9)
    assert not late.alone(5.1)


@pytest.mark.parametrize(("taken", "ran"), [(1e-4, 1e-5), (3e-4, 1e-4), (1e-2, 8e-3), (0.0, 0.0)])
def test_what_costs_little_is_not_late(taken, ran):
    late = Lateness()
    late.judge(taken, ran, 1.0)
    assert not late.alone(1.0)


def test_a_worker_that_sleeps_is_late(strict, monkeypatch):
    monkeypatch.setattr(team, "_team", team._Team())
    done = []

    def loop(part, meeting):
        if part[0] == 1:
            time.sleep(0.01)
        done.append(part)

    team.run(loop, (), TWO, "whole")
    team.run(loop, (), TWO, "whole")
    assert sorted(done[:2]) == TWO
    assert done[2:] == ["whole"]


def test_waiting_for_a_compilation_is_not(strict, monkeypatch):
    monkeypatch.setattr(team, "_team", team._Team())
    done = []

    class Loop:
        overloads = ()

        def __call__(self, part, meeting):
            if part[0] == 1:
                time.sleep(0.01)
                self.overloads = ("one",)
            done.append(part)

    team.run(Loop(), (), TWO, "whole")
    team.run(Loop(), (), TWO, "whole")
    assert sorted(done) == [TWO[0], TWO[0], TWO[1], TWO[1]]


def test_the_callers_wait_ends():
    """With all marks set at once; without, after its polls."""
    wait = team.waiting()
    wait(np.ones(3, np.int64), 1 << 60)
    wait(np.array([1, 0]), 10)
    wait(np.zeros(0, np.int64), 1 << 60)
