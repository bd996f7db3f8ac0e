"""Kernels in plain Python, under our scheduler; tests/test_gpu.py starts this folder in a process of its own."""

from __future__ import annotations

import importlib.util
import os

import pytest

missing = [name for name in ("numba_cuda", "greenlet") if importlib.util.find_spec(name) is None]
simulated = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
if missing:
    reason = f"{' and '.join(missing)} missing: pip install 'throughtime[test-gpu]'"
else:
    reason = (
        "" if simulated else "NUMBA_ENABLE_CUDASIM=1 has to be set before Numba is imported: tests/test_gpu.py does so"
    )

if reason:
    collect_ignore_glob = ["test_*.py"]

    def pytest_report_header():
        return f"tests/gpu_sim is left out: {reason}"

else:
    import scheduler
    import simulator

    simulator.install()


@pytest.fixture(params=[None, 0, 1, 2], ids="seed {}".format)
def schedule(request, monkeypatch):
    """Each schedule in turn: in order, and three random ones."""
    monkeypatch.setattr(scheduler, "SEED", request.param)
    return request.param
