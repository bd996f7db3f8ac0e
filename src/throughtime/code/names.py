"""What a function reads besides its arguments, by its byte code: global names, modules it imports, closures."""

import contextlib
import dis
import importlib
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

FIXED = {"builtins", "cmath", "math", "numba", "numpy", "scipy"}  # modules that nobody edits between two runs
# Calls that change a container: one that a function changes itself, a log or a memo, is no argument of it.
CHANGING = {"append", "extend", "add", "update", "setdefault", "insert", "appendleft"}


def python_function(value: Any) -> Any:
    """The Python function of a Numba dispatcher or ufunc, any other value as it is."""
    for one in (value, getattr(value, "_dispatcher", None)):
        if isinstance(getattr(one, "py_func", None), types.FunctionType):
            return one.py_func  # type: ignore[union-attr]
    return value


def names_of(code: types.CodeType) -> list[str]:
    """The global names and attributes that a code object speaks of, those of the functions inside it included."""
    found = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found += names_of(constant)
    return found


def globals_of(code: types.CodeType) -> list[str]:
    """The names among these that are globals."""
    loads = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    return list(dict.fromkeys(one.argval for one in _instructions(code) if one.opname in loads))


def is_fixed(name: str | None) -> bool:
    """Whether a module is one that does not change between two runs: Python's own, or one of FIXED."""
    head = (name or "").split(".")[0]
    if head in FIXED or head not in sys.stdlib_module_names or head == "__main__":
        return head in FIXED
    file = getattr(sys.modules.get(head), "__file__", None)  # somebody's own test.py has the name of one of Python's
    return file is None or ("site-packages" not in file and file.startswith(os.path.dirname(os.__file__)))


OWN = __package__.split(".")[0]


def settled(module: str | None) -> bool:
    """Whether functions of a module are left as they are: nobody edits them while they are used."""
    return is_fixed(module) or (module or "").split(".")[0] == OWN


UNASSIGNED = ("not yet assigned",)


def cell_contents(cell: Any) -> Any:
    """What a closure holds, UNASSIGNED for a name that has no value yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return UNASSIGNED


def texts_of(code: types.CodeType) -> list[str]:
    found = []
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found += texts_of(constant)
        elif isinstance(constant, str):
            found.append(constant)
    return found


def _instructions(code: types.CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _instructions(constant)


def changed_by(code: types.CodeType) -> set[str]:
    """The global names whose object a function changes by a call such as NAME.append(…)."""
    found, last = set(), None
    for instruction in _instructions(code):
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and instruction.argval in CHANGING and last is not None:
            found.add(last)
        last = instruction.argval if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") else None
    return found


def guarding(code: types.CodeType) -> set[str]:
    """The globals that decide about nothing but whether to raise, as in `if x in NAME: raise …`: no result has them."""
    found = [one for one in dis.get_instructions(code) if one.opname not in ("CACHE", "TO_BOOL", "NOT_TAKEN")]
    places = {one.offset: k for k, one in enumerate(found)}
    loads = [k for k, one in enumerate(found) if one.opname == "LOAD_GLOBAL"]
    guards = set[int]()
    for k, one in enumerate(found):
        block = found[k + 1 : places.get(one.argval, 0)] if "JUMP" in one.opname and "IF_FALSE" in one.opname else []
        if block and block[-1].opname == "RAISE_VARARGS" and not any("JUMP" in b.opname for b in block):
            guards |= {k - 2} if found[k - 1].opname in ("CONTAINS_OP", "COMPARE_OP") else set()
    names = {found[k].argval for k in guards if k in loads}
    return set() if code.co_exceptiontable else names - {found[k].argval for k in loads if k not in guards}


def imported(function: types.FunctionType) -> Iterator[types.ModuleType]:
    """The modules that a function imports when it runs; imported here, as it would itself."""
    consts: list[Any] = []
    for instruction in _instructions(function.__code__):
        if instruction.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
            consts = [*consts[-1:], instruction.argval]
        elif instruction.opname == "IMPORT_NAME":
            level = consts[0] if len(consts) == 2 and isinstance(consts[0], int) else 0
            name = "." * level + instruction.argval
            if is_fixed(instruction.argval) and not level:
                continue
            found: Any
            try:
                found = importlib.import_module(name, function.__globals__.get("__package__"))
            except (ImportError, TypeError):
                continue  # the function will say so itself
            yield found
            for part in consts[1] if len(consts) == 2 and isinstance(consts[1], tuple) else ():
                if not hasattr(found, part):  # `from package import module`
                    with contextlib.suppress(ImportError, TypeError):
                        importlib.import_module(f"{found.__name__}.{part}")
            head = found.__name__.split(".")[0]
            if head != found.__name__ and head in sys.modules:
                yield sys.modules[head]
