"""The team: plain Python threads that take their parts of a compiled loop at the same time.

No `parallel=True`: it adds compile time, and its layers abort on concurrent calls (workqueue) or after a fork (GNU
OpenMP). Here a second caller finds the team busy and works alone, and a forked child starts a team of its own; the
results have the same bits.
"""

import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

import numpy as np

from ...refuse import arguments
from ...refuse.expected import checking
from .. import other_threads as foreign
from .lateness import Lateness
from .meeting import new_meeting, waiting
from .processors import Places, available

FREE = 1 << 62  # a meeting's count that lets every thread pass
POLLS = 10_000  # of a caller that is done, some 200 microseconds, before it sleeps: waking it takes 25

_wanted = available()


@checking
def set_num_threads(count: int) -> None:
    """Let unrolling and backpropagation use at most `count` threads; the results have the same bits for any number.

    A pass that is too small to gain by them is done by one. What gains follows from a measurement of this machine: it
    is made when a pass first asks, takes some tenths of a second, and is kept beside the compiled code. The environment
    variable THROUGHTIME_CALIBRATE, set before the first pass, says "again" to measure anew, or "off" for usual numbers.

    Raises:
        ValueError: if `count` is not a positive integer.

    Example:
        >>> import throughtime as tt
        >>> tt.set_num_threads(1)
        >>> tt.get_num_threads()
        1
    """
    global _wanted
    meaning = "the number of threads is a positive integer, at best the number of processors"
    _wanted = arguments.step("count", count, 1, meaning=meaning)


def get_num_threads() -> int:
    """The largest number of threads that a call may use; at first, the processors that this process may run on.

    >>> import throughtime as tt
    >>> tt.get_num_threads() >= 1
    True
    """
    return _wanted


class _Worker(threading.Thread):
    """Waits for parts of work; a part is a function without arguments."""

    def __init__(self) -> None:
        super().__init__(name="throughtime", daemon=True)
        self.jobs: SimpleQueue = SimpleQueue()
        self.start()

    def run(self) -> None:
        while True:
            self.jobs.get()()


_unused = new_meeting()  # of those who work alone: they meet nobody


class _Team:
    def __init__(self) -> None:
        self.free = threading.Lock()
        self.workers: list[_Worker] = []
        self.places = Places()
        self.lateness = Lateness()


_team = _Team()


def _after_fork() -> None:
    global _team
    _team = _Team()  # threads do not survive a fork, and the lock may have been held


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(loop: Callable, arguments: tuple, parts: list[tuple], whole: tuple, patient: bool = False) -> None:
    """Call `loop(*arguments, part, meeting)` for all parts at once, each in its own thread.

    If the team is busy or its processors are, or there is one part, the caller works alone, on the `whole`. patient:
    whether workers are waited for that were late just before.
    """
    team = _team
    if len(parts) == 1 or (team.lateness.alone() and not patient) or not team.free.acquire(blocking=False):
        loop(*arguments, whole, _unused)
        return
    try:
        look = foreign.look()
        while len(team.workers) < len(parts) - 1:
            team.workers.append(_Worker())
        if team.places.keep_apart([worker.native_id or -1 for worker in team.workers]):
            team.lateness.judge(*_run_together(team.workers[: len(parts) - 1], loop, arguments, parts))
        else:
            loop(*arguments, whole, _unused)
    finally:
        team.free.release()
    if look is not None:
        foreign.judge(look, len(parts), available())


def _run_together(workers: list[_Worker], loop: Callable, arguments: tuple, parts: list[tuple]) -> tuple[float, float]:
    """(seconds until the part of one worker was over, seconds that it ran): of the one that lost most; of a call in
    which the loop was compiled, for which others wait, two zeros."""
    compiled = _compiled(loop)
    meeting, ended = new_meeting(), np.zeros(len(workers), np.int64)
    times = [(0.0, 0.0)] * len(workers)
    given = time.monotonic()
    done: SimpleQueue = SimpleQueue()  # of this call alone: a call that was interrupted leaves no answer to the next

    def job(index: int, part: tuple) -> Callable[[], None]:
        def work() -> None:
            before, failed = time.thread_time(), None
            try:
                loop(*arguments, part, meeting)
            except BaseException as error:  # handed to the caller, who raises it
                meeting[0] = FREE  # nobody may wait for a thread that does not come
                failed = error
            times[index] = time.monotonic() - given, time.thread_time() - before
            done.put(failed)
            ended[index] = 1

        return work

    sent = 0
    errors: list[BaseException | None] = []
    try:
        for worker, part in zip(workers, parts[1:], strict=True):
            worker.jobs.put(job(sent, part))
            sent += 1
        loop(*arguments, parts[0], meeting)
        waiting()(ended, POLLS)
    except BaseException as error:  # an interrupt, say
        meeting[0] = FREE
        errors.append(error)
    errors += [done.get() for _ in range(sent)]
    for first in errors:
        if first is not None:
            raise first
    return max(times, key=lambda one: one[0] - one[1]) if _compiled(loop) == compiled else (0.0, 0.0)


def _compiled(loop: Callable) -> int:
    """Versions of a loop that there are."""
    return len(getattr(loop, "overloads", ()))
