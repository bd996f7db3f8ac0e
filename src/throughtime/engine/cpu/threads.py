"""The team: Python threads that take their parts of a compiled loop at the same time (own_share.py).

No `parallel=True`: it adds compile time, and its layers abort on concurrent calls (workqueue) or after a fork (GNU
OpenMP). Here a second caller finds the team busy and works alone, and a forked child starts a team of its own; the
results have the same bits.
"""

import atexit
import os
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from queue import SimpleQueue

import numpy as np

from ...refuse import arguments
from ...refuse.expected import checking
from .. import other_threads as foreign
from . import board as boards
from . import own_share
from .lateness import LEAST, Lateness
from .processors import Places, available
from .serving import joining, serving

KNOWN = 1000  # passes whose times are kept
OFTEN = 1e-9 * boards.LINGER / 2  # seconds from one pass to the next: the workers do not sleep between them

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
    """Sleeps until it is called, and then does what stands on the team's board."""

    def __init__(self, team: "_Team", index: int) -> None:
        super().__init__(name="throughtime", daemon=True)
        self.team, self.index = team, index
        self.calls: SimpleQueue = SimpleQueue()
        self.ended = False  # `is_alive` may call a thread dead that lives, where an interrupt comes within
        self.start()

    def run(self) -> None:
        try:
            serve = serving()
            while True:
                self.calls.get()
                serve(self.team.board, self.index)
        finally:
            self.ended = True


_alone = np.zeros(boards.ALONE, np.int64)  # the board of those who work alone: nobody is called


class _Team:
    def __init__(self) -> None:
        self.free = threading.Lock()
        self.workers: list[_Worker] = []
        self.board = boards.board(0, 1)
        self.places = Places()
        self.lateness = Lateness()
        self.asked = 0.0  # when a pass was planned
        self.processors = available()
        self.took: dict[tuple, int] = {}  # nanoseconds of the last pass of a loop and its shares
        self.open: tuple | None = None  # what the workers may use

    def together(self, loop: Callable, arguments: tuple, parts: list[tuple], whole: tuple) -> bool:
        """See `run`."""
        count, compiled, join, shares = len(parts) - 1, _compiled(loop), joining(), tuple(parts)
        self._finish()
        self._grow(count)
        board = self.board
        if not self.places.keep_apart([worker.native_id or -1 for worker in self.workers]):
            loop(*arguments, whole, _alone)
            return False
        self.open, interrupt = arguments, None
        try:
            boards.prepare(board, _flat(shares), len(parts), self._answer(loop, shares))
            for worker in self.workers[:count]:
                if boards.is_asleep(board, worker.index) and worker.calls.empty():
                    worker.calls.put(None)
            begin = time.monotonic_ns()
            loop(*arguments, whole, board)
            self.took[loop, shares] = time.monotonic_ns() - begin
        except BaseException:
            board[0] = boards.FREE  # nobody may wait for one who does not come; by no call, which could be interrupted
            raise
        finally:  # until then the workers use the caller's arrays, whatever interrupts the wait for them
            while True:
                try:
                    board[boards.MEMBERS] = 0
                    failed, taken, ran = join(board, count)
                    break
                except BaseException as error:
                    interrupt = error
                    board[0] = boards.FREE
            self.open = None
        if interrupt is not None:
            raise interrupt
        if failed > 0:
            raise MemoryError("There was no memory for what a thread needs for its part of the work.")
        if failed > boards.TOO_LARGE and _compiled(loop) == compiled:  # else others waited for the compiler
            self.lateness.judge(*((2 * LEAST, 0.0) if failed == boards.NOBODY else (1e-9 * taken, 1e-9 * ran)))
        return bool(failed == 0)

    def _answer(self, loop: Callable, shares: tuple) -> int:
        """Nanoseconds that a worker has to answer; where threads share processors, as many as it takes."""
        if len(shares) > self.processors:
            return boards.FREE
        if len(self.took) > KNOWN:
            self.took.clear()
        return max(boards.ANSWER, self.took.get((loop, shares), boards.PART * boards.PATIENCE) // boards.PART)

    def _finish(self) -> None:
        """Wait for the workers of a pass of which an interrupt cut even the end short."""
        if self.open is not None:
            self.board[0] = boards.FREE
            joining()(self.board, len(self.workers))
            self.open = None

    def _grow(self, count: int) -> None:
        """Have so many workers; one that has ended, by an error that another thread sent it, is replaced."""
        if len(self.workers) < count:
            serving()(self.board, -1)  # compiled before a worker calls it
            board = boards.board(count, available())
            board[boards.GATHER], board[boards.SEND] = own_share.addresses()
            self.board = board  # nobody works now
        for k in range(count):
            if k == len(self.workers):
                self.workers.append(_Worker(self, k))
            elif self.workers[k].ended:
                boards.put_to_sleep(self.board, k)
                self.workers[k] = _Worker(self, k)

    def awake(self) -> bool:
        """Whether its workers poll the board, after a pass just before; or will, as passes come one soon after another:
        else those that are short would never find them awake."""
        last, self.asked = self.asked, time.monotonic()
        return self.asked - last < OFTEN or (bool(self.workers) and not boards.is_asleep(self.board, 0))


_team = _Team()


def _after_fork() -> None:
    global _team
    boards.leave(_team.board, len(_team.workers))  # where a signal's handler forked within a pass
    _team = _Team()  # threads do not survive a fork, and the lock may have been held


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def awake() -> bool:
    """Whether a pass that is divided begins at once, as its workers are awake."""
    return _team.awake()


def run(loop: Callable, arguments: tuple, parts: list[tuple], whole: tuple, patient: bool = False) -> bool:
    """Call `loop(*arguments, share, board)` for all parts at once, each in its own thread; whether it was so.

    If the team is busy or its processors are, or there is one part, the caller works alone, on the `whole`. patient:
    whether workers are waited for that were late just before. The loop begins with `own_share.mine`.
    """
    team = _team
    if len(parts) == 1 or (team.lateness.alone() and not patient) or team.free.locked():
        loop(*arguments, whole, _alone)
        return False
    with team.free:  # two that come at once wait for each other; taken by `acquire`, an interrupt could keep it
        look = foreign.look()
        together = team.together(loop, arguments, parts, whole)
    if look is not None:
        foreign.judge(look, len(parts), available())
    return together


@lru_cache(maxsize=1024)
def _flat(parts: tuple[tuple, ...]) -> np.ndarray:
    """The shares as they stand on a board."""
    out = np.zeros((len(parts), boards.PARTS), np.int64)
    for k, part in enumerate(parts):
        out[k, : len(part)] = part
    return out.reshape(-1)


def _compiled(loop: Callable) -> int:
    """Versions of a loop that there are."""
    return len(getattr(loop, "overloads", ()))


def _send_home() -> None:
    """The workers sleep in Python when the interpreter ends: one that comes back to it later would have no place."""
    team = _team
    team.board[boards.STOP] = 1
    end = time.monotonic() + 0.1
    while any(not boards.is_asleep(team.board, worker.index) for worker in team.workers) and time.monotonic() < end:
        time.sleep(0)


atexit.register(_send_home)
