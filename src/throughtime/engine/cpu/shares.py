"""Who does what: a pass divided among the threads of a team, as (the shares of all, the share of one who works alone).

The results have the same bits however it is divided.
"""

from collections.abc import Sequence
from functools import lru_cache

from ..sizes import Share
from . import threads
from .caches import CACHES
from .machine import HANDED, Machine, now

# A share of a pass is estimated from what one thread multiplies in a second (machine.py). The numbers are fitted to the
# processor time of one thread with AVX-512 (T = 50, float32; tanh, GRU and LSTM of 32 to 512 units, both ways): over
# the time that its products take in the first cache, that of an LSTM of 256 units is 2.1, 3.0, 4.9, 10.0, 20 and 39 for
# 1, 2, 4, 8, 16 and 32 rows, that of a tanh network 1.5, 2.3, 4.3, 8.8, 17 and 33; estimated are 1.9, 3.2, 5.7, ...
EDGE = 0.5  # rows: a pass over so many more is as long, as the weights come in whatever the number of rows
PACE = 0.8  # of the speed of products whose weights stay in the first cache
POINTWISE = 45  # multiply-adds at that speed that take as long as the pointwise part of a gate
MEETING = 2  # meetings that one takes as long as in a pass: its members are not equally fast, and hand on more
# The others fetch the weights that the caller has packed out of its caches: 25 microseconds for 128 KB, 80 for 512.
FETCH = 3  # times as long as copying so many bytes
# Of the time that as many bytes take at a meeting: a row's input and states, where they are with another thread when
# one takes them, as half are of two. Of 23 forward passes by rows (16 to 256 units, 8 to 64 rows) each took .12 to .4
# microseconds longer for every kilobyte so handed than half of the time of one thread; small ones were slower by two.
HANDING = 0.54
# Of the time alone, which a team's estimate must be below: two share the last cache and the power of the processor, and
# what one wrote lies in the caches of the other, so that in ten quiet processes they took 1.2 to 1.35 times as long as
# estimated. A second thread lost a sixth at .85 there, gained nothing at .74 and 5 % at .69; a sixth at .82 elsewhere.
GAIN = 0.83
SMALL = 500_000  # multiply-adds that nobody divides, on any machine; they ask for no measurement
MOVED = 1 << 16  # bytes, likewise
RESIDENT = CACHES.second  # bytes of weights that a core keeps near while it walks through time
PACKED = 8  # times that packing weights takes as long as copying them

Shares = tuple[list[tuple], tuple]


def of_steps(
    steps: int, rows: int, units: int, per_row: int, itemsize: int, grain: int, meets: bool = True, gates: int = 1,
    packs: bool = False, handed: int = 0, back: bool = False,
) -> Shares:  # fmt: skip
    """Of a pass through time: by rows, or, where the weights are large or the rows few, by units in lockstep.

    per_row: multiply-adds of a row in a step; grain: units that stay together, as their weights lie together; meets:
    whether units need what others sent; packs: whether the pass packs the weights; handed: bytes that a row reads and
    leaves behind at a step; back: whether gradients are made beside the way back, as much work again.
    """
    work = int(per_row / PACE + POINTWISE * gates * units) * (2 if back else 1) * itemsize // 4
    if steps * rows * work < SMALL or (team := threads.get_num_threads()) == 1:
        return undivided(rows, units)
    return _of_steps(steps, rows, units, work, grain, per_row * itemsize, meets, packs, handed, back, team, now())


@lru_cache(maxsize=1024)  # decided anew it takes 4 microseconds, and a pass that is done alone 100
def _of_steps(
    steps: int, rows: int, units: int, work: int, grain: int, weights: int, meets: bool, packs: bool, handed: int,
    back: bool, team: int, on: Machine,
) -> Shares:  # fmt: skip
    whole = alone(rows, units)
    if back:  # gradients of weights are a second division, and not always into equal shares
        on, handed = on._replace(wake=2 * on.wake), 2 * handed
    blocks = -(-units // grain)
    way, count = planned(
        steps, rows, blocks, work, team, weights=weights, meets=meets, packs=packs, handed=handed, on=on
    )
    if way == "rows":
        return _by_rows(rows, units, count), whole
    if way == "units":
        return _by_units(rows, units, grain, count, lockstep=int(meets)), whole
    return [whole], whole


def planned(
    steps: int, rows: int, blocks: int, work: int, team: int, *, weights: int, meets: bool, packs: bool = False,
    handed: int = 0, on: Machine,
) -> tuple[str, int]:  # fmt: skip
    """Which way is fastest on a machine, by its numbers, and for how many threads: "alone", "rows" or "units".

    work: multiply-adds of float32 that a row takes in a step; weights: bytes of them. Where these do not stay in a
    core's caches, each had better keep a part of them. packs: each packs a part of them, by units what it reads itself.
    handed: bytes of a row and step that lie in the caches of one thread when another takes the row.

    >>> from throughtime.engine.cpu.machine import USUAL
    >>> [planned(50, rows, 4, 60_000, 2, weights=10**5, meets=True, on=USUAL)[0] for rows in (1, 8, 32)]
    ['alone', 'rows', 'rows']
    """
    row, fetched, heavy = work / on.rate, FETCH * min(weights, RESIDENT) / on.copy, weights > RESIDENT
    one = steps * (rows + EDGE) * row
    ways = {("alone", 1): GAIN * one}
    moved = HANDING * steps * rows * handed / (8 * HANDED) * on.meet
    if (count := min(team, blocks)) > 1:
        meetings = steps * MEETING * on.meet if meets else 0.0
        to_others = on.wake + moved * (count - 1) / count + (0.0 if packs else fetched / count)
        ways["units", count] = one * -(-blocks // count) / blocks + to_others + meetings
    if (count := min(team, rows)) > 1 and not (heavy and blocks >= team):
        fetched *= (count - 1) / count if packs else 1.0
        to_others = on.wake + moved * (count - 1) / count + fetched
        ways["rows", count] = steps * (-(-rows // count) + EDGE) * row + to_others
    return min(ways, key=lambda way: ways[way])


def of_matrices(rows: int, units: int, block: int, size: int) -> Shares:
    """Of `rows` matrices, `size` bytes in all, written: some whole ones each, or their rows where there are few."""
    whole, blocks = alone(rows, units), -(-units // block)
    team = min(threads.get_num_threads(), max(rows, blocks))
    if not _moving_pays(size, size, team):
        return [whole], whole
    if rows >= 2 * team:
        return _by_rows(rows, units, team), whole
    return _by_units(rows, units, block, min(team, blocks), lockstep=0), whole


def of_packing(units: int, grain: int, size: int) -> Shares:
    """Of weights to be packed, `size` bytes."""
    if size < MOVED:
        return undivided(0, units)
    whole, team = alone(0, units), threads.get_num_threads()
    if units < team * grain or not _moving_pays(size, PACKED * size, team):
        return [whole], whole
    return _shares(0, [units * k // team // grain * grain for k in range(team)] + [units], lockstep=0), whole


def of_rows(rows: int, units: int, per_row: int) -> Shares:
    """Of a product of so many rows, each of `per_row` multiply-adds: some rows each."""
    whole, team = alone(rows, units), min(threads.get_num_threads(), rows)
    if not _multiplying_pays(rows * per_row, team):
        return [whole], whole
    return _by_rows(rows, units, team), whole


def of_columns(rows: int, units: int, grain: int, work: int) -> Shares:
    """Of a sum over rows, `work` multiply-adds in all: some whole grains of the columns each."""
    whole, team = alone(rows, units), min(threads.get_num_threads(), -(-units // grain))
    if not _multiplying_pays(work, team):
        return [whole], whole
    return _by_units(rows, units, grain, team, lockstep=0), whole


def _multiplying_pays(work: int, team: int) -> bool:
    return team > 1 and work >= SMALL and pays(work / (on := now()).rate, team, on)


def _moving_pays(size: int, copied: int, team: int) -> bool:
    """Of `size` bytes, moved in the time in which so many are copied."""
    return team > 1 and size >= MOVED and pays(copied / (on := now()).copy, team, on)


def pays(seconds: float, team: int, on: Machine) -> bool:
    """Whether a team is faster at what takes one thread so long, and can be cut evenly.

    >>> from throughtime.engine.cpu.machine import USUAL
    >>> [pays(seconds, 2, USUAL) for seconds in (6e-5, 12e-5, 24e-5)]
    [False, False, True]
    """
    return seconds / team + on.wake < GAIN * seconds


@lru_cache(maxsize=1024)  # made anew it takes half a microsecond, of some 80 of a small pass
def alone(rows: int, units: int) -> tuple:
    """The share of a thread that does all."""
    return Share(0, rows, 0, units, member=0, team=1, lockstep=0)[:]


@lru_cache(maxsize=1024)
def undivided(rows: int, units: int) -> Shares:
    """Of what one thread does."""
    whole = alone(rows, units)
    return [whole], whole


def _by_rows(rows: int, units: int, team: int) -> list[tuple]:
    cuts = [rows * k // team for k in range(team + 1)]
    return [Share(cuts[k], cuts[k + 1], 0, units, member=k, team=team, lockstep=0)[:] for k in range(team)]


def _by_units(rows: int, units: int, grain: int, team: int, lockstep: int) -> list[tuple]:
    blocks = -(-units // grain)
    return _shares(rows, [min(units, blocks * k // team * grain) for k in range(team + 1)], lockstep)


def _shares(rows: int, cuts: Sequence[int], lockstep: int) -> list[tuple]:
    team = len(cuts) - 1
    return [Share(0, rows, cuts[k], cuts[k + 1], member=k, team=team, lockstep=lockstep)[:] for k in range(team)]
