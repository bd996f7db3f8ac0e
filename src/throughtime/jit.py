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

import gc
import hashlib
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numba
from llvmlite import ir  # noqa: F401  for scalar.py, as are Numba's types: the two libraries come in by this door
from numba import extending, njit
from numba import types as number_types  # noqa: F401
from numba.core import config
from numba.core.ccallback import CFunc
from numba.core.compiler import run_frontend
from numba.core.compiler_lock import global_compiler_lock as compiler
from numba.core.registry import CPUDispatcher

from .code import sources
from .code.cache import CodeCache
from .code.fingerprints import fingerprint
from .code.forks import wait_before_fork
from .code.names import OWN, names_of, python_function

# Numba and LLVM are one thread's at a time. A child forked in the middle of another's compilation finds both half done.
wait_before_fork(compiler)

OPTIONS: dict[str, Any] = {
    "no_cfunc_wrapper": True,  # of what is called from Python and from Numba, not from C; 3 % of all time of compiling
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


class _Placeholder:
    def __repr__(self) -> str:
        return "PLACEHOLDER"


PLACEHOLDER: Any = _Placeholder()  # a global of a kernel's file for which every copy has a value of its own


def specialise(function: Callable, name: str, **names: Any) -> Any:
    """A compiled copy of `function` that sees `names` as globals, in place of the placeholders in its file.

    It is cached on disk under a name that changes with everything it depends on. TypeError if a placeholder is left, or
    if the function does not speak of one of the names.
    """
    if config.DISABLE_JIT:
        raise RuntimeError("NUMBA_DISABLE_JIT is set, and throughtime is compiled by Numba: start Python without it.")
    made = _Compiled(_copy(function, name, names), targetoptions={"nopython": True, "boundscheck": None, **OPTIONS})
    made._cache = _kept_code(made.py_func) or made._cache
    return made


class _Compiled(CPUDispatcher):
    """Numba's own, as `njit` makes it."""

    def compile(self, sig: Any) -> Any:
        with _uncollected():
            return super().compile(sig)


@contextmanager
def _uncollected() -> Iterator[None]:
    """A compiler makes millions of objects, and Python looks through them again and again: 8 % of its time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def merged(function: Callable, **names: Any) -> Any:
    """The same for a function that is called in one place: its code goes there and costs no compilation of its own.

    Compiled code is optimised again in every function that calls it, directly or not.
    """
    return inlined(_copy(function, "merged", names))


def address_of(function: Callable, name: str, signature: Any, code: Any = None, **names: Any) -> int:
    """The address of a compiled copy, made as in `specialise`, which compiled code calls as C calls a function.

    code: what else its machine code depends on.
    """
    copy = _copy(function, name, names, code)
    options = {key: value for key, value in OPTIONS.items() if key not in ("nogil", "no_cfunc_wrapper")}
    made: Any = CFunc(copy, (signature.args, signature.return_type), locals={}, options=options)
    made._cache = _kept_code(copy) or made._cache
    with _uncollected():
        made.compile()
    _kept.append(made)  # its machine code must outlive the address
    return made.address


_kept: list[Any] = []


def kept_in(function: Callable) -> str | None:
    """The folder in which the machine code of a kernel is kept, None where it cannot be."""
    kept = _kept_code(function)
    return None if kept is None else kept.cache_path


def _kept_code(function: Callable) -> Any:
    """The cache of a function, None where it is compiled anew in every process: without a folder to write to, neither
    beside the package nor in the user's cache, or where our own source cannot be told from another version of it."""
    if _sources() is None:
        return None
    try:
        return CodeCache(function)
    except (RuntimeError, OSError):
        return None


def _copy(function: Callable, name: str, names: dict[str, Any], code: Any = None) -> types.FunctionType:
    inside = filled(function, names)
    digest = hashlib.sha256(f"{_sources()} {fingerprint(function)} {fingerprint(code)}".encode())
    for key, value in sorted(names.items()):
        digest.update(f"{key} {fingerprint(value)}".encode())
    copy = types.FunctionType(function.__code__, inside, function.__name__, function.__defaults__)
    copy.__module__ = function.__module__
    copy.__qualname__ = f"{function.__name__}-{name}-{digest.hexdigest()[:20]}"
    copy.__doc__ = function.__doc__
    return copy


def named_in(function: Callable, names: dict[str, Any]) -> dict[str, Any]:
    """Those of `names` that a function speaks of."""
    inside = set(names_of(function.__code__))
    return {key: value for key, value in names.items() if key in inside}


def filled(function: Callable, names: dict[str, Any]) -> dict[str, Any]:
    """The globals of a copy of `function`: those of its file, with `names` in place of the placeholders.

    TypeError if a placeholder is left, in the function or in a helper of this package that it calls, or if it does not
    speak of one of the names.
    """
    if unknown := sorted(set(names) - set(named_in(function, names))):
        raise TypeError(f"{function.__name__} is given {', '.join(unknown)}, of which its code does not speak.")
    inside = {**function.__globals__, **names}
    if left := sorted(_left(function, inside, set())):
        raise TypeError(f"{function.__name__} is compiled without a value for {', '.join(left)}.")
    return inside


def _left(function: Callable, inside: dict[str, Any], seen: set[int]) -> set[str]:
    """The placeholders that a function would meet, those of the helpers that it calls as helper.NAME."""
    found = set()
    seen.add(id(function))
    for name in set(names_of(function.__code__)) & set(inside):
        helper: Any = python_function(inside[name])
        if helper is PLACEHOLDER:
            found.add(name)
        elif isinstance(helper, types.FunctionType) and id(helper) not in seen and _is_own(helper):
            found |= {f"{name}.{deeper}" for deeper in _left(helper, helper.__globals__, seen)}
    return found


def _is_own(function: Callable) -> bool:
    return (function.__module__ or "").split(".")[0] == OWN


@cache
def _sources() -> str | None:
    """Numba's version and the library's own source, for a kernel contains the helpers it calls and is made as it says.

    The cells are not among it, as `fingerprint` follows their functions, nor the device engine, which keeps no code.
    """
    found = sources.digest(
        "jit", "code", "exponential", "circular", "scalar", "engine", "kernels", without="engine/cuda"
    )
    return None if found is None else f"{numba.__version__} {found}"


def ir_of(function: Callable) -> Any:
    """A function in Numba's intermediate language, the same for every version of Python; None if it cannot be read."""
    try:
        return run_frontend(function)
    except Exception:  # what Numba does not understand; the compilation of the cell says so in words
        return None
