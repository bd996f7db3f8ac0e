"""Optimisers are PyTorch's, step by step; transforms come in order; bad input is refused before anything changes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import throughtime as tt

sys.path.insert(0, str(Path(__file__).parent))
from functions import CASES, OPTIMISERS, START, gradient, ours, theirs

t = tt.training
GOLDEN = Path(__file__).parents[1] / "golden" / "optimisers.npz"
EVERY = pytest.mark.parametrize(("name", "kind"), CASES, ids=[f"{name}-{kind}" for name, kind in CASES])
BOUND = 1e-12  # relative: 100 steps of some ten roundings each, 100 · 10 · eps = 2e-13, with room for their growth


@EVERY
def test_hundred_steps_are_those_of_pytorch(name, kind):
    golden = np.load(GOLDEN)[f"{name} {kind}"]
    assert np.abs(ours(name, kind)[9::10] - golden).max() <= BOUND * np.abs(golden).max()


@EVERY
def test_hundred_steps_beside_pytorch_itself(name, kind, torch):
    found, there = ours(name, kind), theirs(torch, name, kind)
    assert np.abs(found - there).max() <= BOUND * np.abs(there).max()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_float32_goes_the_same_way(name):
    """100 steps of ten roundings in float32, 100 · 10 · 6e-8 = 6e-5, and the same again for their growth."""
    found, exact = ours(name, "plain", np.float32), ours(name, "plain")
    assert found.dtype == np.float32
    assert np.abs(found - exact).max() < 1.2e-4 * np.abs(exact).max()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_state_put_back_goes_on_to_the_same_bits(name):
    make = OPTIMISERS[name][0]
    optimiser, theta = make(), START.copy()
    for _ in range(5):
        optimiser.step(theta, gradient(theta))
    again, copy = make(), theta.copy()
    again.state = {key: value.copy() for key, value in optimiser.state.items()}
    for _ in range(5):
        optimiser.step(theta, gradient(theta))
        again.step(copy, gradient(copy))
    assert np.array_equal(theta, copy)
    assert again.steps == 10


def test_the_norm_is_that_before_clipping_and_the_gradient_stays():
    optimiser = t.SGD(1.0, transforms=(t.ClipNorm(1.0),))
    flat, given = np.zeros(2), np.array([3.0, 4.0])
    assert optimiser.step(flat, given) == 5.0
    assert np.array_equal(given, [3.0, 4.0])
    assert (optimiser.norm, optimiser.clipped, optimiser.last_rate) == (5.0, True, 1.0)
    assert optimiser.clipped_norm == pytest.approx(1.0, abs=4e-16)
    optimiser.step(flat, np.array([0.3, 0.4]))
    assert (optimiser.norm, optimiser.clipped_norm, optimiser.clipped) == (0.5, 0.5, False)


def test_transforms_are_done_in_their_order():
    flat = np.array([2.0])
    first, second = t.ClipValue(1.0), t.WeightDecay(1.0)
    assert t.SGD(1.0, transforms=(first, second)).step(flat.copy(), np.array([5.0])) == 5.0
    for transforms, moved in (((first, second), 3.0), ((second, first), 1.0)):
        here = flat.copy()
        t.SGD(1.0, transforms=transforms).step(here, np.array([5.0]))
        assert flat - here == moved


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1.0, 1e200, 1e300])
def test_clipping_by_norm_neither_overflows_nor_vanishes(scale):
    clipped = t.ClipNorm(scale)(scale * np.array([3.0, 4.0]), np.zeros(2)) / scale
    assert np.abs(clipped - [0.6, 0.8]).max() < 4e-16


@pytest.mark.parametrize("name", OPTIMISERS)
def test_what_is_frozen_stays_to_the_bit(name):
    mask = np.arange(START.size) % 3 == 0
    optimiser, theta = OPTIMISERS[name][0](transforms=(t.WeightDecay(0.1), t.Frozen(mask))), START.copy()
    for _ in range(5):
        optimiser.step(theta, gradient(theta))
    assert np.array_equal(theta[mask], START[mask])
    assert (theta[~mask] != START[~mask]).all()


def test_frozen_by_name():
    class Model:
        flat = np.zeros(6)

        def named(self, vector):
            return {"0.weight": vector[:4].reshape(2, 2), "1.bias": vector[4:]}

    assert t.Frozen.named(Model(), "0.*").mask.tolist() == [True] * 4 + [False] * 2
    assert t.Frozen.named(Model(), "1.bias", "0.weight").mask.all()
    with pytest.raises(ValueError, match=r'no parameter "1.bais". Did you mean "1.bias"'):
        t.Frozen.named(Model(), "1.bais")


@pytest.mark.parametrize("name", OPTIMISERS)
def test_nan_in_the_gradient_is_nan_in_its_parameter_alone(name):
    theta, wrong = START.copy(), gradient(START)
    wrong[3] = np.nan
    assert np.isnan(OPTIMISERS[name][0](transforms=(t.ClipNorm(1.0),)).step(theta, wrong))
    assert np.flatnonzero(np.isnan(theta)).tolist() == [3]


FLAT = np.zeros(3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: t.SGD(-0.1), ValueError, "`rate` is -0.1; expected a finite number of at least 0"),
        (lambda: t.SGD(t.Constant), TypeError, "expected a number or a schedule, an instance of it"),
        (lambda: t.SGD(0.1, nesterov=True), ValueError, "the momentum, which is 0"),
        (lambda: t.SGD(0.1, momentum=1.0), ValueError, "below 1"),
        (lambda: t.Adam(0.1, betas=0.9), TypeError, "expected two numbers"),
        (lambda: t.Adam(0.1, momentum=0.9), TypeError, "has no argument `momentum`"),
        (lambda: t.SGD(0.1, transforms=("clip",)), TypeError, r"expected functions \(gradient, flat\) -> gradient"),
        (lambda: t.ClipNorm(0.0), ValueError, "above 0"),
        (lambda: t.Frozen([0, 1]), TypeError, "a vector of True and False"),
        (lambda: t.SGD(0.1).step([1.0], [1.0]), TypeError, "changed in place"),
        (lambda: t.SGD(0.1).step(np.zeros(3, int), FLAT), ValueError, "one writable vector"),
        (lambda: t.SGD(0.1).step(np.zeros((3, 1)), FLAT), ValueError, "one writable vector"),
        (lambda: t.SGD(0.1).step(np.zeros(6)[::2], FLAT), ValueError, "in one piece"),
        (lambda: t.SGD(0.1).step(np.zeros(3), np.zeros(4)), ValueError, r"`gradient` has shape \(4,\)"),
        (lambda: t.SGD(lambda step: np.nan).step(np.zeros(3), FLAT), ValueError, "gives nan .* at step 0"),
        (lambda: t.SGD(lambda step: None).step(np.zeros(3), FLAT), ValueError, "gives None .* at step 0"),
        (lambda: t.SGD(0.1, transforms=lambda g, w: None).step(np.zeros(3), FLAT), ValueError, "the gradient, a"),
        (lambda: setattr(t.Adam(0.1), "state", {"steps": 1, "momentum": FLAT}), ValueError, "mean, square, steps"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_an_optimiser_of_another_vector_changes_nothing():
    optimiser, flat = t.Adam(0.1), np.zeros(4)
    optimiser.step(np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match="has made 1 steps on 3 of float64"):
        optimiser.step(flat, np.ones(4))
    assert not flat.any()
    assert optimiser.steps == 1


def test_it_says_what_it_is():
    text = repr(t.AdamW(t.Cosine(0.1, 100), transforms=(t.ClipNorm(1.0),)))
    assert text == (
        "AdamW(Cosine(rate=0.1, steps=100, end=0.0), betas=(0.9, 0.999), epsilon=1e-08, amsgrad=False, "
        "decay=0.01, transforms=(ClipNorm(limit=1.0),))"
    )
