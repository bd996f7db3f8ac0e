"""From a cell, a size and a plan (plans.py) to a compiled kernel of loops.py, made at first use in a process."""

from functools import cache
from typing import Any

import numpy as np

from ...cells.base import spec
from .. import failures
from . import barrier, compiler, loops, register_arrays, thread_exchange
from . import division as _division  # noqa: F401  registered, not called
from .plans import Plan, chunk, wide


@cache
def kernel(cls: Any, dtype: np.dtype, name: str, units: int, plan: Plan, aligned: bool, far: bool) -> Any:
    """`unroll`, `backprop` or `tangent` of a cell class for N units.

    aligned: what units send begins at a multiple of 16 bytes in each row. far: an array holds 2^32 numbers or more.
    """
    functions, sizes = cell_functions(cls, dtype), constants(cls, dtype, name, units, plan, aligned)
    arrive, wait = barrier.BLOCK if plan.alone else barrier.CLUSTER if plan.cluster else barrier.ROW
    meet = {"arrive": arrive, "wait": wait}
    label = f"{spec(cls).name}-{dtype.name}-{units}"
    names: dict[str, Any] = functions | sizes | meet
    if not far:
        names |= {"read": register_arrays.read_near, "write": register_arrays.write_near}
        sizes["fetch"] = thread_exchange.fetch_near
    names["position"] = compiler.part(loops.thread_position, label, **sizes)
    names["prepare"] = compiler.part(loops.own_weights, label, **meet, **sizes)
    names["product"] = compiler.part(loops.rows_times_weights, label, **sizes)
    names["sent_tangent"] = compiler.part(loops.sent_tangent, label, **functions, **sizes)
    function = getattr(loops, name)
    used = set(function.__code__.co_names)
    return compiler.kernel(function, label, plan.threads, **{key: names[key] for key in used & set(names)})


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


def constants(cls: Any, dtype: np.dtype, name: str, units: int, plan: Plan, aligned: bool) -> dict[str, Any]:
    """The upper-case names of loops.py."""
    record = spec(cls)
    gates, columns = shape(cls, name, units)
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


def shape(cls: Any, name: str, units: int) -> tuple[int, int]:
    """(sums of a unit, columns) of the product in each step of a kernel."""
    gates = spec(cls).gates
    return (1, gates * units) if name == "backprop" else (gates, units)
