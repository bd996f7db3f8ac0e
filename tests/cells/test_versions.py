"""A run keeps the version of the cell's code in force when it was unrolled; what comes later takes the new one.

Each edit multiplies the slope of a linear cell: h' = SLOPE (x + r), so that everything the library says of a run or a
network shows which version was used.
"""

import copy
import pickle
import sys
import time
import timeit
import types
from typing import NamedTuple

import numpy as np
import pytest
from numba import njit, vectorize
from numba.extending import register_jitable

import throughtime as tt
from throughtime.analysis.mean_field import population
from throughtime.cells import base, versions

X = np.ones((6, 1))
CODE = """
GAIN = 2.0
TABLE = np.array([2.0, 5.0])
NESTED = (1.0, (TABLE, 3.0))
near = types.ModuleType("near")
near.GAIN, near.far = 2.0, types.ModuleType("far")
near.far.GAIN = 2.0

@njit
def compiled(u):
    return GAIN * u

@register_jitable
def registered(u):
    return compiled(u)

@register_jitable
def default(u, gain=2.0):
    return gain * u

@vectorize
def elementwise(u):
    return GAIN * u

def closed(gain):
    @njit
    def inner(u):
        return gain * u
    return inner

bound = closed(2.0)

@tt.cell()
class Mine(NamedTuple):
    one: float = 1.0

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        return (cell.one * SLOPE * u,), (u,)

    def backward(cell, ds, s, s_next, saved):
        du = (cell.one * SLOPE * ds[0],)
        return du, du, (0.0,)
"""
OTHER = """
def forward(cell, x, r, s):
    u = x[0] + r[0]
    return (cell.one * 6.0 * u,), (KEPT)

def backward(cell, ds, s, s_next, saved):
    du = (cell.one * 6.0 * ds[0],)
    return du, du, (0.0,)
"""


@pytest.fixture(autouse=True)
def _notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "notebook", types.ModuleType("notebook"))


def define(slope):
    names = vars(sys.modules["notebook"])
    names |= {"np": np, "tt": tt, "types": types, "njit": njit, "register_jitable": register_jitable}
    names |= {"vectorize": vectorize, "NamedTuple": NamedTuple}
    exec(CODE.replace("SLOPE", slope), names)
    return names


def replaced(names, in_place, kept="u,"):
    """Other functions in the class, or other code in the same functions, as autoreload does; slope 6."""
    other = {"__name__": "notebook"}
    exec(OTHER.replace("KEPT", kept), other)
    for name in ("forward", "backward"):
        if in_place:
            getattr(names["Mine"], name).__code__ = other[name].__code__
        else:
            setattr(names["Mine"], name, other[name])


EDITS = {  # what: (the slope in the code, 2.0 before; the edit; the slope after it)
    "a global": ("GAIN", lambda n: n.update(GAIN=3.0), 3.0),
    "a global read by a compiled helper": ("compiled(1.0)", lambda n: n.update(GAIN=3.0), 3.0),
    "a global read by a helper's helper": ("registered(1.0)", lambda n: n.update(GAIN=3.0), 3.0),
    "a global read by a ufunc": ("elementwise(1.0)", lambda n: n.update(GAIN=3.0), 3.0),
    "an array in place": ("TABLE[0]", lambda n: n["TABLE"].__setitem__(0, 3.0), 3.0),
    "an array in a tuple": ("NESTED[1][0][0]", lambda n: n["TABLE"].__setitem__(0, 3.0), 3.0),
    "another array": ("TABLE[0]", lambda n: n.update(TABLE=np.array([4.0, 1.0])), 4.0),
    "a constant of a module": ("near.GAIN", lambda n: setattr(n["near"], "GAIN", 3.0), 3.0),
    "a constant of a package": ("near.far.GAIN", lambda n: setattr(n["near"].far, "GAIN", 3.0), 3.0),
    "a helper": ("compiled(1.0)", lambda n: n.update(compiled=njit(lambda u: 7.0 * u)), 7.0),
    "a default": ("default(1.0)", lambda n: setattr(n["default"], "__defaults__", (3.0,)), 3.0),
    "a closure": ("bound(1.0)", lambda n: setattr(n["bound"].py_func.__closure__[0], "cell_contents", 3.0), 3.0),
    "the functions of the class": ("2.0", lambda n: replaced(n, in_place=False), 6.0),
    "their code": ("2.0", lambda n: replaced(n, in_place=True), 6.0),
    "a built-in name": ("abs(-2.0)", lambda n: n.update(abs=njit(lambda u: 5.0)), 5.0),
}  # fmt: skip


def network(names):
    net = tt.Network(names["Mine"](), 1, 2, num_layers=2, bias=False, seed=0)
    net.parameters["weight_hh_l1"] += 0.5 * np.eye(2)
    return net


def slopes(run, w):
    """What every way through a run, compiled and in plain Python, says of the slope."""
    ones, size = np.ones((1, 4)), slice(2, 4)
    g = tt.analysis.gradient_by_lag(run, np.ones((6, 2)), max_lag=5)
    back = run.backprop(np.ones((6, 2)))
    norms = tt.analysis.gradient_norms(run, np.ones((6, 2)))
    top = run.jacobian(3)[0][size, size]
    forward, backward = run.jvp(ones * [[0, 0, 1, 1]], 2, 3)[0, size], run.vjp(ones * [[0, 0, 1, 1]], 2, 3)[0, size]
    last = back.states[5, 0, size] - back.states[6, 0, size] @ top  # nothing but what the output brings in
    assert g.remainder < 1e-12  # the gradients of each lag add up to that of backprop: one slope in both
    assert np.isfinite(norms.log_norm).all()
    np.testing.assert_allclose(last, 1.0, rtol=1e-12)
    found = [top / w, forward / w.sum(1), backward / w.sum(0)]
    return np.concatenate([np.ravel(one) for one in found])


def of_network(net, w):
    """The largest exponent by its own way, and by the matrix: e^λ / |largest eigenvalue of W|."""
    one = tt.Network(net.cell, 1, 2, bias=False, init=lambda *_: {"weight_ih_l0": np.ones((2, 1)), "weight_hh_l0": w})
    found = tt.analysis.lyapunov_spectrum(one, np.ones((60, 1)), k=2, seed=0)
    return np.sqrt(np.exp(found.exponents.sum()) / abs(np.linalg.det(w)))


@pytest.mark.parametrize("what", EDITS)
def test_a_run_keeps_its_version_and_the_next_takes_the_new_one(what):
    slope, edit, after = EDITS[what]
    names = define(slope)
    net = network(names)
    w = net.parameters["weight_hh_l1"]
    run, used = net.unroll(X), net.unroll(X)
    np.testing.assert_allclose(slopes(used, w), 2.0, rtol=1e-12)  # compiled before the edit
    np.testing.assert_allclose(of_network(net, w), 2.0, rtol=1e-9)
    kernels = tt.kernels.of(net, 1)
    edit(names)
    np.testing.assert_allclose(slopes(run, w), 2.0, rtol=1e-12)  # not used before the edit
    np.testing.assert_allclose(slopes(used, w), 2.0, rtol=1e-12)
    np.testing.assert_allclose(slopes(net.unroll(X), w), after, rtol=1e-12)
    np.testing.assert_allclose(of_network(net, w), after, rtol=1e-9)
    for found, expected in ((kernels, 2.0), (tt.kernels.of(net, 1), after)):
        state = found.step(found.weights, np.zeros((1, 2)), np.ones((1, 2)))
        np.testing.assert_allclose(state[0], expected * w.sum(1), rtol=1e-12)
    assert "is right" in tt.check_cell(net.cell)
    np.testing.assert_allclose(slopes(copy.deepcopy(run), w), 2.0, rtol=1e-12)
    np.testing.assert_allclose(slopes(pickle.loads(pickle.dumps(run)), w), 2.0, rtol=1e-12)


def test_the_old_code_back_is_the_old_version():
    names = define("GAIN")
    net = network(names)
    run = net.unroll(X)
    names["GAIN"] = 3.0
    net.unroll(X)
    names["GAIN"] = float("2.0")  # another object, the same number
    assert type(net.unroll(X)._layers[0][0].cell) is type(run._layers[0][0].cell)


def test_a_version_that_saves_fewer_numbers_is_counted_anew():
    names = define("2.0")
    net = network(names)
    old = net.unroll(X)
    replaced(names, in_place=False, kept="")
    assert [base.spec(run._layers[0][0].cell).saved for run in (old, net.unroll(X))] == [1, 0]
    assert base.spec(net.cell).saved == 0


def test_a_broken_edit_is_a_sentence_and_the_old_run_goes_on():
    names = define("2.0")
    net = network(names)
    w = net.parameters["weight_hh_l1"]
    run = net.unroll(X)
    names["Mine"].forward = lambda cell, x, r, s: x[0] + r[0]
    with pytest.raises(TypeError, match=r"Mine\.forward` must return"):
        net.unroll(X)
    np.testing.assert_allclose(slopes(run, w), 2.0, rtol=1e-12)


def test_the_functions_of_a_cell_of_the_library_too(monkeypatch):
    net = tt.Network("linear", 1, 2, seed=0)
    run, before = net.unroll(X), net.unroll(X).output
    monkeypatch.setattr(tt.Linear, "forward", lambda cell, x, r, s: ((2.0 * (x[0] + r[0]),), ()))
    assert not np.allclose(net.unroll(X).output, before)
    monkeypatch.undo()
    np.testing.assert_array_equal(net.unroll(X).output, before)
    np.testing.assert_array_equal(run.output, before)


def test_a_run_of_code_that_is_not_here_is_a_sentence():
    names = define("GAIN")
    run = network(names).unroll(X)
    sent = pickle.dumps(run)
    names["GAIN"] = 9.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "_all", {})  # as in another process
        with pytest.raises(ValueError, match="unroll the network again"):
            pickle.loads(sent)


def test_the_mean_field_theory_of_a_population():
    names = define("GAIN")
    one = population(names["Mine"](), 0.5, units=50, steps=40, seed=0).lyapunov
    names["GAIN"] = 1.0
    other = population(names["Mine"](), 0.5, units=50, steps=40, seed=0).lyapunov
    np.testing.assert_allclose(other - one, -np.log(2.0), atol=1e-9)  # a linear cell: the slope alone


def test_looking_for_changes_costs_about_a_microsecond():
    """Beside a dictionary's look-up, 0.04 µs where this was written: 35 of them for a GRU (1.4 µs)."""
    cell, names = tt.GRU(), {"a": 1}
    versions.in_force(cell)
    clock = time.process_time

    def cost(call):
        return min(timeit.repeat(call, number=2000, repeat=20, timer=clock))

    assert cost(lambda: versions.in_force(cell)) < 200 * cost(lambda: names.get("a"))


def test_cells_defined_in_a_module_that_is_loaded_again(tmp_path, monkeypatch):
    """importlib.reload runs the file in the same namespace: the network of the old class sees the new globals."""
    import importlib

    monkeypatch.syspath_prepend(tmp_path)
    text = (
        "import throughtime as tt\nfrom typing import NamedTuple\nGAIN = 2.0\n@tt.cell()\nclass Reloaded(NamedTuple):\n"
        "    def forward(cell, x, r, s):\n        return (GAIN * (x[0] + r[0]),), ()\n"
        "    def backward(cell, ds, s, s_next, saved):\n        du = (GAIN * ds[0],)\n        return du, du, (0.0,)\n"
    )
    (tmp_path / "reloaded_cell.py").write_text(text)
    module = importlib.import_module("reloaded_cell")
    net = tt.Network(module.Reloaded(), 1, 2, bias=False, seed=0)
    w, run = net.parameters["weight_hh_l0"], net.unroll(X)
    (tmp_path / "reloaded_cell.py").write_text(text.replace("GAIN = 2.0", "GAIN = 3.0   # longer"))
    importlib.reload(module)
    sys.modules.pop("reloaded_cell")
    np.testing.assert_allclose(run.jacobian(2)[0], 2.0 * w, rtol=1e-12)
    np.testing.assert_allclose(net.unroll(X).jacobian(2)[0], 3.0 * w, rtol=1e-12)


@pytest.mark.parametrize("name", ["stage", "stage_backward", "initial"])
def test_an_edit_of_what_only_some_cells_have(name):
    """A stage is code of a step: the version of a run keeps it. How parameters start is told by `contents` alone."""

    @tt.cell(gates=1, sends={"h": (0,)}, stage={"a": (0,)}, parameters=("tau",))
    class Staged(NamedTuple):
        def stage(cell, x, r, s, p):
            return (s[0] + r[0],)

        def stage_backward(cell, da, s, saved, p):
            return (0.0,), da, da, (0.0,)

        def forward(cell, x, r, s, p):
            return (x[0] + r[1],), ()

        def backward(cell, ds, s, s_next, saved, p):
            return ds, (0.0, ds[0]), (0.0,), (0.0,)

        def initial(cell, units, rng):
            return (0.5,)

    edits = {
        "stage": lambda cell, x, r, s, p: (2.0 * s[0] + r[0],),
        "stage_backward": lambda cell, da, s, saved, p: ((0.0,), da, (2.0 * da[0],), (0.0,)),
        "initial": lambda cell, units, rng: (0.7,),
    }
    before, told = versions.in_force(Staged()), versions.contents(Staged())
    setattr(Staged, name, edits[name])
    after = versions.in_force(Staged())
    assert versions.contents(Staged()) != told
    assert (type(after) is type(before)) == (name == "initial")
    one = (1.0,)
    assert before.stage(one, one, one, one) == (2.0,)
    assert before.stage_backward(one, one, (), one)[2] == one
    assert after.stage(one, one, one, one) == ((3.0,) if name == "stage" else (2.0,))
