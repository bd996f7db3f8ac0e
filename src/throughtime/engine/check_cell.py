"""check_cell: does a cell's `backward` belong to its `forward`? Said in words, before a network trains on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cells import central_differences
from ..cells.base import Spec, spec
from ..cells.examined import ARGUMENTS, in_plain_python, real_field
from ..cells.versions import in_force
from ..refuse.expected import checking
from . import failures
from .cpu import trial


@checking
def check_cell(cell: Any, *, units: int = 64, seed: int = 0) -> str:
    """Check a cell: finite differences with slope 2, the adjoint identity, the compiled step, float32 stays float32.

    At random points of `units` units the derivative D that `backward` describes must satisfy, for every direction v and
    cotangent u,

        (f(p + e v) - f(p - e v)) / 2e = D v + O(e^2),        <u, D v> = <D^T u, v>

    in each of the gates of x, of the gates of r and of the states; and so at other values of every field (its default,
    1, half of it, twice). Then all functions are compiled in both precisions, and a small network of the cell is run
    by the engine and by plain Python, with all its gradients. The first time that takes some seconds.

    cell : an instance of a cell. units : points that are tried at once. seed : of these points.
    Returns one line of praise. Raises ValueError with a sentence that says which derivative is wrong and by how much,
    or which function and line does not compile or leaves float32, and what to write; TypeError for what is no cell.

    >>> import throughtime as tt
    >>> tt.check_cell(tt.GRU())
    'GRU is right: 3 gates, 1 state, 4 saved; backward agrees with forward.'
    """
    _record(cell)  # or a sentence
    cell = in_force(cell)
    record = spec(cell)
    rng = np.random.default_rng(seed)
    point = tuple(rng.normal(size=units) for _ in range(2 * record.gates + record.states))
    try:
        with np.errstate(all="ignore"):
            for near, said in central_differences.neighbours(cell):
                central_differences.agree(near, record, point, said)
    except ValueError as error:
        if str(error).startswith(f"{record.name}."):
            raise
        _fails(record, error)
    except Exception as error:
        _fails(record, error)
    failures.examine(record, np.dtype("float64"))
    failures.widened(record)
    for near, said in central_differences.neighbours(cell):
        for batch in (1, 3):
            difference = trial.disagreement(near, batch)
            if difference:
                raise ValueError(
                    f"{record.name} compiled is not what it is in plain Python{said}: here {difference}. "
                    "Its functions must depend on their arguments and the fields alone."
                )
    states = "state" if record.states == 1 else "states"
    gates = "gate" if record.gates == 1 else "gates"
    counts = f"{record.gates} {gates}, {record.states} {states}, {record.saved} saved"
    return f"{record.name} is right: {counts}; backward agrees with forward."


def _record(cell: Any) -> Spec:
    record = spec(cell)
    if isinstance(cell, type):
        raise TypeError(f"`cell` is the class {record.name}; pass an instance: tt.check_cell({record.name}()).")
    for field, value in zip(record.cls._fields, cell, strict=True):  # type: ignore[attr-defined]
        real_field(record.cls, field, value)
    return record


def _fails(record: Spec, error: Exception) -> None:
    """Raises for a cell that stops in plain Python: the sentence about its compilation, if that fails as well."""
    failures.examine(record, np.dtype("float64"))
    trace = error.__traceback__
    codes = {getattr(record.cls, name).__code__: name for name in ARGUMENTS if hasattr(record.cls, name)}
    found = "forward"
    while trace is not None:
        found, trace = codes.get(trace.tb_frame.f_code, found), trace.tb_next
    raise ValueError(in_plain_python(record.cls, found, error)) from None
