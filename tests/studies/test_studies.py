"""The studies of `analysis/` find the expected numbers at a small size, and draw; so do the committed figures."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib import pyplot

import throughtime

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "analysis"))  # studies import `_study` from beside them

import _study
import run_all

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "figures"

SMALL = {
    "relu_chain": {"depth": 20},
    "pascanu_cliff": {"points": 9, "cut": 401, "descent": 400},
    "gradient_by_lag": {"units": 16, "steps": 80, "sequences": 2},
    "gradient_decay": {"units": 60, "gated_units": 32, "lag": 60, "sequences": 4, "steps": 600},
    "jacobian_spectra": {"units": 120, "steps": 2, "sweep": [0.5, 2.0]},
    "lyapunov_spectrum": {
        "units": 60, "networks": 2, "steps": 300,
        "large_units": 150, "large_steps": 1000, "onset_units": 600, "lstm_units": 12, "lstm_steps": 400,
    },
    "text_gradients": {"units": 64, "lag": 80, "sequences": 4, "steps": 800},
    "non_normal_transients": {"steps": 40, "units": 200, "powers": 3, "jacobian_units": 20, "points": 20},
    "fixed_points": {"biases": 9, "units": 16, "starts": 600, "trajectories": 2},
    "phase_diagram": {"units": 80, "gains": 7, "biases": 4, "networks": 2, "steps": 150, "lag": 80},
    "noise_suppresses_chaos": {
        "units": 150, "networks": 2, "steps": 200, "gains": 3, "large_units": 200, "large_steps": 300,
    },
    "gates_and_memory": {"units": 64, "networks": 2, "lag": 80, "biases": [0.0, 2.0], "samples": 400},
    "lyapunov_extensive": {
        "units": [60, 120], "networks": 4, "steps": 300, "sweep_units": 120, "sweep_steps": 500, "gains": [3.0],
    },
    "long_products": {"units": 60, "depths": [1, 2, 5], "windows": 6, "long": 12, "long_steps": 300},
    "covariant_vectors": {"units": 12, "steps": 600, "henon": 2000},
    "speed_analysis": {
        "units": [20], "steps": 30, "lstm_units": 6, "loss_steps": 12, "loss_units": 8, "runs": 1,
        "growth_units": 12, "times": [20, 40], "loss_times": [6, 12], "columns": [1, 3], "networks": [1, 2],
    },
    "speed_gpu": {  # a rehearsal with the CPU engine in the GPU's place
        "device": "cpu", "units": [4], "batches": [2], "steps": 5, "correct": [(2, 2, 3)], "families": [(2, 4, 4, 1)],
        "jacobians": [(3, 2)], "product": 16, "megabytes": 1, "runs": (1, 1), "workers": 1, "seconds": 600.0,
        "first": 600.0, "cuts": [], "cells": ["tanh"],
    },
    "speed_cpu": {"units": [8], "batches": [1], "runs": 1, "seconds": 0.01, "steps": 5, "cells": ["tanh"]},
}  # fmt: skip
NAMES = sorted(path.stem for path in run_all.studies())


@pytest.mark.parametrize("name", NAMES)
def test_small_study_finds_what_theory_expects(name, tmp_path):
    if name == "speed_cpu":
        pytest.importorskip("torch", reason="speed_cpu compares with PyTorch, which is not installed")
    study = importlib.import_module(name)
    result = study.measure(**SMALL[name])
    missed = [item for item in result["checks"] if not item["pass"]]
    assert result["checks"]
    assert missed == []
    picture = study.draw(result)
    try:
        picture.savefig(tmp_path / "picture.png")
        for ax in picture.axes:
            if ax.get_title(loc="left"):  # a colour bar has none
                assert ax.get_xlabel(), f"a panel of {name} has no label on its axis"
    finally:
        pyplot.close(picture)
    _study.write(tmp_path / "numbers.json", name, study.__doc__, SMALL[name], result)
    json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"))


def test_every_study_is_tested_here():
    assert sorted(SMALL) == NAMES


def test_a_check_fails_when_it_should():
    assert _study.check("x", 1.0, 1.1, 0.2, why="")["pass"]
    assert not _study.check("x", 1.0, 1.1, 0.05, why="")["pass"]
    assert not _study.check("x", float("nan"), 1.1, 0.05, why="")["pass"]


def committed():
    return sorted(FIGURES.glob("*.json"))


@pytest.mark.parametrize("path", committed(), ids=lambda path: path.stem)
def test_committed_numbers_are_as_expected(path):
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["study"] == path.stem
    assert path.stem in NAMES
    assert {"throughtime", "numpy", "numba", "python"} <= set(record["versions"])
    assert path.stat().st_size < 300_000
    assert path.with_suffix(".png").exists()
    assert record["checks"]
    for item in record["checks"]:
        assert item["pass"] is True, item
        assert _study.holds(item["measured"], item["expected"], item["tolerance"]), item


@pytest.mark.parametrize("name", [name for name in NAMES if name[:5] != "speed"])  # timings are made on a quiet machine
def test_every_study_has_left_its_figure(name):
    assert (FIGURES / f"{name}.json").exists()


def test_a_study_runs_as_a_script(tmp_path):
    command = [sys.executable, "-W", "error", ROOT / "analysis" / "relu_chain.py", "--out", tmp_path]
    where = str(Path(throughtime.__file__).resolve().parents[1])  # the package under test, installed or not
    environment = os.environ | {"PYTHONPATH": where, "PYTHONIOENCODING": "utf-8"}
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert answer.returncode == 0, answer.stderr
    assert "ok   dy/dw_1, w=0.5, L=5: 0.0625, expected 0.0625" in answer.stdout
    assert (tmp_path / "relu_chain.png").stat().st_size > 10_000
    assert (tmp_path / "relu_chain.json").exists()


def test_run_all_says_which_study_failed_and_why(tmp_path, monkeypatch, capsys):
    (tmp_path / "good.py").write_text("print('all is well — ½ ln χ')", encoding="utf-8")
    (tmp_path / "bad.py").write_text("raise SystemExit('the reason')", encoding="utf-8")
    monkeypatch.setattr(run_all, "studies", lambda: [tmp_path / "bad.py", tmp_path / "good.py"])
    monkeypatch.setattr(sys, "argv", ["run_all.py"])
    assert run_all.main() == 1
    printed = capsys.readouterr().out
    assert "bad: FAILED" in printed
    assert "the reason" in printed
    assert "½ ln χ" in printed
    assert "1 of 2 studies" in printed
