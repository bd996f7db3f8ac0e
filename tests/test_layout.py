"""Imports point one way, libraries stay behind their doors, files stay short, importing the package costs nothing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import throughtime

ROOT = Path(throughtime.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# A file may import from its own level and from those before.
LEVELS = (
    "code", "jit", "refuse", "scalar", "cells", "engine", "network", "results", "ensemble", "analysis",
    "plots", "tasks",
)  # fmt: skip
BESIDE = {"init": "network", "kernels": "ensemble"}
# Against the stream. Inside functions only.
UPWARD = {("analysis", "plots"), ("results", "plots"), ("cells", "engine")}
BELOW = ("jit", "engine", "code")
ONLY_IN = {"numba": BELOW, "llvmlite": BELOW, "matplotlib": ("plots",), "torch": ()}


def module(path):
    """cells/lstm.py -> ("cells", "lstm")."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def level(parts):
    head = BESIDE.get(parts[0], parts[0])
    assert head in LEVELS, f"{'/'.join(parts)}.py belongs to no level: give it one in tests/test_layout.py"
    return LEVELS.index(head)


def imports(path):
    """(absolute dotted name, is it inside a function, does only the type checker read it) of each import of a file."""
    package = ["throughtime", *module(path)]
    if path.name != "__init__.py":
        package.pop()
    found = []

    def walk(node, late, typing):
        if isinstance(node, ast.Import):
            found.extend((alias.name, late, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            found.extend((".".join([*base, alias.name]), late, typing) for alias in node.names)
        late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = typing or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for child in ast.iter_child_nodes(node):
            walk(child, late, typing)

    walk(ast.parse(path.read_text()), False, False)
    return found


def test_the_reader_of_imports_reads(tmp_path, monkeypatch):
    """A test of the test: each way of writing an import is seen."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "cells").mkdir()
    path = tmp_path / "cells" / "own.py"
    path.write_text(
        "import numba.core\nfrom ..scalar import tanh\nfrom .. import plots\ndef f():\n    from .base import cell\n"
    )
    assert imports(path) == [
        ("numba.core", False, False),
        ("throughtime.scalar.tanh", False, False),
        ("throughtime.plots", False, False),
        ("throughtime.cells.base.cell", True, False),
    ]
    path.write_text("from numba import cuda, njit\nimport numba.cuda.extending\n")
    assert [name for name, _, _ in imports(path)] == ["numba.cuda", "numba.njit", "numba.cuda.extending"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    own = module(path)
    if not own:
        return  # the package's own __init__ re-exports every level
    for name, late, typing in imports(path):
        parts = name.split(".")
        if parts[0] == "throughtime":
            if typing:
                continue
            assert len(parts) > 1, f"{'/'.join(own)} imports the whole package"
            inside = (ROOT / parts[1]).is_dir() or (ROOT / f"{parts[1]}.py").is_file()
            assert inside, f"{'/'.join(own)} imports {name} from the package's __init__, which imports every level"
            if (own[0], parts[1]) in UPWARD:
                assert late, f"{'/'.join(own)} imports {name} against the stream: only inside a function"
                continue
            assert level(tuple(parts[1:])) <= level(own), f"{'/'.join(own)} imports {name} against the stream"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_behind_their_doors(path):
    own = (module(path) or ("__init__",))[0]
    for name, _, typing in imports(path):
        library = name.split(".")[0]
        assert typing or library not in ONLY_IN or own in ONLY_IN[library], f"{path.name} imports {library}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_one_file_knows_numbas_cuda_package(path):
    """Its name is about to change: then engine/cuda/toolkit.py changes, and nothing else."""
    found = {name for name, _, _ in imports(path) if f"{name}.".startswith(("numba.cuda.", "numba_cuda.", "cuda."))}
    assert not found or module(path) == ("engine", "cuda", "toolkit"), f"{path.name} imports {sorted(found)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short_and_say_what_they_are(path):
    text = path.read_text()
    assert text.count("\n") <= 480  # until one run class serves both machines
    assert ast.get_docstring(ast.parse(text)), f"{path.name} has no line that says what it holds"


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
