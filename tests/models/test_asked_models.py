"""What is asked of a model's way back: no gradients that nobody reads, and one's own arrays; the bits are the same."""

from __future__ import annotations

import numpy as np
import pytest
from networks import same_bits

import throughtime as tt

m = tt.models
RNG = np.random.default_rng(0)
X, TOKENS = RNG.normal(size=(9, 4, 3)), RNG.integers(0, 7, (9, 4))
LENGTHS = [9, 1, 0, 5]


def net(inputs=3, seed=0, **options):
    return tt.Network("lstm", inputs, 5, seed=seed, **options)


MODELS = {
    "data": (lambda: m.Chain([net(), m.Readout(5, 2, seed=1)]), X),
    "embedding": (lambda: m.Chain([m.Embedding(7, 3, seed=2), net(), m.Readout(5, 2, bias=False, seed=1)]), TOKENS),
    "repeat and dropout": (
        lambda: m.Chain([m.Repeat(9), m.Dropout(0.5, seed=3), net(), m.last, m.Readout(5, 2, seed=1)]),
        X[0],
    ),
    "nested": (
        lambda: m.Chain(
            [m.Chain([net(), net(5, 4)]), m.Residual([m.LayerNorm(5), net(5, 5)]), m.Readout(5, 2, seed=1)]
        ),
        X,
    ),
    "directions": (
        lambda: m.Chain([net(bidirectional=True), m.sum_directions, m.mean, m.Readout(5, 2, seed=1)]),
        X,
    ),
}
EVERY = pytest.mark.parametrize("name", MODELS)


@EVERY
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_parts_of_the_whole(name, lengths):
    make, x = MODELS[name]
    model = make()
    run = model.unroll(x, lengths=lengths)
    g = RNG.normal(size=run.output.shape)
    whole = run.backprop(g)
    vector = np.full(model.flat.size, np.nan)
    part = run.backprop(g, input=False, states=False, out=model.named(vector))
    same_bits(part.parameters, whole.parameters)
    same_bits(model.named(vector), whole.parameters)
    assert part.input is None
    assert list(part.networks) == list(whole.networks) == list(run.networks)
    for own, all_of_it in zip(part.networks.values(), whole.networks.values(), strict=True):
        assert own.states is None
        np.testing.assert_array_equal(own.initial_state, all_of_it.initial_state)
    if x is not TOKENS:
        np.testing.assert_array_equal(run.backprop(g, states=False).input, whole.input)


@EVERY
def test_forward_backward_is_the_whole_in_one_vector(name):
    make, x = MODELS[name]

    def loss(output, targets):
        return float((output**2).sum()), 2 * output

    one = make()
    value, gradient = one.value_and_gradient(x, None, loss)
    for dtype in ("float64", "float32"):
        two = make()
        out = np.full(2 * two.flat.size, np.nan, dtype)[::2]  # in another precision, and not in one piece
        found = two.forward_backward(x, None, loss, out=out)
        assert found.gradient is out
        assert found.value == value
        np.testing.assert_array_equal(out, gradient.astype(dtype))
        same_bits(found.gradients.parameters, one.named(gradient))
        assert all(own.states is not None for own in found.gradients.networks.values())
    found = make().forward_backward(x, None, loss, states=False).gradients
    assert all(own.states is None for own in found.networks.values())


def test_a_model_of_ones_own_needs_to_know_nothing_of_it():
    """A piece whose run has the plain `backprop` alone."""

    class Shift(m.Model):
        sizes = 3, 3

        def __init__(self):
            self._hold({"by": np.arange(3.0)}, "float64")

        def unroll(self, x, state=None, lengths=None):
            return Shifted(x + self.parameters["by"])

    class Shifted(m.ModelRun):
        def __init__(self, output):
            self.output = output

        def backprop(self, grad_output=None, grad_final_state=None):
            return m.ModelGradients({"by": grad_output.sum(axis=(0, 1))}, grad_output)

    model = Shift()
    _, gradient = model.value_and_gradient(X, None, lambda output, targets: (output.sum(), np.ones_like(output)))
    np.testing.assert_array_equal(gradient, [36.0] * 3)


def test_refusals():
    readout = m.Readout(3, 2, seed=0)
    run, g = readout.unroll(X), np.ones((9, 4, 2))
    with pytest.raises(TypeError, match=r"`out` is .*; expected a dict of arrays"):
        run.backprop(g, out=[1])
    with pytest.raises(ValueError, match="`out` has no array for bias"):
        run.backprop(g, out={"weight": np.empty((2, 3))})
    with pytest.raises(ValueError, match=r"has shape .3, 2. and dtype float64; expected .2, 3."):
        run.backprop(g, out={"weight": np.empty((3, 2)), "bias": np.empty(2)})
    with pytest.raises(TypeError, match="`states` is 1"):
        readout.forward_backward(X, None, lambda output, targets: (1.0, g), states=1)


@pytest.mark.parametrize("name", ["data", "embedding"])
def test_parameters_are_not_overwritten_by_their_gradients(name):
    make, x = MODELS[name]
    model = make()
    run, before = model.unroll(x), model.flat.copy()
    for out in (model.parameters, model.named(model.flat)):
        with pytest.raises(
            ValueError, match=r"`out\[weight\]` is the parameter itself, which the gradient would overwrite"
        ):
            run.backprop(np.ones_like(run.output), out=out)
    letters = m.Embedding(7, 3, seed=2)
    with pytest.raises(ValueError, match="is the parameter itself"):
        letters.unroll(TOKENS).backprop(np.ones((9, 4, 3)), out=letters.parameters)
    assert np.array_equal(model.flat, before)
