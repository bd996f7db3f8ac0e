"""Workers kept off the caller's processor, on Linux, which alone lets a program say where its threads run.

A woken thread is often put beside the one that woke it. Two threads that meet at every step then take turns on one
processor while another is idle, for seconds on end: a meeting takes 3.5 microseconds in place of 0.04, measured on two
cores, where more than a third of 3000 calls began so.
"""

import ctypes
import os
from collections.abc import Callable, Sequence

CAN_PLACE = hasattr(os, "sched_setaffinity") and hasattr(ctypes.PyDLL(None), "sched_getcpu")
_processor: Callable[[], int] = ctypes.PyDLL(None).sched_getcpu if CAN_PLACE else lambda: -1


def available() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def divided(processors: set[int], here: int, workers: int) -> list[set[int]]:
    """The processors of each worker beside a caller who runs on `here`: about as many for each, none of two.

    Where there are fewer than workers, all are for everybody.

    >>> divided({0, 1, 2, 3, 4, 5, 6, 7}, 2, 3)
    [{0, 1}, {3, 4}, {5, 6, 7}]
    >>> divided({0, 1}, 1, 2)
    [{0, 1}, {0, 1}]
    """
    others = sorted(processors - {here})
    count = len(others)
    if workers > count:
        return [set(processors) for _ in range(workers)]
    return [set(others[k * count // workers : (k + 1) * count // workers]) for k in range(workers)]


class Places:
    """Where the workers of a team may run."""

    def __init__(self) -> None:
        self._where: list[set[int]] = []
        self._caller = -1
        self._able = CAN_PLACE

    def keep_apart(self, workers: Sequence[int]) -> bool:
        """Keep the threads of these numbers, all of a team, off the caller's processor; False if it may use no other.

        A caller that has moved costs one worker a move, and nothing is done while it stays.
        """
        here = _processor()
        if not self._able or (here == self._caller and len(workers) == len(self._where)):
            return True
        try:
            allowed = os.sched_getaffinity(0)
            if len(allowed) == 1:
                return False
            for k, own in enumerate(self._planned(allowed, here, len(workers))):
                if k >= len(self._where) or own != self._where[k]:
                    os.sched_setaffinity(workers[k], own)
                    self._where[k : k + 1] = [own]
        except OSError:  # a container may forbid it
            self._able = False
        self._caller = here
        return True

    def _planned(self, allowed: set[int], here: int, workers: int) -> list[set[int]]:
        before = self._caller
        if workers != len(self._where) or workers >= len(allowed) or not allowed >= {before}.union(*self._where):
            return divided(allowed, here, workers)
        return [own - {here} | {before} if here in own else own for own in self._where]
