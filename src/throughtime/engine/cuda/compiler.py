"""From plain Python functions to kernels and their parts: the only place where their compile options are spelt."""

import contextlib
import hashlib
import types
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numba
from numba import njit
from numba.core.errors import NumbaError

from ...code import sources
from ...code.fingerprints import fingerprint
from ...code.precision import in_precision
from ...jit import filled, named_in
from . import kernel_cache
from .toolkit import SIMULATED, cuda, intrinsic, versions


def primitive(python: Callable) -> Callable:
    """Decorator of a typing function that emits LLVM's language; in the simulator `python` stands in for it."""

    def decorate(typing: Callable) -> Any:
        if SIMULATED:
            return python
        return intrinsic(typing)

    return decorate


def kernel(function: Callable, name: str, names: dict[str, Any], threads: int, blocks: int = 1) -> Any:
    """A copy of a kernel that sees those of `names` which it uses as globals, for blocks of at most `threads` threads.

    Registers are given out so that `blocks` of them fit on a multiprocessor.

    Compiled at its first launch, in 1 to 20 s, and kept on disk for other processes.
    """
    copy = _copy(function, name, names, (threads, blocks))
    if SIMULATED:
        return cuda.jit(copy)
    made = cuda.jit(launch_bounds=(threads, blocks))(copy)
    if _sources() is not None:
        kernel_cache.keep(made)
    return made


def part(function: Callable, name: str, names: dict[str, Any]) -> Any:
    """A part of a kernel, a copy in the same way; inlined, so that its arrays stay in registers."""
    copy = _copy(function, name, names)
    return cuda.jit(device=True)(copy) if SIMULATED else cuda.jit(device=True, forceinline=True)(copy)


def cell_function(function: Callable, real: type) -> Callable:
    """A cell's function for use in kernels. Not inlined by Numba, which numba-cuda does not survive; LLVM does it."""
    return function if SIMULATED else njit(in_precision(function, real))


@contextlib.contextmanager
def in_words(cell: str) -> Iterator[None]:
    """Inside, where kernels of a cell are compiled, a ValueError with a sentence for one that only the CPU compiles."""
    try:
        yield
    except NumbaError:
        raise ValueError(
            f"The cell {cell} compiles for the CPU and not for the GPU. There its functions, and those that they call, "
            "are arithmetic on numbers, if and else, functions of math and of throughtime.scalar, and they make no "
            'arrays; write it so, or take the CPU: net.to("cpu")'
        ) from None


def _copy(function: Callable, name: str, names: dict[str, Any], options: tuple = ()) -> Any:
    used = named_in(function, names)
    inside = filled(function, used)
    copy = types.FunctionType(function.__code__, inside, function.__name__)
    digest = "" if SIMULATED else f"-{_digest(function, used, options)}"
    copy.__qualname__, copy.__module__ = f"{function.__name__}-{name}{digest}", function.__module__
    return copy


def _digest(function: Callable, names: dict[str, Any], options: tuple) -> str:
    """Changes with all that the machine code of a copy depends on.

    What is made here says it by its own name. Two primitives of one name differ by what their typing functions, which
    they wrap, have closed over.
    """
    found = hashlib.sha256(f"{_sources()} {fingerprint(function)} {options}".encode())
    for key, value in sorted(names.items()):
        found.update(f" {key} {fingerprint(getattr(value, '__wrapped__', value))}".encode())
    return found.hexdigest()[:20]


@cache
def _sources() -> str | None:
    """The library's own source and the versions of what compiles it, None where the former cannot be read. The cells
    are not among it: `fingerprint` follows their functions."""
    found = sources.digest("jit", "code", "exponential", "circular", "scalar", "engine")
    return None if found is None else f"{numba.__version__} {versions()} {found}"
