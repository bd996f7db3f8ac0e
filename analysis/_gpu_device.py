"""The device as the pieces of speed_gpu see it: arrays, the time of calls, what it is. device="cpu" stands in."""

import contextlib
import hashlib
import importlib.util
import statistics
import subprocess
import time
from importlib import metadata
from pathlib import Path

import numpy as np

import throughtime as tt

SPIN = 0.1  # seconds


def missing():
    """Why nothing can be measured here, or None."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed (pip install 'throughtime[cuda]')"
    from throughtime.engine.cuda import device, toolkit

    if toolkit.SIMULATED:
        return "NUMBA_ENABLE_CUDASIM is set, and the simulator is no device"
    return None if device.available() else "there is no CUDA device"


def pytorch(device):
    """torch, if it can use the device."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch


def there(array, device):
    """A copy of a NumPy array on the device."""
    if device == "cpu":
        return array
    from throughtime.engine.cuda.device import to_device

    return to_device(array)


def here(value):
    return value.copy_to_host() if hasattr(value, "copy_to_host") else np.asarray(value)


def clear(device):
    """Give back what is free, to the other processes."""
    if device == "cuda":
        tt.release_memory()
        if (torch := pytorch(device)) is not None:
            torch.cuda.empty_cache()


def finish(device):
    """Wait until the device has done all that was queued."""
    if device == "cuda":
        from throughtime.engine.cuda.toolkit import cuda

        cuda.synchronize()


def room(numbers, device):
    """An array of so many float32 numbers, not filled."""
    if device == "cpu":
        return np.empty(numbers, np.float32)
    from throughtime.engine.cuda.device import empty

    return empty(numbers, np.float32)


def poison(device, megabytes=256):
    """Fill device memory with NaN and give it back: what is allocated next holds NaN until it is written."""
    if device == "cuda":
        from throughtime.engine.cuda.toolkit import cuda

        blocks = [there(np.full(1 << 18, np.nan, np.float32), device) for _ in range(megabytes)]
        cuda.synchronize()
        del blocks
        clear(device)


def watch(device):
    """A function: seconds of one call. By events on the device, so that what the host does between launches counts."""

    def by_clock(call):
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    def by_events(call):
        begin, end = cuda.event(), cuda.event()
        cuda.synchronize()
        begin.record()
        call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    if device == "cpu":
        return by_clock
    from throughtime.engine.cuda.toolkit import cuda

    return by_events


def medians(calls, device, seconds, least, most):
    """Median seconds of each call, in turns after a warm-up; as many runs as fit into `seconds`. And their number.

    The warm-up goes on for a tenth of a second: an idle device's clock is slow (345 MHz in place of 1980 on an H200).
    """
    seconds_of = watch(device)
    began = time.perf_counter()
    while True:
        for call in calls:
            call()
        finish(device)
        if device == "cpu" or time.perf_counter() - began > SPIN:
            break
    once = sum(seconds_of(call) for call in calls)
    runs = int(np.clip(seconds / max(once, 1e-9), least, most))
    found = [[seconds_of(call) for call in calls] for _ in range(runs)]
    return [statistics.median(column) for column in zip(*found, strict=True)], runs


def about(turn, device):
    """Device, driver and versions; and a digest of the sources, so that numbers of other code are not kept."""
    digest = hashlib.sha256()
    for path in sorted([*Path(tt.__file__).parent.rglob("*.py"), *Path(__file__).parent.glob("_gpu_*.py")]):
        digest.update(path.read_bytes())
    found = {"device": "cpu, a rehearsal", "driver": None, "sources": digest.hexdigest()[:16]}
    for package in ("numba-cuda", "cuda-bindings", "torch"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    if device == "cuda":
        from throughtime.engine.cuda.toolkit import cuda

        name = cuda.get_current_device().name
        found["device"] = name.decode() if isinstance(name, bytes) else str(name)
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            found["driver"] = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.split("\n")[0]
    torch = pytorch(device)
    found["cudnn"] = torch.backends.cudnn.version() if torch is not None and device == "cuda" else None
    return found
