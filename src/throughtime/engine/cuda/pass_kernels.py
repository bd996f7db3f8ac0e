"""From a cell, a size and a plan (plans.py) to the compiled kernel of a pass, made at first use in a process."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ...cells.base import spec
from .. import failures
from . import barrier, compiler, pass_parts, register_arrays, thread_exchange
from . import division as _division  # noqa: F401  registered, not called
from .plans import Plan, chunk, wide


@dataclass(frozen=True, eq=False)
class Pass:
    """A pass over time."""

    kernel: Callable  # kernel(cell, *arrays, arrivals, sizes): whole numbers, the last of them `first`
    example: Callable  # launches it for a layer
    transposed: bool = False  # whether a step multiplies with the transposed weights

    def product(self, gates: int, units: int) -> tuple[int, int]:
        """(sums of a unit, columns) of the product in each step."""
        return (1, gates * units) if self.transposed else (gates, units)


@cache
def kernel(cls: Any, dtype: np.dtype, which: Pass, units: int, plan: Plan, aligned: bool, far: bool) -> Any:
    """The kernel of a pass, of a cell class for N units.

    aligned: what units send begins at a multiple of 16 bytes in each row. far: an array holds 2^32 numbers or more.
    """
    label = f"{spec(cls).name}-{dtype.name}-{units}"
    names = cell_functions(cls, dtype) | constants(cls, dtype, which, units, plan, aligned)
    names["arrive"], names["wait"] = barrier.BLOCK if plan.alone else barrier.CLUSTER if plan.cluster else barrier.ROW
    if not far:
        names |= {"read": register_arrays.read_near, "write": register_arrays.write_near}
        names["fetch"] = thread_exchange.fetch_near
    for name, part in PARTS.items():
        names[name] = compiler.part(part, label, names)
    return compiler.kernel(which.kernel, label, names, plan.threads)


PARTS: dict[str, Callable] = {
    "position": pass_parts.thread_position,
    "prepare": pass_parts.own_weights,
    "product": pass_parts.rows_times_weights,
    "sent_tangent": pass_parts.sent_tangent,
}


@cache
def cell_functions(cls: Any, dtype: np.dtype) -> dict[str, Any]:
    """The cell's functions for kernels, and what stands in where it sends h."""
    record, real = spec(cls), dtype.type
    failures.examine(record, dtype)  # in words, before the device's compiler meets it
    slopes = (real(1),) + (real(0),) * (record.states - 1)
    found = {"forward": cls.forward, "backward": cls.backward}
    found["emit"] = cls.emit if record.emits else lambda cell, s: s[0]
    found["emit_slope"] = cls.emit_slope if record.emits else lambda cell, s: slopes
    return {name: compiler.cell_function(function, real) for name, function in found.items()}


def constants(cls: Any, dtype: np.dtype, which: Pass, units: int, plan: Plan, aligned: bool) -> dict[str, Any]:
    """The upper-case names of pass_parts.py and of the passes."""
    record = spec(cls)
    gates, columns = which.product(record.gates, units)
    width, held = wide(columns, plan.lanes, dtype.itemsize), chunk(plan, columns, dtype.itemsize)
    vec, out, local = 16 // dtype.itemsize, plan.units * gates, plan.alone or plan.cluster
    depth = width // plan.lanes if plan.resident else vec
    cell = {"N": units, "GATES": record.gates, "STATES": record.states, "SAVED": record.saved}
    cell |= {"EMITS": record.emits, "SHARED": record.shared, "LOCAL": local, "RESIDENT": plan.resident}
    cut = {"LANES": plan.lanes, "GROUPS": plan.groups, "UNITS": plan.units, "ROWS": plan.rows, "OUT": out}
    cut |= {"COLUMNS": columns, "WIDE": width, "CHUNK": held, "DEPTH": depth, "THREADS": plan.threads}
    cut |= {"VEC": vec, "WIDTH": vec if aligned else 1}
    cut |= {"BLOCKS": plan.blocks(units) if plan.cluster else 1}
    cut |= {"OWNERS": plan.rows * plan.units, "SHARE": gates}
    cut |= {"WEIGHTS": out * depth, "SUMS": plan.rows * out, "SHARED_SIZE": (1 + local) * plan.rows * held}
    return cell | cut
