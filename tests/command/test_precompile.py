"""`throughtime precompile`: what it compiles no program compiles again; what it says to a first reader."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import throughtime as tt
from throughtime.command import line, parts
from throughtime.command.precompile import interrupted_once

SOURCE = Path(tt.__file__).resolve().parents[1]
# A program of other sizes than those that the command takes; what it compiles is counted.
PROGRAM = """
import json, sys
import numpy as np
from numba.core import event
import throughtime as tt
recorder = event.RecordingListener()
event.register("numba:run_pass", recorder)
cell, dtype = sys.argv[1:]
net = tt.Network(cell, 3, 40, num_layers=2, seed=0, dtype=dtype)
x = np.ones((30, 5, 3), dtype)
run = net.unroll(x, lengths=[30, 3, 7, 30, 1])
run.backprop(np.ones_like(run.output), window=4)
run.backprop(np.ones_like(run.output), per_sequence=True)
run.jvp(np.ones((5, run.states.shape[-1]), dtype), 0, 9)
run.jacobian(5)
one = tt.Network(cell, 3, 40, seed=0, dtype=dtype)
tt.analysis.lyapunov_spectrum(one, x[:, 0], seed=0)
tt.analysis.lyapunov_spectrum(one, x[:, 0], k=3, seed=0)
tt.analysis.gradient_by_lag(one.unroll(x), np.ones((30, 5, 40), dtype))
print(json.dumps(sorted({str(one.data["name"]) for _, one in recorder.buffer if one.is_start})))
"""


def shell(*words, folder):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_after_it_a_program_compiles_nothing(tmp_path):
    done = shell("-m", "throughtime", "precompile", "tanh", "--dtype", "float32", "--jobs", "2", folder=tmp_path)
    assert re.match(r"1 of 1 ready after \d+ s: tanh, in float32\. Kept in ", done.stdout)
    assert done.stdout.strip().endswith(str(next(path.parent for path in tmp_path.rglob("loops.unroll-*.nbc"))))
    assert "4/4" in done.stderr
    assert json.loads(shell("-c", PROGRAM, "tanh", "float32", folder=tmp_path).stdout) == []


@pytest.mark.parametrize("cell", tt.CELLS)
def test_every_cell_has_all_parts(cell):
    for part in parts.PARTS.values():
        part(cell, "float64")


def test_cells_that_can_be_scanned_are():
    assert {cell for cell in tt.CELLS if "scan" in parts.methods(cell)} == {"min_gru", "min_lstm", "lru"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["precompile", "lstn"], 'There is no cell "lstn". Did you mean "lstm"? Known: tanh, relu, '),
        (["precompile", "--jobs", "0"], "'0'; expected a whole number of at least 1."),
        (["precompile", "--jobs", "two"], "'two'; expected a whole number of at least 1."),
        (["precompile", "lstm", "--dtype", "float16"], "invalid choice: 'float16' (choose from"),
        (["precompile", "lstm", "--part", "training"], "invalid choice: 'training' (choose from"),
        (["compile"], "invalid choice: 'compile' (choose from"),
    ],
)
def test_what_it_does_not_know_is_refused_in_words(capsys, words, said):
    with pytest.raises(SystemExit) as error:
        line.main(words)
    assert error.value.code == 2
    assert said in capsys.readouterr().err


def test_help_names_all_cells_and_shows_what_to_write(capsys):
    assert line.main([]) == 0
    assert "precompile" in capsys.readouterr().out
    with pytest.raises(SystemExit) as error:
        line.main(["precompile", "--help"])
    assert error.value.code == 0
    page = capsys.readouterr().out
    assert set(tt.CELLS) <= set(re.findall(r"\w+", page))
    assert all(len(row) <= 120 for row in page.splitlines())
    for command in re.findall(r"^    throughtime (precompile.*?)(?:  .*)?$", page, re.M):
        assert line.understood(command.split()).command == "precompile"


def test_without_a_folder_to_keep_code_in_it_says_what_to_do(capsys, monkeypatch):
    monkeypatch.setattr(line, "kept_in", lambda function: None)
    assert line.main(["precompile", "tanh"]) == 1
    assert "export NUMBA_CACHE_DIR=" in capsys.readouterr().err


def test_what_fails_is_named_and_the_rest_is_ready(capsys, monkeypatch):
    failed = {("tanh", "float32"): ValueError("no room")}
    monkeypatch.setattr(line, "precompile", lambda *_: failed)
    assert line.main(["precompile", "tanh", "gru"]) == 1
    out, err = capsys.readouterr()
    assert err == "throughtime: tanh in float32 could not be compiled: no room\n"
    assert out.startswith("3 of 4 ready")


def test_an_interrupt_says_that_nothing_is_lost(capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(line, "precompile", interrupted)
    assert line.main(["precompile", "tanh"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_a_second_interrupt_does_not_disturb_the_first():
    before, ended = signal.getsignal(signal.SIGINT), []

    @interrupted_once()
    def work():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert ended
    assert signal.getsignal(signal.SIGINT) is before
