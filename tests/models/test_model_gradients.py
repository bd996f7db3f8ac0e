"""Gradients of models: central differences with slope 2, padding, threads, pooling, carried states, what `flat` is."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize

sys.path.insert(0, str(Path(__file__).parent))

from patterns_by_hand import NAMES, B, I, N, T, V, case, cross_entropy, pieces, squares

import throughtime as tt

PATTERN = pytest.mark.parametrize("name", NAMES[:-1])
PADDED = pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
DTYPE = pytest.mark.parametrize("dtype", ["float64", "float32"])


def alone(kind):
    """A piece of its own, with an input of its kind."""
    rng = np.random.default_rng(0)
    if kind == "embedding":
        return tt.models.Embedding(V, N, seed=0), rng.integers(0, V, (T, B)), (T, B, N)
    if kind == "readout":
        return tt.models.Readout(I, N, seed=0), rng.standard_normal((T, B, I)), (T, B, N)
    return tt.models.Readout(I, N, bias=False, seed=0), rng.standard_normal((T, B, I)), (T, B, N)


def cubes(output, targets, lengths=None):
    """A loss that no central difference gets right at once, Σ sin(output) over the real steps."""
    real = 1 if lengths is None else (np.arange(len(output))[:, None] < lengths)[..., None]
    return (np.sin(output) * real).sum(), np.cos(output) * real


def slope_two(fun, flat):
    """The error of central differences falls a hundredfold with a tenth of the step; in five directions together, for
    in one of them the third derivative may happen to be nearly zero."""
    value, gradient = fun(flat)
    directions = np.random.default_rng(0).standard_normal((5, flat.size))
    directions *= 2 / np.linalg.norm(
        directions, axis=1, keepdims=True
    )  # short: the next term of the error, h⁴, is small
    errors = []
    for h in (2e-2, 2e-3):
        slopes = [(fun(flat + h * d)[0] - fun(flat - h * d)[0]) / (2 * h) for d in directions]
        errors.append(np.linalg.norm(slopes - directions @ gradient))
    rounding = 1e-16 * (abs(value) + 1) / 2e-3  # of the smaller step's difference
    assert errors[0] > 1e3 * rounding
    assert 1.9 < np.log10(errors[0] / errors[1]) < 2.1


@PADDED
@PATTERN
def test_central_differences_of_every_pattern(name, padded):
    given = case(name, padded=padded)
    fun = given.model.objective(given.x, given.targets, given.loss, given.lengths)
    slope_two(fun, given.model.flat.copy())


@PADDED
@pytest.mark.parametrize("kind", ["embedding", "readout", "no bias"])
def test_central_differences_of_every_piece(kind, padded):
    piece, x, _ = alone(kind)
    fun = piece.objective(x, None, cubes, [T, 5, 0, 1] if padded else None)
    slope_two(fun, piece.flat.copy())


@pytest.mark.parametrize("name", ["many-to-one classes", "many-to-one regression", "two directions", "aligned"])
@PADDED
def test_central_differences_of_the_input_and_the_state(name, padded):
    given = case(name, padded=padded)
    start = given.model.unroll(given.x, lengths=given.lengths)
    shapes = [given.x.shape, *(part.shape for part in start.final_state)]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])

    def fun(vector):
        x, h, c = (vector[a:b].reshape(shape) for a, b, shape in zip(ends[:-1], ends[1:], shapes, strict=True))
        run = given.model.unroll(x, (h, c), given.lengths)
        value, gradient = given.loss(
            run.output, given.targets, **({} if run.lengths is None else {"lengths": run.lengths})
        )
        at_end = tuple(np.cos(part) for part in run.final_state)
        found = run.backprop(gradient, at_end)
        value += sum(np.sin(part).sum() for part in run.final_state)
        return value, np.concatenate([found.input.ravel(), *(part.ravel() for part in found.initial_state)])

    slope_two(fun, 0.3 * np.random.default_rng(1).standard_normal(ends[-1]))


@DTYPE
@PATTERN
def test_padding_changes_nothing(name, dtype):
    """What stands in the padding is not looked at: NaN, and tokens that there are not."""
    given = case(name, dtype, padded=True)
    value, gradient = given.model.value_and_gradient(given.x, given.targets, given.loss, given.lengths)
    x = given.x.copy()
    padding = np.arange(T)[:, None] >= given.lengths
    x[padding] = -7 if x.dtype.kind == "i" else np.nan
    again, other = given.model.value_and_gradient(x, given.targets, given.loss, given.lengths)
    assert gradient.dtype == np.dtype(dtype)
    assert again == value
    assert np.array_equal(gradient, other)
    longer = np.concatenate([given.x, given.x])
    targets = given.targets
    if len(targets) == T:
        targets = np.concatenate([targets, targets])
    again, other = given.model.value_and_gradient(longer, targets, given.loss, given.lengths)
    eps = np.finfo(dtype).eps
    assert abs(again - value) <= 8 * eps * abs(value)
    assert np.abs(other - gradient).max() <= 64 * eps * np.abs(gradient).max()  # sums in another grouping


@DTYPE
@PATTERN
def test_the_same_bits_for_any_number_of_threads(name, dtype, threads):
    given = case(name, dtype, padded=True)
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append(given.model.value_and_gradient(given.x, given.targets, given.loss, given.lengths))
    assert all(one[0] == found[0][0] and np.array_equal(one[1], found[0][1]) for one in found)


@pytest.mark.parametrize("cell", sorted(tt.CELLS))
@pytest.mark.parametrize("pool", [tt.models.last, tt.models.mean])
def test_pooling_of_a_run_alone_is_that_of_a_chain(cell, pool):
    """`last` and `mean` in a loop of one's own, with any cell."""
    model = tt.models.Chain(pieces(cell, I, 2, "float64", pool))
    net, _, readout = model.pieces
    x, lengths = np.random.default_rng(0).standard_normal((T, B, I)), [T, 0, 1, 5]
    whole = model.unroll(x, lengths=lengths)
    run = net.unroll(x, lengths=lengths)
    pooled = pool(run)
    out = readout.unroll(pooled.output)
    assert np.array_equal(out.output, whole.output)
    assert not pooled.output[1].any()
    g = np.random.default_rng(1).standard_normal((B, 2))
    back = out.backprop(g)
    named, found = pooled.backprop(back.input).parameters, whole.backprop(g)
    assert all(np.array_equal(found.parameters[f"0.{name}"], value) for name, value in named.items())
    assert np.array_equal(found.parameters["1.weight"], back.parameters["weight"])
    assert np.array_equal(found.input, pooled.backprop(back.input).input)


def test_a_sequence_without_a_batch():
    for name in NAMES:
        given = case(name)
        one = given.model.unroll(given.x[:, :1])
        run = given.model.unroll(given.x[:, 0])
        assert np.array_equal(run.output, one.output[0] if one.output.ndim == 2 else one.output[:, 0])
        g = np.ones_like(run.output)
        ours, theirs = run.backprop(g).parameters, one.backprop(g.reshape(one.output.shape)).parameters
        assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("sizes", [(0, B), (T, 0)], ids=["no steps", "no sequences"])
def test_nothing_in_nothing_out(sizes):
    for name in NAMES:
        given = case(name)
        run = given.model.unroll(np.zeros((*sizes, *given.x.shape[2:]), given.x.dtype))
        found = run.backprop(np.ones_like(run.output)).parameters
        assert run.output.size == 0 or run.output.ndim == 2
        assert {key: value.shape for key, value in found.items()} == given.model.shapes


def test_a_carried_state_goes_on():
    """Pieces of a sequence with the state carried give the output of the whole, and the last piece's gradient is that
    of a truncated chain rule: the state is a constant."""
    given = case("language model")
    whole = given.model.unroll(given.x)
    first = given.model.forward_backward(given.x[:4], given.targets[:4], cross_entropy)
    second = given.model.forward_backward(given.x[4:], given.targets[4:], cross_entropy, state=first.final_state)
    assert np.array_equal(np.concatenate([first.run.output, second.run.output]), whole.output)
    assert all(np.array_equal(a, b) for a, b in zip(second.final_state, whole.final_state, strict=True))
    fun = given.model.objective(given.x[4:], given.targets[4:], cross_entropy, state=first.final_state)
    slope_two(fun, given.model.flat.copy())


def test_two_networks_carry_a_dict():
    model = tt.models.Chain(
        [tt.Network("lstm", I, N, seed=0), tt.Network("gru", N, N, seed=1), tt.models.Readout(N, 2)]
    )
    x = np.random.default_rng(0).standard_normal((T, B, I))
    whole = model.unroll(x)
    assert list(whole.final_state) == list(whole.networks) == ["0", "1"]
    first = model.unroll(x[:4])
    assert np.array_equal(model.unroll(x[4:], first.final_state).output, whole.output[4:])
    back = whole.backprop(np.ones_like(whole.output), {"0": whole.final_state["0"], "1": None})
    assert [part.shape for part in back.initial_state["0"]] == [(1, B, N)] * 2
    assert back.initial_state["1"].shape == (1, B, N)
    inner = tt.models.Chain([tt.Network("lstm", I, N, seed=0), tt.models.Readout(N, I, seed=1)])
    outer = tt.models.Chain([inner, tt.Network("gru", I, N, seed=2)])
    assert list(outer.unroll(x).networks) == ["0.0", "1"]
    assert list(outer.parameters)[:2] == ["0.0.weight_ih_l0", "0.0.weight_hh_l0"]
    slope_two(outer.objective(x, np.zeros((T, B, N)), squares), outer.flat.copy())


def test_one_vector():
    given = case("language model")
    model = given.model
    assert [view.base is model.flat for view in model.parameters.values()] == [True] * len(model.parameters)
    assert np.array_equal(np.concatenate([view.ravel() for view in model.parameters.values()]), model.flat)
    model.flat[...] = np.arange(model.flat.size)
    net = model.pieces[1]
    assert np.array_equal(net.parameters["weight_hh_l0"], model.parameters["1.weight_hh_l0"])
    assert np.array_equal(net.unroll(np.ones((3, I))).made_with()["weight_hh_l0"], model.parameters["1.weight_hh_l0"])
    net.parameters["bias_hh_l0"][...] = 5
    assert (model.parameters["1.bias_hh_l0"] == 5).all()
    model.parameters["2.bias"] -= 1
    out = np.full(model.flat.size, np.nan)
    gradient = model.value_and_gradient(given.x, given.targets, given.loss, out=out)[1]
    assert gradient is out
    found = model.named(gradient)
    assert list(found) == list(model.parameters)
    run = model.unroll(given.x)
    direct = run.backprop(given.loss(run.output, given.targets)[1]).parameters
    assert all(np.array_equal(found[name], direct[name]) for name in found)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_stands_on_its_own(again):
    given = case("language model")
    other = again(given.model)
    assert np.array_equal(other.predict(given.x), given.model.predict(given.x))
    other.flat[...] = 0
    assert not other.predict(given.x).any()
    assert other.pieces[1].parameters["weight_hh_l0"].base is other.flat
    assert given.model.predict(given.x).any()


def test_scipy_minimises_it():
    given = case("many-to-one regression", cell="tanh")
    before = given.model.value_and_gradient(given.x, given.targets, squares)[0]
    fun = given.model.objective(given.x, given.targets, squares)
    found = scipy.optimize.minimize(fun, given.model.flat, jac=True, options={"maxiter": 30})
    assert found.fun < 0.5 * before


def test_nan_stays_in_its_sequence():
    given = case("aligned")
    x = given.x.copy()
    x[3, 2] = np.nan
    output = given.model.predict(x)
    assert np.isnan(output[3:, 2]).all()
    assert np.isnan(output).sum() == (T - 3) * output.shape[2]
    value, gradient = given.model.value_and_gradient(x, given.targets, squares)
    assert np.isnan(value)
    assert np.isnan(gradient).any()
