"""Which cut of the sequence kernels for which size: one table, tried from the top.

No GPU has been at hand: the limits come from what compiles without spilling registers, the order from estimates of the
time per step (a barrier of a block some 0.1 microseconds, of a cluster 0.2 to 0.3, one across the grid 1 to 1.5).
Measure, then reorder.
"""

from functools import cache
from typing import NamedTuple

SHARED_BYTES = 48 * 1024  # what a block has without asking; more needs a call that numba-cuda does not offer
CLUSTER = 8  # blocks that every device of compute capability 9 can start side by side


class Plan(NamedTuple):
    """A cut, as in pass_parts.py."""

    alone: bool
    resident: bool
    lanes: int
    units: int
    groups: int
    rows: int
    cluster: bool = False

    @property
    def threads(self) -> int:
        return self.lanes * self.groups

    def blocks(self, units: int) -> int:
        """Blocks among which N units are divided; of a cluster a power of 2, the last of which may be idle."""
        count = -(-units // (self.groups * self.units))
        return 1 << (count - 1).bit_length() if self.cluster else count


class Cut(NamedTuple):
    """A row of the table."""

    alone: bool  # all units in one block
    resident: bool  # weights in registers
    lanes: int
    units: int
    threads: int  # at most
    words: int  # registers of 4 bytes for weights and sums, at most
    cluster: bool = False  # all units in the blocks of a cluster


# A block of four warps first: each has one of the four schedulers of a multiprocessor to itself. Instructions that one
# of them issues for a step, by the machine code: LSTM, N = 64, 319 with 2 units to a lane and 128 threads, 484 with one
# and 256; tanh, N = 128, 222 with 4 units and 128 threads, 480 with one and 512.
CUTS = (
    Cut(True, True, 4, 1, 128, 136),
    Cut(True, True, 4, 2, 128, 136),
    Cut(True, True, 4, 4, 128, 136),
    Cut(True, True, 4, 2, 256, 136),
    Cut(True, True, 4, 1, 256, 136),
    Cut(True, True, 4, 1, 384, 104),
    Cut(True, True, 4, 1, 512, 56),
    Cut(True, True, 8, 2, 256, 136),
    Cut(True, True, 8, 1, 512, 48),
    Cut(False, True, 8, 1, 256, 136, cluster=True),
    Cut(False, True, 8, 2, 256, 136, cluster=True),
    Cut(False, True, 16, 1, 256, 128),
    Cut(False, True, 32, 1, 256, 144),
    Cut(False, True, 32, 2, 256, 144),
    Cut(False, False, 32, 1, 256, 144),
    Cut(False, False, 32, 2, 256, 144),
    Cut(False, False, 32, 4, 256, 144),
    Cut(False, False, 32, 8, 256, 144),
)


@cache
def plan(
    units: int,
    gates: int,
    columns: int,
    rows: int,
    networks: int,
    itemsize: int,
    multiprocessors: int,
    clusters: bool,
    stage: tuple[int, int] = (0, 0),
) -> Plan | None:
    """The cut for N units with `gates` sums each over `columns` numbers, and `rows` rows for each network.

    multiprocessors: of the device; clusters: whether it has them. stage: sums and columns of a second product in each
    step. None where there are more units than all cuts hold (8448 with one gate on an H100).
    """
    for cut in CUTS:
        if cut.cluster and not clusters:
            continue
        fitting = [
            found
            for together in (1, 2, 4, 8)
            if (found := _fit(cut, units, ((gates, columns), stage), together, itemsize))
            and (cut.alone or found.blocks(units) <= multiprocessors)
        ]
        if fitting:
            return next(
                (found for found in fitting if _enough(found, units, rows, networks, multiprocessors)), fitting[-1]
            )
    return None


def _enough(plan: Plan, units: int, rows: int, networks: int, multiprocessors: int) -> bool:
    """Whether more rows to a block would leave multiprocessors idle, or rows empty.

    Blocks that work by themselves come two to a multiprocessor, clusters one block. Rows that meet across the grid are
    better put together: the barrier costs more than their products.
    """
    if plan.rows >= rows:
        return True
    blocks = networks * -(-rows // plan.rows) * plan.blocks(units)
    return blocks <= (2 if plan.alone else 1 if plan.cluster else 0) * multiprocessors


def without_product(units: int) -> Plan:
    """The cut where no unit hears of another: a thread for each unit of each row."""
    return Plan(alone=True, resident=True, lanes=1, units=1, groups=min(128, -(-units // 32) * 32), rows=1)


def _fit(cut: Cut, units: int, products: tuple[tuple[int, int], ...], rows: int, itemsize: int) -> Plan | None:
    """The plan that a row of the table makes, if it has room for it."""
    whole_warps, most = 32 // cut.lanes, cut.threads // cut.lanes
    groups = -(-units // cut.units)
    if cut.cluster:  # as few blocks as hold them
        blocks = next((n for n in (2, 4, CLUSTER) if -(-groups // n) <= most), CLUSTER)
        groups = -(-groups // blocks)
    elif not cut.alone:
        groups = min(groups, most)
    groups = -(-groups // whole_warps) * whole_warps
    found = Plan(cut.alone, cut.resident, cut.lanes, cut.units, groups, rows, cut.cluster)
    held = [chunk(found, columns, itemsize) for _, columns in products]
    depths = [numbers // cut.lanes if cut.resident else 16 // itemsize for numbers in held]
    words = sum(sums * (depth + rows) for (sums, _), depth in zip(products, depths, strict=True))
    shared = 2 * held[0] + held[1] if cut.alone or cut.cluster else max(held)
    fits = found.threads <= cut.threads and rows * cut.units <= cut.lanes
    fits = fits and cut.units * words * itemsize // 4 <= cut.words
    fits = fits and rows * shared * itemsize <= SHARED_BYTES
    return found if fits else None


def wide(columns: int, lanes: int, itemsize: int) -> int:
    """Columns of the product filled up to whole vectors for every lane."""
    step = lanes * 16 // itemsize
    return -(-columns // step) * step


def chunk(plan: Plan, columns: int, itemsize: int) -> int:
    """Columns that lie in shared memory at once."""
    width = wide(columns, plan.lanes, itemsize)
    return width if plan.resident else min(width, plan.lanes * 16)
