"""BLAS on one thread while the engine's own threads need the processors.

OpenBLAS, of which NumPy and SciPy bring one copy each, keeps its threads spinning after every product that used them,
some 100 ms on a machine of 2.6 GHz: they take the cores from the engine's team, and where another process is busy the
caller inside OpenBLAS waits in vain for one that the system has put aside. Measured on two cores: a backward pass after
a product of NumPy 26 ms for 14; a gradient by lag beside one busy process 4,624 ms for 54.
"""

import ctypes
import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar, overload

from ..refuse.arguments import kind

F = TypeVar("F", bound=Callable[..., Any])


class Pool:
    """The threads of one BLAS library, through what threadpoolctl has found. Their limit holds for the whole process,
    or, with MKL and OpenMP, for the thread that sets it."""

    def __init__(self, library: Any) -> None:
        self.per_thread = library.internal_api == "mkl" or getattr(library, "threading_layer", "") == "openmp"
        # Its setter returns what it replaces: 0 where there was no limit for this thread.
        self.says_before = library.internal_api == "mkl"
        self.get: Callable[[], int | None] = library.get_num_threads
        self.set: Callable[[int], Any] = library.set_num_threads
        if library.internal_api == "openblas" and not self.per_thread:
            self.get, self.set = _symbols(library.filepath) or (self.get, self.set)

    def hold(self, before: "dict[Pool, int]") -> None:
        """One thread from here on; if it was another number, that goes into `before`."""
        count = self.get()
        if count is not None and count != 1:
            before[self] = count
            replaced = self.set(1)
            if self.says_before:
                before[self] = replaced

    def release(self, count: int) -> None:
        """As it was, unless somebody has set another limit since, who shall have it."""
        if self.get() == 1:
            self.set(count)


def _symbols(path: str) -> tuple[Any, Any] | None:
    """OpenBLAS's own functions. threadpoolctl's let one thread alone set the limit, and give the GIL away at each call:
    beside a busy Python thread it takes 5 ms to come back."""
    library = ctypes.PyDLL(path)
    for prefix in ("", "scipy_"):
        for suffix in ("", "64_", "_64"):
            names = [f"{prefix}openblas_{verb}_num_threads{suffix}" for verb in ("get", "set")]
            if all(hasattr(library, name) for name in names):
                read, write = (getattr(library, name) for name in names)
                return read, write
    return None


class _Visit:
    """Somebody who wants BLAS on one thread: which of them, and what the pools were set to before he set them."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.before: dict[Pool, int] = {}


_lock = threading.RLock()
_visits: list[_Visit] = []  # who is inside, in the order of coming
_pools: dict[str, Pool] = {}
_modules = 0  # how many were imported when the pools were looked for


def pools() -> list[Pool]:
    """The BLAS libraries of this process. SciPy's may be loaded later than the first call; only an import loads one, so
    they are looked for (0.6 ms) when there are more modules than before."""
    global _modules
    if _modules != len(sys.modules):
        try:
            from threadpoolctl import ThreadpoolController

            for library in ThreadpoolController().lib_controllers:
                if library.user_api == "blas" and library.filepath not in _pools:
                    _pools[library.filepath] = Pool(library)
        except Exception:  # a library that cannot be asked costs time, and must not cost the result
            pass
        _modules = len(sys.modules)
    return list(_pools.values())


def _enter() -> None:
    with _lock:
        visit = _Visit()
        _visits.append(visit)
        try:
            for pool in pools():
                pool.hold(visit.before)
        except BaseException:  # an interrupt
            _leave()
            raise


def _leave(thread: int | None = None) -> None:
    """Undo one visit of a thread. What others, who came later, rely on is undone when they leave."""
    with _lock:
        thread = threading.get_ident() if thread is None else thread
        # A generator may be closed by another thread than opened it: then any visit.
        place = max((i for i, visit in enumerate(_visits) if visit.thread == thread), default=len(_visits) - 1)
        visit = _visits.pop(place)
        for pool, count in visit.before.items():
            later = [v for v in _visits[place:] if v.thread == visit.thread or not pool.per_thread]
            if not later:
                pool.release(count)
            else:
                later[0].before.setdefault(pool, count)


def _after_fork() -> None:
    """In the child only the thread that forked lives on; what the others would have undone, it undoes."""
    global _lock
    _lock = threading.RLock()
    own = threading.get_ident()
    for visit in [visit for visit in _visits if visit.thread != own]:
        _leave(visit.thread)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _lock.acquire(), after_in_parent=lambda: _lock.release(), after_in_child=_after_fork
    )


class _SingleBlas:
    def __enter__(self) -> None:
        _enter()

    def __exit__(self, *_: object) -> None:
        _leave()

    def __call__(self, function: F) -> F:
        return _held(function)


@overload
def single_blas() -> _SingleBlas: ...
@overload
def single_blas(function: F) -> F: ...
def single_blas(function: Any = None) -> Any:
    """BLAS on one thread, in the whole process, for a block or a function: for your own loop around this library.

    A product of NumPy or SciPy wakes the threads of BLAS, and OpenBLAS lets them spin for some 100 ms after it, on the
    cores that `unroll` and `backprop` would use. Measured on two cores, each call after one `A @ W` (3200×128 by
    128×96): unroll 9.2 ms, backprop 26; in the block 4.8 and 14. The library's own analyses hold BLAS to one thread by
    themselves. Where large products are all there is, leave it out: they gain from BLAS's threads.

        with tt.single_blas():          @tt.single_blas
            train()                     def train(): ...

    Blocks may be nested and overlap in several threads (the limit is that of the process, so it is for all of them);
    when the last is left, every BLAS library (OpenBLAS, MKL, BLIS) has the number of threads that it had, unless
    somebody has set another inside. Entering and leaving take 2 µs each, the first time 1 ms. Without a BLAS that
    threadpoolctl knows, nothing happens. OPENBLAS_THREAD_TIMEOUT=4 in the environment, before Python starts, sends
    OpenBLAS's threads to sleep at once and does without the block.

    Raises:
        TypeError: for what is no function, and for a generator or coroutine function, whose body runs after the call:
            write the `with` inside it.

    Example:
        >>> import numpy as np, throughtime as tt
        >>> net, readout = tt.Network("gru", 2, 8, seed=0), np.ones((8, 3))
        >>> with tt.single_blas():
        ...     for _ in range(3):
        ...         run = net.unroll(np.ones((20, 2)))
        ...         error = run.output @ readout - 1.0
        ...         gradients = run.backprop(error @ readout.T)
        >>> gradients.input.shape
        (20, 2)
    """
    return _SingleBlas() if function is None else _held(function)


def _held(function: Any) -> Any:
    if not callable(function):
        raise TypeError(
            f"`single_blas` was given {kind(function)}; it takes a function, or nothing: `with tt.single_blas():`."
        )
    if any(is_kind(function) for is_kind in (inspect.isgeneratorfunction, inspect.iscoroutinefunction)):
        raise TypeError(
            f"`single_blas` was given the generator or coroutine function {function.__name__}, whose body runs after "
            "the call has returned; write `with tt.single_blas():` inside it."
        )

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        _enter()
        try:
            return function(*args, **options)
        finally:
            _leave()

    return call


def hold_methods(cls: type) -> None:
    """Every method and property that a class defines, held: results compute some of their numbers when asked."""
    for name, value in list(vars(cls).items()):
        if isinstance(value, functools.cached_property):
            value.func = _held(value.func)
        elif isinstance(value, property) and value.fget is not None:
            setattr(cls, name, value.getter(_held(value.fget)))
        elif inspect.isfunction(value):
            setattr(cls, name, _held(value))
