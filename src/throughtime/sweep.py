"""Many independent pieces of work: threads here, or joblib anywhere; each result is kept on disk as soon as it is
there.

A piece is `work(*arguments)` with functions and data that can be pickled if it is to leave the process.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .engine import threads
from .engine.blas import single_blas

BACKENDS = ("threads", "joblib")
Piece = tuple[Callable, tuple]

_lock = threading.Lock()
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
    pieces: list[Piece], names: list[str], *, backend: str, save: Any = None, keys: Any = None, progress: bool = False
) -> list[Any]:
    """The results of all pieces, in their order.

    names : of the pieces, for errors. backend : "threads", or "joblib" with whatever joblib.parallel_config says. save
    : a folder; keys() gives a digest of each piece: a result whose file is there is read, the others are computed and
    written as they come, each file complete or absent. An error or an interrupt leaves those that were finished.
    """
    files: list[Path | None] = [None] * len(pieces)
    results: list[Any] = [None] * len(pieces)
    open_ = list(range(len(pieces)))
    if save is not None:
        folder = Path(save)
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{i:06d}-{key}.pkl" for i, key in enumerate(keys())]
        found = {i: _read(file) for i, file in enumerate(files) if file is not None and file.exists()}
        for i, value in found.items():
            if value is not None:
                results[i] = value[0]
        open_ = [i for i in open_ if found.get(i) is None]
    here = backend == "threads"
    tasks = [(i, names[i], *pieces[i], files[i] if here else None) for i in open_]
    done = _by_threads(tasks) if here else _by_joblib(tasks)
    try:
        for i, value in _bar(done, len(pieces), len(pieces) - len(open_), progress):
            results[i] = value
            if not here:  # another machine may not see the folder
                _write(files[i], value)
    finally:
        done.close()
    return results


def _task(index: int, name: str, work: Callable, arguments: tuple, file: Path | None) -> tuple[int, Any]:
    with alone():
        try:
            value = work(*arguments)
        except Exception as error:
            error.add_note(f"This happened in {name}; the results of the others are kept if `save` names a folder.")
            raise
        _write(file, value)  # at once: an interrupt of the caller does not lose it
        return index, value


def _by_threads(tasks: list[tuple]) -> Generator[tuple[int, Any], None, None]:
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
                    for waiting in futures:
                        waiting.cancel()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if failed is not None:
            raise failed


def _by_joblib(tasks: list[tuple]) -> Generator[tuple[int, Any], None, None]:
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise ImportError(
            'backend="joblib" needs the package joblib: pip install joblib, or use backend="threads"'
        ) from error
    if tasks:
        yield from Parallel(return_as="generator_unordered")(delayed(_task)(*task) for task in tasks)


def _bar(done: Iterator, total: int, already: int, progress: bool) -> Iterator:
    if not progress:
        return done
    from tqdm import tqdm

    return iter(tqdm(done, total=total, initial=already, unit="network"))


def digest(*parts: Any) -> str:
    """Sixteen hexadecimal digits of everything a result depends on."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(pickle.dumps(part, protocol=5))
        whole.update(b"|")
    return whole.hexdigest()[:16]


def named(function: Callable) -> tuple:
    """What tells a function from others, and from itself after an edit; only one that a module holds."""
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    if "<" in name or name.endswith("."):
        raise ValueError(
            f"`save` needs a function that can be recognised when the sweep goes on, but {name} is a "
            "lambda, local or made on "
            "the spot: define it with `def` at the top of a module"
        )
    code = getattr(function, "__code__", None)
    return name, None if code is None else code.co_code, None if code is None else repr(code.co_names)


def _write(file: Path | None, value: Any) -> None:
    if file is None:
        return
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            pickle.dump((value,), stream, protocol=5)
        os.replace(temporary, file)  # complete or absent
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(file: Path) -> tuple | None:
    """(result,), or None if the file cannot be read, and the piece is computed again. Pickle runs what it is told to:
    only folders of one's own."""
    try:
        return pickle.loads(file.read_bytes())
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError):
        return None
