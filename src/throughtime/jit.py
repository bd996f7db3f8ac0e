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
from typing import Any

import numba
import numpy as np
from llvmlite import ir  # noqa: F401  for scalar.py, as are Numba's types: the two libraries come in by this door
from numba import extending, njit
from numba import types as number_types  # noqa: F401
from numba.core import config
from numba.core.ccallback import CFunc
from numba.core.compiler import run_frontend
from numba.core.dispatcher import Dispatcher
from numba.core.typing.templates import builtin_registry
from numba.np.ufunc.dufunc import DUFunc

from .code import sources
from .code.cache import CodeCache
from .code.fingerprints import fingerprint
from .code.names import names_of, python_function, settled

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

# The cells' functions are inlined by Numba itself: a callee optimised on its own arrives with small vectors in it, and
# LLVM then leaves the loop around it scalar, 2-3 times slower. (Scalar functions like tanh vectorise as plain callees
# and compile faster so.)
inlined = njit(inline="always", **OPTIONS)


def specialise(function: Callable, name: str, **names: Any) -> Any:
    """A compiled copy of `function` that sees `names` as globals.

    It is cached on disk under a name that changes with everything it depends on.
    """
    if config.DISABLE_JIT:
        raise RuntimeError("NUMBA_DISABLE_JIT is set, and throughtime is compiled by Numba: start Python without it.")
    made = njit(**OPTIONS)(_copy(function, name, names))
    made._cache = _kept_code(made.py_func) or made._cache
    return made


def merged(function: Callable, **names: Any) -> Any:
    """The same for a function that is called in one place: its code goes there and costs no compilation of its own.

    Compiled code is optimised again in every function that calls it, directly or not.
    """
    return inlined(_copy(function, "merged", names))


def address_of(function: Callable, name: str, signature: Any, **names: Any) -> int:
    """The address of a compiled copy, made as in `specialise`, which compiled code calls as C calls a function."""
    copy = _copy(function, name, names)
    options = {key: value for key, value in OPTIONS.items() if key != "nogil"}
    made: Any = CFunc(copy, (signature.args, signature.return_type), locals={}, options=options)
    made._cache = _kept_code(copy) or made._cache
    made.compile()
    _kept.append(made)  # its machine code must outlive the address
    return made.address


_kept: list[Any] = []


def _kept_code(function: Callable) -> Any:
    """The cache of a function, None where it is compiled anew in every process: without a folder to write to, neither
    beside the package nor in the user's cache, or where our own source cannot be told from another version of it."""
    if _sources() is None:
        return None
    try:
        return CodeCache(function)
    except (RuntimeError, OSError):
        return None


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
def _sources() -> str | None:
    """Numba's version and the library's own compiled code, for a kernel contains the helpers it calls."""
    found = sources.digest("jit", "scalar", "engine", "engine/cpu", "engine/lu")
    return None if found is None else f"{numba.__version__} {found}"


def compiled_like(value: Any, copy: types.FunctionType) -> Any:
    """A copy of a helper's Python function, usable in compiled code in the way in which the helper is."""
    dispatcher: Any = Dispatcher  # Numba's stubs do not know all of it
    if isinstance(value, dispatcher):
        made: Any = type(value)(copy, dict(value.locals), dict(value.targetoptions))
        if not value._can_compile:  # made for certain signatures alone
            for arguments in value.overloads:
                made.compile(arguments)
            made.disable_compile()
        return made
    if isinstance(value, DUFunc):
        return numba.vectorize(**value.targetoptions)(copy)
    known: Any = next((kind for one, kind in reversed(builtin_registry.globals) if one is value), None)
    if known is None:
        return copy  # plain Python, which Numba will refuse in its own words
    inside = getattr(getattr(known.templates[0], "_overload_func", None), "__closure__", None) or ()
    return register_jitable(copy) if any(cell.cell_contents is value for cell in inside) else value


def ir_of(function: Callable) -> Any:
    """A function in Numba's intermediate language, the same for every version of Python; None if it cannot be read."""
    try:
        return run_frontend(function)
    except Exception:  # what Numba does not understand; the compilation of the cell says so in words
        return None


def in_precision(function: Callable, real: type) -> Callable:
    """A copy of a cell's function whose float literals have the type `real`: `0.5 * x` in float32 stays in float32.

    So have the numbers and arrays among its globals, and all that the helpers that it calls refer to.
    """
    return function if real is np.float64 else _in_precision(function, real, {})


def _in_precision(function: Any, real: type, made: dict[int, Any]) -> Any:
    name, code = function.__name__, function.__code__
    inside = names_of(code)
    used = {key: function.__globals__[key] for key in inside if key in function.__globals__}
    made[id(function)] = None  # a function that calls itself goes on with the original
    names = {key: _value_in_precision(value, real, made, inside) for key, value in used.items()}
    code = code.replace(co_consts=tuple(_typed(value, real) for value in code.co_consts))
    held = (_value_in_precision(cell.cell_contents, real, made, inside) for cell in function.__closure__ or ())
    closure = tuple(types.CellType(value) for value in held)
    named = {**function.__globals__, **names}
    defaults = _typed(function.__defaults__, real) if function.__defaults__ else None
    copy = types.FunctionType(code, named, name, defaults, closure or None)
    copy.__qualname__, copy.__module__ = function.__qualname__, function.__module__
    return copy


def _value_in_precision(value: Any, real: type, made: dict[int, Any], names: list[str]) -> Any:
    """What a cell's function refers to: numbers and arrays of them in that type, a helper or module of the user's as a
    copy that refers to such."""
    if type(value) is tuple:
        return tuple(_value_in_precision(part, real, made, names) for part in value)
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return value.astype(real)
    if isinstance(value, types.ModuleType) and not settled(value.__name__):
        copy: Any = types.ModuleType(value.__name__)
        inside = {name: vars(value)[name] for name in names if name in vars(value)}
        vars(copy).update({name: _value_in_precision(part, real, made, names) for name, part in inside.items()})
        return copy
    python = python_function(value)
    if not isinstance(python, types.FunctionType) or settled(python.__module__):
        return _typed(value, real)
    if id(python) not in made:
        made[id(python)] = compiled_like(value, _in_precision(python, real, made))
    return made[id(python)] or value


def _typed(constant: Any, real: type) -> Any:
    if isinstance(constant, types.CodeType):  # a function inside, such as a lambda
        return constant.replace(co_consts=tuple(_typed(value, real) for value in constant.co_consts))
    if type(constant) is tuple:
        return tuple(_typed(value, real) for value in constant)
    return real(constant) if type(constant) is float else constant
