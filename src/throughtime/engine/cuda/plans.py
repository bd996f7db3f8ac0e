"""Which cut of the sequence kernels for which size: one table, tried from the top.

The limits come from what compiles without spilling registers, the order from the time of a step on an H100, measured
(a barrier of a cluster .5 microseconds, one across the grid 1.2) and counted in the machine code. What many rows take
across the grid is bounded by the cache that all blocks fetch them from, and by shared memory where a thread uses a
number but once: hence few sums of many columns (the way back) are divided among all warps of a block, which fetch what
they alone need and use it for 8 units or 16, and many sums of few columns among two.
"""

from functools import cache
from typing import NamedTuple

SHARED_BYTES = 48 * 1024  # what a block has without asking; more needs a call that numba-cuda does not offer
ROWS = 1, 2, 4, 5, 6, 8, 12, 16, 24, 32  # of a block
MOST_SUMS = 16  # of a thread for a row where several warps divide the columns: more take longer to add up
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
    at_once: int = 0  # rows of a tile; 0: all of them

    @property
    def tile(self) -> int:
        return self.at_once or self.rows

    @property
    def warps(self) -> int:
        """Among which the columns of a product are divided."""
        return max(1, self.lanes // 32)

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
    Cut(False, True, 256, 8, 256, 140),
    Cut(False, True, 128, 4, 256, 140),
    Cut(False, True, 16, 1, 256, 128),
    Cut(False, True, 64, 2, 256, 160),
    Cut(False, True, 32, 1, 256, 144),
    Cut(False, True, 256, 16, 256, 168),
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
    clusters: int,
    stage: tuple[int, int] = (0, 0),
) -> Plan | None:
    """The cut for N units with `gates` sums each over `columns` numbers, and `rows` rows for each network.

    multiprocessors: of the device; clusters: how many of 8 blocks it runs at once. stage: sums and columns of a second
    product in each step. None where there are more units than all cuts hold (8448 with one gate on an H100).
    """
    products, room = ((gates, columns), stage), (2 * multiprocessors, CLUSTER * clusters, multiprocessors)
    for cut in CUTS:
        if cut.cluster and not clusters:
            continue
        fitting = [
            found
            for together in ROWS
            if (found := _largest_tile(cut, units, products, together, itemsize))
            and (cut.alone or found.blocks(units) <= multiprocessors)
        ]
        if fitting:
            at_once = room[0 if cut.alone else 1 if cut.cluster else 2]
            return next((found for found in fitting if _enough(found, units, rows, networks, at_once)), fitting[-1])
    return None


def _enough(plan: Plan, units: int, rows: int, networks: int, at_once: int) -> bool:
    """Whether more rows to a block would leave rows empty, or some of the blocks idle that run at once.

    Blocks that work by themselves come two to a multiprocessor, those that meet one.
    """
    return plan.rows >= rows or networks * -(-rows // plan.rows) * plan.blocks(units) <= at_once


def _largest_tile(cut: Cut, units: int, products: tuple[tuple[int, int], ...], rows: int, itemsize: int) -> Plan | None:
    """The plan for so many rows; of those of a single block all are multiplied at once."""
    tiles = (tile for tile in (8, 4, 2, 1) if rows % tile == 0 and (tile == rows or not cut.alone))
    plans = (_fit(cut, units, products, rows, tile, itemsize) for tile in tiles)
    return next((found for found in plans if found), None)


def without_product(units: int) -> Plan:
    """The cut where no unit hears of another: a thread for each unit of each row."""
    return Plan(alone=True, resident=True, lanes=1, units=1, groups=min(128, -(-units // 32) * 32), rows=1)


def _fit(
    cut: Cut, units: int, products: tuple[tuple[int, int], ...], rows: int, tile: int, itemsize: int
) -> Plan | None:
    """The plan that a row of the table makes, if it has room for it."""
    whole_warps, most = max(1, 32 // cut.lanes), cut.threads // cut.lanes
    groups = -(-units // cut.units)
    if cut.cluster:  # as few blocks as hold them
        blocks = next((n for n in (2, 4, CLUSTER) if -(-groups // n) <= most), CLUSTER)
        groups = -(-groups // blocks)
    elif not cut.alone:
        groups = min(groups, most)
    groups = -(-groups // whole_warps) * whole_warps
    found = Plan(cut.alone, cut.resident, cut.lanes, cut.units, groups, rows, cut.cluster, tile if tile < rows else 0)
    widths = [wide(columns, cut.lanes, itemsize) for _, columns in products]
    depths = [width // cut.lanes if cut.resident else 16 // itemsize for width in widths]
    words = sum(sums * (depth + tile) for (sums, _), depth in zip(products, depths, strict=True))
    fits = found.threads <= cut.threads and rows * cut.units <= cut.lanes and tile * cut.units <= 32
    fits = fits and cut.units * words * itemsize // 4 <= cut.words
    fits = fits and shared(found, products, itemsize, cut.alone or cut.cluster)[0] * itemsize <= SHARED_BYTES
    if cut.lanes > 32:  # lanes that divide more columns than there are leave threads idle
        fits = fits and all(cut.units * sums <= MOST_SUMS for sums, _ in products)
        fits = fits and all(3 * width <= 4 * columns for width, (_, columns) in zip(widths, products, strict=True))
    return found if fits else None


def shared(plan: Plan, products: tuple[tuple[int, int], ...], itemsize: int, local: bool) -> tuple[int, int]:
    """Numbers in a block's shared memory, and where those begin that warps with other columns leave for each other.

    local: what units send lies there, in two buffers in turns, and beside them what a stage sends. Else there is a tile
    of it at a time, or two, of which one is on its way.
    """
    held = [chunk(plan, columns, itemsize) for _, columns in products]
    if local:
        first = plan.rows * (2 * held[0] + held[1])
    else:
        first = plan.tile * max(held) * (2 if plan.resident and plan.rows > plan.tile else 1)
    left = plan.groups * plan.warps * plan.rows * plan.units * max(sums for sums, _ in products)
    return first + (left if plan.warps > 1 else 0), first


def wide(columns: int, lanes: int, itemsize: int) -> int:
    """Columns of the product filled up to whole vectors for every lane."""
    step = lanes * 16 // itemsize
    return -(-columns // step) * step


def chunk(plan: Plan, columns: int, itemsize: int) -> int:
    """Columns that lie in shared memory at once."""
    width = wide(columns, plan.lanes, itemsize)
    return width if plan.resident else min(width, plan.lanes * 16)
