"""The library with numba-cuda's own driver calls, on an emulated device; tests/test_gpu.py starts this folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import driver

reason = driver.missing()
if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0":
    reason = "NUMBA_ENABLE_CUDASIM is set"

if reason:
    collect_ignore_glob = ["test_*.py"]

    def pytest_report_header():
        return f"tests/gpu_emulated is left out: {reason}"

else:
    library = driver.load()  # before anything that looks for the true one
    import machine

    machine.install(library)

    import ctypes

    from throughtime.engine.cuda import pool

    take, rounded = pool.take, pool.rounded

    def fresh(size, home):
        """Memory that was used before is full of NaN again, and has not a byte more than was asked for."""
        lease = take(size, home)
        ctypes.memset(lease.address, 0xFF, size)
        return lease

    def exactly(size):
        return size

    exactly.own = rounded
    pool.rounded, pool.take = exactly, fresh


@pytest.fixture(autouse=True)
def _obeyed():
    """The driver has nothing to complain about."""
    driver.complaints()
    yield
    assert not driver.complaints()
