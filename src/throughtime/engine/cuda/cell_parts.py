"""The functions of a cell made for kernels: its own, and those that give them the one form of cell_forms.py."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...cells.base import Spec, spec
from .. import failures
from . import cell_forms, compiler


def parts(cls: Any, dtype: np.dtype, per_unit: bool, units: int) -> dict[str, Any]:
    """The functions of a cell class for kernels, by the names of cell_forms.py, and the counts of its numbers.

    per_unit: its fields are arrays, a number for each of N `units`.
    """
    record = spec(cls)
    failures.examine(record, dtype)  # in words, before the device's compiler meets it
    label = f"{record.name}-{dtype.name}"
    names: dict[str, Any] = counts(record, dtype, len(cls._fields) if per_unit else 0) | {"N": units}
    for name in ("forward", "backward", "emit", "emit_slope", "stage", "stage_backward"):
        own = getattr(cls, name, None)
        names[f"cell_{name}"] = compiler.cell_function(own, dtype.type) if own is not None else None
    return names | {name: compiler.part(form, label, names) for name, form in _forms(record, per_unit).items()}


def counts(record: Spec, dtype: np.dtype, fields: int) -> dict[str, Any]:
    """The upper-case names of a cell."""
    real, E, S = dtype.type, record.signals, record.states
    return {
        "GATES": record.gates, "STATES": S, "SAVED": record.saved, "SIGNALS": E, "PARTS": record.parts,
        "FIRST": record.first, "SECOND": record.parts - record.first, "STAGED": record.staged,
        "PARAMETERS": len(record.parameters), "FIELDS": fields, "EMITS": record.emits, "SHARED": record.shared,
        "SLOPES": tuple(real(j == k) for k in range(E) for j in range(S)),
        "PART_ROOM": max(1, record.parts), "PARAMETER_ROOM": max(1, len(record.parameters)),
    }  # fmt: skip


def _forms(record: Spec, per_unit: bool) -> dict[str, Callable]:
    given, one = bool(record.parameters), record.signals == 1
    names = ("forward", "backward", *(("stage", "stage_backward") if record.staged else ()))
    found = {name: getattr(cell_forms, f"{name}_with" if given else name) for name in names}
    found["of_unit"] = cell_forms.cell_of_unit if given or per_unit else cell_forms.whole_cell
    for name in ("emit", "emit_slope"):
        form = name if not record.emits else f"{name}_of_one" if one else f"{name}_of_several"
        found[name] = getattr(cell_forms, form)
    return found
