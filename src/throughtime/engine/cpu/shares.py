"""Who does what: a pass divided among the threads of a team, as (the shares of all, the share of one who works alone).

The results have the same bits however it is divided.
"""

from collections.abc import Sequence
from functools import lru_cache

from ..sizes import Share
from . import threads

# Multiply-adds under which a second thread costs more than it saves. Waking it takes 20 to 70 microseconds, by machine.
# Measured on two cores (T = 50, float32; forward and back together, one thread over two): LSTM of 32 units and 16
# sequences (4 million) .92, of 64 and 8 (7 million) 1.05, of 32 and 32 (8 million) 1.26; GRU of 64 and 8 (6 million)
# .97; tanh of 64 and 16 (4 million) .92, of 64 and 32 (7 million) 1.11. Products of 3, 7 and 13 million: .5, .72 and
# 1.0.
SMALL = 5_000_000  # of a pass through time
PRODUCT = 10_000_000
PACKED = 200_000  # numbers
STEP = 30_000  # per step, as meeting once per step takes some 0.3 microseconds
RESIDENT = 1 << 20  # bytes of weights that a core keeps near while it walks through time
LARGE = 1 << 22  # bytes of matrices under which a second thread that writes them costs more than it saves

Shares = tuple[list[tuple], tuple]


def of_steps(steps: int, rows: int, units: int, per_row: int, itemsize: int, grain: int, meets: bool = True) -> Shares:
    """Of a pass through time: by rows, or, where the weights are large or the rows few, by units in lockstep.

    per_row: multiply-adds of a row in a step; grain: units that stay together, as their weights lie together; meets:
    whether units need what others sent.
    """
    whole, team = alone(rows, units), threads.get_num_threads()
    if team == 1 or steps * rows * per_row < SMALL:
        return [whole], whole
    heavy = per_row * itemsize > RESIDENT
    blocks = -(-units // grain)
    if rows >= 2 * team and not (heavy and blocks >= team):
        return _by_rows(rows, units, team), whole
    team = min(team, blocks)
    if team > 1 and (rows * per_row > STEP or not meets):
        return _by_units(rows, units, grain, team, lockstep=int(meets)), whole
    return [whole], whole


def of_matrices(rows: int, units: int, block: int, size: int) -> Shares:
    """Of `rows` matrices, `size` bytes in all, written: some whole ones each, or their rows where there are few."""
    whole, blocks = alone(rows, units), -(-units // block)
    team = min(threads.get_num_threads(), max(rows, blocks))
    if team == 1 or size < LARGE:
        return [whole], whole
    if rows >= 2 * team:
        return _by_rows(rows, units, team), whole
    return _by_units(rows, units, block, min(team, blocks), lockstep=0), whole


def of_packing(units: int, grain: int, size: int) -> Shares:
    """Of weights to be packed, `size` numbers."""
    whole, team = alone(0, units), threads.get_num_threads()
    if size < PACKED or units < team * grain:
        return [whole], whole
    return _shares(0, [units * k // team // grain * grain for k in range(team)] + [units], lockstep=0), whole


def of_rows(rows: int, units: int, per_row: int) -> Shares:
    """Of a product of so many rows, each of `per_row` multiply-adds: some rows each."""
    whole, team = alone(rows, units), min(threads.get_num_threads(), rows)
    if team <= 1 or rows * per_row < PRODUCT:
        return [whole], whole
    return _by_rows(rows, units, team), whole


def of_columns(rows: int, units: int, grain: int, work: int) -> Shares:
    """Of a sum over rows, `work` multiply-adds in all: some whole grains of the columns each."""
    whole, team = alone(rows, units), min(threads.get_num_threads(), -(-units // grain))
    if team <= 1 or work < PRODUCT:
        return [whole], whole
    return _by_units(rows, units, grain, team, lockstep=0), whole


@lru_cache(maxsize=1024)  # made anew it takes half a microsecond, of some 80 of a small pass
def alone(rows: int, units: int) -> tuple:
    """The share of a thread that does all."""
    return Share(0, rows, 0, units, member=0, team=1, lockstep=0)[:]


def _by_rows(rows: int, units: int, team: int) -> list[tuple]:
    cuts = [rows * k // team for k in range(team + 1)]
    return [Share(cuts[k], cuts[k + 1], 0, units, member=k, team=team, lockstep=0)[:] for k in range(team)]


def _by_units(rows: int, units: int, grain: int, team: int, lockstep: int) -> list[tuple]:
    blocks = -(-units // grain)
    return _shares(rows, [min(units, blocks * k // team * grain) for k in range(team + 1)], lockstep)


def _shares(rows: int, cuts: Sequence[int], lockstep: int) -> list[tuple]:
    team = len(cuts) - 1
    return [Share(0, rows, cuts[k], cuts[k + 1], member=k, team=team, lockstep=lockstep)[:] for k in range(team)]
