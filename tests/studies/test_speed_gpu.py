"""What `analysis/speed_gpu.py` does beside measuring: planning, going on where it stopped, its table and its picture.

The times here are made up and never leave the test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot

import throughtime as tt

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "analysis"))  # studies import `_study` from beside them

import _gpu_device
import _gpu_first
import _gpu_pieces
import _gpu_right
import _study
import _workers
import speed_gpu

from throughtime.engine.cuda import plans

ROOT = Path(__file__).resolve().parents[2]
HEAD = {"device": "Made up", "driver": "0", "date": "2000-01-01", "seed": 1, "numba-cuda": "0", "torch": None}

PIECES = """
import os, time

def double(turn, value):
    return {"value": 2 * value}

def wrong(turn):
    raise ValueError("the reason")

def gone(turn):
    with turn():
        os._exit(3)

def stuck(turn):
    with turn():
        time.sleep(60)

def prepared(turn, path):
    with open(path, "a") as file:
        file.write("p")
    alone(turn, path)
    return {}

def process(turn):
    return {"process": os.getpid()}

def alone(turn, path):
    with turn():
        with open(path, "a") as file:
            file.write("(")
        time.sleep(0.05)
        with open(path, "a") as file:
            file.write(")")
    return {}
"""


@pytest.fixture
def pieces(tmp_path, monkeypatch):
    """A module of pieces that need no device."""
    (tmp_path / "made_up_pieces.py").write_text(PIECES)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "made_up_pieces"


def made_up(seconds=1e-3, cudnn=2e-3, without=()):
    """Results of every piece of the plan but those whose key begins with one of `without`."""
    stages = speed_gpu.plan(speed_gpu.SIZES, "cuda", 1)
    keys, results = [key for stage in stages for key, _, _ in stage], {}
    for key, function, a in (piece for stage in stages for piece in stage):
        size = {"dtype": a.get("dtype"), "N": a.get("units")}
        result = {"checks": [_study.check(key, 0.0, 0, 1, why="made up")]}
        if function == "cudnn":
            row = {**size, "cell": a["cell"], "B": a["batch"], "runs": 3, "seconds": seconds, "cudnn": cudnn}
            row |= {"cudnn_tf32": 1.5e-3} if a["dtype"] == "float32" else {}
            result["rows"] = [row | {"what": what} for what in ("forward", "forward+backward")]
        elif function == "lyapunov":
            result["rows"] = [{**size, "networks": a["networks"], "seconds": 1e-3, "torch": 0.03, "interval": 2}]
            result["rows"][0]["torch_cholesky"] = 0.01
        elif function == "host":
            result["rows"] = [{**size, "networks": a["networks"], "cpu": 0.2}]
        elif function == "jacobians":
            result["rows"] = [{**size, "dtype": "float64", "B": a["batch"], "seconds": 1e-4, "torch": 1e-2}]
        elif function == "peak":
            result |= {"bytes_per_second": 3e12, "float32_per_second": 3e13, "float64_per_second": 3e13}
        if not key.startswith(tuple(without) or ("nothing",)):
            results[key] = result
    return keys, results


def result(**options):
    return speed_gpu.result_of(HEAD, *made_up(**options), speed_gpu.SIZES["steps"])


def test_the_plan_checks_everything_and_then_times_everything():
    first, then, last = speed_gpu.plan(speed_gpu.SIZES, "cuda", 1)
    pieces = [*first, *then, *last]
    assert len({key for key, _, _ in pieces}) == len(pieces)
    assert {function for _, function, _ in first} == {"correct", "kernels"}
    assert {(a["cell"], a["dtype"]) for _, _, a in first} == {
        (cell, dtype) for cell in ("tanh", "gru", "lstm") for dtype in ("float32", "float64")
    }  # the others are those of tests/gpu
    points = {(a["cell"], a["dtype"], a["units"], a["batch"], a["steps"]) for _, f, a in then if f == "cudnn"}
    compiled = {(a["cell"], a["dtype"], a["units"], a["batch"], 1024) for _, f, a in first if f == "kernels"}
    assert compiled == points
    assert len(points) == 3 * 2 * 6 * 3
    assert ("lstm", "float64", 1024, 64, 1024) in points
    assert {(a["networks"], a["units"]) for _, f, a in then if f == "lyapunov"} == {(1024, 64), (64, 256)}
    for _, function, arguments in pieces:  # what the plan passes is what the piece takes
        code = getattr(_gpu_pieces, function).__code__
        assert set(code.co_varnames[: code.co_argcount]) == {"turn", *arguments}
    assert [speed_gpu.plan(speed_gpu.SIZES, "cuda", 1)] == [(first, then, last)]


def test_the_goals_are_those_of_the_issue():
    assert speed_gpu.goal("float32", 512, 16) == speed_gpu.goal("float64", 256, 64) == 1
    assert speed_gpu.goal("float32", 512, 64) == speed_gpu.goal("float32", 1024, 1) == 1 / 1.3
    assert speed_gpu.goal("float64", 512, 1) == 1 / 1.3


def test_the_floor_is_the_larger_of_reading_and_multiplying():
    row = {"cell": "lstm", "dtype": "float32", "N": 100, "B": 2, "what": "forward"}
    rates = {"bytes_per_second": 1e6, "float32_per_second": 1e9}
    assert speed_gpu.floor(row, rates, 10) == pytest.approx(80_000 * 4 / 1e6)
    assert speed_gpu.floor(row, rates | {"bytes_per_second": 1e12}, 10) == pytest.approx(80_000 * 20 / 1e9)
    assert speed_gpu.floor(row, {"bytes_per_second": 1e6}, 10) is None


def test_the_table_names_goals_and_marks_what_misses_them():
    text = speed_gpu.table(result())
    assert text.startswith("Made up, driver 0, 2000-01-01; numba-cuda 0")
    assert "NOT TO BE TRUSTED" not in text
    assert "UNFINISHED" not in text
    assert "!" not in text
    assert "goal ahead of cuDNN: met at 132 of 132 points; smallest ratio 2.00" in text
    assert "goal within 1.3 of cuDNN: met at 84 of 84 points; smallest ratio 2.00" in text
    assert "spectra of 1024 networks N=64 float32: 1 ms a step, QR every 2; torch  30.00  times as long" in text
    assert text.count("(goal 20), with Cholesky 10.00, CPU   200") == 4
    assert max(map(len, text.splitlines())) < 150
    slow = speed_gpu.table(result(cudnn=0.9e-3))
    assert "goal ahead of cuDNN: met at 0 of 132 points; smallest ratio 0.90" in slow
    assert "goal within 1.3 of cuDNN: met at 84 of 84" in slow
    assert slow.count("!") == 132


def test_a_failed_check_and_an_unfinished_run_are_marked():
    keys, results = made_up(without=["cudnn cell=lstm dtype=float64 units=1024", "peak", "host"])
    results[keys[0]] = {"checks": [_study.check("what is wrong", float("nan"), 0, 1, why="made up")]}
    results[keys[1]] = {"error": "RuntimeError: no answer"}
    found = speed_gpu.result_of(HEAD, keys, results, 1024)
    names = [item["name"] for item in found["checks"] if not item["pass"]]
    assert names == ["what is wrong", f"{keys[1]}: RuntimeError: no answer"]
    text = speed_gpu.table(found)
    assert f"NOT TO BE TRUSTED: 2 of {len(found['checks'])} checks failed, first: what is wrong" in text
    assert "UNFINISHED: 8 pieces left" in text


def test_the_table_without_torch_says_so():
    keys, results = made_up()
    for found in results.values():
        for row in found.get("rows", []):
            for name in ("cudnn", "cudnn_tf32", "torch", "torch_cholesky"):
                row.pop(name, None)
    found = speed_gpu.result_of(HEAD, keys, results, 1024)
    assert speed_gpu.table(found).endswith("against torch: skipped, because torch with CUDA is not installed")
    pyplot.close(speed_gpu.draw(found))


@pytest.mark.parametrize("without", [(), ("cudnn", "host"), ("cudnn", "host", "lyapunov", "jacobians", "peak")])
def test_the_picture_is_drawn_and_the_numbers_are_small(without, tmp_path):
    found = result(without=without)
    picture = speed_gpu.draw(found)
    try:
        picture.savefig(tmp_path / "picture.png", metadata={"Software": None})
        assert picture.get_size_inches()[0] <= 3.5  # a column
        texts = [text.get_fontsize() for ax in picture.axes for text in [*ax.texts, ax.xaxis.label, ax.yaxis.label]]
        assert min(texts) >= 6
        curves = [line for ax in picture.axes for line in ax.lines if len(line.get_xdata()) == 6]
        assert len(curves) == (0 if without else 6 * 3 * 2)
    finally:
        pyplot.close(picture)
    _study.write(tmp_path / "numbers.json", "speed_gpu", speed_gpu.__doc__, speed_gpu.SIZES, found)
    assert (tmp_path / "numbers.json").stat().st_size < 300_000
    written = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"))
    pieces = {"cudnn": 108, "host": 4, "lyapunov": 4, "jacobians": 2, "peak": 1}
    assert written["data"]["left"] == sum(pieces[name] for name in without)


def test_pieces_that_raise_end_or_hang_cost_only_themselves(pieces):
    work = [("wrong", "wrong", {}), ("gone", "gone", {}), ("stuck", "stuck", {})]
    work += [(f"double {i}", "double", {"value": i}) for i in range(4)]
    found = dict(_workers.run(work, pieces, workers=2, patience=4.0))
    assert [found[f"double {i}"] for i in range(4)] == [{"value": 2 * i} for i in range(4)]
    assert found["wrong"] == {"error": "ValueError: the reason"}
    assert found["gone"] == {"error": "its process ended (3)"}
    assert found["stuck"] == {"error": "no answer within 4 s"}


def test_one_at_a_time_has_the_device(pieces, tmp_path):
    path = tmp_path / "seen"
    work = [(f"alone {i}", "alone", {"path": str(path)}) for i in range(6)]
    assert len(list(_workers.run(work, pieces, workers=3))) == 6
    assert path.read_text() == "()" * 6


def test_nothing_is_begun_when_the_time_is_up(pieces):
    work = [("double", "double", {"value": 1})]
    assert list(_workers.run(work, pieces, workers=2, until=time.monotonic())) == []


def test_a_record_goes_on_where_it_was_killed(tmp_path):
    path, good = tmp_path / "record.jsonl", {"rows": [1], "checks": []}
    record = _workers.Record(path, {"device": "a", "seed": 1}, unlike=("seed",))
    record.add("good", good)
    record.add("error", {"error": "it broke"})
    record.add("failed", {"checks": [{"pass": False}]})
    with path.open("a") as file:
        file.write('["half", {"rows": [')
    again = _workers.Record(path, {"device": "a", "seed": 2}, unlike=("seed",))
    assert again.results == {"good": good}
    assert again.head["seed"] == 1
    again.add("more", good)
    assert set(_workers.Record(path, {"device": "a", "seed": 3}, unlike=("seed",)).results) == {"good", "more"}
    assert _workers.Record(path, {"device": "another", "seed": 3}, unlike=("seed",)).results == {}


SMALL = {
    "units": [3], "batches": [2], "steps": 4, "correct": [(2, 2, 3)], "families": [(2, 3, 4, 1)], "jacobians": [(2, 1)],
    "product": 16, "megabytes": 1, "runs": (1, 1), "workers": 2, "seconds": 360.0, "first": 360.0,
    "cells": ["tanh"], "cuts": ["block"],
}  # fmt: skip
REHEARSAL = """
import json, sys
from pathlib import Path
import speed_gpu

if __name__ == "__main__":
    result = speed_gpu.measure(device="cpu", folder=Path(sys.argv[1]), **json.loads(sys.argv[2]))
    print(json.dumps([item["pass"] for item in result["checks"]]))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_and_measures_nothing_twice(tmp_path):
    """The whole script, rehearsed on the CPU engine: killed after its first result, then run again to its end."""
    (tmp_path / "rehearsal.py").write_text(REHEARSAL)
    command = [sys.executable, tmp_path / "rehearsal.py", tmp_path, json.dumps(SMALL)]
    where = os.pathsep.join([str(Path(tt.__file__).resolve().parents[1]), str(ROOT / "analysis")])
    environment = os.environ | {"PYTHONPATH": where}
    record = tmp_path / "speed_gpu-cpu-a-rehearsal.jsonl"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 240
        while time.monotonic() < end and not (record.exists() and record.read_text().count("\n") > 1):
            assert process.poll() is None or record.read_text().count("\n") > 1
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    before = record.read_text()[: record.read_text().rindex("\n") + 1]
    assert before.count("\n") > 1
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert answer.returncode == 0, answer.stderr
    assert record.read_text().startswith(before)  # date, seed and numbers of the first run
    keys = [json.loads(line)[0] for line in record.read_text().splitlines()[1:]]
    stages = [*_gpu_first.plan("cpu", (1, 1), ["block"]), *speed_gpu.plan(SMALL, "cpu", 0)]
    assert sorted(keys) == sorted(key for stage in stages for key, _, _ in stage)
    *said, last = answer.stdout.splitlines()
    assert all(json.loads(last))
    new = set(keys) - {json.loads(line)[0] for line in before.splitlines()[1:]}
    assert all(any(line.startswith(f"{key}: ") for line in said) for key in new)  # each as it came


CUTS = pytest.mark.parametrize("cut", _gpu_first.CUTS)


@CUTS
def test_the_references_are_what_the_cpu_engine_computes(cut):
    """They are computed beforehand and carried to the GPU; here the CPU stands in for it."""
    checks = _gpu_first.right(None, "cpu", cut)["checks"]
    assert [item["name"] for item in checks if not item["pass"]] == []
    assert {item["name"].rpartition(" ")[2] for item in checks} >= {"output", "weight_hh_l0", "jvp", "vjp", "input"}


def test_a_wrong_cut_is_seen(monkeypatch):
    """A test of the test: one number in a thousand is off by a hundredth."""
    exact = _gpu_right.numbers

    def off(*arguments):
        found = exact(*arguments)
        value = found["weight_hh_l0"].copy()
        value.ravel()[::1000] += 0.01 * np.abs(value).max()
        return found | {"weight_hh_l0": value}

    monkeypatch.setattr(_gpu_right, "numbers", off)
    checks = _gpu_first.right(None, "cpu", "block")["checks"]
    assert [item["name"].split()[-1] for item in checks if not item["pass"]] == ["weight_hh_l0"]


@CUTS
def test_the_cuts_are_those_that_the_rules_choose(cut):
    dtype, units = _gpu_first.CUTS[cut]
    for gates, columns in ((4, units), (1, 4 * units)):
        for batch in (1, 5, 16):
            plan = plans.plan(units, gates, columns, batch, 1, np.dtype(dtype).itemsize, 132, 11)
            name = "cluster" if plan.cluster else "block" if plan.alone else "grid" if plan.resident else "streamed"
            assert name == cut.removesuffix("64")


def test_wrong_first_numbers_stop_before_the_table(monkeypatch, tmp_path, capsys):
    begun = []

    def run(pieces, module, **options):
        for key, function, _ in pieces:
            begun.append(key)
            checks = [_study.check("what is wrong", 1.0, 0, 0, why="made up")] if key == "right grid" else []
            yield key, {"device": "Made up"} if function == "about" else {"checks": checks}

    monkeypatch.setattr(_workers, "run", run)
    found = speed_gpu.measure(folder=tmp_path, **speed_gpu.SIZES)
    first = [key for stage in _gpu_first.plan("cuda", (3, 15)) for key, _, _ in stage]
    assert begun == ["about", *first]
    assert "sanitized racecheck cluster" in first
    assert (tmp_path / "speed_gpu-Made-up.jsonl").read_text().count("\n") == 1 + len(first)
    printed = capsys.readouterr().out
    assert "FAILED what is wrong: 1" in printed
    assert "the table is not measured" in printed
    assert found["data"]["left"] > 100


def test_turns_begin_when_nothing_else_is_in_work(pieces, tmp_path):
    path = tmp_path / "seen"
    work = [(f"prepared {i}", "prepared", {"path": str(path)}) for i in range(5)]
    assert len(list(_workers.run(work, pieces, workers=2))) == 5
    assert path.read_text().replace("pp", "P") == "P()()P()()p()"


def test_each_piece_in_a_process_of_its_own(pieces):
    work = [(f"{i}", "process", {}) for i in range(3)]
    found = dict(_workers.run(work, pieces, workers=1, fresh=True))
    assert len({result["process"] for result in found.values()}) == 3


def test_a_wrong_number_is_seen(monkeypatch):
    """A test of the test: a device that is off by 1e-4, changes its bits, or whose vjp is not J transposed."""
    exact, calls = _gpu_right.numbers, []

    def off(name, factors):
        def numbers(*arguments):
            found = exact(*arguments)
            factor = factors[len(calls)]
            calls.append(name)
            return found | {name: (found[name] * factor).astype(found[name].dtype)}

        calls.clear()
        return numbers

    way = {"cell": "tanh", "dtype": "float32", "steps": 3, "batch": 2, "units": 4, "seed": 1}
    before = tt.get_num_threads()
    try:
        for factors, name, passes in (
            ((1, 1, 1), "output", [True, True, True]),
            ((1, 1 + 1e-4, 1 + 1e-4), "output", [False, True, True]),
            ((1, 1, 1 + 1e-6), "output", [True, False, True]),
            ((1, 1.1, 1.1), "vjp", [False, True, False]),
            ((1, np.nan, np.nan), "weight_hh_l0", [False, True, True]),
        ):
            monkeypatch.setattr(_gpu_right, "numbers", off(name, factors))
            checks = _gpu_right.correct(None, "cpu", **way)["checks"]
            assert [item["pass"] for item in checks] == passes, (name, factors)
    finally:
        tt.set_num_threads(before)


def test_without_a_device_the_script_says_so_and_writes_nothing(tmp_path):
    if _gpu_device.missing() is None:
        pytest.skip("there is a CUDA device: the script would measure for minutes")
    command = [sys.executable, "-W", "error", ROOT / "analysis" / "speed_gpu.py", "--out", tmp_path / "figures"]
    environment = os.environ | {"PYTHONPATH": str(Path(tt.__file__).resolve().parents[1])}
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == f"speed_gpu: skipped, because {_gpu_device.missing()}\n"
    assert list(tmp_path.iterdir()) == []
