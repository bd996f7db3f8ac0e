"""Models hand `clip_state` to their networks, and the networks' own gradients out."""

from __future__ import annotations

import numpy as np
import pytest

import throughtime as tt

m = tt.models
RNG = np.random.default_rng(0)
X, LENGTHS = RNG.standard_normal((8, 3, 2)), [8, 5, 1]


def deep():
    return m.Chain(
        [
            tt.Network("lstm", 2, 4, seed=0),
            m.Residual([m.LayerNorm(4), tt.Network("gru", 4, 4, seed=1)]),
            m.last,
            m.Readout(4, 3, seed=2),
        ]
    )


def test_each_network_is_clipped_as_its_own_run_is():
    """Back through the chain by hand, from each piece's gradient of what it received."""
    model = deep()
    run, g = model.unroll(X, lengths=LENGTHS), RNG.standard_normal((3, 3))
    whole = run.backprop(g)
    norms = {name: np.linalg.norm(own.states, axis=2) for name, own in whole.networks.items()}
    limit = min(float(np.median(norm[norm > 0])) for norm in norms.values())
    found = run.backprop(g, clip_state=limit)
    assert list(found.networks) == list(run.networks) == ["0", "1.1"]
    for own in found.networks.values():
        assert np.linalg.norm(own.states, axis=2).max() <= limit * (1 + 1e-14)
    (_, first), (_, block), pooled, (_, readout) = run.runs
    by_hand = block.backprop(pooled[1].to_run(readout.backprop(g).input), clip_state=limit)
    again = first.backprop(by_hand.input, clip_state=limit)
    assert np.array_equal(found.parameters["0.weight_hh_l0"], again.parameters["weight_hh_l0"])
    assert np.array_equal(found.parameters["1.1.weight_hh_l0"], by_hand.parameters["1.weight_hh_l0"])
    assert not np.allclose(found.parameters["0.weight_hh_l0"], whole.parameters["0.weight_hh_l0"])


def test_the_networks_gradients_are_those_of_their_runs():
    model = deep()
    run, g = model.unroll(X, lengths=LENGTHS), RNG.standard_normal((3, 3))
    found = run.backprop(g)
    for name, own in found.networks.items():
        for key, value in own.parameters.items():
            assert value is found.parameters[f"{name}.{key}"]
        assert own.states.shape == run.networks[name].states.shape
    assert m.Readout(2, 3, seed=0).unroll(X).backprop(np.ones((8, 3, 3))).networks == {}


def test_encoder_and_decoder():
    model = m.EncoderDecoder(tt.Network("gru", 2, 4, seed=0), m.many_to_many("gru", 2, 3, hidden_size=4, seed=1))
    run = model.unroll((X, X[:5]))
    found = run.backprop(np.ones((5, 3, 3)), clip_state=0.1)
    assert list(found.networks) == list(run.networks) == ["encoder", "decoder.0"]
    assert max(np.linalg.norm(own.states, axis=2).max() for own in found.networks.values()) <= 0.1 * (1 + 1e-14)


def test_poolings_of_a_run():
    net = tt.Network("tanh", 2, 4, bidirectional=False, seed=0)
    g = np.ones((3, 4))
    for pool in (m.last, m.mean):
        pooled = pool(net.unroll(X))
        assert np.linalg.norm(pooled.backprop(g, clip_state=0.01).states, axis=2).max() <= 0.01 * (1 + 1e-14)


def test_forward_backward_and_a_model_without_states():
    model, loss = deep(), tt.training.mean_squared_error
    found = model.forward_backward(X, np.ones((3, 3)), loss, clip_state=1e-3)
    assert np.array_equal(model.named(found.gradient)["0.weight_hh_l0"], found.gradients.parameters["0.weight_hh_l0"])
    assert np.linalg.norm(found.gradients.networks["0"].states, axis=2).max() <= 1e-3 * (1 + 1e-14)
    with pytest.raises(ValueError, match="no network whose states"):
        m.Readout(2, 3, seed=0).forward_backward(X, np.ones((8, 3, 3)), loss, clip_state=1.0)
