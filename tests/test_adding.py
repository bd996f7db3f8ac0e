"""What the README says of adding: a cell is one file and one line, an analysis one file and its export.

Each is added to a copy of the package, and the shared suites run on that copy, unchanged.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import throughtime

TESTS, PACKAGE = Path(__file__).resolve().parent, Path(throughtime.__file__).resolve().parent

CELL = '''
"""The minimal gated unit with its gate after the product: a GRU whose one gate f does both, forget and reset.

    f = sigma(x_f + r_f)
    n = tanh(x_n + f r_n)              x = W_ih input + b_ih,  r = W_hh h + b_hh,  blocks f, n
    h' = (1 - f) h + f n
"""

from typing import NamedTuple

from ..scalar import sigmoid, sigmoid_slope, tanh, tanh_slope
from .base import cell


@cell(gates=2)
class LateMGU(NamedTuple):
    """h' = (1 - f) h + f n, the minimal gated unit with its gate after the product.

    >>> import throughtime as tt
    >>> tt.Network("late_mgu", 3, 16, seed=0).parameters["weight_hh_l0"].shape
    (32, 16)
    """

    def forward(cell, x, r, s):
        gate = x[0] + r[0]
        f = sigmoid(gate)
        new = x[1] + f * r[1]
        return (s[0] + f * (tanh(new) - s[0]),), (gate, new, r[1])

    def backward(cell, ds, s, s_next, saved):
        gate, new, inner = saved
        f = sigmoid(gate)
        dnew = ds[0] * f * tanh_slope(new)
        dgate = (ds[0] * (tanh(new) - s[0]) + dnew * inner) * sigmoid_slope(gate)
        return (dgate, dnew), (dgate, dnew * f), (ds[0] * sigmoid(-gate),)
'''


def copy(folder):
    """The package in another folder, without compiled code."""
    return Path(shutil.copytree(PACKAGE, folder / "throughtime", ignore=shutil.ignore_patterns("__pycache__")))


def insert(path, before, line):
    """One line more in a file, above the first that begins with `before`."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    place = next(k for k, text in enumerate(lines) if text.startswith(before))
    path.write_text("".join([*lines[:place], line + "\n", *lines[place:]]), encoding="utf-8")


def suites(root, words, *files):
    """The shared tests whose names have `words`, on the package in `root`; what pytest says at its end."""
    environment = os.environ | {"PYTHONPATH": str(root.parent), "NUMBA_CACHE_DIR": str(root.parent / "compiled")}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", words, *files]
    done = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return done.stdout.splitlines()[-1]


@pytest.mark.slow  # it compiles all kernels of a cell, in both precisions
def test_a_cell_is_one_file_and_one_line(tmp_path):
    root = copy(tmp_path)
    (root / "cells" / "late_mgu.py").write_text(CELL.lstrip(), encoding="utf-8")
    insert(root / "cells" / "__init__.py", "# isort: on", "from .late_mgu import LateMGU")
    said = suites(
        root, "late_mgu", "test_conformance.py", "engine/test_check_cell.py", "test_help.py", "test_docstrings.py",
        "refuse/test_checks.py", "network/test_network.py", "network/test_archive.py", "test_kernels.py",
    )  # fmt: skip
    assert int(said.split()[0]) > 40, said


ANALYSIS = '''
"""How many directions a step keeps apart: the effective rank of its Jacobian (Roy & Vetterli 2007).

Dimensions: B sequences, S state size.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...refuse import direction, finite
from ...results.record import Array, Result, short
from ..public import of_networks


@dataclass(frozen=True, repr=False)
class EffectiveRank(Result):
    """The effective rank of one step of each sequence.

    Fields:
        rank: (B,), from 1 to S; NaN for a sequence with NaN.
    """

    rank: Array
    along_batch: ClassVar = {"rank": 0}
    dimensions: ClassVar = {"sequence": "rank"}

    def __repr__(self) -> str:
        return f"Effective rank of one step\\n  of each sequence  {short(self.rank)}"


@of_networks
def effective_rank(run: Any, t: int) -> EffectiveRank:
    """The effective rank of the state Jacobian J_t of an unrolled network.

        rank = exp(-sum_i p_i ln p_i),     p_i = sigma_i / sum_j sigma_j,   sigma the singular values of J_t

    run : from `net.unroll`. t : a step, 1 ... T. Returns an `EffectiveRank`: .rank (B,). ValueError for bidirectional
    networks and where no sequence is finite.

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 3, bias=False, init=tt.init.orthogonal(2.0), seed=0)
    >>> tt.analysis.effective_rank(net.unroll(np.ones((4, 1))), 2).rank.round(9)
    array([3.])
    """
    direction.one_way(run.network, "A Jacobian")
    finite.run(run, "An effective rank", t - 1, t)
    jacobians = run.jacobian(t)
    usable = np.isfinite(jacobians).all(axis=(1, 2))
    rank = np.full(len(jacobians), np.nan)
    sigma = np.linalg.svd(jacobians[usable], compute_uv=False)
    p = np.maximum(sigma / sigma.sum(axis=1, keepdims=True), 1e-300)
    rank[usable] = np.exp(-(p * np.log(p)).sum(axis=1))
    return EffectiveRank(rank)
'''


@pytest.mark.slow  # it compiles the loops of a cell
def test_an_analysis_is_one_file_and_its_export(tmp_path):
    root = copy(tmp_path)
    (root / "analysis" / "jacobians" / "effective_rank.py").write_text(ANALYSIS.lstrip(), encoding="utf-8")
    export = "from .jacobians.effective_rank import EffectiveRank, effective_rank"
    insert(root / "analysis" / "__init__.py", "from .jacobians.long_products", export)
    said = suites(
        root, "effective_rank or EffectiveRank or every_public_analysis or every_result_class",
        "test_refusals.py", "test_help.py", "test_docstrings.py", "ensemble/test_family.py", "ensemble/test_axes.py",
        "refuse/test_expected.py", "analysis/test_public.py", "results/test_record.py",
    )  # fmt: skip
    assert int(said.split()[0]) > 15, said


def test_what_is_wrong_is_seen(tmp_path):
    """A test of the test: a derivative of the cell that is wrong."""
    root = copy(tmp_path)
    (root / "cells" / "late_mgu.py").write_text(
        CELL.lstrip().replace("f * tanh_slope(new)", "tanh_slope(new)"), "utf-8"
    )
    insert(root / "cells" / "__init__.py", "# isort: on", "from .late_mgu import LateMGU")
    with pytest.raises(AssertionError, match=r"MGU\.backward is wrong"):
        suites(root, "late_mgu", "engine/test_check_cell.py")
