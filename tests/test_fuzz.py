"""The fuzzer of wrong calls, in a process of its own: it limits the memory of the process, and a crash is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fuzz_calls
import pytest

import throughtime as tt


def test_every_call_returns_or_says_why_not(tmp_path, fuzz_seconds, request):
    seconds, seed = fuzz_seconds(20), request.config.getoption("--fuzz-seed")
    environment = os.environ | {"PYTHONPATH": str(Path(tt.__file__).parents[1])}
    command = [sys.executable, fuzz_calls.__file__, str(seconds), str(seed)]
    limit = 300 + 2 * seconds  # the first calls compile
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=limit)
    last = (tmp_path / "last_call").read_text()
    assert done.returncode in (0, 1), f"crashed with {done.returncode} at {last}\n{done.stderr[-2000:]}"
    assert done.returncode == 0, done.stdout[-10000:]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda: {}["key"], "no sentence of ours"),
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: tt.scalar.np.zeros(3) @ tt.scalar.np.zeros(4), "no sentence of ours"),
    ],
)
def test_the_fuzzer_sees_errors_that_are_not_ours(tmp_path, monkeypatch, broken, words):
    monkeypatch.chdir(tmp_path)
    with open("last_call", "w") as log:
        assert words in fuzz_calls.call("made.broken", broken, {}, log)[1]
        assert fuzz_calls.call("made.right", lambda: tt.Network("gru", 0, 1), {}, log)[1] == ""


def test_the_fuzzer_finds_everything_public():
    names = {name for name, _ in fuzz_calls.functions()}
    assert {"throughtime.Network", "throughtime.analysis.lyapunov_spectrum", "throughtime.plots.ensemble"} <= names
    assert {"throughtime.analysis.mean_field.population", "throughtime.load", "throughtime.scalar.tanh"} <= names
    found = {name for name, _ in fuzz_calls.methods(fuzz_calls.TANH.unroll(fuzz_calls.X))}
    assert {"Unrolled.backprop", "Unrolled.jacobian", "Unrolled.final_state"} <= found
