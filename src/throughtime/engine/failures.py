"""Why a cell does not compile, in words: which function, which line, what to write. Numba's own pages stay here.

A cell's functions are compiled one by one, on scalars, in the order in which a step needs them. The first that fails,
or that gives other numbers of values than the cell has, is the one to name.
"""

import dis
import math
import re
from types import FunctionType, ModuleType
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.registry import cpu_target

from ..cells.examined import Spec, arguments_of, place
from ..code.precision import in_precision
from ..jit import OPTIONS, ir_of

INSTEAD = {
    "clip": "min(max(u, -1.0), 1.0)",
    "where": "a if u > 0.0 else b",
    "heaviside": "throughtime.scalar.relu_slope(u)",
    "select": "a if u > 0.0 else b",
    "maximum": "max(u, 0.0)",
    "erf": "math.erf(u)",
    "erfc": "math.erfc(u)",
    "gamma": "math.gamma(u)",
    "gammaln": "math.lgamma(u)",
    "expit": "throughtime.scalar.sigmoid(u)",
    "sum": "the sum of the numbers, x[0] + x[1]",
}
ALLOWED = (
    "A cell is arithmetic on numbers: + - * / **, if and else, functions of math, of throughtime.scalar, and your own "
    "with the decorator @numba.njit."
)
# what the interpreter does that compiled code of a cell cannot, by the names of its instructions
SYNTAX = {
    "IMPORT_NAME": "imports a module; put the import at the head of the file",
    "STORE_GLOBAL": "sets a global, which compiled code cannot",
    "DELETE_FAST": "deletes a variable, which compiled code does not; leave the `del` out",
    "YIELD_VALUE": "is a generator; write the numbers out as a tuple",
    "BEFORE_WITH": "has a `with` block, which compiled code does not know; leave it out",
    "LOAD_SPECIAL": "has a `with` block, which compiled code does not know; leave it out",  # Python 3.14
    "CHECK_EXC_MATCH": "has a `try` block; test the numbers with `if` before",
    "PUSH_EXC_INFO": "has a `try` block; test the numbers with `if` before",
    "print": "prints, which compiled code cannot from a thread of its own; print what a run gives, run.states",
    "LOAD_ASSERTION_ERROR": "asserts, and a compiled cell cannot hand the error on: return float('nan') instead",
    "RAISE_VARARGS": "raises an error, which a compiled cell cannot hand on: return float('nan') instead",
}


def examine(record: Spec, dtype: Any) -> dict[str, Any]:
    """Compile each function of a cell by itself; name -> Numba's result. ValueError with a sentence where one fails."""
    cls: Any = record.cls
    real, count = numba.from_dtype(dtype), len(cls._fields)
    cell = types.NamedUniTuple(real, count, cls) if count else types.NamedTuple((), cls)

    def numbers(n: int) -> Any:
        return types.UniTuple(real, n)

    given, sizes = dict[str, tuple](), _sizes(record)
    counts = {"x": record.gates, "s": record.states, "s_next": record.states, "ds": record.states}
    counts |= {"saved": record.saved, "da": record.staged, "p": len(record.parameters)}
    for name in sizes:
        parts = record.first if name == "stage" else record.parts
        given[name] = tuple(numbers(parts if a == "r" else counts[a]) for a in arguments_of(name, record)[1:])
    look(record)
    found = {}
    for name, arguments in given.items():
        function = getattr(cls, name)
        try:
            made = numba.njit(**OPTIONS)(in_precision(function, dtype.type))
            made.compile((cell, *arguments))
        except Exception as error:
            raise ValueError(_sentence(record, name, function, error)) from None
        found[name] = made.overloads[(cell, *arguments)]
        _check_sizes(record, name, function, found[name].signature.return_type, sizes[name])
    return found


def _sizes(record: Spec) -> dict[str, Any]:
    """What each function of a cell gives: the sizes of its tuples, a number of numbers, or None for one number."""
    G, S, E = record.gates, record.states, record.signals
    own = (len(record.parameters),) if record.parameters else ()
    sizes: dict[str, Any] = {"forward": (S, record.saved), "backward": (G, record.parts, S, *own)}
    if record.emits:
        sizes |= {"emit": None, "emit_slope": S} if E == 1 else {"emit": E, "emit_slope": (S,) * E}
    if record.stage:
        sizes |= {"stage": record.staged, "stage_backward": (G, record.first, S, *own)}
    return sizes


def look(record: Spec) -> None:
    """ValueError for what would not compile, or would compile and be lost: an error raised in a cell reaches nobody."""
    for name in _sizes(record):
        _syntax(record.name, name, getattr(record.cls, name), set())


def in_words(record: Spec, dtype: Any, error: Exception) -> Exception:
    """The error to raise for one that came while a cell was compiled."""
    try:
        examine(record, dtype)
    except ValueError as found:
        return found
    said = "".join(str(error).strip().splitlines()[-1:])[:200]
    return ValueError(f"The cell {record.name} does not compile: {type(error).__name__}: {said}. {ALLOWED}")


def _syntax(cell: str, name: str, function: Any, seen: set[int]) -> None:
    """Raises for a function, or a compiled one that it calls, which does what SYNTAX lists."""
    seen.add(id(function))
    code, line = function.__code__, None
    steps: dict[str, int | None] = {}
    for step in dis.get_instructions(code):
        line = (step.positions.lineno if step.positions else None) or line
        steps.setdefault(step.opname, line)
        if "GLOBAL" in step.opname and step.argval == "print" and "print" not in function.__globals__:
            steps.setdefault("print", line)
    for op in SYNTAX:  # in this order: a `with` is also a `try`, an assertion also raises
        if op in steps:
            where = place(code, steps[op])
            raise ValueError(f"`{cell}.{name}` cannot be compiled{where}: `{function.__name__}` {SYNTAX[op]}.")
    for _, value in _globals(function):
        python = getattr(value, "py_func", None)
        if isinstance(python, FunctionType) and id(python) not in seen:
            _syntax(cell, name, python, seen)


def _globals(function: Any) -> list[tuple[str, Any]]:
    """What a function names outside itself: globals, and the variables of functions around it."""
    code = function.__code__
    found = [(name, function.__globals__[name]) for name in code.co_names if name in function.__globals__]
    for name, cell in zip(code.co_freevars, function.__closure__ or ()):
        found.append((name, cell.cell_contents))
    return found


def _line(function: Any, error: Exception) -> int | None:
    """The line of a function at which Numba stopped, from its message."""
    code = function.__code__
    lines = {line for _, _, line in code.co_lines() if line}
    text = str(error)
    named = [int(number) for number in re.findall(r"(?:line |\()(\d+)\)?[:\n]?", text)]
    located = getattr(getattr(error, "loc", None), "line", None)
    return next((line for line in [*named, located] if line in lines and line != code.co_firstlineno), located)


def _sentence(record: Spec, name: str, function: Any, error: Exception) -> str:
    line = _line(function, error)
    culprit = _culprit(record, function, line) or _culprit(record, function, None) or _reason(str(error))
    return f"`{record.name}.{name}` cannot be compiled{place(function.__code__, line)}: {culprit} {ALLOWED}"


def _reason(text: str) -> str:
    if "unify" in text:
        return "it gives other kinds or numbers of values in one branch than in another; all must give the same."
    if "NameError" in text or "Untyped global" in text:
        return "it names something that compiled code does not know."
    if "tuple" in text and "list" in text:
        return "it makes a list; write the numbers out as a tuple, (a, b)."
    return "compiled code does not know what stands there."


def _culprit(record: Spec, function: Any, line: int | None) -> str:
    """What a line (or, for None, any line) names that compiled code does not know."""
    code = ir_of(function)
    if code is None:
        return _of_globals(_globals(function))
    values: dict[str, Any] = {}
    named: list[tuple[str, Any]] = []
    for block in code.blocks.values():
        for statement in block.body:
            value: Any = getattr(statement, "value", None)
            target = getattr(getattr(statement, "target", None), "name", None)
            if target is None:
                continue
            kind = type(value).__name__
            if kind in ("Global", "FreeVar"):
                values[target] = (value.name, value.value)
            elif kind == "Arg":
                values[target] = (value.name, record.cls if value.index == 0 else None)
            elif getattr(value, "op", None) == "getattr" and value.value.name in values:
                base, of = values[value.value.name]
                if of is record.cls and value.attr not in record.cls._fields:
                    if line in (None, statement.loc.line):
                        return f"`{base}.{value.attr}` is not a field; compiled code knows the fields of a cell only."
                elif isinstance(of, ModuleType) and hasattr(of, value.attr):
                    values[target] = (f"{base}.{value.attr}", getattr(of, value.attr))
                else:
                    continue
            else:
                continue
            if line in (None, statement.loc.line) and target in values:
                named.append(values[target])
    return _of_globals(named)


def _of_globals(named: list[tuple[str, Any]]) -> str:
    """The first of some named values that compiled code cannot take, and what to write."""
    for name, value in named:
        last = name.rsplit(".", 1)[-1]
        module = getattr(value, "__module__", None) or ""
        if isinstance(value, (list, dict, set)):
            return f"`{name}` is a {type(value).__name__} outside the cell; make it a field, or a tuple of numbers."
        if not _known(value) and (isinstance(value, type) or not (callable(value) or isinstance(value, ModuleType))):
            what = "a class" if isinstance(value, type) else f"an object of type {type(value).__name__}"
            return f"`{name}` is {what}; write its numbers as a float or a tuple outside the cell, or as fields."
        foreign = isinstance(value, (str, bytes, ModuleType, type)) or value is None
        if foreign or isinstance(value, (int, float, tuple)):
            continue
        if last in INSTEAD and (name.startswith(("np.", "numpy.", "scipy.")) or "scipy" in module or not _known(value)):
            return f"`{name}` cannot be compiled for numbers; write {INSTEAD[last]}."
        if callable(value) and not _known(value):
            if isinstance(value, FunctionType) and not module.startswith(("numpy", "scipy", "torch", "jax")):
                return f"`{name}` is a plain Python function; put the decorator @numba.njit on it."
            return f"`{name}`{f' of {module}' if module else ''} cannot be compiled."
    return ""


def _known(value: Any) -> bool:
    """Whether Numba has a type for it: of Python's functions the compiled ones, and those with an overload."""
    try:
        cpu_target.target_context.refresh()
        cpu_target.typing_context.refresh()
        return cpu_target.typing_context.resolve_value_type(value) is not None
    except Exception:
        return False


def _check_sizes(record: Spec, name: str, function: Any, kind: Any, sizes: Any) -> None:
    def real(value: Any) -> bool:
        return isinstance(value, (types.Integer, types.Float, types.Boolean))

    def numbers(value: Any, count: int) -> bool:
        return isinstance(value, types.BaseTuple) and len(value) == count and all(map(real, value))

    if isinstance(sizes, tuple):
        right = isinstance(kind, types.BaseTuple) and len(kind) == len(sizes)
        right = right and all(numbers(part, count) for part, count in zip(kind, sizes))
    else:
        right = real(kind) if sizes is None else numbers(kind, sizes)
    if right:
        return
    more = ", dp" if record.parameters else ""
    names = {"forward": "(s_next, saved)", "backward": f"(dx, dr, ds_prev{more})", "emit_slope": "slopes"}
    names |= {"emit": "a number" if sizes is None else "its signals", "stage": "its signals"}
    wanted = (names | {"stage_backward": f"(dx, dr, ds{more})"})[name]
    counts = "1" if sizes is None else ", ".join(map(str, sizes)) if isinstance(sizes, tuple) else str(sizes)
    culprit = _culprit(record, function, None) or "Every branch must give as many, whatever the fields are."
    raise ValueError(
        f"`{record.name}.{name}` compiled gives something else than {wanted} of {counts} real numbers. {culprit}"
    )


def widened(record: Spec) -> None:
    """ValueError that names the line where a cell of a float32 network would compute in float64."""
    for name, made in examine(record, np.dtype(np.float32)).items():
        function = getattr(record.cls, name)
        kinds, constants = made.type_annotation.typemap, {}
        for block in made.type_annotation.blocks.values():
            for statement in block.body:
                value: Any = getattr(statement, "value", None)
                target: Any = getattr(statement, "target", None)
                if target is None or not hasattr(target, "name"):
                    continue
                if type(value).__name__ in ("Const", "Global", "FreeVar"):
                    constants[target.name] = value.value
                if kinds.get(target.name) in (types.float64, types.complex64, types.complex128):
                    whole = {v for v, kind in kinds.items() if isinstance(kind, types.Integer)}
                    raise ValueError(_wide(record.name, name, function, statement, constants, whole))


def _wide(cell: str, name: str, function: Any, statement: Any, constants: dict[str, Any], integers: set[str]) -> str:
    where, value = place(function.__code__, statement.loc.line), statement.value
    op = getattr(value, "op", None)
    operands = [constants.get(v.name) for v in value.list_vars()] if hasattr(value, "list_vars") else []
    whole = next((v for v in operands if type(v) is int), None) if op in ("binop", "inplace_binop", "call") else None
    if whole is not None:
        return (
            f"{cell}.{name} computes with an integer literal, which makes float32 networks compute in float64{where}: "
            f"write {float(whole)} for {whole} (literals with a point take the network's precision)."
        )
    culprit = "give all numbers a point, 2.0 for 2"
    if op in ("binop", "inplace_binop") and any(v.name in integers for v in value.list_vars()):
        culprit = (
            "a whole number meets float32 there; write np.floor(u), np.trunc(u) or np.rint(u) for math.floor(u), "
            "int(u) or round(u), and counts as literals with a point"
        )
    named = value.attr if op == "getattr" else getattr(value, "name", None) if op is None else None
    if any(isinstance(v, np.ndarray) for v in operands):
        culprit = "an array outside the cell is in its own precision; make it a tuple of numbers, or fields"
    elif op == "getattr" or type(value).__name__ in ("Global", "FreeVar"):
        exact = getattr(math, str(named), None)
        culprit = f"`{named}` is a float64; write " + (repr(exact) if exact else "a literal, or make it a field")
    elif op == "call":
        culprit = "this call gives a float64; give it numbers with a point, or use throughtime.scalar"
    return f"{cell}.{name} would make float32 networks compute in float64{where}: {culprit}."
