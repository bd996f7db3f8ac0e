"""What this machine is, and how fast beside the one of an earlier run."""

import os
import platform
import sys
import time
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np

CPU = Path("/sys/devices/system/cpu/cpu0")


def processors():
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def threads(usual=None):
    """THROUGHTIME_THREADS; without it as usual, by default one per processor. Another word ends the study."""
    wanted = os.environ.get("THROUGHTIME_THREADS", "").strip()
    if not wanted:
        return usual or processors()
    if not wanted.isdecimal() or int(wanted) < 1:
        sys.exit(f"THROUGHTIME_THREADS is {wanted!r}; expected a whole number of threads, at least 1")
    return int(wanted)


def processor():
    """The name of the processor, where Linux says it."""
    return said("model name") or platform.processor() or platform.machine() or "unknown"


def said(key):
    """The first entry of /proc/cpuinfo under this name, or None."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == key), None)
    except OSError:
        return None


def caches():
    """{"L1": bytes, "L2": ..., "L3": ...} of one processor, as far as Linux names them; instructions left out."""
    found = {}
    for folder in sorted(CPU.glob("cache/index*")):
        try:
            kind, level, size = ((folder / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        if kind != "Instruction" and size[-1:] in ("K", "M"):
            found[f"L{level}"] = int(size[:-1]) * (1024 if size[-1] == "K" else 1024**2)
    return found


def vectors():
    """The widest vector unit that LLVM finds."""
    features = llvm.get_host_cpu_features()
    named = (
        ("avx512f", "AVX-512"),
        ("avx2", "AVX2"),
        ("avx", "AVX"),
        ("sve", "SVE"),
        ("neon", "NEON"),
        ("sse2", "SSE2"),
    )
    return next((name for key, name in named if features.get(key)), "unknown")


def megahertz():
    """The frequency that the system reports, or None: of a virtual machine it may be the nominal one."""
    try:
        return round(int((CPU / "cpufreq" / "scaling_cur_freq").read_text()) / 1000)
    except (OSError, ValueError):
        value = said("cpu MHz")
        return round(float(value)) if value else None


def machine():
    """What a timing belongs to."""
    about = {"processor": processor(), "processors": processors(), "vectors": vectors(), "caches": caches()}
    return about | {"megahertz": megahertz(), "system": f"{platform.system()} {platform.machine()}"}


def name():
    """One machine, or many of one make, in a line: the key under which ratios are stored."""
    kilobytes = "/".join(f"{size // 1024}" for size in caches().values())
    return f"{processor()}, {processors()} processors, {vectors()}, caches {kilobytes or 'unknown'} KB"


def pace():
    """Seconds of a fixed piece of work in one thread, the best of five: Python, a product and an elementwise function.

    Another machine's times are taken over in its ratio; some 30 milliseconds of work.
    """
    a, x = np.full((160, 160), 0.5), np.linspace(-3, 3, 40_000)

    def work():
        for _ in range(10):
            np.tanh(x)
            a @ a
        return sum(range(150_000))

    found = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)
