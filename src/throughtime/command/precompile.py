"""Fill the cache of machine code for some cells, in several processes at once."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from ..engine.cpu.machine import machine
from ..engine.cpu.threads import get_num_threads, set_num_threads
from ..progress import progress_bar
from .parts import PARTS

TASKS = 4  # of one process, before another takes its place: a compiler keeps some 50 MB of each
Task = tuple[str, str]  # a cell and a dtype
_ready: Any = None  # of a worker: where it tells what is ready


def precompile(
    cells: Sequence[str], dtypes: Sequence[str], parts: Sequence[str], jobs: int, show: bool
) -> dict[Task, BaseException]:
    """Compile the parts of each cell in each dtype, `jobs` at a time; what could not be, with its reason.

    Each process takes another dtype at first, as the dtypes of a cell have no loops in common. At the end the
    machine is measured, for the sharing out of work. What an interrupt leaves undone is compiled by the next call, or
    by the program that needs it.
    """
    tasks, together = [(cell, dtype) for cell in cells for dtype in dtypes], TASKS * jobs
    failed: dict[Task, BaseException] = {}
    with interrupted_once(), progress_bar(show, len(tasks) * len(parts), "precompile") as bar:
        for first in range(0, len(tasks), together):
            failed |= _some(tasks[first : first + together], tuple(parts), jobs, bar)
        if get_num_threads() > 1:
            machine()  # what a second thread costs, measured while no process compiles
    return failed


@contextmanager
def interrupted_once() -> Iterator[None]:
    """While this lasts a second Ctrl-C does nothing, as the first is already ending the processes."""
    if threading.current_thread() is not threading.main_thread():  # which no interrupt reaches
        yield
        return

    def first(*_: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _some(tasks: list[Task], parts: tuple[str, ...], jobs: int, bar: Any) -> dict[Task, BaseException]:
    """The same for some tasks, in processes of their own."""
    processes = multiprocessing.get_context("spawn")  # a fork would share the state of compilers and threads
    ready = processes.SimpleQueue()
    failed: dict[Task, BaseException] = {}
    with ProcessPoolExecutor(min(jobs, len(tasks)), processes, _begin, (ready,)) as pool:
        waiting = {pool.submit(_compile, task, parts): task for task in tasks}
        try:
            while waiting:
                done, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                _show(ready, bar)
                failed |= _failures({future: waiting.pop(future) for future in done})
        except BaseException:  # an interrupt: in the middle of its work no process would hear of it
            pool.shutdown(wait=False, cancel_futures=True)
            ending = multiprocessing.active_children()
            for process in ending:
                process.terminate()
            for process in ending:
                process.join()
            raise
        _show(ready, bar)
    return failed


def _show(ready: Any, bar: Any) -> None:
    while not ready.empty():
        bar.set_postfix_str(ready.get(), refresh=False)
        bar.update()


def _failures(done: dict[Future, Task]) -> dict[Task, BaseException]:
    found = {}
    for future, task in done.items():
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            error = RuntimeError("its process was ended from outside, perhaps for want of memory: try --jobs 1")
        if error is not None:
            found[task] = error
    return found


def _begin(ready: Any) -> None:
    global _ready
    _ready = ready
    set_num_threads(1)


def _compile(task: Task, parts: tuple[str, ...]) -> None:
    cell, dtype = task
    for part in parts:
        PARTS[part](cell, dtype)
        _ready.put(f"{cell} {dtype} {part}")
