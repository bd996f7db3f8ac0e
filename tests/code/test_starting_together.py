"""Several processes that start at once on an empty cache: all are right, and the next one compiles nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numba
import numpy as np
import pytest

import throughtime as tt
from throughtime import jit
from throughtime.code import cache as code_cache

SOURCE = Path(tt.__file__).resolve().parents[1]
TOGETHER = 3
SCRIPT = """
import json, warnings
import numpy as np
from numba.core import event
import throughtime as tt
recorder = event.RecordingListener()
event.register("numba:run_pass", recorder)  # of every function that is compiled, also of those that C calls
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    values = []
    for dtype in ("float32", "float64"):
        net = tt.Network("linear", 1, 2, bias=False, dtype=dtype,
                         init=lambda net, rng: {k: np.ones(s) for k, s in net.shapes.items()})
        run = net.unroll(np.ones((3, 1), dtype))
        gradients = run.backprop(np.ones((3, 2), dtype)).parameters
        values += [run.output[-1, 0].item(), gradients["weight_ih_l0"].sum().item()]
print(json.dumps([values, [str(one.message) for one in said], len(recorder.buffer)]))
"""
# h_t = 1 + 2 h_{t-1} in both units: 1, 3, 7. dL/dW_ih of L = sum h: for each unit the sum of all that an input moves,
# and what each of 3 inputs moves in both units is 2 (2^k - 1): 7 + 3 + 1 for one unit.
VALUES = [7.0, 22.0, 7.0, 22.0]


def start(folder):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen([sys.executable, "-c", SCRIPT], env=environment, stdout=subprocess.PIPE, text=True)


def answer(process):
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    return json.loads(out)


@pytest.mark.slow
def test_processes_that_start_at_once_do_not_harm_each_other(tmp_path):
    for values, said, compiled in map(answer, [start(tmp_path) for _ in range(TOGETHER)]):
        assert (values, said) == (VALUES, [])
        assert compiled > 0
    assert answer(start(tmp_path)) == [VALUES, [], 0]
    assert [path.name for path in tmp_path.rglob("*.tmp.*")] == []


def add(x, y):
    return x + y


def test_what_two_write_into_one_index_at_once_is_all_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path))
    read = code_cache.Files._load_index

    def slowly(self):
        found = read(self)
        time.sleep(0.1)  # long enough for the other to read the same
        return found

    kinds = np.float32, np.float64, np.complex64
    made = [jit.specialise(add, "kinds") for _ in kinds]
    for one, kind in zip(made, kinds, strict=True):
        one._cache.disable()
        one(kind(1), kind(2))
        one._cache.enable()
    monkeypatch.setattr(code_cache.Files, "_load_index", slowly)
    saving = [
        threading.Thread(target=one._cache.save_overload, args=(one.signatures[0], one.overloads[one.signatures[0]]))
        for one in made
    ]
    for thread in saving:
        thread.start()
    for thread in saving:
        thread.join()
    later = jit.specialise(add, "kinds")
    assert [later(kind(1), kind(2)) for kind in kinds] == [3, 3, 3]
    assert sum(later.stats.cache_hits.values()) == len(kinds)
