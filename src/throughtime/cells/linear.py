"""Whether a step is linear in the state, s' = A(x) s + b(x): seen from the code of a cell, for all fields and numbers.

`backward` gives A, the derivative by s. Where what it returns for s reads neither s nor s_next, and what `forward`
saves for it does not come from s either, A does not depend on the state, and the step is linear. As in sharing.py one
sample would prove nothing: a cell may be linear in one part of its range.
"""

from functools import cache
from typing import Any

import numpy as np

from ..jit import ir_of
from .base import spec
from .examined import default

# Where in their arguments the two functions find states, and which part of what they return must not come from these.
OF_FORWARD = ({3}, 1)
OF_BACKWARD = ({2, 3}, 2)
HARMLESS = ("Assign", "Del", "Jump", "Return")  # statements that may read what comes from a state


@cache
def is_linear(cls: Any) -> bool:
    """True where the code shows it, and `backward` agrees with `forward` at a random point.

    False where the code does not show it: `backward` computes dL/ds_prev from s or s_next, `forward` saves a number
    that comes from s, or one of them branches on such a number.
    """
    return (
        spec(cls).gates > 0
        and _free_of(cls.backward, *OF_BACKWARD)
        and _free_of(cls.forward, *OF_FORWARD)
        and _agrees(cls)
    )


def _free_of(function: Any, arguments: set[int], part: int) -> bool:
    """Whether that part of what a function returns comes from none of these arguments, along any path."""
    code = ir_of(function)
    if code is None:
        return False
    statements = [statement for block in code.blocks.values() for statement in block.body]
    made: dict[str, list[Any]] = {}
    touched: set[str] = set()  # the variables that come from one of the arguments
    for statement in statements:
        if _kind(statement) == "Assign":
            made.setdefault(statement.target.name, []).append(statement.value)
            if _kind(statement.value) == "Arg" and statement.value.index in arguments:
                touched.add(statement.target.name)
    count = 0
    while count < len(touched):
        count = len(touched)
        touched |= {name for name, values in made.items() if any(_read(value) & touched for value in values)}
    if any(_kind(one) not in HARMLESS and _read(one) & touched for one in statements):
        return False  # a branch: which numbers are returned hangs on the state
    ends = [statement.value.name for statement in statements if _kind(statement) == "Return"]
    return bool(ends) and all(_part_is_free(made, touched, end, part) for end in ends)


def _kind(of: Any) -> str:
    return type(of).__name__


def _read(value: Any) -> set[str]:
    """The variables that a statement, or the value of an assignment, reads."""
    if _kind(value) == "Var":
        return {value.name}
    return {own.name for own in value.list_vars()} if hasattr(value, "list_vars") else set()


def _part_is_free(made: dict[str, list[Any]], touched: set[str], name: str, part: int) -> bool:
    """Whether the variable is a tuple built in one place, whose part was not touched."""
    values = made.get(name, [])
    while len(values) == 1 and (_kind(values[0]) == "Var" or getattr(values[0], "op", "") == "cast"):
        values = made.get((values[0] if _kind(values[0]) == "Var" else values[0].value).name, [])
    built = len(values) == 1 and getattr(values[0], "op", "") == "build_tuple"
    return built and values[0].items[part].name not in touched


def _agrees(cls: Any) -> bool:
    """Whether A s + b, with A from `backward`, is what `forward` gives, at one random point."""
    record, rng = spec(cls), np.random.default_rng(0)
    x, s, p = (tuple(rng.standard_normal(n)) for n in (record.gates, record.states, len(record.parameters)))
    own, zero = ((p,) if record.parameters else ()), tuple(np.zeros(record.states))
    try:
        with np.errstate(all="ignore"):
            cell = cls(*(default(cls, field) for field in cls._fields))
            there, _ = cell.forward(x, (), s, *own)
            b, saved = cell.forward(x, (), zero, *own)
            unit = np.eye(record.states)
            rows = [cell.backward(tuple(row), zero, b, saved, *own)[2] for row in unit]
    except Exception:  # a cell that fails here says so elsewhere
        return False
    found = np.array(rows, float) @ np.array(s) + np.array(b, float)
    return bool(np.allclose(found, np.array(there, float), rtol=1e-9, atol=1e-9))
