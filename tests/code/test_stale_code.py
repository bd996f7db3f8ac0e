"""Stale machine code never runs, and a second process compiles nothing: in processes of their own, over one cache.

A script runs once and fills the cache; then something that its machine code depends on is edited, and it runs again.
`compiled` counts Numba's compiler passes ("numba:run_pass" events), of which a load from the cache has none. All cells
here have the shape of `tanh`, whose loops the first run compiles for all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import throughtime as tt

PACKAGE = Path(tt.__file__).resolve().parent

SCRIPT = """
import json, sys
from numba.core import event
passes = event.RecordingListener()
event.register("numba:run_pass", passes)
from typing import NamedTuple
import numpy as np
from numba import njit
from numba.extending import register_jitable
import throughtime as tt
import neighbour
import bundle.inner
from bundle import constants

GAIN = 1.0

@register_jitable
def twice(u):
    return 2.0 * u

@register_jitable
def shift(u):
    return twice(u) + 1.0

@tt.cell()
class Mine(NamedTuple):
    scale: float = 1.0

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        v = cell.scale * u + shift(u) + neighbour.square(u) + bundle.inner.cube(u) + GAIN + constants.OFFSET
        return (v,), (u,)

    def backward(cell, ds, s, s_next, saved):
        du = (3.0 * ds[0],)
        return du, du, (0.0,)

def make(power):
    @tt.cell()
    class Local(NamedTuple):
        def forward(cell, x, r, s):
            u = x[0] + r[0]
            return (power * u,), (u,)

        def backward(cell, ds, s, s_next, saved):
            du = (power * ds[0],)
            return du, du, (0.0,)

    return Local()

def answer(cell, back):
    net = tt.Network(cell, 1, 1, bias=False)
    for value in net.parameters.values():
        value[...] = 1.0
    run = net.unroll([[2.0]])
    return [run.output.item(), run.backprop(np.ones((1, 1))).input.item() if back else 0.0]

cells = {"mine": lambda: Mine(float(sys.argv[2])), "local": lambda: make(4.0), "tanh": lambda: "tanh"}
answers = {name: answer(cells[name](), "back" in sys.argv) for name in sys.argv[1].split(",")}
print(json.dumps(answers | {"compiled": len(passes.buffer)}))
"""
FILES = {
    "script.py": SCRIPT,
    "neighbour.py": "from numba import njit\n\n\n@njit(cache=True)\ndef square(u):\n    return u * u\n",
    "bundle/__init__.py": "",
    "bundle/inner.py": "from numba import njit\n\n\n@njit(cache=True)\ndef cube(u):\n    return u * u * u\n",
    "bundle/constants.py": "OFFSET = 100.0\n",
}
MINE = 1 * 2.0 + (4.0 + 1.0) + 4.0 + 8.0 + 1.0 + 100.0  # at u = 2 and scale 1


class Project:
    """A user's folder with the script, which can be edited, and a cache."""

    def __init__(self, folder, cache, library=PACKAGE.parent, environment=None):
        self.folder = folder
        self.environment = (
            os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(library)} | (environment or {})
        )
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)

    def run(self, cells="mine", scale=1.0, *more):
        command = [sys.executable, "-B", "-W", "error", "script.py", cells, str(scale), *more]
        answer = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)


def replace(file, old, new):
    text = file.read_text()
    assert text.count(old) == 1, f"`{old}` is {text.count(old)} times in {file.name}; this test needs it once"
    file.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder whose script has filled the cache, and what it found."""
    folder = tmp_path_factory.mktemp("first")
    found = Project(folder, folder / "cache").run("tanh,mine,local", 1.0, "back")
    return folder, found


@pytest.fixture
def project(cache):
    """The script as it was when it filled the cache."""
    return Project(cache[0], cache[0] / "cache")


def test_a_second_process_compiles_nothing(cache, project):
    """A cell of the library, one of the script (in __main__), and one made in a function: forward and back."""
    first = cache[1]
    assert first["compiled"] > 100  # the count sees compilation: without the cache the last line would fail
    assert first["mine"] == [MINE, 3.0]
    assert first["local"] == [8.0, 4.0]
    np.testing.assert_allclose(first["tanh"], [np.tanh(2), 1 / np.cosh(2) ** 2], rtol=1e-14)
    assert project.run("tanh,mine,local", 1.0, "back") == first | {"compiled": 0}


def test_another_value_of_a_field_needs_no_compilation(project):
    assert project.run("mine", 5.0) == {"mine": [MINE + 4 * 2.0, 0.0], "compiled": 0}


EDITS = {
    "the cell": ("script.py", "cell.scale * u + shift(u)", "cell.scale * u - shift(u)", MINE - 2 * 5.0),
    "a literal of the cell": ("script.py", "(v,), (u,)", "(v + 0.5,), (u,)", MINE + 0.5),
    "a helper beside it": ("script.py", "twice(u) + 1.0", "twice(u) + 7.0", MINE + 6.0),
    "a helper's helper": ("script.py", "return 2.0 * u", "return 5.0 * u", MINE + 6.0),
    "a constant": ("script.py", "GAIN = 1.0", "GAIN = -1.0", MINE - 2.0),
    "a compiled helper in another file": ("neighbour.py", "u * u", "u * u + 3.0", MINE + 3.0),
    "a constant in a package": ("bundle/constants.py", "100.0", "200.0", MINE + 100.0),
    "a helper in a package": ("bundle/inner.py", "u * u * u", "u * u * u + 9.0", MINE + 9.0),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_of_the_users_code_is_seen(project, what):
    file, old, new, expected = EDITS[what]
    replace(project.folder / file, old, new)
    assert project.run()["mine"] == [expected, 0.0]


def test_an_edit_of_backward_and_of_what_a_function_closes_over_is_seen(project):
    replace(project.folder / "script.py", "3.0 * ds[0]", "7.0 * ds[0]")
    replace(project.folder / "script.py", "make(4.0)", "make(6.0)")
    found = project.run("mine,local", 1.0, "back")
    assert found["mine"] == [MINE, 7.0]
    assert found["local"] == [12.0, 6.0]


def copied(tmp_path):
    return Path(
        shutil.copytree(PACKAGE, tmp_path / "library" / "throughtime", ignore=shutil.ignore_patterns("__pycache__"))
    )


def test_an_edit_of_the_library_is_seen(tmp_path):
    """One of its cells, one of its scalar functions, and the heart of its products, two calls away from the loops."""
    package = copied(tmp_path)
    project = Project(tmp_path, tmp_path / "cache", package.parent)
    first = project.run("tanh")
    before = first["tanh"][0]
    assert before == pytest.approx(np.tanh(2.0))
    assert first["compiled"] > 100
    assert project.run("tanh") == {"tanh": [before, 0.0], "compiled": 0}

    replace(package / "cells" / "elman.py", "return (tanh(u),), (u,)", "return (tanh(u) + 1.0,), (u,)")
    assert project.run("tanh")["tanh"] == [before + 1, 0.0]

    replace(package / "scalar.py", "math.copysign(e / (e + two), x)", "math.copysign(two * e / (e + two), x)")
    assert project.run("tanh")["tanh"] == [2 * before + 1, 0.0]

    replace(
        package / "engine" / "cpu" / "register_tile.py",
        "b.call(fma, [x, w[v], sums[r][v]])",
        "b.call(fma, [b.fadd(x, x), w[v], sums[r][v]])",
    )
    assert project.run("tanh")["tanh"][0] == pytest.approx(2 * np.tanh(4.0) + 1)


def test_without_a_folder_to_write_to(tmp_path):
    """Neither beside the package nor in the user's folders: it compiles, and works."""
    package = copied(tmp_path)  # with files where folders would be: root may write into any folder
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").write_text("")
    (tmp_path / "file").write_text("")
    nowhere = str(tmp_path / "file" / "folder")
    environment = {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "NUMBA_CACHE_DIR": nowhere}
    folder = tmp_path / "user"
    project = Project(folder, nowhere, package.parent, environment)
    found = project.run("tanh")
    assert found["tanh"][0] == pytest.approx(np.tanh(2.0))
    assert found["compiled"] > 100


def test_a_cell_defined_again_in_the_same_process():
    """As in a notebook: the cell of the new definition is another cell, and one made before stays what it was."""

    def define(power):
        names = {"power": power, "tt": tt}
        exec(
            "from typing import NamedTuple\n"
            "@tt.cell()\n"
            "class Again(NamedTuple):\n"
            "    def forward(cell, x, r, s):\n"
            f"        return ({power} * x[0] + r[0],), (x[0],)\n"
            "    def backward(cell, ds, s, s_next, saved):\n"
            "        return ds, ds, (0.0,)\n",
            names,
        )
        net = tt.Network(names["Again"](), 1, 1, bias=False)
        net.parameters["weight_ih_l0"][...] = 1
        return net

    first, second = define(2.0), define(3.0)
    assert first.unroll([[1.0]]).output.item() == 2
    assert second.unroll([[1.0]]).output.item() == 3
    assert first.unroll([[1.0]]).output.item() == 2
