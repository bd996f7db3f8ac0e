"""Every kernel compiles for the H100 as it was meant to, and as the committed table says."""

from __future__ import annotations

import offline
import pytest
import table
from whole import ALL

from throughtime.engine.cuda import layer
from throughtime.engine.cuda.passes import PASSES

KERNELS = {each.kernel.__name__ for each in PASSES}


ALIKE = {tuple(map(str, case)) for case in table.ALIKE}


@pytest.fixture(scope="module")
def lines():
    return table.lines(tuple(case for case in table.CASES if ALL or case not in table.ALIKE))


def wrong(lines, test):
    """The lines that fail a test, as a table."""
    found = [line.cells for line in lines if not test(line)]
    return table.text(found) if found else ""


def test_every_family_is_there(lines):
    assert {line.name[0] for line in lines} >= KERNELS
    assert {line.resources.cooperative for line in lines} == {True, False}


def test_everything_stays_in_registers(lines):
    assert not wrong(lines, lambda line: line.resources.spill == 0 and line.resources.stack == 0)


def test_a_block_fits_a_multiprocessor(lines):
    assert not wrong(lines, lambda line: -(-line.resources.registers // 8) * 8 * line.threads <= 65536)
    assert not wrong(lines, lambda line: sum(line.resources.shared) <= 48 * 1024)


def test_shared_arrays_are_aligned_for_wide_loads(lines):
    """They lie one after another from an aligned address on: whole vectors of 16 bytes keep the next one aligned."""
    assert not wrong(lines, lambda line: all(size % 16 == 0 for size in line.resources.shared))


def test_float32_stays_float32(lines):
    assert not wrong(lines, lambda line: "float32" not in line.name or line.resources.doubles == 0)


def test_nothing_is_approximate(lines):
    assert not wrong(lines, lambda line: line.resources.approximate == 0)


def test_blocks_that_share_a_network_meet(lines):
    """In a cluster as large as the row of blocks, or across the grid; not at all where no unit hears of another."""
    loops = [line for line in lines if line.name[0] in KERNELS and line.name[1] != "alone"]
    assert not wrong(loops, lambda line: line.resources.cooperative == (line.grid[0] > line.resources.cluster))
    assert not wrong(loops, lambda line: line.resources.cluster in (1, line.grid[0]))
    assert {1, 8} <= {line.resources.cluster for line in loops}
    alone = [line for line in lines if line.name[0] in KERNELS and line.name[1] == "alone"]
    assert alone
    assert not wrong(alone, lambda line: not line.resources.cooperative and line.resources.cluster == 1)


def test_kernels_for_arrays_beyond_32_bits(lines, monkeypatch):
    """They compute places in 64 bits, and stay in registers too."""
    monkeypatch.setattr(layer, "NEAR", 0)
    for case in table.CASES[1 if ALL else 2 : 3]:
        for launch in table.run(case):
            if launch.kernel.py_func.__name__ in KERNELS:
                found = offline.resources(launch.kernel, launch.arguments)
                assert found.stack == found.spill == found.doubles == 0, found


def test_the_table_is_the_committed_one(lines):
    committed = [row for row in table.read() if ALL or row[1:5] not in ALIKE]
    found = table.difference([line.cells for line in lines], committed)
    assert not found, f"\n{found}\nif it is meant: python tests/gpu_compile/table.py --write"


def test_what_is_left_out_is_alike():
    """A test of the test: no cell is missing, nor any way in which blocks meet."""
    kept = [row for row in table.read() if row[1:5] not in ALIKE]
    assert len(kept) < len(table.read())
    for columns in ((0, 1), (0, 2, -1)):
        ways = [{tuple(row[k].split(".")[0] for k in columns) for row in rows} for rows in (kept, table.read())]
        assert ways[0] == ways[1]


def test_a_change_shows():
    """A test of the test: a few registers pass, anything else is shown."""
    committed = table.read()
    assert len({row[:5] for row in committed}) == len(committed) > 40
    for column, step, shows in (
        ("registers", 8, False),
        ("registers", 9, True),
        ("spill", 1, True),
        ("shared", 16, True),
    ):
        k = table.COLUMNS.index(column)
        row = (*committed[3][:k], str(int(committed[3][k]) + step), *committed[3][k + 1 :])
        found = table.difference([*committed[:3], row, *committed[4:]], committed)
        assert bool(found) == shows
    assert table.difference(committed[1:], committed)
    assert table.difference(committed, committed[1:])
