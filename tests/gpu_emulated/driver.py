"""The emulated device's driver (driver.c and what belongs to it): built, loaded in place of libcuda.so.1, and asked.

Load it before cuda.bindings looks for the true one: the first library of a name that a process has loaded is the one.
"""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SOURCES = [HERE / name for name in ("driver.c", "memory.c", "order.c", "cubin.c", "launch.c")]
LAUNCH = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_char_p, *[ctypes.c_uint] * 7, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p)
)


def missing() -> str:
    """Why there can be no emulated device here; nothing if there can."""
    packages = [name for name in ("numba_cuda", "llvmlite") if importlib.util.find_spec(name) is None]
    if packages:
        return f"{packages[0]} is missing: pip install 'throughtime[test-gpu]'"
    if compiler() is None:
        return "there is no C compiler"
    if headers() is None:
        return "cuda.h is missing: pip install nvidia-cuda-runtime"
    return ""


def compiler() -> str | None:
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def headers() -> Path | None:
    """The folder of cuda.h."""
    found = importlib.util.find_spec("nvidia")
    places = list(found.submodule_search_locations or []) if found else []
    return next((path.parent for place in places for path in Path(place).glob("*/include/cuda.h")), None)


@cache
def load() -> ctypes.CDLL:
    """The driver, built in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "libcuda.so.1")
        options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden", "-I", headers()]
        libraries = ["-Wl,-soname,libcuda.so.1", "-ldl", "-lpthread"]
        subprocess.run([compiler(), *options, "-o", path, *SOURCES, *libraries], check=True)
        library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    library.emulated_complaints.restype = ctypes.c_char_p
    library.emulated_allocations.restype = ctypes.c_size_t
    library.emulated_set_launch.restype = ctypes.c_void_p
    return library


def complaints() -> list[str]:
    """What the library did wrong since the last call, in sentences."""
    return load().emulated_complaints().decode().splitlines()


def allocations() -> int:
    """How many there are on the device, with those that numba-cuda has yet to give back."""
    return int(load().emulated_allocations())


@contextmanager
def launches(run: Callable[..., Any]) -> Iterator[None]:
    """Inside, kernels are run by `run(name, gx, gy, gz, bx, by, bz, shared, cooperative, parameters)`."""
    callback = LAUNCH(run)
    before = load().emulated_set_launch(callback)
    try:
        yield
    finally:
        load().emulated_set_launch(ctypes.c_void_p(before))
