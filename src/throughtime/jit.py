"""The only place where compile options are spelt, each with its reason, and where kernels are made and cached.

A kernel of the engine is one plain Python function for all cells. `specialise` makes a compiled copy of it for one
cell: the copy sees the cell's functions and sizes as its globals. Reasons for this way, measured with numba 0.68:

* `cache=True` never hits for a loop that closes over a compiled function or takes one as an argument. A loop that finds
  its functions among its globals does hit.
* Numba's cache looks at the file of the loop alone: after an edit of the cell in another file the old machine code
  would run on, silently. So the copy's name carries a digest of all that its machine code depends on (`fingerprint`).
* The cell's class stays out of the kernel's signature, which is pickled: a class of a script's `__main__` would never
  be found again.
"""

import hashlib
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir  # noqa: F401  for scalar.py, as are Numba's types: the two libraries come in by this door
from numba import cfunc, extending, njit
from numba import types as number_types  # noqa: F401
from numba.core.compiler import run_frontend

OPTIONS: dict[str, Any] = {
    "nogil": True,  # threads take their parts of a sequence at the same time
    "error_model": "numpy",  # Python's check for division by zero would keep loops from being vectorised
    # fused multiply-add and nothing else: `reassoc` would let the same sum have other bits in another loop, `nnan` and
    # `ninf` would lose NaN and infinity, and the pointwise loops vectorise without them.
    "fastmath": {"contract"},
}

# Numba's stubs know nothing of a caller in compiled code.
intrinsic: Any = extending.intrinsic
overload: Any = extending.overload
register_jitable: Any = extending.register_jitable

FIXED = {"builtins", "cmath", "math", "numba", "numpy", "scipy"}  # modules that nobody edits between two runs

# The cells' functions are inlined by Numba itself: a callee optimised on its own arrives with small vectors in it, and
# LLVM then leaves the loop around it scalar, 2-3 times slower. (Scalar functions like tanh vectorise as plain callees
# and compile faster so.)
inlined = njit(inline="always", **OPTIONS)


def specialise(function: Callable, name: str, **names: Any) -> Any:
    """A compiled copy of `function` that sees `names` as globals.

    It is cached on disk under a name that changes with everything it depends on.
    """
    copy = _copy(function, name, names)
    try:
        return njit(cache=True, **OPTIONS)(copy)
    except RuntimeError:  # no folder to write to, neither beside the package nor in the user's cache
        return njit(**OPTIONS)(copy)  # compiled anew in every process


def merged(function: Callable, **names: Any) -> Any:
    """The same for a function that is called in one place: its code goes there and costs no compilation of its own.

    Compiled code is optimised again in every function that calls it, directly or not.
    """
    return inlined(_copy(function, "merged", names))


def address_of(function: Callable, name: str, signature: Any, **names: Any) -> int:
    """The address of a compiled copy, made as in `specialise`, which compiled code calls as C calls a function."""
    copy = _copy(function, name, names)
    options = {key: value for key, value in OPTIONS.items() if key != "nogil"}
    try:
        made: Any = cfunc(signature, cache=True, **options)(copy)
    except RuntimeError:
        made = cfunc(signature, **options)(copy)
    _kept.append(made)  # its machine code must outlive the address
    return made.address


_kept: list[Any] = []


def _copy(function: Callable, name: str, names: dict[str, Any]) -> types.FunctionType:
    digest = hashlib.sha256(f"{_sources()} {fingerprint(function)}".encode())
    for key, value in sorted(names.items()):
        digest.update(f"{key} {fingerprint(value)}".encode())
    copy = types.FunctionType(
        function.__code__, {**function.__globals__, **names}, function.__name__, function.__defaults__
    )
    copy.__module__ = function.__module__
    copy.__qualname__ = f"{function.__name__}-{name}-{digest.hexdigest()[:20]}"
    copy.__doc__ = function.__doc__
    return copy


@cache
def _sources() -> str:
    """Digest of Numba's version and of the library's own compiled code, for a kernel contains the helpers it calls."""
    here = Path(__file__).parent
    files = [here / "jit.py", here / "scalar.py", *sorted((here / "engine").glob("*.py"))]
    return hashlib.sha256(b"\0".join([numba.__version__.encode(), *(file.read_bytes() for file in files)])).hexdigest()


def fingerprint(value: Any) -> str:
    """A text that changes whenever the code of `value`, or of anything that it calls, changes."""
    return hashlib.sha256("\n".join(_parts(value, set())).encode()).hexdigest()


def _parts(value: Any, seen: set[int]) -> list[str]:
    value = getattr(value, "py_func", value)  # the Python function of a Numba dispatcher
    if isinstance(value, types.FunctionType):
        if id(value) in seen:
            return [value.__qualname__]
        seen.add(id(value))
        found = [repr(value.__defaults__), *_parts(value.__code__, seen)]
        reached: list[Any] = [cell.cell_contents for cell in value.__closure__ or ()]
        names = _names(value.__code__)
        for name in names:
            if name in value.__globals__:
                reached.append(value.__globals__[name])
        for item in reached:  # grows as it goes: package.module.function
            if isinstance(item, types.ModuleType) and item.__name__.split(".")[0] not in FIXED:
                inside = [vars(item)[name] for name in names if name in vars(item)]
                reached += [new for new in inside if not any(new is known for known in reached)]
        for item in reached:
            found += _parts(item, seen)
        return found
    if isinstance(value, types.CodeType):
        found = [value.co_code.hex(), repr(value.co_names), repr(value.co_varnames)]
        for constant in value.co_consts:
            found += _parts(constant, seen)
        return found
    if isinstance(value, types.ModuleType):
        return [value.__name__]
    if isinstance(value, type):
        return [value.__qualname__]
    if isinstance(value, tuple):
        return [part for item in value for part in _parts(item, seen)]
    if isinstance(value, np.ndarray):
        return [str(value.dtype), str(value.shape), value.tobytes().hex()]
    return [type(value).__name__, repr(value)]


def _names(code: types.CodeType) -> list[str]:
    found = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found += _names(constant)
    return found


def ir_of(function: Callable) -> Any:
    """A function in Numba's intermediate language, the same for every version of Python; None if it cannot be read."""
    try:
        return run_frontend(function)
    except Exception:  # what Numba does not understand; the compilation of the cell says so in words
        return None


def in_precision(function: Callable, real: type) -> Callable:
    """A copy of a cell's function whose float literals have the type `real`: `0.5 * x` in float32 stays in float32.

    So have the numbers among its globals, and the literals of the `@njit` functions that it calls.
    """
    return function if real is np.float64 else _in_precision(function, real, {})


def _in_precision(function: Any, real: type, made: dict[int, Any]) -> Any:
    name, code = function.__name__, function.__code__
    used = {key: function.__globals__[key] for key in _names(code) if key in function.__globals__}
    made[id(function)] = None  # a function that calls itself goes on with the original
    names = {key: _typed(value, real) for key, value in used.items() if type(value) in (float, tuple)}
    for key, value in used.items():
        python, options = getattr(value, "py_func", None), getattr(value, "targetoptions", None)
        if isinstance(python, types.FunctionType) and isinstance(options, dict):
            if id(python) not in made:
                asked = {key: option for key, option in options.items() if key != "nopython"}  # njit sets it itself
                made[id(python)] = njit(**asked)(_in_precision(python, real, made))
            names[key] = made[id(python)] or value
    code = code.replace(co_consts=tuple(_typed(value, real) for value in code.co_consts))
    closure = tuple(types.CellType(_typed(cell.cell_contents, real)) for cell in function.__closure__ or ())
    named = {**function.__globals__, **names}
    copy = types.FunctionType(code, named, name, function.__defaults__, closure or None)
    copy.__qualname__, copy.__module__ = function.__qualname__, function.__module__
    return copy


def _typed(constant: Any, real: type) -> Any:
    if isinstance(constant, types.CodeType):  # a function inside, such as a lambda
        return constant.replace(co_consts=tuple(_typed(value, real) for value in constant.co_consts))
    if type(constant) is tuple:
        return tuple(_typed(value, real) for value in constant)
    return real(constant) if type(constant) is float else constant
