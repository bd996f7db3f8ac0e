"""Where the workers of a team may run: beside the caller, never under it, on machines that are made up and on this."""

import os

import pytest
from networks import everything, problem

from throughtime.engine.cpu import processors
from throughtime.engine.cpu import threads as team
from throughtime.engine.cpu.processors import Places, divided


@pytest.mark.parametrize("count", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("workers", [1, 2, 7, 63, 64])
def test_no_two_of_a_team_share_a_processor_while_there_are_enough(count, workers):
    for here in (0, count // 2, count - 1):
        found = divided(set(range(count)), here, workers)
        assert len(found) == workers
        if workers < count:
            together = [here, *(processor for own in found for processor in own)]
            assert sorted(together) == list(range(count))
            assert max(map(len, found)) - min(map(len, found)) <= 1
        else:
            assert found == [set(range(count))] * workers


class Machine:
    """A system that is told where the caller runs, and keeps what it was asked for."""

    def __init__(self, monkeypatch, allowed, here=0):
        self.allowed, self.here, self.asked = set(allowed), here, {}
        self.moves = 0
        monkeypatch.setattr(processors, "_processor", lambda: self.here)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(self.allowed), raising=False)
        monkeypatch.setattr(os, "sched_setaffinity", self.move, raising=False)
        self.places = Places()
        self.places._able = True

    def move(self, thread, processors):
        assert processors <= self.allowed
        self.asked[thread] = set(processors)
        self.moves += 1


@pytest.mark.parametrize("count", [2, 4, 64])
def test_a_caller_that_moves_costs_one_worker_a_move(monkeypatch, count):
    machine = Machine(monkeypatch, range(count))
    workers = list(range(100, 100 + count - 1))
    for here in (0, 0, 1, 1, count - 1, 0):
        before, moved = machine.moves, here != machine.here
        machine.here = here
        assert machine.places.keep_apart(workers)
        assert all(here not in own for own in machine.asked.values())
        assert len(machine.asked) == len(workers)
        assert machine.moves - before <= (1 if before else len(workers))
        assert moved or not before or machine.moves == before


def test_a_team_that_grows_and_a_process_that_is_given_other_processors(monkeypatch):
    machine = Machine(monkeypatch, range(8))
    assert machine.places.keep_apart([100])
    assert machine.asked == {100: set(range(1, 8))}
    assert machine.places.keep_apart([100, 101, 102])
    assert machine.asked == {100: {1, 2}, 101: {3, 4}, 102: {5, 6, 7}}
    machine.allowed, machine.here = {4, 5, 6, 7}, 4
    assert machine.places.keep_apart([100, 101, 102])
    assert machine.asked == {100: {5}, 101: {6}, 102: {7}}


def test_a_caller_with_one_processor_works_alone(monkeypatch):
    machine = Machine(monkeypatch, {3}, here=3)
    assert not machine.places.keep_apart([100])
    assert not machine.asked
    done = []
    monkeypatch.setattr(team, "_team", team._Team())
    team._team.places = machine.places
    assert not team.run(lambda share, meeting: done.append(share), (), [(0, 2), (1, 2)], (0, 1))
    assert done == [(0, 1)]


def test_a_system_that_forbids_it_is_asked_once(monkeypatch):
    machine = Machine(monkeypatch, range(4))
    asked = []

    def refuse(thread, processors):
        asked.append(thread)
        raise PermissionError("not here")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    for here in range(4):
        machine.here = here
        assert machine.places.keep_apart([100, 101])
    assert asked == [100]


@pytest.mark.skipif(not processors.CAN_PLACE, reason="this system places threads itself")
@pytest.mark.skipif(processors.available() < 2, reason="one processor")
def test_the_callers_processors_are_left_as_they_were(threads, monkeypatch):
    monkeypatch.setattr(team, "_team", team._Team())
    before = os.sched_getaffinity(0)
    threads(2)
    everything(problem("tanh", 8, 40, 7, 48))
    assert os.sched_getaffinity(0) == before
    (worker,) = team._team.workers
    assert os.sched_getaffinity(worker.native_id) < before
