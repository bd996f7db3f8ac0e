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

import _kept
import _progress
import _study
import run_all

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "figures"

NAMES = sorted(path.stem for path in run_all.studies())
PEERS = {"speed_training": "torch", "scan_or_loop": "jax"}  # studies that need another library


@pytest.mark.parametrize("name", NAMES)
def test_small_study_finds_what_theory_expects(name, tmp_path):
    if name in PEERS:
        pytest.importorskip(PEERS[name], reason=f"{name} compares with {PEERS[name]}, which is not installed")
    study = importlib.import_module(name)
    kept = _kept.Kept(tmp_path / "kept", {})
    with _kept.calls(vars(study), kept, _progress.Progress(name)):  # as `_study.main` does
        result = study.measure(**study.SMALL)
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
    _study.write(tmp_path / "numbers.json", name, study.__doc__, study.SMALL, result)
    json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"))


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
