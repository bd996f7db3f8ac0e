"""Tests that need a CUDA device: marked `gpu`, and skipped with the reason where there is none."""

from __future__ import annotations

import pytest

import throughtime as tt


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "gpu":
            item.add_marker("gpu")


@pytest.fixture(scope="session", autouse=True)
def gpu():
    """The device, or a skip that says what is missing."""
    pytest.importorskip("numba_cuda", reason="numba-cuda is missing: pip install 'throughtime[cuda]'")
    from numba import config, cuda

    if config.ENABLE_CUDASIM:
        pytest.skip("NUMBA_ENABLE_CUDASIM is set: the simulator is no device")
    if not cuda.is_available():
        pytest.skip("no CUDA device")
    tt.set_num_threads(1)  # many processes check side by side
    return cuda.get_current_device()
