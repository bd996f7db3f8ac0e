"""What does not fit a model is refused in words, before anything is computed."""

from __future__ import annotations

import numpy as np
import pytest

import throughtime as tt

Chain, Embedding, Readout = tt.models.Chain, tt.models.Embedding, tt.models.Readout
last, mean = tt.models.last, tt.models.mean
X = np.ones((6, 2, 3))


def net(inputs=3, **options):
    return tt.Network("lstm", inputs, 4, seed=0, **options)


def loss(output, targets, lengths=None, weights=None):
    return output.sum(), np.ones_like(output)


MADE = [
    (lambda: Chain([]), TypeError, "a chain takes a list of pieces"),
    (lambda: Chain(net()), TypeError, "`pieces` is a network"),
    (lambda: Chain([net(), "readout"]), TypeError, r"`pieces\[1\]` is 'readout' .*; a chain takes networks"),
    (lambda: Chain([net(), Readout(5, 2)]), ValueError, "takes 5 numbers at a step, but the Network before it gives 4"),
    (lambda: Chain([net(), Embedding(5, 2)]), ValueError, "takes tokens at a step, but the Network before it gives 4"),
    (lambda: Chain([last, net()]), ValueError, "begins with a network"),
    (lambda: Chain([net(), last, mean]), ValueError, "takes the time axis away, which an earlier piece has done"),
    (lambda: Chain([net(), last, net(4)]), ValueError, "needs a time axis, which last or mean has taken away"),
    (lambda: Chain([net(), Readout(4, 2, dtype="float32")]), ValueError, "has dtype float32, the first float64"),
    (lambda: Chain([net(batch_first=True)]), ValueError, "in a model the time is first"),
    (lambda: Chain([piece := net(), Readout(4, 3), piece]), ValueError, "holds one piece twice"),
    (lambda: Readout(0, 2), ValueError, "`inputs` is 0; expected a whole number of at least 1"),
    (lambda: Readout(10**10, 10**10), ValueError, "A readout of 10000000000 inputs"),
    (lambda: Embedding(4, 2.5), TypeError, "`size` is 2.5"),
    (lambda: Embedding(4, 2, dtype="int8"), ValueError, "networks compute in"),
]


@pytest.mark.parametrize(("make", "error", "words"), MADE)
def test_a_model_that_cannot_be(make, error, words):
    with pytest.raises(error, match=words):
        make()


def model():
    return Chain([Embedding(5, 3, seed=0), net(), Readout(4, 2, seed=1)])


TOKENS = np.zeros((6, 2), int)
CALLED = [
    (lambda m: m.unroll(TOKENS + 5), ValueError, "holds the token 5; this embedding has 5, 0 to 4"),
    (lambda m: m.unroll(TOKENS - 1, lengths=[6, 6]), ValueError, "holds the token -1"),
    (lambda m: m.unroll(TOKENS + 0.5), TypeError, "an embedding takes tokens, whole numbers from 0 to 4"),
    (lambda m: m.unroll(X.astype(int)), ValueError, r"tokens are \(time, batch\)"),
    (lambda m: m.unroll(TOKENS, lengths=[7, 1]), ValueError, "between 0 and the 6 time steps"),
    (lambda m: m.unroll(TOKENS, state=np.ones(4)), ValueError, "has 2 states"),
    (lambda m: m.unroll(TOKENS).backprop(), ValueError, "There is no gradient to send back"),
    (lambda m: m.unroll(TOKENS).backprop(np.ones((6, 2, 3))), ValueError, "in the shape of `run.output`"),
    (lambda m: m(TOKENS), TypeError, "A model is not called as a function"),
    (lambda m: m.forward(TOKENS), AttributeError, "write `run = model.unroll"),
    (lambda m: m.named(np.ones(3)), ValueError, "this model has 169 parameters"),
    (lambda m: m.named([1.0]), TypeError, "expected a NumPy vector of 169 floats"),
    (lambda m: m.named(np.arange(169)), TypeError, "`vector` has dtype int64; expected 169 floats"),
    (lambda m: setattr(m, "flat", np.ones(169)), AttributeError, r"model.flat\[...\] = vector"),
    (lambda m: m.parameters.update(a=1), ValueError, "are fixed by its pieces"),
    (lambda m: m.parameters.__setitem__("2.bias", np.ones(2)), ValueError, r"parameters\['2.bias'\]\[...\] = "),
    (lambda m: m.load_state_dict({"2.bias": np.ones(2)}), ValueError, "missing: 0.weight"),
    (lambda m: m.value_and_gradient(TOKENS, None, "mse"), TypeError, "`loss` is 'mse'"),
    (lambda m: m.value_and_gradient(TOKENS, None, lambda y, t: y.sum()), TypeError, r"a loss returns \(value, grad"),
    (lambda m: m.value_and_gradient(TOKENS, None, lambda y, t: (y, y)), TypeError, "expected one real number"),
    (lambda m: m.value_and_gradient(TOKENS, None, lambda y, t: (1.0, None)), ValueError, r"a NumPy array \(6, 2, 2\)"),
    (lambda m: m.value_and_gradient(TOKENS, None, lambda y: 1), TypeError, r"is called with \(output, targets\)"),
    (lambda m: m.value_and_gradient(TOKENS, None, loss, out=np.ones(3)), ValueError, "`out` has shape"),
    (lambda m: m.value_and_gradient(TOKENS, targets=0, loss=loss, mask=1), TypeError, "has no argument `mask`"),
]


@pytest.mark.parametrize(("call", "error", "words"), CALLED)
def test_a_call_that_means_nothing(call, error, words):
    given = model()
    before = given.flat.copy()
    with pytest.raises(error, match=words):
        call(given)
    assert np.array_equal(given.flat, before)


def test_a_state_where_there_is_none():
    with pytest.raises(ValueError, match="a readout has no state"):
        Readout(3, 2).unroll(X, state=1)
    with pytest.raises(ValueError, match="this model has no state"):
        Chain([Readout(3, 2)]).unroll(X, state=1)
    two = Chain([net(), net(4)])
    with pytest.raises(ValueError, match=r"a dict with the names 0, 1, as `run\.final_state` is"):
        two.unroll(X, state=np.ones(4))


def test_a_network_that_has_left():
    """Arrays put in the place of the views, or a second model of the same pieces: the first says so."""
    given = model()
    given.pieces[1].parameters["bias_hh_l0"] = np.ones(16)
    with pytest.raises(ValueError, match='"bias_hh_l0" of piece 1 has been replaced'):
        given.unroll(TOKENS)
    given = model()
    other = Chain(given.pieces)
    other.unroll(TOKENS)
    with pytest.raises(ValueError, match="taken over by another model"):
        given.unroll(TOKENS)


@pytest.mark.parametrize("pool", [last, mean])
def test_pooling_of_what_is_no_run(pool):
    with pytest.raises(TypeError, match=r"takes a run: pass `net\.unroll"):
        pool(net())
    with pytest.raises(ValueError, match="batch first"):
        pool(net(batch_first=True).unroll(X))
    with pytest.raises(ValueError, match="one with a time axis"):
        pool(pool(net().unroll(X)))


def test_errors_from_inside_a_loss_come_through():
    def broken(output, targets):
        return output + "a"

    with pytest.raises(TypeError, match="ufunc"):
        model().value_and_gradient(TOKENS, None, broken)
