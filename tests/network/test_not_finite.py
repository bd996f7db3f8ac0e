"""NaN and inf go through a network as arithmetic says, stay in their own sequence, and are not read from padding."""

import numpy as np
import pytest

import throughtime as tt
from throughtime.cells import CELLS

T, B, I, N = 6, 3, 4, 5
X = np.random.default_rng(0).normal(size=(T, B, I))


def network(cell="gru", **options):
    return tt.Network(cell, I, N, seed=1, **options)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_not_finite_stays_in_its_sequence_and_its_future(cell, bad):
    net, x = network(cell, num_layers=2), X.copy()
    x[3, 1, 2] = bad
    clean, run = net.unroll(X).output, net.unroll(x).output
    np.testing.assert_array_equal(run[:, [0, 2]], clean[:, [0, 2]])
    np.testing.assert_array_equal(run[:3, 1], clean[:3, 1])
    if np.isnan(bad):
        assert np.isnan(run[3:, 1]).all()


def test_nan_in_the_padding_of_the_input_is_never_seen():
    net, x = network(bidirectional=True), X.copy()
    lengths = [T, 2, 0]
    x[2:, 1] = x[:, 2] = np.nan
    plain, run = net.unroll(X, lengths=lengths), net.unroll(x, lengths=lengths)
    np.testing.assert_array_equal(run.output, plain.output)
    np.testing.assert_array_equal(run.final_state, plain.final_state)
    assert_same_gradients(run.backprop(np.ones((T, B, 2 * N))), plain.backprop(np.ones((T, B, 2 * N))))


def test_nan_in_the_padding_of_a_gradient_is_never_seen():
    run = network(bidirectional=True).unroll(X, lengths=[T, 2, 0])
    g = np.ones((T, B, 2 * N))
    g[2:, 1] = g[:, 2] = np.nan
    assert_same_gradients(run.backprop(g), run.backprop(np.ones((T, B, 2 * N))))


def assert_same_gradients(found, expected):
    np.testing.assert_array_equal(found.input, expected.input)
    np.testing.assert_array_equal(found.initial_state, expected.initial_state)
    for name, value in found.parameters.items():
        np.testing.assert_array_equal(value, expected.parameters[name], err_msg=name)
