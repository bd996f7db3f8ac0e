"""Kernels on disk: a second process compiles nothing, and never runs what was made from other code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from throughtime.engine.cuda import compiler, register_arrays
from throughtime.engine.cuda.register_arrays import read

HERE = Path(__file__).parent
SCRIPT = """
import sys
from typing import NamedTuple

import driver
library = driver.load()
import machine
machine.install(library)
import numba
import numba.cuda.dispatcher
import numpy as np

import throughtime as tt

made, make = [], numba.cuda.dispatcher._Kernel.__init__


def counted(self, *arguments, **options):
    make(self, *arguments, **options)
    made.append(self.entry_name)


numba.cuda.dispatcher._Kernel.__init__ = counted


SLOPE = FACTOR


@numba.njit
def slope():
    return SLOPE


@tt.cell()
class Own(NamedTuple):
    FIELDS

    def forward(cell, x, r, s):
        return (cell.leak * s[0] - cell.kept * s[0] + slope() * (x[0] + r[0]),), ()

    def backward(cell, ds, s, s_next, saved):
        d = slope() * ds[0]
        return (d,), (d,), ((cell.leak - cell.kept) * ds[0],)


net = tt.Network(Own(), 2, 3, seed=0)
x = np.random.default_rng(0).standard_normal((3, 2, 2))
run, there = net.unroll(x), net.to("cuda").unroll(x)
np.testing.assert_allclose(there.output.copy_to_host(), run.output, rtol=1e-12)
print(len(made))
"""


@pytest.fixture
def compiled(tmp_path):
    """compiled(factor, fields) -> how many kernels a new process compiles for the script with these."""
    kept = tmp_path / "kept"

    def run(factor, fields=("leak: float = 0.5", "kept: float = 0.125")):
        script = tmp_path / "script.py"
        script.write_text(SCRIPT.replace("FACTOR", factor).replace("FIELDS", "; ".join(fields)))
        paths = os.pathsep.join([str(HERE), *sys.path])
        env = os.environ | {"NUMBA_CACHE_DIR": str(kept), "PYTHONPATH": paths}
        done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    run.folder = kept
    return run


def reading(array):
    return read(array, 0, 1, 2)


def test_a_name_says_of_which_primitives_and_options_its_code_is_made():
    """Two primitives of one name differ by what their typing functions have closed over."""
    made = [
        compiler.part(reading, "part", {"read": register_arrays.read}),
        compiler.part(reading, "part", {"read": register_arrays.read_near}),
        *(compiler.kernel(reading, "part", {"read": register_arrays.read}, *bounds) for bounds in ((64,), (64, 2))),
    ]
    names = [each.py_func.__qualname__ for each in made]
    assert len(set(names)) == len(names), names
    again = compiler.part(reading, "part", {"read": register_arrays.read})
    assert again.py_func.__qualname__ == names[0]


def test_a_second_process_compiles_nothing_and_an_edited_cell_is_compiled(compiled):
    first = compiled("0.5")
    assert first > 2
    assert compiled("0.5") == 0
    edited = compiled("0.25")  # of a function that the cell calls; what knows nothing of the cell is kept
    assert 0 < edited < first
    for file in compiled.folder.rglob("*unroll*.nbc"):
        file.write_bytes(file.read_bytes()[:-1])
    assert compiled("0.25") == 1


def test_the_same_fields_in_another_order_are_compiled(compiled):
    """The name of the class among the types of arguments says how many they are; the script looks at the results."""
    first = compiled("0.5")
    assert 0 < compiled("0.5", ("kept: float = 0.125", "leak: float = 0.5")) < first
