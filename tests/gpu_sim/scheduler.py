"""A deterministic scheduler for kernels under Numba's CUDA simulator.

Numba's own simulator runs block after block and knows neither warps nor a grid that meets: two blocks that share a
result get wrong numbers, silently. Here all blocks live at once and every CUDA thread is a greenlet. A thread runs
until it meets others; then another is chosen, so that the same seed gives the same run:

    SEED = None    warps take turns in order
    SEED = 3       warps in random order, with a favourite that runs ahead of the others as far as it can

Threads that can never go on raise `Stuck`: a barrier that only part of a block reaches, or two barriers that wait for
each other. So does a barrier whose threads come from different places of the kernel, which CUDA leaves undefined.
simulator.py puts it to use, watched.py watches what the threads read and write between the barriers.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import greenlet
import numpy as np
from numba.cuda.simulator.kernelapi import Dim3

SEED: int | None = None
OURS = frozenset(str(Path(__file__).with_name(name)) for name in ("scheduler.py", "simulator.py"))
TURNS = 2_000_000  # of warps in one launch
BLOCKS_AT_ONCE = 16  # the most blocks of a grid that meets


class Stuck(RuntimeError):
    """The threads that are left wait for something that cannot happen."""


class Group:
    """Threads that meet: a warp (or the lanes of a mask), a block, the grid."""

    def __init__(self, name):
        self.name, self.members, self.waiting = name, [], []
        self.found = set()

    def __contains__(self, thread):
        if len(self.found) != len(self.members):
            self.found = set(self.members)
        return thread in self.found


class Warp(Group):
    def __init__(self):
        super().__init__("its warp")
        self.masked = {}
        self.by_lane = {}

    def lane(self, number):
        """The thread of this lane."""
        if len(self.by_lane) != len(self.members):
            self.by_lane = {thread.lane: thread for thread in self.members}
        return self.by_lane.get(number)

    def lanes(self, mask):
        """The lanes of a mask; those beyond the end of the block do not exist and are not waited for."""
        if mask not in self.masked:
            chosen = [thread for thread in self.members if mask >> thread.lane & 1]
            group = self if len(chosen) == len(self.members) else Group(f"lanes {mask:#x} of its warp")
            group.members = chosen
            self.masked[mask] = group
        return self.masked[mask]


class Thread(greenlet.greenlet):
    def __init__(self, launch, body, block_index, thread_index, block, warp, number):
        super().__init__(body)
        self.launch, self.block, self.warp, self.number, self.lane = launch, block, warp, number, number % 32
        self.blockIdx, self.threadIdx = Dim3(*block_index), Dim3(*thread_index)
        self.at = self.awaits = None  # the place in the kernel and the group
        self.sent = [None, None]  # values for other lanes: in turns, so that one meeting per exchange is enough
        self.exchanges = 0
        # Happened before (Lamport 1978; vector clocks, Mattern 1989): this thread is ordered after what thread k did up
        # to k's own time seen[k].
        self.index, self.time = len(launch.grid.members), 0
        self.goes_on(launch.nothing_seen, launch.knows_nothing)
        block.members.append(self)
        warp.members.append(self)
        launch.grid.members.append(self)

    def goes_on(self, seen, knows):
        """From here on ordered after `seen`, an array, and the same as a list, in which a number is found faster."""
        self.seen, self.knows, self.time = seen, knows, self.time + 1
        self.stamp = self, self.time

    def meet(self, group, orders=True):
        """Go on when all threads of the group have come to the same place; `orders` what they read and write."""
        self.at, self.awaits = _place(), group
        if self not in group:
            raise Stuck(f"{self} is not among {group.name}")
        group.waiting.append(self)
        if len(group.waiting) == len(group.members):
            _same_place(group.waiting)
            if orders:
                _order(group.waiting)
            for thread in group.waiting:
                thread.awaits = None
                self.launch.ready.setdefault(thread.warp, []).append(thread)
            group.waiting = []
        self.parent.switch()

    def let_others_go(self):
        """Stop here for a while."""
        self.launch.ready.setdefault(self.warp, []).append(self)
        self.parent.switch()

    def __str__(self):
        return f"thread {self.number} of block ({self.blockIdx.x}, {self.blockIdx.y}, {self.blockIdx.z})"


def _place():
    """Where the running thread is in its kernel: the whole chain of calls, innermost first."""
    frame, chain = sys._getframe(2), []
    while frame is not None:
        code = frame.f_code
        if code.co_filename not in OURS:
            chain.append(code)
            chain.append(frame.f_lasti)
        frame = frame.f_back
    return tuple(chain)


def _line(place):
    code, last = place[:2]
    line = list(code.co_positions())[last // 2][0]
    return f"{code.co_filename.rsplit('/', 1)[-1]}:{line}"


def _same_place(threads):
    first = threads[0]
    for other in threads:
        if other.at != first.at:
            raise Stuck(f"one barrier, two places: {first} at {_line(first.at)}, {other} at {_line(other.at)}")


def _order(threads):
    """All that these threads did before comes before all that they do from now on."""
    seen = np.maximum.reduce(list({id(thread.seen): thread.seen for thread in threads}.values()))
    seen[[thread.index for thread in threads]] = [thread.time for thread in threads]
    knows = seen.tolist()
    for thread in threads:
        thread.goes_on(seen, knows)


class Launch:
    """One kernel on its grid, from start to end."""

    def __init__(self, function, grid, block, arguments):
        self.grid, self.ready = Group("the grid"), {}
        self.accesses, self.atomics = {}, {}
        self.nothing_seen = np.zeros(int(np.prod(grid)) * int(np.prod(block)), np.int64)
        self.knows_nothing = self.nothing_seen.tolist()
        self.random = None if SEED is None else random.Random(SEED)

        def body():
            with np.errstate(all="ignore"):  # as on the device, where NaN and infinity raise nothing
                function(*arguments)

        for block_index in np.ndindex(*grid):
            members, warps = Group("its block"), []
            members.shared = {}
            order = sorted(np.ndindex(*block), key=lambda p: p[::-1])  # x runs fastest
            for number, thread_index in enumerate(order):
                if number % 32 == 0:
                    warps.append(Warp())
                thread = Thread(self, body, block_index, thread_index, members, warps[-1], number)
                self.ready.setdefault(thread.warp, []).append(thread)

    def run(self):
        favourite, turns = None, 0
        try:
            while self.ready:
                turns += 1
                if turns > TURNS:
                    raise Stuck(f"no end after {TURNS} turns: do threads wait in a loop for what never comes?")
                warp = next(iter(self.ready))
                if self.random:
                    if self.random.random() < 0.05 or favourite is None:
                        favourite = self.random.choice(self.grid.members).warp
                    ahead = favourite in self.ready and self.random.random() < 0.8
                    warp = favourite if ahead else self.random.choice(list(self.ready))
                threads = self.ready.pop(warp)
                if self.random:
                    self.random.shuffle(threads)
                for thread in threads:
                    try:
                        thread.switch()
                    except Exception as error:
                        error.add_note(f"in {thread}")
                        raise
            if any(not thread.dead for thread in self.grid.members):
                raise Stuck(self.who_waits())
        finally:
            for thread in self.grid.members:  # what is left of a run that failed
                thread.throw()

    def who_waits(self):
        """One line for all threads of a block in the same situation."""
        found = {}
        for thread in self.grid.members:
            index = (thread.blockIdx.x, thread.blockIdx.y, thread.blockIdx.z)
            what = "have returned" if thread.dead else f"wait for {thread.awaits.name} at {_line(thread.at)}"
            found.setdefault((index, what), []).append(str(thread.number))
        lines = [f"block {index}: threads {', '.join(who)} {what}" for (index, what), who in found.items()]
        return "no thread can go on\n" + "\n".join(lines)
