"""Room: sizes that this machine cannot hold are refused in words, before anything is allocated."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

try:
    import resource
except ImportError:  # pragma: no cover - Windows has no such limits
    resource = None  # type: ignore[assignment]

ADDRESSABLE = 2**63 - 1  # bytes of an array, and any of its sizes
SMALL = 1 << 24  # bytes that any machine has, so that nobody asks
CGROUP = Path("/sys/fs/cgroup/memory.max")  # what a container may use, "max" where nothing is set


def check(what: str, numbers: int, itemsize: int = 8, advice: str = "Take smaller sizes.") -> None:
    """ValueError if `what`, so many numbers of `itemsize` bytes, is more than the memory of this machine."""
    needed = int(numbers) * int(itemsize)
    if needed > SMALL and needed > (there := limit()):
        raise ValueError(f"{what} needs {_readable(needed)}, and this machine has {_readable(there)}. {advice}")


def small(numbers: int, itemsize: int = 8) -> bool:
    """Whether `check` would pass on any machine: for calls of microseconds, which spare the sentence."""
    return numbers * itemsize <= SMALL


def limit() -> int:
    """Bytes of memory and swap here, or what the container or the process is allowed, whichever is least."""
    allowed = ADDRESSABLE if resource is None else resource.getrlimit(resource.RLIMIT_AS)[0]
    return min(_machine(), allowed) if allowed >= 0 else _machine()  # -1 is no limit


@cache
def _machine() -> int:
    found = ADDRESSABLE
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _swap()
    try:
        allowed = CGROUP.read_text().strip()
    except OSError:
        return found
    return min(found, int(allowed)) if allowed.isdigit() else found


def _swap() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("SwapTotal:"))


def _readable(count: int) -> str:
    if count > ADDRESSABLE:
        return "more bytes than can be addressed (2^63)"
    return f"{count / 2**30:,.3g} GiB" if count >= 2**30 else f"{count / 2**20:,.3g} MiB"
