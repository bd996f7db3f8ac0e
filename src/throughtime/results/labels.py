"""Names for the axes of the fields of results, for arrays with labels."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from .record import Array

OPTIONAL = ("kept", "sequence")  # axes that are not there for one sequence, or one time, alone


def dimensions(kind: type, field: str, count: int) -> list[str]:
    """The names of the `count` axes of a field of a class of results; by number, field_0, …, where it names none.

    >>> class Decay:
    ...     dimensions = {"time sequence": "log_norm"}
    >>> dimensions(Decay, "log_norm", 2), dimensions(Decay, "log_norm", 1), dimensions(Decay, "rate", 1)
    (['time', 'sequence'], ['time'], ['rate_0'])
    """
    for axes, fields in getattr(kind, "dimensions", {}).items():
        if field in fields.split():
            names = axes.split()
            for optional in OPTIONAL:
                if len(names) > count and optional in names:
                    names.remove(optional)
            if len(names) == count:
                return names
    return [f"{field}_{i}" for i in range(count)]


def derived(result: Any) -> list[str]:
    """The properties of a result that are numbers or arrays."""
    found = []
    for name in dir(type(result)):
        kind = getattr(type(result), name)
        if not name.startswith("_") and hasattr(kind, "__get__") and not callable(kind):
            try:
                value = np.asarray(getattr(result, name))
            except Exception:  # what this result has no answer to
                continue
            if value.dtype.kind in "biufc":
                found.append(name)
    return found


def free(name: str, taken: Iterable[str]) -> str:
    """`name`, or, where an axis of the user's or another field has it, name_of_result."""
    known = set(taken)
    while name in known:
        name += "_of_result"
    return name


def coordinate(values: list) -> Array:
    """The values of an axis as one dimension, whatever they are."""
    try:
        found = np.asarray(values)
    except ValueError:  # lists of different lengths
        found = np.empty((0, 0))
    if found.ndim != 1:
        found = np.empty(len(values), object)
        found[:] = values
    return found
