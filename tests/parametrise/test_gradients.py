"""Gradients of free parameters: against finite differences, and by every way back that a run has."""

import numpy as np
import pytest
from ways import NAMES, OF_INPUT, P, every_way, network, plain_twin

import throughtime as tt

RNG = np.random.default_rng(0)
T, B = 6, 3
X = RNG.normal(size=(T, B, 3))


def loss(net, x, g, lengths=None):
    return float((net.unroll(x, lengths=lengths).output.astype(float) * g).sum())


def along(net, direction, h, *given):
    """The loss with all free parameters moved by h along a direction."""
    before = net.state_dict()
    for name, d in direction.items():
        net.parameters[name] += h * d
    value = loss(net, *given)
    net.load_state_dict(before)
    return value


def finite_difference_agrees(net, x=X, lengths=None):
    """The slope along a random direction in all parameters at once, by four points: an error of h⁴ = 1e-16 times a
    fifth derivative, and of rounding 1e-16·|L|/h = 1e-11, with L of order 10. Dale's weights stay away from their kink
    at 0, by more than h."""
    for name, value in net.parameters.items():
        if name.endswith(".full"):
            value += 0.01 * np.sign(value)
    run = net.unroll(x, lengths=lengths)
    g = RNG.normal(size=run.output.shape)
    found = run.backprop(g).parameters
    assert list(found) == list(net.parameters)
    direction = {name: RNG.normal(size=value.shape) for name, value in net.parameters.items()}
    h = 1e-4
    given = (x, g, lengths)
    slope = (
        8 * (along(net, direction, h, *given) - along(net, direction, -h, *given))
        - (along(net, direction, 2 * h, *given) - along(net, direction, -2 * h, *given))
    ) / (12 * h)
    ours = sum(float((found[name] * d).sum()) for name, d in direction.items())
    size = sum(float(np.abs(found[name] * d).sum()) for name, d in direction.items())
    assert abs(ours - slope) <= 1e-8 * max(size, 1.0)


@pytest.mark.parametrize("units", [1, 2, 5, 17])
@pytest.mark.parametrize("cell", ["tanh", "rate", "lstm"])
@pytest.mark.parametrize("name", NAMES)
def test_finite_differences(name, cell, units):
    finite_difference_agrees(network(every_way(units, 4 if cell == "lstm" else 1)[name], cell, units=units))


@pytest.mark.parametrize("name", NAMES)
def test_layers_directions_lengths(name):
    net = network(every_way(5, 3)[name], "gru", num_layers=2, bidirectional=True)
    finite_difference_agrees(net, lengths=[6, 0, 3])


@pytest.mark.parametrize("name", OF_INPUT)
def test_weights_of_the_input(name):
    net = tt.Network("gru", 3, 5, parametrise={"weight_ih_l0": OF_INPUT[name](5, 3)}, seed=0)
    finite_difference_agrees(net)


@pytest.mark.parametrize("name", NAMES)
def test_every_way_back_agrees_with_the_weights_own(name):
    """Whatever `backprop` is asked for, it is the gradient of the weights, sent through one linear map."""
    net = network(every_way(5, 3)[name], "gru", num_layers=2)
    twin = plain_twin(net)
    run, theirs = net.unroll(X), twin.unroll(X)
    assert np.array_equal(run.output, theirs.output)
    g = RNG.normal(size=run.output.shape)
    for options in ({}, {"window": 2}, {"clip_state": 0.5}, {"per_sequence": True}, {"input": False, "states": False}):
        ours, by_weights = run.backprop(g, **options), theirs.backprop(g, **options)
        expected = run.to_parameters(by_weights.parameters)
        assert list(ours.parameters) == list(expected) == list(net.parameters)
        for key, value in expected.items():
            assert np.array_equal(ours.parameters[key], value), (options, key)
        assert np.array_equal(ours.initial_state, by_weights.initial_state)
    u = RNG.normal(size=(B, 10))
    at, parameters = run.pullback(u, 2, 5, g[2:5])
    at_theirs, by_weights = theirs.pullback(u, 2, 5, g[2:5])
    assert np.array_equal(at, at_theirs)
    for key, value in run.to_parameters(by_weights).items():
        assert np.array_equal(parameters[key], value)


@pytest.mark.parametrize("name", NAMES)
def test_of_each_sequence(name):
    run = network(every_way(5)[name]).unroll(X)
    g = RNG.normal(size=run.output.shape)
    each, whole = run.backprop(g, per_sequence=True).parameters, run.backprop(g).parameters
    for key, value in whole.items():
        assert each[key].shape == (B, *value.shape)
        assert np.allclose(each[key].sum(axis=0), value, rtol=0, atol=1e-12 * (1 + np.abs(value).max(initial=0)))
        one = run.network.unroll(X[:, 1:2]).backprop(g[:, 1:2]).parameters[key]
        assert np.allclose(each[key][1], one, rtol=0, atol=1e-12 * (1 + np.abs(one).max(initial=0)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_written_to_given_arrays_and_only_what_is_asked_for(name, dtype):
    net = network(every_way(5)[name], num_layers=2, dtype=dtype)
    run = net.unroll(X)
    g = np.ones(run.output.shape, dtype)
    whole = run.backprop(g)
    out = {key: np.full(value.shape, np.nan, dtype) for key, value in net.parameters.items()}
    found = run.backprop(g, out=out)
    for key, value in whole.parameters.items():
        assert found.parameters[key] is out[key]
        assert np.array_equal(out[key], value)
        assert value.dtype == dtype
    again = run.backprop(2 * g, out=found)
    assert again.parameters["bias_ih_l0"] is out["bias_ih_l0"]
    first = next(key for key in net.parameters if "." in key)
    only = run.backprop(g, parameters=[first, "bias_hh_l1"], input=False, states=False).parameters
    assert list(only) == [first, "bias_hh_l1"]
    assert np.array_equal(only[first], whole.parameters[first])
    assert run.backprop(g, parameters=[]).parameters == {}
    with pytest.raises(ValueError, match='no parameter "weight_hh_l0"'):
        run.backprop(g, parameters=["weight_hh_l0"])


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_float64_to_rounding(name):
    """W is made in float64 where it takes more than a few operations, so that it is right to its own rounding."""
    way = every_way(17)[name]
    here, there = network(way, units=17), network(way, units=17, dtype="float32")
    there.load_state_dict(here.state_dict())
    here.load_state_dict(there.state_dict())
    g = RNG.normal(size=(T, B, 17))
    theirs = there.unroll(X).backprop(g).parameters
    for key, value in here.unroll(X).backprop(g).parameters.items():
        assert np.abs(theirs[key] - value).max(initial=0) <= 1e-4 * (1 + np.abs(value).max(initial=0))


@pytest.mark.parametrize("name", NAMES)
def test_runs_keep_the_parameters_that_they_were_made_with(name):
    net = network(every_way(5)[name])
    run, g = net.unroll(X), np.ones((T, B, 5))
    before, weights = run.backprop(g).parameters, run.made_with()
    for value in net.parameters.values():
        value[...] = 0.3
    after = run.backprop(g).parameters
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert all(np.array_equal(weights[key], value) for key, value in run.made_with().items())
    assert not np.array_equal(net.weights()["weight_hh_l0"], weights["weight_hh_l0"])


@pytest.mark.parametrize("name", NAMES)
def test_no_steps_and_nan(name):
    net = network(every_way(5)[name])
    empty = net.unroll(X[:0]).backprop(np.ones((0, B, 5))).parameters
    assert all(not value.any() for value in empty.values())
    x = X.copy()
    x[2, 1] = np.nan
    run = net.unroll(x)
    assert np.isnan(run.backprop(np.ones((T, B, 5))).parameters["bias_ih_l0"]).any()
    each = run.backprop(np.ones((T, B, 5)), per_sequence=True).parameters
    assert all(np.isfinite(value[[0, 2]]).all() for value in each.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_for_any_number_of_threads(name, threads):
    net = network(every_way(33)[name], units=33)
    x, found = RNG.normal(size=(20, 16, 3)), []
    for count in (1, 2, 3):
        threads(count)
        net.parameters["bias_ih_l0"][...] = 0.0
        run = net.unroll(x)
        found.append(run.backprop(np.ones(run.output.shape)).parameters)
    for key, value in found[0].items():
        assert all(np.array_equal(other[key], value) for other in found[1:])


def test_weights_are_made_again_only_when_something_has_changed(monkeypatch):
    net = network(P.orthogonal(), num_layers=2)
    made, way = [], type(net.parametrise["weight_hh_l0"])
    original = way.weight
    monkeypatch.setattr(way, "weight", lambda *args: made.append(1) or original(*args))
    first = net.unroll(X)
    assert len(made) == 2
    assert np.array_equal(net.unroll(X).output, first.output)
    assert len(made) == 2
    net.parameters["weight_hh_l1.skew"][0] += 1e-9
    net.unroll(X)
    assert len(made) == 3
    net.parameters["weight_hh_l1.skew"] = net.parameters["weight_hh_l1.skew"].copy()
    net.unroll(X)
    assert len(made) == 3
