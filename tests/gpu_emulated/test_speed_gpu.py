"""The pieces of analysis/speed_gpu.py on the emulated device, with its events: they go through, and find no error."""

from __future__ import annotations

import contextlib
import gc
import sys
from pathlib import Path

import driver
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "analysis"))

import _gpu_device
import _gpu_first
import _gpu_pieces

SHORT = {"steps": 3, "runs": (1, 2)}
PIECES = {
    "correct": {"cell": "lstm", "dtype": "float32", "steps": 2, "batch": 2, "units": 3},
    "lyapunov": {"networks": 2, "units": 3, "dtype": "float32", "few": 1, **SHORT},
    "host": {"networks": 2, "units": 3, "dtype": "float32", "few": 1, **SHORT},
    "jacobians": {"units": 3, "batch": 2, "runs": (1, 2)},
    "cudnn": {"cell": "lstm", "dtype": "float32", "units": 3, "batch": 2, "seconds": 0.1, **SHORT},
}


@pytest.fixture(autouse=True)
def _without_torch(monkeypatch):
    """Which asks more of a driver than the emulated one knows."""
    monkeypatch.setattr(_gpu_device, "pytorch", lambda device: None)


def test_kernels_are_compiled_before():
    assert _gpu_pieces.kernels(None, "cuda", "lstm", "float32", units=3, batch=2, seed=1) == {}


@pytest.mark.parametrize("piece", PIECES)
def test_piece(piece):
    found = getattr(_gpu_pieces, piece)(contextlib.nullcontext, "cuda", seed=1, **PIECES[piece])
    assert [item for item in found.get("checks", []) if not item["pass"]] == []
    assert found.get("checks") or found.get("rows")


def test_first_pieces(monkeypatch):
    """Small ones: the right numbers, and the first three pieces of what the host takes."""
    monkeypatch.setattr(_gpu_first, "CUTS", {"block": ("float32", 3)})
    monkeypatch.setattr(_gpu_first, "PACE", (2, 4))
    wanted = {f"block {name}": value for name, value in _gpu_first.numbers(*_gpu_first.problem("block")).items()}
    monkeypatch.setattr(_gpu_first.np, "load", lambda *_, **__: contextlib.nullcontext(wanted))
    checks = _gpu_first.right(None, "cuda", "block")["checks"]
    assert [item["name"] for item in checks if not item["pass"]] == []
    (machine,) = _gpu_first.machine(None, "cuda")["rows"]
    assert {"multiprocessors", "clusters of 8", "nvvm", "cudadevrt"} <= machine.keys()
    assert len(_gpu_first.pace(contextlib.nullcontext, "cuda", "block", (1, 1))["rows"]) == 4
    assert _gpu_first.queueing(contextlib.nullcontext, "cuda", count=1, units=3)["rows"]
    assert len(_gpu_first.allocation(contextlib.nullcontext, "cuda", count=1)["rows"]) == 3


def test_the_device_is_named():
    found = _gpu_device.about(contextlib.nullcontext, "cuda")
    assert found["device"] == "an emulated device"


def test_memory_is_given_back():
    gc.collect()
    _gpu_device.clear("cuda")
    before = driver.allocations()
    _gpu_device.there(np.zeros(8), "cuda")
    assert driver.allocations() == before + 1
    _gpu_device.clear("cuda")
    assert driver.allocations() == before
