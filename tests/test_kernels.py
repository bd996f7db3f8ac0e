"""The kernels for other people's compiled code give what `unroll` and `backprop` give, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from networks import CELLS, everything, problem
from numba import njit

import throughtime as tt
from throughtime import kernels
from throughtime.cells import spec

# To a caller's compiled code, six seconds of compilation each, these are what tanh is: one gate, one state, no fields,
# nothing else sent than h. Their own numbers are in test_conformance.py.
LIKE_TANH = ("relu", "linear", "sigmoid")
CELL = pytest.mark.parametrize("cell", [name for name in CELLS if name not in LIKE_TANH])


@njit
def user_pass(step, unroll, backprop, weights, x, first, grad_output, grad_last):
    """A user's function: the states step by step, and at once; the gradients. Compiled once for each kind of cell."""
    states = np.empty((len(x) + 1, *first.shape), x.dtype)
    states[0] = first
    stepped = states.copy()
    for t in range(len(x)):
        stepped[t + 1] = step(weights, x[t], stepped[t])
    saved = unroll(weights, x, states)
    return stepped, states, backprop(weights, x, states, saved, grad_output, grad_last)


GRADIENTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def agrees(cell, dtype, steps=7, batch=5, inputs=3, units=11, exactly=True):
    p = problem(cell, steps, batch, inputs, units, dtype=dtype)
    expected = everything(p)
    k = kernels.of(p.net)
    given = p.x.copy(), p.start.copy(), p.grad_output.copy(), p.grad_final.copy()
    stepped, states, (*of_parameters, of_input, of_first) = user_pass(k.step, k.unroll, k.backprop, k.weights, *given)
    np.testing.assert_array_equal(stepped, states)
    ours = {"states": states, "gradient of input": of_input, "gradient of state": of_first}
    names = *GRADIENTS, *(f"{name}_l0" for name in spec(p.net.cell).parameters)
    named = zip(names, of_parameters, strict=True)
    ours |= {f"gradient of {name}": value for name, value in named if name in p.net.shapes}
    for name, value in ours.items():
        assert value.dtype == np.dtype(dtype), name
        if name not in expected:  # there is no W_hh and no b_hh
            assert value.size == 0, name
            continue
        if exactly:
            np.testing.assert_array_equal(value, expected[name], err_msg=name)
        else:
            tolerance = 1000 * np.finfo(dtype).eps * np.abs(expected[name]).max()
            np.testing.assert_allclose(value, expected[name], rtol=0, atol=tolerance, err_msg=name)
    for array, before in zip(given, (p.x, p.start, p.grad_output, p.grad_final), strict=True):
        np.testing.assert_array_equal(array, before)  # what the user handed in is as it was
    return p, expected


@CELL
def test_step_unroll_and_backprop_from_compiled_code(cell):
    agrees(cell, "float64")


def test_in_single_precision():
    agrees("lstm", "float32")


@pytest.mark.parametrize(("batch", "inputs", "units"), [(1, 1, 1), (1, 9, 8), (30, 2, 16), (2, 1, 33)])
@pytest.mark.parametrize("cell", ["rate", "lstm"])
def test_any_sizes(cell, batch, inputs, units):
    agrees(cell, "float64", 5, batch, inputs, units)


@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (4, 0), (0, 0)])
@pytest.mark.parametrize("cell", ["rate", "lstm"])
def test_nothing_to_do(cell, steps, batch):
    p, expected = agrees(cell, "float64", steps, batch)
    assert not expected["gradient of weight_hh_l0"].any()
    np.testing.assert_array_equal(expected["gradient of state"], p.grad_final)


def test_long_sequences():
    """Longer than a piece of the way back; there the sums over time may be grouped otherwise than in `backprop`."""
    agrees("tanh", "float64", 700, 3, exactly=False)


def test_from_plain_python():
    """The same functions without `@njit` around them."""
    p = problem("gru", 6, 4, 3, 9)
    k = kernels.of(p.net)
    expected = everything(p)
    states = np.zeros((7, 4, 9))
    states[0] = p.start
    saved = k.unroll(k.weights, p.x, states)
    np.testing.assert_array_equal(states, expected["states"])
    np.testing.assert_array_equal(k.step(k.weights, p.x[2], states[2]), states[3])
    grads = k.backprop(k.weights, p.x, states, saved, p.grad_output, p.grad_final)
    np.testing.assert_array_equal(grads[0], expected["gradient of weight_ih_l0"])


def test_functions_as_globals():
    """As in the documentation: the compiled function names the kernel, and takes the weights."""
    net = tt.Network("tanh", 1, 4, seed=0)
    k = kernels.of(net)
    step = k.step

    @njit
    def settle(weights, x, state):
        for _ in range(1000):
            state = step(weights, x, state)
        return state

    x = np.ones((1, 1))
    fixed = settle(k.weights, x, np.zeros((1, 4)))
    np.testing.assert_array_equal(fixed, net.unroll(np.ones((1000, 1))).states[-1])
    np.testing.assert_allclose(k.step(k.weights, x, fixed), fixed, atol=1e-12)
    other = tt.Network("tanh", 3, 9, seed=1)  # served by the same functions: nothing is compiled again
    assert kernels.of(other).step is step
    settle(kernels.of(other).weights, np.ones((2, 3)), np.zeros((2, 9)))
    assert len(settle.signatures) == 1


@pytest.mark.parametrize("layer", [0, 1])
def test_layers_and_both_directions(layer):
    """Layer 1 reads what layer 0 sends; the reverse direction runs over the input from its end."""
    net = tt.Network("lstm", 3, 8, num_layers=2, bidirectional=True, seed=0)
    x = np.random.default_rng(0).normal(size=(6, 2, 3))
    run = net.unroll(x)
    own = run.states.reshape(7, 2, 2, 2, 16)  # layer, direction, (h, c)
    below = x if layer == 0 else np.concatenate([own[1:, :, 0, 0, :8], own[:-1, :, 0, 1, :8]], axis=2)
    for reverse in (False, True):
        k = kernels.of(net, layer, reverse=reverse)
        states = np.zeros((7, 2, 16))
        k.unroll(k.weights, np.ascontiguousarray(below[::-1] if reverse else below), states)
        np.testing.assert_array_equal(states[::-1] if reverse else states, own[:, :, layer, int(reverse)])


def test_without_biases():
    net = tt.Network("gru", 3, 8, bias=False, seed=0)
    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    k = kernels.of(net)
    states = np.zeros((5, 2, 8))
    k.unroll(k.weights, x, states)
    np.testing.assert_array_equal(states, net.unroll(x).states)


def test_weights_are_a_snapshot():
    net = tt.Network("linear", 1, 1, bias=False)
    for value in net.parameters.values():
        value[...] = 1
    old = kernels.of(net)
    net.parameters["weight_ih_l0"][...] = 5
    one = np.ones((1, 1))
    assert old.step(old.weights, one, one) == 2
    new = kernels.of(net)
    assert new.step(new.weights, one, one) == 6


def test_fields_reach_the_kernels():
    x, state = np.zeros((1, 1)), np.ones((1, 1))
    for leak in (0.25, 0.75):
        net = tt.Network(tt.LeakyTanh(leak), 1, 1, bias=False)
        net.parameters["weight_hh_l0"][...] = 0
        k = kernels.of(net)
        assert k.step(k.weights, x, state) == 1 - leak


def test_what_is_not_there_is_said():
    net = tt.Network("tanh", 2, 3, num_layers=2)
    with pytest.raises(ValueError, match=r"`layer` is 2; .* from 0 to 1"):
        kernels.of(net, 2)
    with pytest.raises(ValueError, match=r"`layer` is -1"):
        kernels.of(net, -1)
    with pytest.raises(TypeError, match="`layer` is"):
        kernels.of(net, 0.5)
    with pytest.raises(ValueError, match=r"no reverse direction.*bidirectional=True"):
        kernels.of(net, reverse=True)
