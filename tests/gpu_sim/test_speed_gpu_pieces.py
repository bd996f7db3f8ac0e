"""The pieces of analysis/speed_gpu.py find nothing wrong with the device that the simulator is."""

import contextlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "analysis"))

import _gpu_device
import _gpu_pieces


def once(calls, *_):
    for call in calls:
        call()
    return [1.0 + i for i in range(len(calls))], 1


@pytest.fixture(autouse=True)
def no_device(monkeypatch):
    """The simulator has no context to clear and no events; and one call is enough of a timing."""
    every = _gpu_pieces.spectra
    monkeypatch.setattr(
        _gpu_pieces, "spectra", lambda which, steps, seed, interval=1: every(which, steps, seed, interval)
    )
    monkeypatch.setattr(_gpu_device, "clear", lambda device: None)
    monkeypatch.setattr(_gpu_device, "poison", lambda device: None)
    monkeypatch.setattr(_gpu_device, "medians", once)
    monkeypatch.setattr(_gpu_device, "pytorch", lambda device: None)


@contextlib.contextmanager
def turn():
    yield


@pytest.mark.parametrize(
    ("piece", "arguments"),
    [
        ("correct", {"cell": "lstm", "dtype": "float32", "steps": 2, "batch": 2, "units": 3}),
        ("correct", {"cell": "rate", "dtype": "float64", "steps": 2, "batch": 2, "units": 3}),
        ("lyapunov", {"networks": 2, "units": 2, "dtype": "float64", "steps": 1, "few": 1, "runs": (1, 1)}),
        ("jacobians", {"units": 2, "batch": 2, "runs": (1, 1)}),
        (
            "cudnn",
            {"cell": "gru", "dtype": "float32", "units": 3, "batch": 2, "steps": 3, "seconds": 0.1, "runs": (1, 1)},
        ),
    ],
)
def test_piece(piece, arguments):
    found = getattr(_gpu_pieces, piece)(turn, "cuda", seed=1, **arguments)
    assert [item for item in found["checks"] if not item["pass"]] == []
    assert piece != "correct" or len(found["checks"]) == 3
    assert piece == "correct" or all(row["seconds"] != 0 for row in found["rows"])
