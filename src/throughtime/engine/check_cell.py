"""check_cell: does a cell's `backward` belong to its `forward`? Said in words, before a network trains on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cells import array_fields, central_differences
from ..cells.base import Spec, spec
from ..cells.examined import ARGUMENTS, in_plain_python
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

    in each of the gates of x, of the parts of r, of the states and of the parameters; so for the signals of a stage and
    the slopes of what is sent, and so at other values of every field (its default, 1, half of it, twice, and a value
    for each unit). Then all functions are compiled in both precisions, and a small network of the cell is run by the
    engine and by plain Python, with all its gradients. The first time that takes some seconds.

    cell : an instance of a cell. units : points that are tried at once. seed : of these points.
    Returns one line of praise. Raises ValueError with a sentence that says which derivative is wrong and by how much,
    or which function and line does not compile or leaves float32, and what to write; TypeError for what is no cell.

    >>> import throughtime as tt
    >>> tt.check_cell(tt.GRU())
    'GRU is right: 3 gates, 1 state, 4 saved; backward agrees with forward.'
    """
    cell = _checked(cell)
    record = spec(cell)
    rng = np.random.default_rng(seed)
    point = central_differences.drawn(cell, record, units, rng)
    try:
        with np.errstate(all="ignore"):
            for near, said in central_differences.neighbours(cell, units):
                central_differences.agree(near, record, point, said)
    except ValueError as error:
        if str(error).startswith(f"{record.name}."):
            raise
        _fails(record, error)
    except Exception as error:
        _fails(record, error)
    failures.examine(record, np.dtype("float64"))
    failures.widened(record)
    for near, said in central_differences.neighbours(cell, trial.N):
        for batch in (1, 3):
            difference = trial.disagreement(near, batch)
            if difference:
                raise ValueError(
                    f"{record.name} compiled is not what it is in plain Python{said}: here {difference}. "
                    "Its functions must depend on their arguments and the fields alone."
                )
    return f"{record.name} is right: {_counts(record)}; backward agrees with forward."


def _counts(record: Spec) -> str:
    """3 gates, 1 state, 4 saved, and what else there is."""
    sent = len(record.sends) if len(record.sends) > 1 else 0
    counts = [(record.gates, "gate"), (record.states, "state"), (len(record.parameters), "parameter")]
    counts += [(sent, "signal"), (record.staged, "stage signal")]
    told = [f"{n} {what if n == 1 else what + 's'}" for n, what in counts if n]
    return ", ".join([*told, *([] if record.recurrent else ["no recurrent product"]), f"{record.saved} saved"])


def _checked(cell: Any) -> Any:
    """The cell in the version in force, its arrays as compiled code has them; TypeError for what is none."""
    record = spec(cell)
    if isinstance(cell, type):
        raise TypeError(f"`cell` is the class {record.name}; pass an instance: tt.check_cell({record.name}()).")
    return in_force(cell._make(array_fields.checked(record.name, *own) for own in cell._asdict().items()))


def _fails(record: Spec, error: Exception) -> None:
    """Raises for a cell that stops in plain Python: the sentence about its compilation, if that fails as well."""
    failures.examine(record, np.dtype("float64"))
    trace = error.__traceback__
    codes = {getattr(record.cls, name).__code__: name for name in ARGUMENTS if hasattr(record.cls, name)}
    found = "forward"
    while trace is not None:
        found, trace = codes.get(trace.tb_frame.f_code, found), trace.tb_next
    raise ValueError(in_plain_python(record.cls, found, error)) from None
