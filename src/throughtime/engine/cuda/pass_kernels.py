"""From a cell, a size and a plan (plans.py) to the compiled kernel of a pass, made at first use in a process."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ...cells.base import Spec, spec
from . import barrier, cell_parts, compiler, pass_parts, plans, register_arrays, rows_ahead, thread_exchange
from . import division as _division  # noqa: F401  registered, not called
from .plans import Plan, chunk, wide


@dataclass(frozen=True, eq=False)
class Pass:
    """A pass over time."""

    kernel: Callable  # kernel(cell, *arrays, arrivals, sizes): whole numbers, the last of them `first`
    example: Callable  # launches it for a layer
    transposed: bool = False  # whether a step multiplies with the transposed weights

    def products(self, record: Spec, units: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """(sums of a unit, columns) of the product in each step, and of its stage's; zeros where there is none."""
        parts = (record.first, record.parts - record.first)
        signals = (record.signals if record.first else 0, record.staged)
        sums, columns = (signals, parts) if self.transposed else (parts, signals)
        return (sums[0], columns[0] * units), (sums[1], columns[1] * units)


@cache
def kernel(
    cls: Any, dtype: np.dtype, which: Pass, units: int, plan: Plan, aligned: bool, far: bool, per_unit: bool = False
) -> Any:
    """The kernel of a pass, of a cell class for N units.

    aligned: what units send begins at a multiple of 16 bytes in each row. far: an array holds 2^32 numbers or more.
    per_unit: the fields of the cell are arrays, a number for each unit.
    """
    record = spec(cls)
    label = f"{record.name}-{dtype.name}-{units}"
    names = cell_parts.parts(cls, dtype, per_unit, units) | cut(record, dtype, which, units, plan, aligned)
    names["arrive"], names["wait"] = barrier.BLOCK if plan.alone else barrier.CLUSTER if plan.cluster else barrier.ROW
    names["bring_rows"] = rows_ahead.bring_rows if far else rows_ahead.bring_rows_near
    if not far:
        names |= {"read": register_arrays.read_near, "write": register_arrays.write_near}
        names["fetch"] = thread_exchange.fetch_near
    if not record.recurrent:
        names["arrive"], names["wait"] = barrier.NOBODY
    made = {name: compiler.part(part, label, names) for name, part in PARTS.items()}
    first, second = which.products(record, units)
    made["product"] = _product(label, names) if first[1] else compiler.part(pass_parts.no_product, label, names)
    if not record.recurrent:
        made["prepare"] = compiler.part(pass_parts.no_weights, label, names)
    if second[1]:
        other = names | product(second, dtype, plan)
        made["stage_prepare"] = compiler.part(pass_parts.more_weights, f"{label}-stage", other)
        made["stage_product"] = _product(f"{label}-stage", other)
    return compiler.kernel(which.kernel, label, ABSENT | names | made, plan.threads)


PARTS: dict[str, Callable] = {
    "position": pass_parts.thread_position,
    "prepare": pass_parts.own_weights,
    "sent_tangent": pass_parts.sent_tangent,
}
ABSENT = dict.fromkeys(("stage", "stage_backward", "stage_prepare", "stage_product"))  # never called where so


def _product(label: str, names: dict[str, Any]) -> Any:
    """The part that multiplies, with its own part."""
    names = names | {"partial_sum": compiler.part(pass_parts.place_of_share, label, names)}
    return compiler.part(pass_parts.rows_times_weights, label, names)


def product(sizes: tuple[int, int], dtype: np.dtype, plan: Plan) -> dict[str, int]:
    """The upper-case names of a product with so many sums of a unit and so many columns."""
    sums, columns = sizes
    width, held = wide(columns, plan.lanes, dtype.itemsize), chunk(plan, columns, dtype.itemsize)
    out, depth = plan.units * sums, width // plan.lanes if plan.resident else 16 // dtype.itemsize
    return {
        "COLUMNS": columns, "WIDE": width, "CHUNK": held, "SLAB": plan.tile * held, "DEPTH": depth, "OUT": out,
        "SHARE": sums, "WEIGHTS": max(1, out * depth), "SUMS": max(1, plan.tile * out),
    }  # fmt: skip


def cut(record: Spec, dtype: np.dtype, which: Pass, units: int, plan: Plan, aligned: bool) -> dict[str, Any]:
    """The upper-case names of pass_parts.py and of the passes that say how the work is divided."""
    vec, local = 16 // dtype.itemsize, record.recurrent and (plan.alone or plan.cluster)
    sizes = which.products(record, units)
    first, second = (product(each, dtype, plan) for each in sizes)
    shared, partials = plans.shared(plan, sizes, dtype.itemsize, local)
    ahead = plan.resident and not local and plan.rows > plan.tile and aligned
    found = first | {"LOCAL": local, "RESIDENT": plan.resident, "VEC": vec, "WIDTH": vec if aligned else 1}
    found |= {"AHEAD": ahead, "PRIVATE": ahead and plan.groups == 1, "PARTIALS": partials, "WARPS": plan.warps}
    found |= {"LANES": plan.lanes, "GROUPS": plan.groups, "UNITS": plan.units, "ROWS": plan.rows, "TILE": plan.tile}
    found |= {"THREADS": plan.threads, "BLOCKS": plan.blocks(units) if plan.cluster else 1}
    found |= {"OWNERS": plan.tile * plan.units, "MATES": plan.lanes // plan.warps, "SHARED_SIZE": max(vec, shared)}
    found |= {f"STAGE_{name}": second[name] for name in ("OUT", "WIDE", "WEIGHTS", "SUMS")}
    return found | {"STAGE_AT": 2 * plan.rows * first["CHUNK"] if local else 0}
