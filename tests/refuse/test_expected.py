"""A value of the wrong kind where a network, a run, a matrix or a result is meant: named in words, with the call to
write. Every public analysis and picture is tried, found by walking the package."""

from __future__ import annotations

import inspect
import pickle
from inspect import isfunction

import numpy as np
import pytest
from analyses import OF_NETWORK, OF_RUN, N, X, network

import throughtime as tt

NET, RUN = network(), network().unroll(X)
FAMILY = tt.Ensemble([network(), network()])
WRONG = [
    None,
    5,
    1.5,
    "gru",
    b"x",
    {},
    (1, 2),
    [NET],
    object(),
    tt.Network,
    tt.GRU(),
    np.eye(N),
    RUN.backprop(np.ones((30, 3, N))),
]
OF_MATRIX = {
    "non_normality", "spectral_radius", "henrici_departure", "transient_growth", "kreiss_constant", "pseudospectrum",
}  # fmt: skip
OTHERS = {"clip_by_norm", "clip_by_value", "kaplan_yorke_dimension"}


def first_wrong(function, value):
    """The sentence about the first argument, all others being ones that nobody looks at."""
    parameters = list(inspect.signature(function).parameters.values())
    others = {p.name: np.ones(3) for p in parameters[1:] if p.default is p.empty}
    with pytest.raises(TypeError) as caught:
        function(value, **others)
    return str(caught.value)


@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
def test_a_first_argument_of_the_wrong_kind(value):
    for name in tt.analysis.__all__:
        function = getattr(tt.analysis, name)
        if not isfunction(function) or name in OTHERS:
            continue
        parameter = next(iter(inspect.signature(function).parameters))
        if parameter in ("matrix", "jacobians") and isinstance(value, (np.ndarray, list, tuple, int, float)):
            continue
        words = first_wrong(function, value)
        assert words.startswith(f"`{parameter}` "), words
        assert name in words or parameter == "matrix", words


@pytest.mark.parametrize("name", [*OF_NETWORK, "kernels.of"])
def test_a_run_where_a_network_is_meant(name):
    function = tt.kernels.of if name == "kernels.of" else getattr(tt.analysis, name)
    assert "pass `run.network`" in first_wrong(function, RUN)
    assert "pass `run.ensemble`" in first_wrong(function, FAMILY.unroll(X))


@pytest.mark.parametrize("name", OF_RUN)
def test_a_network_where_a_run_is_meant(name):
    function = getattr(tt.analysis, name)
    assert "`net.unroll(x)`" in first_wrong(function, NET)
    assert "unroll(x)`" in first_wrong(function, FAMILY)
    if name in OF_MATRIX:
        assert 'net.parameters["weight_hh_l0"]' in first_wrong(function, NET)


def test_a_model_where_a_piece_of_it_is_meant():
    model = tt.models.many_to_one("gru", 2, 1, hidden_size=N, seed=0)
    for name in OF_NETWORK:
        assert "pass that of one piece, `model.pieces[0]`" in first_wrong(getattr(tt.analysis, name), model)
        assert "networks" in first_wrong(getattr(tt.analysis, name), model.unroll(X))
    for name in OF_RUN:
        assert '`model.unroll(x).networks["0"]`' in first_wrong(getattr(tt.analysis, name), model)
        assert '`run.networks["0"]`' in first_wrong(getattr(tt.analysis, name), model.unroll(X))


def test_an_ensemble_where_none_is_meant():
    for function in (tt.kernels.of, tt.analysis.product_from_jacobians, tt.analysis.covariant_from_jacobians):
        assert "Ensemble" in first_wrong(function, FAMILY)
    assert "run.jacobians()" in first_wrong(tt.analysis.product_from_jacobians, RUN)


def test_modules_of_torch(torch):
    words = first_wrong(tt.analysis.lyapunov_spectrum, torch.nn.GRU(2, 3))
    assert "torch module (GRU)" in words
    assert "load_state_dict(module.state_dict())" in words


@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
def test_pictures_of_what_is_no_result(value):
    for name in tt.plots.__all__:
        function = getattr(tt.plots, name)
        draws_arrays = name in ("attention", "covariant_angles", "eigenvalues", "singular_values", "transient_growth")
        if isfunction(function) and name != "style" and not (draws_arrays and not isinstance(value, (str, dict))):
            words = first_wrong(function, value)
            assert words.startswith(f"`{next(iter(inspect.signature(function).parameters))}` "), words


def test_numbers_flags_and_texts_by_their_annotations():
    for options, error, words in (
        ({"steps": "5"}, TypeError, "`steps` is '5'"),
        ({"steps": 5.0}, TypeError, "write 5"),
        ({"k": True}, TypeError, "`k` is True"),
        ({"progress": 1}, TypeError, "`progress` is 1 .*True or False"),
        ({"precision": 32}, TypeError, "`precision` is 32 .*text"),
        ({"steps": 10**30}, ValueError, r"`steps` is 10\^30"),
        ({"steps": 2**60}, ValueError, "`steps`.*more bytes than can be addressed"),
        ({"seed": "a"}, TypeError, "`seed` is 'a'"),
        ({"h0": None}, TypeError, "no argument `h0`; the initial state is `state=`"),
        ({"dicard": 1}, TypeError, "no argument `dicard`; perhaps you mean `discard`"),
    ):
        with pytest.raises(error, match=words):
            tt.analysis.lyapunov_spectrum(NET, X, **options)
    with pytest.raises(TypeError, match=r"`bound` is 3 .*GradientBound"):
        tt.analysis.gradient_products(RUN, bound=3)
    with pytest.raises(TypeError, match="`gradient_products` needs `run`"):
        tt.analysis.gradient_products()


def test_numpys_own_numbers_do():
    plain = tt.analysis.lyapunov_spectrum(NET, X, k=2, steps=20, seed=0).exponents
    other = tt.analysis.lyapunov_spectrum(NET, X, k=np.int8(2), steps=np.array(20), seed=np.int64(0)).exponents
    np.testing.assert_array_equal(plain, other)


def test_the_analyses_can_be_pickled():
    for module in (tt.analysis, tt.analysis.mean_field, tt.plots):
        for name in module.__all__:
            if isfunction(getattr(module, name)):
                assert pickle.loads(pickle.dumps(getattr(module, name))) is getattr(module, name)
