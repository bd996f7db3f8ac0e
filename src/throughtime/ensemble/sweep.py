"""Many independent pieces of work: threads here, or joblib anywhere; each result is kept on disk as soon as it is
there.

A piece is `work(*arguments)` with functions and data that can be pickled if it is to leave the process.
"""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..code import sources
from ..code.fingerprints import Unrecognised, exact
from ..code.forks import Lock
from ..engine.blas import single_blas
from ..engine.cpu import threads
from . import kept_results

BACKENDS = ("threads", "joblib")
Piece = tuple[Callable, tuple]
Place = tuple[Path, str]  # a file, and the key of what it holds
Done = tuple[int, Any, str | None]

_lock = Lock()
_inside = 0
_before = 1


@contextmanager
def alone() -> Iterator[None]:
    """One thread for the engine and one for BLAS, in the whole process, while somebody is inside: the threads are
    outside, one per piece. A piece's own threads and the spinning ones of OpenBLAS would take each other's cores."""
    global _inside, _before
    with _lock:
        _inside += 1
        if _inside == 1:
            _before = threads.get_num_threads()
            threads.set_num_threads(1)
    try:
        with single_blas():
            yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                threads.set_num_threads(_before)


def sweep(
    pieces: list[Piece],
    names: list[str],
    *,
    backend: str,
    save: Any = None,
    keys: Any = None,
    progress: bool = False,
    ended: threading.Event | None = None,
) -> list[Any]:
    """The results of all pieces, in their order.

    names : of the pieces, for errors. backend : "threads", or "joblib" with whatever joblib.parallel_config says, all
    cores if it says nothing. save : a folder; keys() gives a digest of each piece: a result whose file is there is
    read, the others are computed and written as they come, each file complete or absent. An error or an interrupt
    leaves those that were finished; `ended` is set then, for pieces that look whether they are still wanted.
    """
    places: list[Place | None] = [None] * len(pieces)
    results: list[Any] = [None] * len(pieces)
    open_ = list(range(len(pieces)))
    if save is not None:
        folder = kept_results.folder(save)
        places = [(folder / f"{i:06d}-{key[:16]}.pkl", f"{i} {key}") for i, key in enumerate(keys())]
        found = [None if place is None else kept_results.read(*place) for place in places]
        results = [None if value is None else value[0] for value in found]
        open_ = [i for i in open_ if found[i] is None]
    here = backend == "threads"
    tasks = [(i, names[i], *pieces[i], places[i] if here else None) for i in open_]
    done = _by_threads(tasks, ended or threading.Event()) if here else _by_joblib(tasks)
    lost = None
    try:
        for i, value, failed in _bar(done, len(pieces), len(pieces) - len(open_), progress):
            results[i], place = value, places[i]
            if not here and place is not None:  # another machine may not see the folder
                failed = kept_results.write(place[0], place[1], value)
            if failed is not None and lost is None:
                lost = failed
                kept_results.warn(failed)
    finally:
        done.close()
    return results


def _task(index: int, name: str, work: Callable, arguments: tuple, place: Place | None) -> Done:
    """(index, result, why it could not be kept)."""
    with alone():
        try:
            value = work(*arguments)
        except Exception as error:
            error.add_note(f"This happened in {name}; the results of the others are kept if `save` names a folder.")
            raise
        # at once: an interrupt of the caller does not lose it
        return index, value, None if place is None else kept_results.write(place[0], place[1], value)


def _by_threads(tasks: list[tuple], ended: threading.Event) -> Generator[Done, None, None]:
    pool = ThreadPoolExecutor(
        max(1, min(threads.get_num_threads(), len(tasks))), thread_name_prefix="throughtime-sweep"
    )
    with alone():  # here too, so that the count is the caller's own in between
        futures = [pool.submit(_task, *task) for task in tasks]
        failed: BaseException | None = None
        try:
            for future in as_completed(futures):
                if future.cancelled():
                    continue
                error = future.exception()
                if error is None:
                    yield future.result()
                elif failed is None:  # no new ones; those that run are waited for and kept
                    failed = error
                    ended.set()
                    for waiting in futures:
                        waiting.cancel()
        finally:
            ended.set()
            pool.shutdown(wait=True, cancel_futures=True)
        if failed is not None:
            raise failed


def _by_joblib(tasks: list[tuple]) -> Generator[Done, None, None]:
    try:
        from joblib import Parallel, delayed
        from joblib.parallel import get_active_backend
    except ImportError as error:
        raise ImportError(
            'backend="joblib" needs the package joblib: pip install joblib, or use backend="threads"'
        ) from error
    if tasks:
        cores = -1 if get_active_backend()[1] is None else None  # joblib itself takes one where nobody says how many
        yield from Parallel(cores, return_as="generator_unordered")(delayed(_task)(*task) for task in tasks)


def _bar(done: Iterator, total: int, already: int, progress: bool) -> Iterator:
    if not progress:
        return done
    from tqdm import tqdm

    return iter(tqdm(done, total=total, initial=already, unit="network"))


def key(*values: Any) -> str:
    """A digest of everything that a result depends on, code and data; ValueError for what cannot be recognised."""
    try:
        return exact(*values, own=sources.digest() or "unknown")
    except Unrecognised as error:
        raise ValueError(
            f"`save` reads a result again when function, arguments and network are the same, but {error}: pass plain "
            "data and functions, or leave `save` out."
        ) from error


def named(function: Callable) -> Callable:
    """`function`, if it can be told from others when a sweep goes on."""
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    if isinstance(function, types.FunctionType) and "<" in name:
        raise ValueError(
            f"`save` needs a function that can be recognised when the sweep goes on, but {name} is a lambda or local "
            "function, made on the spot: define it with `def` at the top of a module"
        )
    return function
