"""The public ways through a run that analyses stand on: costates, pullback, derivatives, what a layer sends."""

from __future__ import annotations

import numpy as np
import pytest

import throughtime as tt

CASES = {"lstm-2": 2, "gru-1": 1, "rate-3": 3, "tanh-2": 2}


@pytest.fixture(params=CASES)
def run(request):
    net = tt.Network(request.param.split("-")[0], 2, 3, num_layers=CASES[request.param], seed=1)
    rng = np.random.default_rng(2)
    return net.unroll(rng.standard_normal((6, 4, 2)), lengths=[6, 3, 5, 6])


def test_pullback_of_the_whole_is_backprop(run):
    g = np.random.default_rng(3).standard_normal(run.output.shape)
    u, parameters = run.pullback(np.zeros(run.states.shape[1:]), 0, run.steps, g)
    whole = run.backprop(g)
    np.testing.assert_array_equal(u, whole.states[0])
    assert list(parameters) == list(whole.parameters)
    for name, value in whole.parameters.items():
        np.testing.assert_array_equal(parameters[name], value)


def test_pieces_of_pullback_make_the_whole(run):
    """T1 then T2 is T1 + T2: the last output of the window counts, that at its start does not."""
    rng = np.random.default_rng(4)
    u, g = rng.standard_normal(run.states.shape[1:]), rng.standard_normal(run.output.shape)
    whole, total = run.pullback(u, 0, 6, g)
    middle, late = run.pullback(u, 2, 6, g[2:])
    first, early = run.pullback(middle, 0, 2, g[:2])
    np.testing.assert_allclose(first, whole, rtol=1e-13, atol=1e-14)
    for name, value in total.items():
        np.testing.assert_allclose(early[name] + late[name], value, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(run.costates(u, g[2:], 2, 6)[0], middle, rtol=1e-13)
    np.testing.assert_allclose(run.pullback(u, 2, 6)[0], run.vjp(u, 2, 6), rtol=1e-13)


def test_costates_obey_their_recursion(run):
    rng = np.random.default_rng(5)
    u, g = rng.standard_normal(run.states.shape[1:]), rng.standard_normal(run.output.shape)
    costates = run.costates(u, g, 0, 6)
    np.testing.assert_allclose(costates[6], u + run.output_cotangent(6, g[5]), rtol=1e-13)
    for t in range(5, 0, -1):
        expected = run.vjp(costates[t + 1], t, t + 1) + run.output_cotangent(t, g[t - 1])
        np.testing.assert_allclose(costates[t], expected, rtol=1e-12, atol=1e-14)


def test_derivatives_make_the_jacobian_of_a_layer(run):
    n, top = run.network.hidden_size, run.network.num_layers - 1
    local = run.derivatives(top, 1, 3)
    w, own = run.made_with()[f"weight_hh_l{top}"].reshape(-1, n, n), run.columns(top)
    expected = run.jacobians(1, 3)[:, :, own, own]
    full = np.broadcast_to(np.zeros((2, 4, n)), (2, 4, n))
    for i, row in enumerate(local.by_recurrent):
        for j, sent in enumerate(local.sent_before):
            found = sum((d + full)[..., None] * w[g] for g, d in enumerate(row)) * (sent + full)[..., None, :]
            found = found + (local.by_state[i][j] + full)[..., None] * np.eye(n)
            block = expected[:, :, i * n : (i + 1) * n, j * n : (j + 1) * n]
            np.testing.assert_allclose(found, block, rtol=1e-12, atol=1e-14)
    few = run.derivatives(top, 1, 3, units=2)
    np.testing.assert_array_equal(few.by_recurrent[0][0], local.by_recurrent[0][0][..., :2])
    assert len(local.sent_after) == len(local.sent_before) == len(few.states)


def test_what_a_layer_sends(run):
    valid = np.arange(6)[:, None] < run.lengths
    top = run.sent(run.network.num_layers - 1)
    np.testing.assert_array_equal(top[1:][valid], run.output[valid])
    assert run.sent(0).shape == (7, 4, 3)
    assert repr(run.cell) == repr(run.network.cell)
    assert run.engine is run.network.engine
    assert run.columns(0).start == 0


def test_they_refuse_in_words(run):
    u = np.zeros(run.states.shape[1:])
    with pytest.raises(ValueError, match="`u` has shape"):
        run.pullback(u[:1], 0, 1)
    with pytest.raises(ValueError, match="`grad_output` has shape"):
        run.costates(u, np.zeros((3, 4, 3)), 0, 2)
    with pytest.raises(ValueError, match="times of states"):
        run.derivatives(0, 0, 9)
    both = tt.Network("tanh", 2, 3, bidirectional=True).unroll(np.ones((4, 2)))
    with pytest.raises(ValueError, match="bidirectional"):
        both.pullback(np.zeros((1, 6)), 0, 1)
