"""What every study has from `analysis/_study.py`: it goes on where it stopped, and says how long it takes.

The studies here are made up, and so are their times; nothing is measured.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import throughtime

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "analysis"))  # studies import `_study` from beside them

import _kept
import _progress
import _study
import run_all

ANALYSIS = Path(__file__).resolve().parents[2] / "analysis"

STUDY = '''"""Does it go on?"""
import sys, time
import _study as study
import numpy as np

SIZES = {"calls": 3}
FULL = {"calls": 4}

def long(number, values):
    with open(sys.argv[-1] + "/calls", "a") as file:
        file.write(f"{number}")
    time.sleep(0.5)
    return number + values

def short(number):
    with open(sys.argv[-1] + "/short", "a") as file:
        file.write(f"{number}")
    return number

def measure(calls):
    found = []
    for i in study.progress(range(calls), "calls"):
        found.append(long(i, np.ones(2)).sum() + short(0))
        if i == 1 and not __import__("os").path.exists(sys.argv[-1] + "/again"):
            open(sys.argv[-1] + "/again", "w").close()
            raise KeyboardInterrupt
    return {"checks": [study.check("sum", sum(found), 12.0, 0, why="by hand")], "seeds": {}, "data": {"found": found}}

def draw(result):
    figure, ax = study.figure()
    ax.plot(result["data"]["found"])
    return figure

if __name__ == "__main__":
    study.run(globals())
'''


def environment(**more):
    where = os.pathsep.join([str(Path(throughtime.__file__).resolve().parents[1]), str(ANALYSIS)])
    return os.environ | {"PYTHONPATH": where, "PYTHONIOENCODING": "utf-8"} | more


def test_a_study_goes_on_where_it_was_interrupted(tmp_path):
    (tmp_path / "made_up.py").write_text(STUDY, encoding="utf-8")
    command = [sys.executable, tmp_path / "made_up.py", "--out", tmp_path]
    first = subprocess.run(command, env=environment(), capture_output=True, text=True, encoding="utf-8")
    assert first.returncode == 130
    assert "the same command goes on where it stopped" in first.stdout
    assert (tmp_path / "calls").read_text() == "01"
    second = subprocess.run(command, env=environment(), capture_output=True, text=True, encoding="utf-8")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "goes on where it stopped" in second.stdout
    assert "2 results kept" in second.stdout
    assert (tmp_path / "calls").read_text() == "012"  # the long calls once each
    assert (tmp_path / "short").read_text() == "00000"  # the short ones as often as they were called
    assert not (tmp_path / ".kept").exists()
    times = _study.times(tmp_path / "made_up.json")
    assert times["SIZES"]["seconds"] > 1.5  # of both runs
    full = subprocess.run(
        [*command[:2], "--full", "--out", tmp_path], env=environment(), capture_output=True, text=True
    )
    assert full.returncode == 1  # its sum is another one
    assert list(_study.times(tmp_path / "made_up.json")) == ["SIZES", "FULL"]


def kept(tmp_path, code="a"):
    return _kept.Kept(tmp_path / "kept", {"code": code})


def looked_after(function, store):
    return _kept.looked_after(function, store, _progress.Progress("made up"))


@pytest.fixture
def no_moment(monkeypatch):
    monkeypatch.setattr(_kept, "MOMENT", -1.0)


def counted(tmp_path, function, code="a"):
    calls = []

    def call(*given):
        calls.append(given)
        return function(*given)

    return looked_after(call, kept(tmp_path, code)), calls


def test_a_result_is_read_again_for_the_same_arguments_and_code_only(tmp_path, no_moment):
    double, calls = counted(tmp_path, lambda x: 2 * x)
    assert [double(2), double(2), double(3)] == [4, 4, 6]
    assert calls == [(2,), (3,)]
    again, calls = counted(tmp_path, lambda x: 2 * x)
    assert (again(3), calls) == (6, [])
    other, calls = counted(tmp_path, lambda x: 3 * x, code="b")
    assert (other(3), calls) == (9, [(3,)])


def test_what_a_call_changes_is_never_left_out(tmp_path, no_moment):
    append, calls = counted(tmp_path, lambda values: values.append(1))
    append([])
    append([])
    assert len(calls) == 2


def test_damaged_results_and_what_cannot_be_kept_are_computed_again(tmp_path, no_moment):
    double, calls = counted(tmp_path, lambda x: 2 * x)
    double(2)
    for path in (tmp_path / "kept").glob("*.pickle"):
        path.write_bytes(path.read_bytes()[:-3])
    assert double(2) == 4
    assert len(calls) == 2
    function, calls = counted(tmp_path, lambda x: lambda: x)
    assert [function(1)(), function(1)()] == [1, 1]
    assert len(calls) == 2


def test_the_share_done_counts_loops_inside_loops(monkeypatch):
    progress = _progress.Progress("made up")
    monkeypatch.setattr(_progress, "CURRENT", [progress])
    shares = []
    for _ in _study.progress(range(2), "outer"):
        for _ in _study.progress(range(4), "inner"):
            shares.append(progress.share())
    assert shares == [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8]
    assert progress.share() is None
    bar = _study.progress(None, "counted", total=4)
    bar.update(3)
    assert progress.share() == 0.75
    assert "counted 3/4" in progress.line()
    bar.close()


def test_the_time_left_is_that_on_record_or_else_scaled(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now[0])
    progress = _progress.Progress("made up", about=60.0, before=10.0)
    monkeypatch.setattr(_progress, "CURRENT", [progress])
    now[0] = 120.0
    assert progress.left() == 30.0
    now[0] = 160.0  # longer than it should be: the loops tell
    assert progress.left() is None
    with _study.progress(None, "counted", total=4) as bar:
        bar.update(3)
        assert progress.left() == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.42, "0.4 s"), (12.3, "12 s"), (99.6, "2 min"), (3500, "58 min"), (4800, "1 h 20 min")]
)
def test_durations_in_words(seconds, words):
    assert _study.duration(seconds) == words


def test_a_run_of_all_leaves_out_what_was_done(tmp_path, monkeypatch, capsys):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(f"open(r'{tmp_path / name}', 'a').write('x')", encoding="utf-8")
    stop = tmp_path / "three.py"
    stop.write_text("import os, signal; os.kill(os.getppid(), signal.SIGINT); import time; time.sleep(60)")
    paths = [tmp_path / "one.py", stop, tmp_path / "two.py"]
    with pytest.raises(KeyboardInterrupt):
        run_all.all_of(paths, out=str(tmp_path))
    stop.write_text("print('well')")
    assert run_all.all_of(paths, out=str(tmp_path)) == 0
    printed = capsys.readouterr().out
    assert "1 study done before the interruption" in printed
    assert "2 of 2 studies" in printed
    assert (tmp_path / "one").read_text() == (tmp_path / "two").read_text() == "x"
    assert not (tmp_path / ".kept").exists()


@pytest.mark.parametrize(
    "text", ["", "null", "[]", '{"done": {}}', '{"arguments": [], "done": [1]}', '{"arguments": [], "done": 5}']
)
def test_a_note_of_what_is_done_that_is_none_begins_anew(tmp_path, text):
    note, study = tmp_path / "note.json", tmp_path / "one.py"
    study.write_text("")
    note.write_text(text, encoding="utf-8")
    assert study not in run_all.Done(note, [])
    run_all.Done(note, []).add(study)
    assert study in run_all.Done(note, [])


def test_a_folder_that_cannot_be_is_said_before_anything_is_measured(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    module = {"__file__": __file__, "__doc__": "A question?"}
    for out in (file, file / "below"):
        with pytest.raises(SystemExit):
            _study.main(module, ["--out", str(out)])
        assert f"--out {out}: " in capsys.readouterr().err


def test_times_are_taken_from_another_folder(tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    result = {"checks": [_study.check("x", 0, 0, 0, why="made up")], "seeds": {}, "data": {"x": [1, 2]}}
    for folder, which in ((there, "FULL"), (here, "SIZES")):
        folder.mkdir()
        took = {which: {"seconds": 5.0, "pace": 0.1, "processor": "made up"}}
        _study.write(folder / "study.json", "study", "Is it?", {}, result, took)
    _study.write(here / "without.json", "without", "Is it?", {}, result)
    before = (here / "without.json").read_text()
    assert run_all.take_times(there, here) == 1
    assert set(_study.times(here / "study.json")) == {"SIZES", "FULL"}
    assert json.loads((here / "study.json").read_text())["data"] == {"x": [1, 2]}
    assert (here / "without.json").read_text() == before
    assert run_all.take_times(there, here) == 1  # no line twice
    assert (here / "study.json").read_text().count('"times"') == 1


def test_the_line_is_written_for_who_runs_all(tmp_path):
    (tmp_path / "made_up.py").write_text(STUDY.replace("0.5", "2.0"), encoding="utf-8")
    path = tmp_path / "how far"
    command = [sys.executable, tmp_path / "made_up.py", "--out", tmp_path]
    process = subprocess.Popen(command, env=environment(THROUGHTIME_PROGRESS=str(path)), stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end and not (path.exists() and "calls 0/3; long()" in path.read_text()):
            time.sleep(0.02)
        assert "calls 0/3; long()" in path.read_text(encoding="utf-8")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()
