"""From plain Python functions to kernels and their parts: the only place where their compile options are spelt."""

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any

from numba import njit
from numba.core.errors import NumbaError

from ...code.precision import in_precision
from ...jit import filled, named_in
from .toolkit import SIMULATED, cuda, intrinsic


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

    Compiled at its first launch in each process. It is not cached on disk: Numba refuses to keep a kernel that meets
    across blocks, because a library is linked to it.
    """
    copy = _copy(function, name, names)
    return cuda.jit(copy) if SIMULATED else cuda.jit(launch_bounds=(threads, blocks))(copy)


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


def _copy(function: Callable, name: str, names: dict[str, Any]) -> Any:
    inside = filled(function, named_in(function, names))
    copy = types.FunctionType(function.__code__, inside, function.__name__)
    copy.__qualname__, copy.__module__ = f"{function.__name__}-{name}", function.__module__
    return copy
