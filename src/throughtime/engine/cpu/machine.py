"""What a second thread costs on this machine, and what it saves: measured once, in some hundredths of a second.

The measurement is made when a pass first asks for it, never at import, and kept in the folder of the compiled code, one
file for each kind of processor and number of them; whoever deletes the file has it made again. It decides who does
what, never what comes out. THROUGHTIME_CALIBRATE=again measures anew, =off takes the usual numbers.
"""

import hashlib
import json
import math
import os
import secrets
import time
import warnings
from contextlib import suppress
from functools import cache, lru_cache
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np

from ...code.cache import user_folder
from ...code.forks import Lock
from ...jit import specialise
from . import threads
from .caches import CACHES
from .meeting import meet
from .own_share import mine
from .primitives import wide
from .register_tile import VECTOR_BYTES, lanes, tile

VARIABLE, WISHES = "THROUGHTIME_CALIBRATE", ("again", "off")
HANDED = 64  # numbers of 8 bytes that each hands on at a meeting
DEPTH = 64  # of the tiles that are timed: they stay in the first cache
COPIED = 1 << 23  # bytes
ASLEEP = 20_000  # rounds of the tiles, some 3 milliseconds, after which a worker sleeps and its processor too


class Machine(NamedTuple):
    wake: float  # seconds from a call of two threads to its end beyond half of what one needs; a worker sleeps
    awake: float  # the same where it polls for work, as it does after a pass
    meet: float  # seconds of a meeting in which each of two threads hands on half a kilobyte
    rate: float  # multiply-adds of float32 per second of one thread
    copy: float  # bytes per second that one thread copies, beyond its caches


USUAL = Machine(wake=6e-5, awake=4e-6, meet=2e-7, rate=6e10, copy=1e10)
# Beyond them a number is not believed.
LEAST, MOST = Machine(2e-6, 5e-7, 2e-8, 1e9, 5e8), Machine(3e-4, 3e-4, 2e-5, 1e12, 1e12)

_found: Machine | None = None
_one_at_a_time = Lock()


def machine() -> Machine:
    """The numbers of this machine; the usual ones while another thread measures."""
    global _found
    if _found is None and _one_at_a_time.acquire(blocking=False):
        try:
            _found = _kept_or_measured()
        finally:
            _one_at_a_time.release()
    return _found or USUAL


def now() -> Machine:
    """The same as it is at the moment: a worker that polls is called in less time than one that sleeps."""
    on = machine()
    return _polling(on) if threads.awake() else on


@lru_cache(maxsize=8)
def _polling(on: Machine) -> Machine:
    return on._replace(wake=min(on.wake, on.awake))


def believed(numbers: Any) -> Machine | None:
    """A machine of these numbers, None where they cannot be.

    >>> believed([2e-5, 3e-6, 5e-7, 6e10, 1e10])
    Machine(wake=2e-05, awake=3e-06, meet=5e-07, rate=60000000000.0, copy=10000000000.0)
    >>> believed([0.0, 3e-6, 5e-7, 6e10, 1e10]), believed("no numbers")
    (None, None)
    """
    try:
        given = Machine(*(float(number) for number in numbers))
    except (TypeError, ValueError, OverflowError):
        return None
    return given if all(a <= b <= c for a, b, c in zip(LEAST, given, MOST, strict=True)) else None


def _kept_or_measured() -> Machine:
    wish, path = _wish(), _file()
    if wish == "off":
        return USUAL
    if wish != "again":
        with suppress(OSError, ValueError, RecursionError), open(path, encoding="utf-8") as file:
            if (kept := believed(json.load(file))) is not None:
                return kept
    found, calm = measured()
    if calm:
        _keep(path, found)
    return found


def _wish() -> str:
    """What the environment says: "again", "off", or nothing."""
    said = os.environ.get(VARIABLE, "")
    wish = said.strip().lower()
    if wish in ("", *WISHES):
        return wish
    text = f'throughtime: {VARIABLE} is {said!r}, which means nothing; expected "again" or "off".'
    with suppress(RuntimeWarning):  # where warnings are errors: what it says decides no result
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    return ""


def _file() -> str:
    """Where the numbers of machines like this one are kept."""
    kind = (llvm.get_host_cpu_name(), VECTOR_BYTES, threads.available(), CACHES, "of workers that sleep and that poll")
    digest = hashlib.sha256(repr(kind).encode()).hexdigest()[:16]
    return os.path.join(user_folder(), f"throughtime-machine-{digest}.json")


def _keep(path: str, found: Machine) -> None:
    """Whole or not at all; a folder that cannot be written to costs the next process a measurement."""
    with suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        beside = f"{path}.{secrets.token_hex(8)}"  # made by `open`, so that other users of the folder can read it
        try:
            with open(beside, "x", encoding="utf-8") as file:
                json.dump(list(found), file)
            os.replace(beside, path)
        except OSError:
            os.unlink(beside)
            raise


def measured() -> tuple[Machine, bool]:
    """The best of three measurements of this machine, as others may use it meanwhile; and whether one was calm enough
    for its numbers to be kept."""
    tries = [found for _ in range(3) if (found := _measured_once()) is not None]
    if not tries:
        return USUAL, False
    least = Machine(*(min(column) for column in zip(*(numbers for numbers, _ in tries), strict=True)))
    rate, copy = (max(getattr(numbers, name) for numbers, _ in tries) for name in ("rate", "copy"))
    return least._replace(rate=rate, copy=copy), any(calm for _, calm in tries)


def _measured_once() -> tuple[Machine, bool] | None:
    """The numbers, and whether the calls were alike; None where the team was not there."""
    together, tiles = _functions()
    hands = np.zeros((2, 2, HANDED))

    def team(rounds: int) -> float:
        """Infinite where the caller had to work alone."""
        begin = time.perf_counter()
        divided = threads.run(together, (rounds, hands), [(0, 2), (1, 2)], (0, 1), patient=True)
        return time.perf_counter() - begin if divided else math.inf

    def alone(times: int) -> float:
        begin = time.perf_counter()
        tiles(times, *operands)
        return time.perf_counter() - begin

    width = 2 * lanes(np.dtype(np.float32))
    operands = [np.zeros(size, np.float32) for size in (4 * DEPTH, DEPTH * width, 4 * width)]
    team(1), alone(1), team(1)
    wakes, hot, rounds = [], [], []
    for k in range(20):
        alone(ASLEEP)  # as in a program, where something is done between two passes: the worker sleeps
        wakes.append(team(1))
        hot.append(team(1))
        if k % 2 == 0:
            rounds.append(team(201))
    wakes, hot, rounds = sorted(wakes), sorted(hot), sorted(rounds)
    pace = min(alone(1000) for _ in range(10)) / (1000 * 4 * DEPTH * width)
    source, target = np.ones(COPIED, np.uint8), np.ones(COPIED, np.uint8)
    copied = min(_time_of(np.copyto, target, source) for _ in range(3))
    wake, awake = wakes[6], hot[6]  # of those that others did not disturb
    numbers = Machine(wake, awake, max(LEAST.meet, (rounds[2] - awake) / 200), 1 / pace, COPIED / copied)
    found = believed(numbers)
    return None if found is None else (found, wakes[13] < 2 * wakes[3] and rounds[7] < 2 * rounds[2])


def _time_of(function: Any, *arguments: Any) -> float:
    begin = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - begin


@cache
def _functions() -> tuple[Any, Any]:
    return specialise(_together, "machine"), specialise(_tiles, "machine")


def _together(rounds, hands, share, meeting):
    """Two threads that meet, each reading what the other wrote before."""
    member, team = mine(share, meeting)
    total, round_ = 0.0, 0
    for k in range(rounds):
        for j in range(HANDED):
            hands[member, k % 2, j] = total + j
        round_ = meet(meeting, team, round_)
        for j in range(HANDED):
            total += hands[1 - member, k % 2, j] * 1e-9


def _tiles(times, a, panel, c):
    """Products of 4 rows with a panel of 2 vectors, all in the first cache."""
    wide()
    width = panel.size // DEPTH
    for _ in range(times):
        tile(4, 2, 1, a, (0, DEPTH, 1), panel, (0, 0, width), DEPTH, c, (0, 0, width), c, (0, 0, width))
