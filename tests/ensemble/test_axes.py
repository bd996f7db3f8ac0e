"""Ensembles by index, the kinds of things that they are made of, and results as xarray under any name of an axis."""

import itertools
import warnings

import numpy as np
import pytest
from analyses import OF_NETWORK, OF_RUN, X, apply

import throughtime as tt
from throughtime.results import labels


def make(gain, seed):
    return tt.Network("tanh", 2, 4, init=tt.init.gaussian(gain), seed=seed)


def family(**options):
    return tt.Ensemble(make, {"gain": [0.5, 1.5, 3.0], "seed": [0, 1]}, **options)


def weights(net):
    return net.parameters["weight_hh_l0"].copy()


def test_one_network_by_its_place_or_by_one_index_for_each_axis():
    nets = family()
    for (i, gain), (j, seed) in itertools.product(enumerate([0.5, 1.5, 3.0]), enumerate([0, 1])):
        for index in ((i, j), (i - 3, j - 2), (np.int64(i), j), 2 * i + j, 2 * i + j - 6):
            np.testing.assert_array_equal(weights(nets[index]), weights(make(gain, seed)))


@pytest.mark.parametrize(
    "index", [np.s_[1:, :], np.s_[:, 1], np.s_[::2, 0:1], np.s_[-1, :], np.s_[::-1, ::-1], np.s_[0:1, 0]]
)
@pytest.mark.parametrize("of", ["function", "list"])
def test_slices_are_ensembles(index, of):
    nets = family() if of == "function" else tt.Ensemble(list(family()), family().axes)
    part = nets[index]
    labels = np.empty(nets.shape, object)
    for place, point in zip(np.ndindex(*nets.shape), nets.points, strict=True):
        labels[place] = point
    whole = tuple(one if isinstance(one, slice) else slice(one, one + 1 or None) for one in index)
    assert part.points == list(labels[whole].ravel())
    for net, point in zip(part, part.points, strict=True):
        np.testing.assert_array_equal(weights(net), weights(make(**point)))


def test_one_axis_takes_a_plain_slice_and_keeps_its_options(tmp_path):
    nets = tt.Ensemble([make(1.0, seed) for seed in range(4)], save=tmp_path)[1:3]
    assert nets.axes == {"network": [1, 2]}
    assert nets.save == tmp_path


@pytest.mark.parametrize(
    "index",
    [1.0, "0", None, True, [0, 1], np.array([0, 1]), (0,), (0, 1, 0), np.s_[0:2], (0, 1.5), np.s_["a":, 0], ...],
)
def test_other_indices_are_a_sentence(index):
    with pytest.raises(TypeError, match=r"family\[0, 0\]"):
        family()[index]


def test_out_of_range():
    for index in (6, -7, (3, 0), (0, -3)):
        with pytest.raises(IndexError, match="out of range"):
            family()[index]
    with pytest.raises(ValueError, match="leaves no network"):
        family()[3:, :]


REFUSED = {
    "a network": (lambda: tt.Ensemble(make(1.0, 0)), TypeError, r"Ensemble\(\[net\]\)"),
    "a number": (lambda: tt.Ensemble(5), TypeError, "expected a list of networks"),
    "nothing": (lambda: tt.Ensemble(None), TypeError, "expected a list of networks"),
    "a name": (lambda: tt.Ensemble("gru", {"a": [1]}), TypeError, "expected a list of networks"),
    "a dict": (lambda: tt.Ensemble({0: make(1.0, 0)}), TypeError, "expected a list of networks"),
    "numbers in the list": (lambda: tt.Ensemble([1.0]), TypeError, "expected a throughtime.Network"),
    "axes a str": (lambda: tt.Ensemble([make(1.0, 0)], axes="x"), TypeError, "expected a dict"),
    "axes a list": (lambda: tt.Ensemble([make(1.0, 0)], axes=["x"]), TypeError, "expected a dict"),
    "values a str": (lambda: tt.Ensemble([make(1.0, 0)], axes={"x": "a"}), TypeError, "expected a list of them"),
    "values a number": (lambda: tt.Ensemble([make(1.0, 0)], axes={"x": 1}), TypeError, r'\{"x": \[1\]\}'),
    "values a set": (lambda: tt.Ensemble([make(1.0, 0)], axes={"x": {1}}), TypeError, "in order"),
    "a name of no letters": (lambda: tt.Ensemble([make(1.0, 0)], axes={"": [1]}), TypeError, "name"),
    "a name that is a number": (lambda: tt.Ensemble([make(1.0, 0)], axes={1: [1]}), TypeError, "expected a str"),
    "too many points": (lambda: tt.Ensemble([make(1.0, 0)], axes={"a": range(10**9)}), ValueError, "more than"),
    "the wrong names": (lambda: tt.Ensemble(make, {"gain": [1.0], "sed": [0]}), TypeError, r"make\(gain=…, sed=…\)"),
    "a missing name": (lambda: tt.Ensemble(make, {"gain": [1.0]}), TypeError, "missing"),
    "save of nothing": (lambda: family(save=""), ValueError, 'save="results"'),
    "save a number": (lambda: family(save=1), TypeError, "os.PathLike"),
    "save True": (lambda: family(save=True), TypeError, "os.PathLike"),
    "save bytes": (lambda: family(save=b"results"), TypeError, "os.PathLike"),
    "save a zero byte": (lambda: family(save="a\0b"), ValueError, "path of a folder"),
    "backend a number": (lambda: family(backend=1), TypeError, '"threads" or "joblib"'),
    "a function to map": (lambda: family().map(3), TypeError, "expected a function"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_other_kinds_are_a_sentence(what):
    call, kind, sentence = REFUSED[what]
    with pytest.raises(kind, match=sentence):
        call()


def test_save_names_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="no folder can be made"):
        tt.Ensemble([make(1.0, 0)], save=tmp_path / "file").map(weights)


def test_values_of_any_kind_find_their_result():
    axes = {"w": [np.zeros(2), np.ones(2)], "kind": [(1, 2), "a"]}
    found = tt.Ensemble([make(1.0, k) for k in range(4)], axes).map(lambda net: 1.0)
    assert found.at(w=np.ones(2), kind=(1, 2)) == 1.0
    assert found.arrays()["axis_kind"].shape == (2,)
    with pytest.raises(TypeError, match="name of a field"):
        found[0]


# ---------------------------------------------------------------- xarray


def test_what_belongs_together_shares_its_axes():
    pytest.importorskip("xarray", reason="xarray is not installed: labelled results were not tested")
    data = tt.analysis.lyapunov_spectrum(family(), X[:, 0], k=2, seed=0).to_xarray()
    assert data.exponents.dims == data.standard_error.dims == ("gain", "seed", "exponent")
    assert data.history.dims == ("gain", "seed", "block", "exponent")
    assert data.kaplan_yorke_dimension.dims == data.entropy_rate.dims == ("gain", "seed")
    assert (data.exponents / data.standard_error).shape == data.exponents.shape  # aligned, and not crossed
    found = tt.analysis.lyapunov_spectrum(make(1.5, 1), X[:, 0], k=2, seed=0)
    assert data.entropy_rate.sel(gain=1.5, seed=1) == found.entropy_rate


@pytest.mark.parametrize("name", [*OF_NETWORK, *OF_RUN])
def test_every_result_has_its_axes_by_meaning(name):
    """A new field joins `dimensions` of its class: no axis of a result goes by number."""
    one = apply(name, make(1.0, 0), X)
    if hasattr(one, "arrays"):
        fields = [*one.arrays(), *labels.derived(one)]
        axes = [labels.dimensions(type(one), field, np.ndim(getattr(one, field))) for field in fields]
        numbered = [names for field, names in zip(fields, axes, strict=True) if f"{field}_0" in names]
        assert not numbered, f"{type(one).__name__}: {numbered}"


def test_any_name_of_an_axis_works():
    """That of every field, derived number and axis of the results, and some more."""
    pytest.importorskip("xarray", reason="xarray is not installed: labelled results were not tested")
    nets = [make(1.0, seed) for seed in range(2)]
    for name in ("lyapunov_spectrum", "jacobian_spectrum", "perturbed_twin", "loss_surface"):
        found = apply(name, tt.Ensemble(nets), X)
        plain = found.to_xarray()
        words = {*plain.variables, *plain.dims, "exponents_0", "self", "name", "attrs", "a b", "λ", "axis_x"}
        for axis in sorted(map(str, words - {"network"})):
            result = tt.analysis.EnsembleResult({axis: [0, 1]}, found.results)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                data = result.to_xarray()
            assert data.sizes[axis] == 2
            assert len(data.data_vars) == len(plain.data_vars)
            assert result.at(**{axis: 1}) is found.results[1]
            for field, value in plain.data_vars.items():
                held = data[field if field in data.data_vars else f"{field}_of_result"]
                np.testing.assert_array_equal(held.values, value.values)


def test_functions_as_results():
    pytest.importorskip("xarray", reason="xarray is not installed: labelled results were not tested")
    data = family().map(weights).to_xarray()
    assert data["values"].shape == (3, 2, 4, 4)


def test_what_is_not_there_is_refused():
    """A part of the sequences, a field and axes of a picture, that are none."""
    net = make(1.0, 0)
    run = net.unroll(np.ones((20, 2, net.input_size)))
    norms = tt.analysis.gradient_norms(run, np.ones_like(run.output))
    for places in (range(3), range(-1, 1)):
        with pytest.raises(ValueError, match="there are the sequences 0 to 1"):
            norms.of_sequences(places)
    found = tt.analysis.lyapunov_spectrum(family(), steps=20, k=1, seed=0)
    with pytest.raises(ValueError, match="`name` is array"):
        found.plot(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="`over` is set"):
        found.plot("exponents", over=set())
