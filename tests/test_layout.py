"""The house keeps its rules (layout.py), libraries stay behind their doors, importing the package costs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import layout
import pytest

import throughtime

ROOT = Path(throughtime.__file__).parent
FILES = layout.files(ROOT)
BELOW = ("jit", "engine", "code")
ONLY_IN = {"numba": BELOW, "llvmlite": BELOW, "matplotlib": ("plots",), "torch": ()}


@pytest.mark.parametrize("rule", layout.RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule):
    broken = list(rule(ROOT))
    assert not broken, f"{rule.__doc__}\n" + "\n".join(broken)


# ---- tests of the test: a small house in good order, and one place in it that breaks a rule
HOUSE = {
    "__init__.py": '"""The house."""\n',
    "scalar.py": '"""Numbers."""\n\n\ndef tanh(x):\n    return x\n',
    "cells/__init__.py": '"""Cells."""\n\nfrom .base import cell\n',
    "cells/base.py": '"""The base."""\n\nfrom ..scalar import tanh\n\ncell = tanh\n',
    "engine/__init__.py": '"""The engine."""\n',
    "engine/cpu/__init__.py": '"""The CPU."""\n',
    "engine/cpu/run.py": '"""Runs."""\n\n\ndef unroll():\n    import scipy.linalg\n\n    return scipy\n',
    "engine/cuda/__init__.py": '"""The GPU."""\n',
    "engine/cuda/run.py": '"""Runs."""\n\n\ndef unroll():\n    pass\n',
    "network/__init__.py": '"""Networks."""\n',
    "network/network.py": '"""A network."""\n\nfrom ..cells import cell\n\n\nclass Network:\n    def __init__(self):\n'
    "        self._layers = cell\n\n\ndef same(a, b):\n    return a._layers == b._layers\n",
    "analysis/__init__.py": '"""Analyses."""\n',
    "analysis/rank.py": '"""Rank."""\n\nfrom ..network.network import Network\n\n\ndef rank():\n    return Network\n',
}  # fmt: skip
# rule -> (file, what is added to it, how the sentence begins)
PLANTED = {
    "one_way": ("scalar.py", "from .cells import base\n", "scalar imports cells.base against the stream"),
    "no_circle": ("network/network.py", "from . import pair\n", "network/network stands in a circle: network/network"),
    "no_late_import": (
        "analysis/rank.py", "def f():\n    from ..cells import base\n",
        "analysis/rank imports house.cells.base inside a function",
    ),
    "nothing_private_from_outside": (
        "analysis/rank.py", "def f(run):\n    return run._layers\n",
        "analysis/rank, line 9: run._layers is private to another room",
    ),
    "short_files": ("cells/base.py", "x = 1\n" * 300, "cells/base has 305 lines, more than 300"),
    "one_name_one_file": ("network/base.py", '"""Twice."""\n', "base.py stands in cells, network"),
    "both_engines_alike": (
        "engine/cpu/run.py", "def backprop():\n    pass\n",
        "engine/cpu/run.py alone offers ['backprop']",
    ),
    "every_file_says_what_it_is": ("network/bare.py", "x = 1\n", "network/bare has no line that says what it holds"),
}  # fmt: skip


def house(folder):
    root = folder / "house"
    for name, text in HOUSE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_house_in_good_order(tmp_path):
    root = house(tmp_path)
    assert [sentence for rule in layout.RULES for sentence in rule(root)] == []


@pytest.mark.parametrize("rule", layout.RULES, ids=lambda rule: rule.__name__)
def test_a_broken_rule_is_seen(rule, tmp_path):
    root = house(tmp_path)
    name, added, sentence = PLANTED[rule.__name__]
    if rule is layout.no_circle:
        (root / "network" / "pair.py").write_text('"""The other."""\n\nfrom .network import Network\n')
    path = root / name
    path.write_text((path.read_text() if path.exists() else "") + added)
    broken = list(rule(root))
    assert broken
    assert broken[0].startswith(sentence)


def test_the_median_is_seen(tmp_path):
    root = house(tmp_path)
    for path in layout.files(root):
        path.write_text(path.read_text() + "# a line\n" * 120)
    assert "the median of 13 files is" in list(layout.short_files(root))[-1]


def test_the_reader_of_imports_reads(tmp_path):
    """Each way of writing an import is seen."""
    root = house(tmp_path)
    path = root / "cells" / "own.py"
    path.write_text(
        "import numba.core\nfrom ..scalar import tanh\nfrom .. import plots\ndef f():\n    from .base import cell\n"
        "    importlib.import_module('.plots')\nif TYPE_CHECKING:\n    from numba import cuda, njit\n"
    )
    assert layout.imports(root, path) == [
        ("numba.core", False, False),
        ("house.scalar.tanh", False, False),
        ("house.plots", False, False),
        ("house.cells.base.cell", True, False),
        ("import_module", True, False),
        ("numba.cuda", False, True),
        ("numba.njit", False, True),
    ]


# ---- libraries


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_behind_their_doors(path):
    own = (layout.module(ROOT, path) or ("__init__",))[0]
    for name, _, typing in layout.imports(ROOT, path):
        library = name.split(".")[0]
        assert typing or library not in ONLY_IN or own in ONLY_IN[library], f"{path.name} imports {library}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_one_file_knows_numbas_cuda_package(path):
    """Its name is about to change: then engine/cuda/toolkit.py changes, and nothing else."""
    names = {found.name for found in layout.imports(ROOT, path)}
    known = {name for name in names if f"{name}.".startswith(("numba.cuda.", "numba_cuda.", "cuda."))}
    assert not known or layout.module(ROOT, path) == ("engine", "cuda", "toolkit"), (
        f"{path.name} imports {sorted(known)}"
    )


IMPORT = """
import gc, sys
import throughtime
heavy = {"matplotlib", "torch", "tqdm", "pytest", "scipy.stats", "scipy.optimize", "scipy.integrate"} & set(sys.modules)
assert not heavy, f"import throughtime imports {sorted(heavy)}"
cuda = [name for name in sys.modules if name.startswith(("numba.cuda", "numba_cuda", "cuda."))]
assert not cuda, f"import throughtime imports {cuda}: the GPU is for those who ask for it"
from numba.core.dispatcher import Dispatcher
ours = [d for d in gc.get_objects() if isinstance(d, Dispatcher) and d.py_func.__module__.startswith("throughtime")]
compiled = [d.py_func.__qualname__ for d in ours if d.overloads]
assert not compiled, f"import throughtime compiles {compiled}"
"""


def test_importing_compiles_nothing_and_loads_nothing_heavy(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT.parent), "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", IMPORT]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("*.nbi")), "importing left compiled code in the cache"
