"""Threads of this process that take the processors from the team: noticed now and then, and said once.

On Linux only, where /proc tells what every thread has run. What Python knows is left out, the team among it, and so are
programs with an OpenMP library (PyTorch's), whose threads these may be: what is left are, nearly always, those of BLAS.
"""

import contextlib
import os
import sys
import threading
import time
import warnings

from . import blas

PERIOD = 0.25  # seconds from one look to the next: longer than BLAS's threads spin after one product
SHORTEST = 1e-3  # seconds of a call that is judged
SHARE = 0.3  # of the caller's own processor time: who ran longer took part of it
TIMES = 3  # in a row
TASKS = "/proc/self/task"

Look = tuple[float, float, dict[str, int]]


class PerformanceWarning(RuntimeWarning):
    """Something costs time that a line of yours would save; every result is right.

    Said once in a process, where three calls in a row of `unroll`, `backprop` and the like, 0.25 s apart, shared the
    processors with threads of this process that are not Python's, while BLAS may use several: OpenBLAS's threads, which
    spin for some 100 ms after every product of NumPy or SciPy. The line is `with tt.single_blas():` around your loop.
    Where warnings are errors it is left unsaid: a slow moment is not an error.

    Example:
        >>> import warnings, throughtime as tt
        >>> warnings.filterwarnings("ignore", category=tt.PerformanceWarning)
    """


_next = 0.0 if os.path.isdir(TASKS) else float("inf")  # no look before this time
_seen = 0


def look() -> Look | None:
    """What the others have run until now, if it is time for a look at a call that begins."""
    global _next
    now = time.monotonic()
    if now < _next:
        return None
    _next = now + PERIOD
    return now, time.thread_time(), _have_run()


def judge(before: Look, team: int, processors: int) -> None:
    """Warn if, during a call of this thread that is over, others took processors that its team needed; and not for the
    first time."""
    global _next, _seen
    taken, own = time.monotonic() - before[0], time.thread_time() - before[1]
    if taken < SHORTEST:
        return
    ran = [(now - before[2].get(task, now)) * 1e-9 for task, now in _have_run().items()]
    busy = [seconds for seconds in ran if seconds > SHARE * own]
    _seen = _seen + 1 if busy and team + len(busy) > processors else 0
    if _seen == TIMES:
        _next = float("inf")
        count = _blas_threads()
        if count > 1:
            _say(taken, sum(busy), count)


def _have_run() -> dict[str, int]:
    """Nanoseconds that each thread of this process has run, of those that Python does not know."""
    known = {str(thread.native_id) for thread in threading.enumerate()}
    known.add(str(threading.get_native_id()))  # after a fork the caller has another number than its parent's
    found = {}
    with contextlib.suppress(OSError):
        for task in set(os.listdir(TASKS)) - known:
            with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended, or this system does not count
                with open(f"{TASKS}/{task}/schedstat") as file:
                    found[task] = int(file.read().split()[0])
    return found


def _blas_threads() -> int:
    """The threads that BLAS may use; 0 where the others may be those of OpenMP."""
    try:
        from threadpoolctl import threadpool_info

        if any(pool["user_api"] == "openmp" for pool in threadpool_info()):
            return 0
        return max((pool.get() or 0 for pool in blas.pools()), default=0)
    except Exception:  # it is only about a word of advice
        return 0


def _say(taken: float, ran: float, count: int) -> None:
    text = (
        f"While this call computed for {1e3 * taken:.1f} ms, threads of this process that are not Python's took "
        f"processors for {1e3 * ran:.1f} ms, for the third time in a row. BLAS may use {count} threads, and OpenBLAS "
        "keeps them spinning for some 100 ms after every product of NumPy or SciPy: most likely these are they. To "
        "keep the processors for this library, write `with tt.single_blas():` around your loop. (This is said once.)"
    )
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(f"{__name__.split('.')[0]}."):
        level, frame = level + 1, frame.f_back
    try:
        warnings.warn(text, PerformanceWarning, stacklevel=level)
    except PerformanceWarning:  # where warnings are errors: a slow moment must not end the run
        pass
