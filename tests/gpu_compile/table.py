"""The table of what every kernel of the GPU takes: `python tests/gpu_compile/table.py --write` writes it anew.

A line is a kernel of the engine for one cell, precision and size. A change of a kernel shows in the table's diff. The
tests compile those of some sizes, every cell and every cut among them; THROUGHTIME_TESTS=all has the whole of it.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "gpu_sim"))  # wired.py
sys.path.insert(0, str(Path(__file__).parents[1]))  # networks.py

import offline
import wired
from networks import Adapting

from throughtime.cells import CELLS, spec

PATH = Path(__file__).with_name("table.txt")
COLUMNS = ("kernel", "cell", "dtype", "N", "B", "blocks", "threads", "registers", "stack", "spill", "shared")
COLUMNS += ("doubles", "meets")
SLACK = 8  # registers: they are given out in eights, and a new patch release of NVIDIA's assembler moves some


class Case(NamedTuple):
    cell: str
    dtype: str
    units: int
    batch: int


# Sizes that one block holds, a cluster, a grid in its registers, and that are fetched at every step.
CASES = (
    *(Case("lstm", "float32", n, batch) for n, batch in ((64, 4), (256, 16), (512, 16), (1024, 4))),
    *(Case("lstm", "float64", n, 4) for n in (64, 256, 1024)),
    *(Case("tanh", "float32", n, 4) for n in (128, 512, 2048)),
    Case("gru", "float32", 64, 64),
    Case("gru", "float64", 256, 4),
    Case("rate", "float32", 128, 4),
    Case("adapting", "float32", 64, 4),
    Case("adapting", "float64", 256, 4),
    *(Case("cho", "float32", n, batch) for n, batch in ((64, 4), (256, 16), (1024, 4))),
    Case("peephole", "float32", 64, 4),
    Case("cornn", "float32", 128, 4),
    Case("alone", "float32", 1000, 4),
    Case("lstm", "float32", 1024, 64),  # more rows to a block than are multiplied at once
)
# Whose cut is that of another of these cells, or of this cell at another size.
ALIKE = (
    Case("lstm", "float64", 256, 4), Case("tanh", "float32", 512, 4), Case("tanh", "float32", 2048, 4),
    Case("adapting", "float32", 64, 4), Case("cho", "float32", 256, 16),
)  # fmt: skip
# Cells that are not plain: with a stage, with parameters of each unit, with two signals and fields of each unit, and
# without a product.
WIRED = {"cho": wired.Cho, "peephole": wired.Peephole, "cornn": wired.Oscillators, "alone": wired.Alone}


class Line(NamedTuple):
    """A line of the table, and what the tests ask of it."""

    name: tuple[str, ...]  # kernel, cell, dtype, N, B
    grid: tuple[int, int, int]
    threads: int
    resources: offline.Resources

    @property
    def cells(self) -> tuple[str, ...]:
        found = self.resources
        doubles = found.doubles if "float32" in self.name else "-"
        meets = "grid" if found.cooperative else "cluster" if found.cluster > 1 else "block"
        numbers = (self.grid[0], self.threads, found.registers, found.stack, found.spill, sum(found.shared), doubles)
        return (*self.name, *map(str, numbers), meets)


def run(case: Case) -> list[offline.Launched]:
    """What the engine launches for a network in every pass over time, and for its Jacobians."""
    from throughtime.engine.cuda import jacobians
    from throughtime.engine.cuda import run as gpu
    from throughtime.engine.cuda.passes import PASSES

    cls, dtype, T, inputs, n = (CELLS | WIRED).get(case.cell, Adapting), np.dtype(case.dtype), 2, 3, case.units
    record, size = spec(cls), spec(cls).states * n
    shapes = [(record.gates * n, inputs), (len(record.blocks) * n, n), (record.gates * n,), (record.parts * n,)]
    shapes += [(n,)] * len(record.parameters)
    parameters = tuple(np.empty((1, *shape), dtype) for shape in shapes)
    fields = [np.full(n, 0.5) if case.cell == "cornn" else 0.5 for _ in cls._fields]
    with offline.recorded() as launches:
        x, states = np.empty((T, case.batch, inputs), dtype), np.empty((T + 1, case.batch, size), dtype)
        layer = gpu.unroll(cls(*fields), parameters, x, states, 0, np.full(case.batch, T), False)
        for each in PASSES:
            each.example(layer)
        jacobians.of_layers([layer], 0, 1)
    return launches


FRAMES = tuple(
    (columns, size, dtype) for columns, size in ((8, 64), (64, 64), (80, 80)) for dtype in ("float32", "float64")
)


def run_frames(columns: int, size: int, dtype: str) -> list[offline.Launched]:
    """QR of frames and the lengths of their columns."""
    from throughtime.engine.cuda import batched_qr

    with offline.recorded() as launches:
        v = np.empty((columns, size), dtype)
        batched_qr.orthonormalise(v, columns)
        batched_qr.norms(v)
    return launches


def lines(cases: tuple[Case, ...] = CASES, frames: tuple = FRAMES) -> list[Line]:
    """The table of these. What several sizes share is compiled once."""
    offline.install()
    found: dict[tuple, Line] = {}
    seen = set()
    every = [(case, run(case)) for case in cases]
    every += [(Case("-", dtype, size, columns), run_frames(columns, size, dtype)) for columns, size, dtype in frames]
    for case, launches in every:
        for launch in launches:
            key = launch.kernel, tuple(map(launch.kernel.typeof_pyval, launch.arguments))
            if key not in seen:
                seen.add(key)
                kernel, rest = launch.kernel.py_func.__name__, (case.cell, case.dtype, str(case.units), str(case.batch))
                count = sum(name[0].split(".")[0] == kernel and name[1:] == rest for name in found)
                name = (f"{kernel}.{count + 1}" if count else kernel, *rest)
                taken = offline.resources(launch.kernel, launch.arguments)
                found[name] = Line(name, launch.grid, launch.threads, taken)
    return list(found.values())


def text(lines: list[tuple[str, ...]]) -> str:
    """Columns one under the other."""
    rows = [COLUMNS, *lines]
    widths = [max(len(row[k]) for row in rows) for k in range(len(COLUMNS))]
    return "".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )


def read() -> list[tuple[str, ...]]:
    """The committed table."""
    return [tuple(line.split()) for line in PATH.read_text().splitlines()[1:]]


def same(ours: tuple[str, ...], committed: tuple[str, ...]) -> bool:
    """Equal but for a few registers."""
    k = COLUMNS.index("registers")
    rest = ours[:k] + ours[k + 1 :] == committed[:k] + committed[k + 1 :]
    return rest and abs(int(ours[k]) - int(committed[k])) <= SLACK


def difference(ours: list[tuple[str, ...]], committed: list[tuple[str, ...]]) -> str:
    """What differs, line by line; nothing where the tables are the same but for a few registers."""
    known = {row[:5]: row for row in committed}
    shown = [known[row[:5]] if row[:5] in known and same(row, known[row[:5]]) else row for row in ours]
    texts = (text(rows).splitlines() for rows in (committed, shown))
    return "\n".join(difflib.unified_diff(*texts, "committed", "compiled now", lineterm="", n=0))


if __name__ == "__main__":
    table = text([line.cells for line in lines()])
    print(table, end="")
    if sys.argv[1:] == ["--write"]:
        PATH.write_text(table)
