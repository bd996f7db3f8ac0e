"""Which cut of the sequence kernels for which size: one table, tried from the top.

No GPU has been at hand: the limits come from what compiles without spilling registers, the order from estimates of the
time per step (a barrier of a block some 0.1 microseconds, one across the grid 1 to 1.5). Measure, then reorder.
"""

from typing import NamedTuple

SHARED_BYTES = 48 * 1024  # what a block has without asking; more needs a call that numba-cuda does not offer
MULTIPROCESSORS = 132  # of an H100: the most blocks that may share the units, as each fills one
ENOUGH_BLOCKS = 264  # two for each: rows are put together only beyond


class Plan(NamedTuple):
    """A cut, as in loops.py."""

    alone: bool
    resident: bool
    lanes: int
    units: int
    groups: int
    rows: int

    @property
    def threads(self) -> int:
        return self.lanes * self.groups

    def blocks(self, units: int) -> int:
        """Blocks among which N units are divided."""
        return -(-units // (self.groups * self.units))


class Cut(NamedTuple):
    """A row of the table."""

    alone: bool  # all units in one block
    resident: bool  # weights in registers
    lanes: int
    units: int
    threads: int  # at most
    words: int  # registers of 4 bytes for weights and sums, at most


CUTS = (
    Cut(True, True, 4, 1, 384, 104),
    Cut(True, True, 4, 1, 512, 56),
    Cut(True, True, 8, 2, 256, 136),
    Cut(True, True, 8, 1, 512, 48),
    Cut(False, True, 16, 1, 256, 128),
    Cut(False, True, 32, 1, 256, 144),
    Cut(False, True, 32, 2, 256, 144),
    Cut(False, False, 32, 1, 256, 144),
    Cut(False, False, 32, 2, 256, 144),
    Cut(False, False, 32, 4, 256, 144),
    Cut(False, False, 32, 8, 256, 144),
)


def plan(units: int, gates: int, columns: int, rows: int, networks: int, itemsize: int) -> Plan | None:
    """The cut for N units with `gates` sums each over `columns` numbers, and `rows` rows for each network.

    None where there are more units than all cuts hold (8448 with one gate).
    """
    for cut in CUTS:
        fitting = [
            found for together in (1, 2, 4, 8) if (found := _fit(cut, units, gates, columns, together, itemsize))
        ]
        if fitting:
            return next((found for found in fitting if _enough(found, rows, networks)), fitting[-1])
    return None


def _enough(plan: Plan, rows: int, networks: int) -> bool:
    """Whether more rows to a block would leave multiprocessors idle, or rows empty."""
    return plan.rows >= rows or (plan.alone and networks * -(-rows // plan.rows) <= ENOUGH_BLOCKS)


def _fit(cut: Cut, units: int, gates: int, columns: int, rows: int, itemsize: int) -> Plan | None:
    """The plan that a row of the table makes, if it has room for it."""
    groups, whole_warps = -(-units // cut.units), 32 // cut.lanes
    groups = -(-groups // whole_warps) * whole_warps
    if not cut.alone:
        groups = min(groups, cut.threads // cut.lanes)
    found = Plan(cut.alone, cut.resident, cut.lanes, cut.units, groups, rows)
    held = chunk(found, columns, itemsize)
    depth = held // cut.lanes if cut.resident else 16 // itemsize
    fits = found.threads <= cut.threads and rows * cut.units <= cut.lanes
    fits = fits and cut.units * gates * (depth + rows) * itemsize // 4 <= cut.words
    fits = fits and (1 + cut.alone) * rows * held * itemsize <= SHARED_BYTES
    return found if fits and (cut.alone or found.blocks(units) <= MULTIPROCESSORS) else None


def wide(columns: int, lanes: int, itemsize: int) -> int:
    """Columns of the product filled up to whole vectors for every lane."""
    step = lanes * 16 // itemsize
    return -(-columns // step) * step


def chunk(plan: Plan, columns: int, itemsize: int) -> int:
    """Columns that lie in shared memory at once."""
    width = wide(columns, plan.lanes, itemsize)
    return width if plan.resident else min(width, plan.lanes * 16)
