"""How large the caches of one processor are, as the system says."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SYSTEM = Path("/sys/devices/system/cpu/cpu0/cache")
SYSCONF = {1: 188, 2: 191}  # the numbers of glibc's _SC_LEVEL1_DCACHE_SIZE and _SC_LEVEL2_CACHE_SIZE
SYSCTL = {1: ("hw.perflevel0.l1dcachesize", "hw.l1dcachesize"), 2: ("hw.perflevel0.l2cachesize", "hw.l2cachesize")}
USUAL = {1: 1 << 15, 2: 1 << 19}  # bytes: of the smallest processors with vector units that one meets
UNITS = {"K": 1 << 10, "M": 1 << 20}


class Caches(NamedTuple):
    first: int  # bytes of data that one core keeps nearest
    second: int


def caches() -> Caches:
    """Those of this machine; where it does not say, small ones.

    >>> first, second = caches()
    >>> 1 << 12 <= first <= second
    True
    """
    found = [next((size for way in (_files, _sysconf, _sysctl) if (size := way(level)) > 0), 0) for level in (1, 2)]
    return sound(*found)


def sound(first: int, second: int) -> Caches:
    """Sizes as they were read, those that cannot be replaced by the usual ones.

    >>> sound(49152, 2 << 20), sound(0, -1)
    (Caches(first=49152, second=2097152), Caches(first=32768, second=524288))
    """
    first = first if 1 << 12 <= first <= 1 << 22 else USUAL[1]
    return Caches(first, second if first <= second <= 1 << 30 else max(first, USUAL[2]))


def _files(level: int) -> int:
    """By the files of Linux; a cache that several cores share counts for each in part."""
    try:
        for folder in sorted(SYSTEM.glob("index*")):
            kind, own, size, sharers = (
                (folder / name).read_text().strip() for name in ("type", "level", "size", "shared_cpu_map")
            )
            if kind != "Instruction" and own == str(level):
                count = int(size.rstrip("KM")) * UNITS.get(size[-1], 1)
                return count // max(1, int(sharers.replace(",", ""), 16).bit_count())
    except (OSError, ValueError):
        pass
    return 0


def _sysconf(level: int) -> int:
    """By the C library of Linux, which asks the processor: containers may hide the files."""
    try:
        return os.sysconf(SYSCONF[level]) if hasattr(os, "sched_getaffinity") else 0
    except (OSError, ValueError):
        return 0


def _sysctl(level: int) -> int:
    """As macOS says it."""
    ask: Callable | None = getattr(ctypes.CDLL(None), "sysctlbyname", None)
    for name in SYSCTL[level] if ask is not None else ():
        size, length = ctypes.c_uint64(0), ctypes.c_size_t(8)
        if ask(name.encode(), ctypes.byref(size), ctypes.byref(length), None, 0) == 0:  # type: ignore[misc]
            return int(size.value)
    return 0


CACHES = caches()
