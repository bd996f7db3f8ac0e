"""Saved sweeps: a result is read again only if all that it depends on is the same, and only if its file is whole."""

import functools
import os
import pickle
import sys
import threading
import types
import warnings
from typing import NamedTuple

import numpy as np
import pytest

import throughtime as tt
from throughtime.code import fingerprints
from throughtime.ensemble import kept_results

LAB = """
import functools
import numpy as np
from numba import njit

GAIN = 2.0
TABLE = np.array([1.0, 2.0])
OPTIONS = {"shift": 3.0, "more": [1.0, (2.0, 3.0)]}
WORDS = {"a", "b"}
calls = []

def deep(u):
    return 1.5 * u

def helper(u, more=4.0, *, last=5.0):
    return deep(u) + more + last

@njit
def compiled(u):
    return 6.0 * u

@functools.lru_cache
def cached(u):
    return 7.0 * u

def decorated(function):
    @functools.wraps(function)
    def inner(u):
        return function(u) + 8.0
    return inner

@decorated
def wrapped(u):
    return 9.0 * u

class Scale:
    factor = 10.0
    def __init__(self, by):
        self.by = by
    def __call__(self, u):
        return self.by * u + self.factor + self.twice(u)
    @staticmethod
    def twice(u):
        return 11.0 * u
    @property
    def third(self):
        return 12.0

scale = Scale(13.0)
part = functools.partial(helper, more=14.0)
anonymous = lambda u: 15.0 * u

def measure(net, power=16.0):
    import neighbour
    from neighbour import inner
    def nested(u):
        return 17.0 * u
    calls.append(1)
    u = float(net.parameters["bias_hh_l0"][0])
    total = GAIN * u + TABLE[1] + OPTIONS["shift"] + len(WORDS) + helper(u) + compiled(u) + cached(u) + wrapped(u)
    total += scale(u) + scale.third + part(u) + anonymous(u) + nested(u) + neighbour.value(u) + inner.CONSTANT
    return total + power + sum(18.0 for _ in range(2)) + (19.0 if u > 0.5 else 20.0) + globals()["GAIN"]
"""
NEIGHBOUR = "OFFSET = 21.0\n\ndef value(u):\n    return u + OFFSET\n"
EDITS = [
    "GAIN = 2.0", "1.0, 2.0])", '"shift": 3.0', "(2.0, 3.0)", '{"a", "b"}', "1.5 * u", "more=4.0", "last=5.0",
    "6.0 * u", "return 7.0", "+ 8.0", "9.0 * u", "factor = 10.0", "11.0 * u", "return 12.0", "Scale(13.0)", "more=14.0",
    "15.0 * u", "power=16.0", "17.0 * u", "18.0 for", "19.0 if", "else 20.0", "GAIN * u", "deep(u) + more",
    "self.by * u", "OFFSET = 21.0", "u + OFFSET", "CONSTANT = 22.0",
]  # fmt: skip


def module(name, text):
    made = types.ModuleType(name)
    exec(compile(text, f"{name}.py", "exec"), made.__dict__)
    return made


@pytest.fixture
def lab(monkeypatch):
    """Put the code of the modules lab and neighbour into place, and give back lab."""

    def load(edit=lambda text: text):
        inner = module("neighbour.inner", edit("CONSTANT = 22.0\n"))
        neighbour = module("neighbour", edit(NEIGHBOUR))
        neighbour.inner = inner
        for one in (inner, neighbour, module("lab", edit(LAB))):
            monkeypatch.setitem(sys.modules, one.__name__, one)
        return sys.modules["lab"]

    return load


def nets(count=2):
    made = [tt.Network("tanh", 1, 2, seed=0) for _ in range(count)]
    for k, net in enumerate(made):
        net.parameters["bias_hh_l0"][0] = k
    return made


def saved(function, folder, *args, **options):
    return tt.Ensemble(nets(), save=folder).map(function, *args, **options)[()]


def test_the_same_code_is_read_again(lab, tmp_path):
    """Defined anew, in other lines and with other comments, it is the same; the log that it keeps is none of it."""
    saved(lab().measure, tmp_path)
    again = lab(lambda text: "# a comment\n\n" + text)
    saved(again.measure, tmp_path)
    assert not again.calls


@pytest.mark.parametrize("old", EDITS)
def test_any_edit_of_what_it_reaches_is_computed_anew(lab, tmp_path, old):
    assert sum(text.count(old) for text in (LAB, NEIGHBOUR, "CONSTANT = 22.0\n")) == 1
    saved(lab().measure, tmp_path)
    new = old.replace('"b"', '"b", "c"') if '"b"' in old else old
    for digit, other in (("*", "+"), ("+", "-"), (".0", ".25"), ("1.5", "1.25")):
        if new == old:
            new = old.replace(digit, other, 1)
    edited = lab(lambda text: text.replace(old, new))
    found = saved(edited.measure, tmp_path)
    assert len(edited.calls) == 2
    assert found.tolist() == [edited.measure(net) for net in nets()]


def test_a_global_changed_in_place_or_put_in_place_of_another(lab, tmp_path):
    here = lab()
    saved(here.measure, tmp_path)
    changes = [lambda: here.TABLE.fill(5.0), lambda: here.OPTIONS.update(shift=9.0), lambda: setattr(here, "GAIN", 3.0)]
    changes += [lambda: setattr(here.scale, "by", 1.0), lambda: setattr(here.Scale, "factor", 0.5)]
    changes += [lambda: setattr(sys.modules["neighbour"], "OFFSET", 0.0), lambda: here.OPTIONS["more"].append(1)]
    for k, change in enumerate(changes):
        change()
        here.calls.clear()
        found = saved(here.measure, tmp_path)
        assert len(here.calls) == 2, k
        assert found.tolist() == [here.measure(net) for net in nets()]


def test_classes_of_a_namespace_without_a_name(tmp_path):
    """exec(source, {}) makes classes that say they are of `builtins`."""
    space: dict = {}
    exec("class Scale:\n    by = 2.0\n\ndef found(run):\n    return Scale.by", space)
    family = tt.Ensemble([tt.Network("tanh", 1, 2, seed=0)], save=tmp_path)
    assert family.map(space["found"])[()] == [2.0]
    space["Scale"].by = 3.0
    assert family.map(space["found"])[()] == [3.0]


def test_arguments_and_networks_by_content(lab, tmp_path):
    here = lab()
    family = nets()
    ensemble = tt.Ensemble(family, save=tmp_path)
    ensemble.map(here.measure)

    def fresh(function, *args, **options):
        here.calls.clear()
        ensemble.map(function, *args, **options)
        return len(here.calls)

    assert fresh(here.measure) == 0
    assert fresh(here.measure, 1.0) == 2
    assert fresh(here.measure, np.float32(1.0)) == 2
    assert fresh(functools.partial(here.measure, power=1.0)) == 2
    assert fresh(functools.partial(here.measure, power=1.0)) == 0
    family[0].parameters["weight_ih_l0"][0] += 1e-15
    assert fresh(here.measure) == 1
    family[1]._note = "an attribute of one's own"
    assert fresh(here.measure) == 1
    family[1]._note = "another"
    assert fresh(here.measure) == 1
    assert fresh(here.measure) == 0


CALLS: list = []


def output(run, power=1.0):
    CALLS.append(1)
    return float(run.output.sum()) ** power


def test_the_code_of_the_cell_and_the_input_at_the_time_of_the_run(tmp_path, monkeypatch):
    @tt.cell()
    class Own(NamedTuple):
        def forward(cell, x, r, s):
            return (2.0 * (x[0] + r[0]),), ()

        def backward(cell, ds, s, s_next, saved):
            du = (2.0 * ds[0],)
            return du, du, (0.0,)

    family = tt.Ensemble([tt.Network(Own(), 1, 2, seed=0)], save=tmp_path)
    x = np.ones((3, 1))
    runs = family.unroll(x)
    x[:] = 7.0  # both come after the run
    monkeypatch.setattr(Own, "forward", lambda cell, x, r, s: ((3.0 * (x[0] + r[0]),), ()))
    first = runs.map(output)[()]
    assert family.unroll(np.ones((3, 1))).map(output)[()] != first
    later = family.unroll(x).map(output)[()]
    monkeypatch.undo()
    CALLS.clear()
    assert family.unroll(np.ones((3, 1))).map(output)[()] == first
    assert not CALLS  # the result of the run before the edit is that of the old code
    assert family.unroll(x).map(output)[()] != later


def test_what_cannot_be_compared_is_a_sentence(tmp_path):
    lock = threading.Lock()
    for bad in (lock, [lock], {"a": (x for x in [])}, functools.partial(output, power=lock)):
        with pytest.raises(ValueError, match=r"no contents.*leave `save` out"):
            saved(weight, tmp_path, bad)


def weight(net, *_):
    return float(net.parameters["weight_hh_l0"][0, 0])


def test_another_source_of_this_library_is_another_result():
    function = tt.analysis.lyapunov_spectrum
    assert fingerprints.exact(function, own="one") != fingerprints.exact(function, own="two")


# ---------------------------------------------------------------- damaged files


def test_every_bit_of_a_file_counts(tmp_path):
    """All single flips of one file, and 400 of a larger one: nothing is read back."""
    file, value = tmp_path / "one", {"a": np.arange(3.0)}
    assert kept_results.write(file, "key", value) is None
    whole = file.read_bytes()
    np.testing.assert_equal(kept_results.read(file, "key"), (value,))
    assert kept_results.read(file, "other") is None
    for bit in range(8 * len(whole)):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        file.write_bytes(broken)
        assert kept_results.read(file, "key") is None, bit


DAMAGE = {
    "empty": lambda whole: b"",
    "one byte": lambda whole: whole[:1],
    "cut in the head": lambda whole: whole[:20],
    "cut before the result": lambda whole: whole[:85],
    "cut at its end": lambda whole: whole[:-1],
    "longer": lambda whole: whole + b"\0",
    "zeros": lambda whole: bytes(len(whole)),
    "zeros at its end": lambda whole: whole[:-16] + bytes(16),
    "a bare pickle": lambda whole: pickle.dumps((123.0,)),
    "of another version": lambda whole: whole.replace(b"result 1", b"result 2"),
    "text": lambda whole: b"not a result\n",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_damaged_is_computed_again(tmp_path, what):
    before = saved(weight, tmp_path)
    for file in tmp_path.glob("*.pkl"):
        file.write_bytes(DAMAGE[what](file.read_bytes()))
    np.testing.assert_array_equal(saved(weight, tmp_path), before)
    assert all(kept_results.MAGIC in file.read_bytes() for file in tmp_path.glob("*.pkl"))


def test_files_that_change_places_are_not_taken_for_each_other(tmp_path):
    before = tt.Ensemble(nets(), save=tmp_path).map(first_bias)[()]
    one, two = sorted(tmp_path.glob("*.pkl"))
    held = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(held)
    np.testing.assert_array_equal(tt.Ensemble(nets(), save=tmp_path).map(first_bias)[()], before)


def first_bias(net):
    return float(net.parameters["bias_hh_l0"][0])


def test_a_folder_in_the_place_of_a_file(tmp_path):
    before = saved(weight, tmp_path)
    for file in list(tmp_path.glob("*.pkl")):
        file.unlink()
        (file / "inside").mkdir(parents=True)
    with pytest.warns(RuntimeWarning, match="could not be kept") as said:
        again = saved(weight, tmp_path)
    np.testing.assert_array_equal(again, before)
    assert len(said) == 1
    assert not list(tmp_path.glob("*.part"))


def unpicklable(net):
    return threading.Lock()


def test_results_that_cannot_be_written_are_returned(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(RuntimeWarning, match=r"No space left on device.*returned all the same") as said:
        found = saved(weight, tmp_path)
    monkeypatch.undo()
    assert len(said) == 1
    np.testing.assert_array_equal(found, saved(weight, tmp_path / "other"))
    assert not list(tmp_path.glob("*.p*"))
    with pytest.warns(RuntimeWarning, match="cannot pickle"):
        assert len(tt.Ensemble(nets(), save=tmp_path).map(unpicklable).results) == 2


def test_a_class_that_is_gone_is_computed_again(tmp_path, lab):
    here = lab(lambda text: text + "\ndef make(net):\n    return Scale(1.0)\n")
    tt.Ensemble(nets(), save=tmp_path).map(here.make)
    read = kept_results.read
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "lab")
        files = sorted(tmp_path.glob("*.pkl"))
        assert [read(file, "any") for file in files] == [None, None]


def test_no_bit_of_a_saved_network_changes_it(tmp_path):
    """The files of Network.save: 400 flips, each a sentence or, of a date or the like, the same network."""
    path = tmp_path / "net.tt"
    net = tt.Network(tt.LeakyTanh(leak=0.3), 2, 3, num_layers=2, seed=0)
    net.save(path)
    whole, outcome = path.read_bytes(), []
    for bit in np.random.default_rng(0).permutation(8 * len(whole))[:400]:
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        try:
            found = tt.load(path)
        except ValueError:
            outcome.append(False)
            continue
        assert repr(found) == repr(net)
        np.testing.assert_equal(found.parameters, net.parameters)
        outcome.append(True)
    assert set(outcome) == {True, False}


def test_no_warning_where_all_goes_well(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saved(weight, tmp_path)
        saved(weight, tmp_path)


def test_unions_and_generics_of_annotations_are_compared():
    """A function that says `power: int | None` was refused: UnionType has no contents that could be compared."""
    kinds = [int | None, str | None, list[int], list[str], tuple[int, ...]]
    digests = [fingerprints.exact(kind) for kind in kinds]
    assert len(set(digests)) == len(kinds)
    assert digests == [
        fingerprints.exact(kind) for kind in (int | None, str | None, list[int], list[str], tuple[int, ...])
    ]
