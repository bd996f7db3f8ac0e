"""Locks and forks: a forked child has no thread but its own, and would wait for ever for a lock that another held."""

import os
import threading
from collections.abc import Callable
from typing import Any


class Lock:
    """A lock of a module, which every child finds free; what it guards has to be whole at any moment.

    >>> with Lock():
    ...     pass
    """

    def __init__(self, make: Callable[[], Any] = threading.Lock) -> None:
        self._make = make
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = self._make()

    def acquire(self, blocking: bool = True) -> bool:
        return bool(self._lock.acquire(blocking=blocking))

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def wait_before_fork(owner: Any, patience: float = 30.0) -> None:
    """Let every fork wait until no other thread holds `owner._lock`, an RLock; a thread that holds it for longer than
    `patience` seconds is stuck, and then the child gets a new one."""
    held: list[bool] = []

    def before() -> None:
        held.append(owner._lock.acquire(timeout=patience))

    def after(child: bool) -> None:
        if held.pop():
            owner._lock.release()
        elif child:
            owner._lock = threading.RLock()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=before, after_in_parent=lambda: after(False), after_in_child=lambda: after(True)
        )  # fmt: skip
