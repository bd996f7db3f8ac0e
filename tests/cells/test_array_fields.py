"""Fields with a value for each unit: what a cell and a network make of them, in plain Python and on disk."""

from __future__ import annotations

import copy
import json
import math
import pickle
import zipfile
from typing import NamedTuple

import numpy as np
import pytest

import throughtime as tt
from throughtime.cells.array_fields import of_units
from throughtime.cells.on_arrays import emitted, on_arrays, signal_slopes, staged, unit_derivatives
from throughtime.cells.versions import contents, in_force

LEAK = np.linspace(0.05, 0.5, 16)


def test_equal_fields_make_equal_cells():
    cell, same, other = tt.LeakyTanh(LEAK), tt.LeakyTanh(LEAK.copy()), tt.LeakyTanh(LEAK + 1e-12)
    assert cell == same
    assert (cell != same) is False
    assert hash(cell) == hash(same)
    assert cell != other
    assert cell != tt.LeakyTanh(0.05)
    assert tt.LeakyTanh(0.05) != cell
    assert tt.GRU() != tt.cells.Tanh()  # as tuples both are empty
    assert contents(cell) == contents(same)
    assert contents(cell) != contents(other)
    assert len({cell, same, other}) == 2


def test_a_network_keeps_its_own():
    given = LEAK.copy()
    net = tt.Network(tt.LeakyTanh(given), 2, 16, seed=0)
    given[0] = 7.0
    np.testing.assert_array_equal(net.cell.leak, LEAK)
    with pytest.raises(ValueError, match="read-only"):
        net.cell.leak[0] = 1.0
    assert net.cell.leak.dtype == np.float64
    assert tt.Network(tt.LeakyTanh([0.1, 0.2]), 2, 2).cell == tt.LeakyTanh(np.array([0.1, 0.2]))


def test_it_is_shown_on_one_line():
    assert repr(tt.LeakyTanh(LEAK)) == "LeakyTanh(leak=array([0.05, …, 0.5], 16 values))"
    assert repr(tt.LeakyTanh(np.array([0.1, 0.2]))) == "LeakyTanh(leak=array([0.1, 0.2]))"
    assert repr(tt.LeakyTanh(0.1)) == "LeakyTanh(leak=0.1)"
    assert repr(tt.Network(tt.LeakyTanh(LEAK), 2, 16)).count("\n") == 0


@pytest.mark.parametrize("way", ["pickle", "deepcopy", "file", "pickle of the version in force"])
def test_it_survives(way, tmp_path):
    net = tt.Network(tt.LeakyTanh(LEAK), 2, 16, seed=0)
    if way == "file":
        net.save(tmp_path / "net.tt")
        with zipfile.ZipFile(tmp_path / "net.tt") as archive:
            assert json.loads(archive.read("header.json"))["cell"]["fields"]["leak"] == LEAK.tolist()
        assert tt.load(tmp_path / "net.tt").cell == net.cell
    elif way == "pickle":
        assert pickle.loads(pickle.dumps(net)).cell == net.cell
    elif way == "deepcopy":
        assert copy.deepcopy(net).cell == net.cell
    else:
        held = in_force(net.cell)
        assert pickle.loads(pickle.dumps(held)) == held


@pytest.mark.parametrize(
    ("leak", "error", "match"),
    [
        (LEAK[:15], ValueError, r"`leak` of the cell LeakyTanh has 15 values, one for each unit, and hidden_size=16"),
        (np.ones((4, 4)), ValueError, r"`leak` of the cell `LeakyTanh` has shape \(4, 4\); expected a number"),
        (np.zeros(0), ValueError, r"has shape \(0,\)"),
        (np.array(0.3), ValueError, r"has shape \(\)"),
        (np.where(LEAK > 0.4, np.nan, LEAK), ValueError, r"holds nan; expected finite numbers"),
        (np.where(LEAK > 0.4, -np.inf, LEAK), ValueError, r"holds -inf"),
        (np.where(LEAK > 0.4, 2.5, LEAK), ValueError, r"The `leak` of the cell is 2\.5"),
        (LEAK > 0.1, TypeError, r"True and False"),
        (LEAK * 1j, TypeError, r"`leak` has dtype complex128"),
        (["a"] * 16, TypeError, r"`leak` holds text"),
        ("fast", TypeError, r"`leak` of the cell LeakyTanh is 'fast' \(str\); expected a real number, or an array"),
        (None, TypeError, r"expected a real number, or an array"),
    ],
)  # fmt: skip
def test_what_is_no_field(leak, error, match):
    with pytest.raises(error, match=match):
        tt.Network(tt.LeakyTanh(leak), 2, 16)


def test_a_network_made_again_differs_by_its_array():
    drawn = iter(np.linspace(0.1, 0.2, 4))

    def make(k):
        return tt.Network(tt.LeakyTanh(LEAK + next(drawn)), 2, 16, seed=0)

    with pytest.raises(ValueError, match="made two different networks from the same values"):
        tt.Ensemble(make, {"k": [0]})


@tt.cell(gates=1, states=2, sends={"y": (0,), "z": (0,)}, parameters=("tau",))
class Branching(NamedTuple):
    """Code that arrays cannot run: each unit sees its own numbers."""

    slope: float = 1.0

    def forward(cell, x, r, s, p):
        u = x[0] + r[0]
        if u > 0.0:
            u = cell.slope * u
        return (math.tanh(u) * p[0], s[0]), (u,)

    def backward(cell, ds, s, s_next, saved, p):
        d = ds[0] * p[0] * (1.0 - math.tanh(saved[0]) ** 2) * (cell.slope if saved[0] > 0.0 else 1.0)
        return (d,), (d,), (ds[1], 0.0), (ds[0] * math.tanh(saved[0]),)

    def emit(cell, s):
        return (s[0] if s[0] > 0.0 else 0.0), s[1]

    def emit_slope(cell, s):
        return (1.0 if s[0] > 0.0 else 0.0, 0.0), (0.0, 1.0)


def test_a_cell_that_branches_sees_the_number_of_each_unit():
    rng, slopes = np.random.default_rng(0), np.array([1.0, 2.0, 3.0])
    cell, p = Branching(slopes), (rng.uniform(1.0, 2.0, 3),)
    x, r, y, z = rng.standard_normal((4, 5, 3))
    s_next, saved = on_arrays(cell.forward, ((x,), (r,), (y, z), p))
    u = np.where(x + r > 0.0, slopes, 1.0) * (x + r)
    np.testing.assert_allclose(s_next[0], np.tanh(u) * p[0], rtol=1e-15)
    rows = list(unit_derivatives(cell, (y, z), s_next, saved, p))
    by_x = p[0] * (1 - np.tanh(u) ** 2) * np.where(x + r > 0.0, slopes, 1.0)
    np.testing.assert_allclose(rows[0][0][0], by_x, rtol=1e-15)
    np.testing.assert_allclose(rows[0][3][0], np.tanh(u), rtol=1e-15)
    assert np.all(rows[1][2][0] == 1.0)
    sent, own = emitted(cell, (y, z)), signal_slopes(cell, (y, z))
    np.testing.assert_array_equal(sent[0], np.maximum(y, 0.0))
    np.testing.assert_array_equal(own[0][0], y > 0.0)
    np.testing.assert_array_equal(own[1][1], np.ones((5, 3)))
    assert staged(cell, (x,), (r,), (y, z), p) == ()


def test_arrays_take_the_precision_of_the_rest():
    x = np.ones((2, 16), np.float32)
    s_next, _ = on_arrays(tt.LeakyTanh(LEAK).forward, ((x,), (x,), (x,)))
    assert s_next[0].dtype == np.float32


def test_of_some_units():
    cell = Branching(np.array([1.0, 2.0, 3.0]))
    assert of_units(cell, 1) == Branching(2.0)
    assert of_units(cell, slice(0, 2)) == Branching(np.array([1.0, 2.0]))
    assert of_units(tt.GRU(), 3) == tt.GRU()
