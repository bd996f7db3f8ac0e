"""The patterns: shapes, names, seeds, the way back through a repeated vector, and what they refuse."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_model_gradients import slope_two

import throughtime as tt

T, B, I, O = 7, 4, 3, 2
models, training = tt.models, tt.training
RNG = np.random.default_rng(0)
X, TOKENS, ONE = RNG.standard_normal((T, B, I)), RNG.integers(0, I, (T, B)), RNG.standard_normal((B, I))
PATTERNS = {
    "one_to_one": (models.one_to_one, (I, O), {}, ONE, (B, O)),
    "one_to_many": (models.one_to_many, (I, O), {"steps": T}, ONE, (T, B, O)),
    "many_to_one": (models.many_to_one, (I, O), {}, X, (B, O)),
    "mean": (models.many_to_one, (I, O), {"pool": "mean"}, X, (B, O)),
    "of tokens": (models.many_to_one, (I, O), {"embedding": 5}, TOKENS, (B, O)),
    "many_to_many": (models.many_to_many, (I, O), {}, X, (T, B, O)),
    "tagger": (models.many_to_many, (I, O), {"embedding": 5, "bidirectional": True}, TOKENS, (T, B, O)),
    "language_model": (models.language_model, (I,), {"embedding": 5}, TOKENS, (T, B, I)),
}
EVERY = pytest.mark.parametrize("name", PATTERNS)


def made(name, cell="gru", **more):
    make, sizes, options, x, shape = PATTERNS[name]
    return make(cell, *sizes, hidden_size=6, seed=0, **options, **more), x, shape


@EVERY
def test_shapes_and_gradients(name):
    model, x, shape = made(name, num_layers=2)
    assert model.unroll(x).output.shape == shape
    value, gradient = model.value_and_gradient(x, np.zeros(shape), training.mean_squared_error)
    assert gradient.shape == model.flat.shape
    slope_two(model.objective(x, np.zeros(shape), training.mean_squared_error), model.flat.copy())
    fun = model.objective(x, np.zeros(shape[:-1], int), training.cross_entropy)
    slope_two(fun, model.flat.copy())
    assert value > 0


@EVERY
def test_seeds_and_precision(name):
    one, two, other = made(name)[0], made(name)[0], made(name, dtype="float32")[0]
    assert np.array_equal(one.flat, two.flat)
    assert other.flat.dtype == np.float32
    assert np.array_equal(other.flat, one.flat.astype(np.float32))
    x = made(name)[1]
    assert other.unroll(x).output.dtype == np.float32
    weights = [view for key, view in one.parameters.items() if "weight" in key]
    assert len({float(view.flat[0]) for view in weights}) == len(weights)  # no two pieces from the same stream


@EVERY
def test_predict(name):
    model, x, shape = made(name, **({} if name == "language_model" else {"classes": True}))
    found = model.predict(x)
    assert found.shape == shape[:-1]
    assert np.array_equal(found, model.unroll(x).output.argmax(axis=-1))
    if name != "language_model":
        plain = made(name)[0]
        assert np.array_equal(plain.predict(x), plain.unroll(x).output)


def test_lengths_of_many_to_one_do_not_reach_the_loss():
    """A sequence has one output, so each counts the same, whatever its length."""
    model, x, _ = made("many_to_one")
    lengths = [T, 1, 3, 2]
    whole = model.value_and_gradient(x, np.zeros((B, O)), training.mean_squared_error, lengths)[0]
    each = [
        model.value_and_gradient(x[:n, b : b + 1], np.zeros((1, O)), training.mean_squared_error)[0]
        for b, n in enumerate(lengths)
    ]
    assert np.isclose(whole, np.mean(each), rtol=1e-14, atol=0)


@pytest.mark.parametrize("lengths", [None, [T, 1, 0, 3]], ids=["whole", "lengths"])
def test_a_repeated_vector(lengths):
    model, x, _ = made("one_to_many")
    run = model.unroll(x, lengths=lengths)
    same = models.Chain(made("one_to_many")[0].pieces[1:]).unroll(np.repeat(x[None], T, axis=0), lengths=lengths)
    assert np.array_equal(run.output, same.output)
    g = RNG.standard_normal(run.output.shape)
    back, theirs = run.backprop(g), same.backprop(g)
    assert all(np.array_equal(back.parameters[key], value) for key, value in theirs.parameters.items())
    assert np.allclose(back.input, theirs.input.sum(axis=0), rtol=1e-14, atol=1e-16)
    assert np.array_equal(model.unroll(x[0]).output, model.unroll(x[:1]).output[:, 0])


def test_through_the_eye_of_a_needle():
    """A sequence to one vector, and out again: two networks, their states by name."""
    pieces = [tt.Network("gru", I, 5, seed=0), models.last, models.Repeat(9), tt.Network("gru", 5, 4, seed=1)]
    model = models.Chain([*pieces, models.Readout(4, O, seed=2)])
    run = model.unroll(X, lengths=[T, 1, 2, 3])
    assert run.output.shape == (9, B, O)
    assert run.lengths is None
    assert list(run.networks) == ["0", "1"]
    slope_two(model.objective(X, np.zeros((9, B, O)), training.mean_squared_error, [T, 1, 2, 3]), model.flat.copy())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: models.many_to_one("gru", I, O, hidden_size=4, pool="max"), 'There is no pool "max"'),
        (lambda: models.many_to_one("gru", I, O, hidden_size=4, embedding=0), "`embedding` is 0"),
        (lambda: models.one_to_many("gru", I, O, steps=0, hidden_size=4), "`steps` is 0"),
        (lambda: models.language_model("gru", 5, hidden_size=4, bidirectional=True), "reads in one direction"),
        (lambda: models.one_to_many("gru", I, O, steps=2, hidden_size=4).unroll(X), "one vector for each sequence is"),
        (lambda: models.Chain([tt.Network("gru", 2, 3), models.Repeat(3)]), "lays one vector out in time"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_arguments_of_other_names():
    with pytest.raises(TypeError, match="`many_to_many` needs `hidden_size`"):
        models.many_to_many("gru", I, O)
    with pytest.raises(TypeError, match="has no argument `layers`; it is `num_layers=` here"):
        models.many_to_many("gru", I, O, hidden_size=3, layers=2)
