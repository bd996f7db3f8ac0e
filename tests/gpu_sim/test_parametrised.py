"""Free parameters on the device: weights are made on the host, and gradients sent back there, also of ensembles."""

from __future__ import annotations

import numpy as np
import pytest

import throughtime as tt

P = tt.parametrise
WAYS = {
    "antisymmetric": P.antisymmetric(0.1),
    "exp": P.orthogonal(),
    "low_rank": P.low_rank(2, fixed=0.1 * np.eye(4)),
    "sparse": P.sparse(np.arange(16).reshape(4, 4) % 3 > 0),
    "dale": P.dale([1, -1, 1, 1]),
}
X = np.random.default_rng(0).normal(size=(5, 2, 3))


def network(way, seed=1, cell="gru", **options):
    return tt.Network(cell, 3, 4, parametrise={"weight_hh": WAYS[way]}, seed=seed, **options)


def close(device, host):
    assert list(device) == list(host)
    for name, value in host.items():
        assert np.allclose(np.asarray(device[name].copy_to_host()), value, rtol=1e-12, atol=1e-14), name


@pytest.mark.parametrize("way", WAYS)
def test_one_network(way):
    net = network(way, num_layers=2)
    there = net.to("cuda")
    run, own = net.unroll(X), there.unroll(X)
    assert np.allclose(own.output.copy_to_host(), run.output, rtol=1e-12, atol=1e-14)
    g = np.ones(run.output.shape)
    close(own.backprop(g).parameters, run.backprop(g).parameters)
    u = np.ones((2, 8))
    close(own.pullback(u, 1, 4)[1], run.pullback(u, 1, 4)[1])
    close(there.weights(), net.weights())
    close(own.made_with(), run.made_with())
    back = there.to("cpu")
    assert back.parametrise == net.parametrise
    assert all(np.array_equal(back.parameters[name], value) for name, value in net.parameters.items())
    there.load_state_dict(network(way, seed=2, num_layers=2).state_dict())
    assert np.allclose(there.unroll(X).output.copy_to_host(), network(way, seed=2, num_layers=2).unroll(X).output)


@pytest.mark.parametrize("way", WAYS)
def test_an_ensemble(way):
    """Each of the networks makes its weights from its own free parameters."""
    members = [network(way, seed=seed, cell="tanh") for seed in range(3)]
    family = tt.Ensemble(members).to("cuda")
    run = family.unroll(X)
    found = run.backprop(np.ones((5, 2, 4))).parameters
    for k, net in enumerate(members):
        own = net.unroll(X)
        assert np.allclose(run.output.copy_to_host()[:, 2 * k : 2 * k + 2], own.output, rtol=1e-12, atol=1e-14)
        expected = own.backprop(np.ones((5, 2, 4))).parameters
        for name, value in expected.items():
            assert np.allclose(found[name].copy_to_host()[k], value, rtol=1e-12, atol=1e-14)
    back = family.to("cpu")
    assert [net.parametrise for net in back] == [net.parametrise for net in members]


def test_by_lag():
    run = network("exp", cell="tanh").unroll(X)
    there = network("exp", cell="tanh").to("cuda").unroll(X)
    ours = tt.analysis.gradient_by_lag(there, np.ones((5, 2, 4)))
    theirs = tt.analysis.gradient_by_lag(run, np.ones((5, 2, 4)))
    assert ours.parameters == theirs.parameters == ("weight_hh_l0.skew",)
    assert np.allclose(ours.share, theirs.share, rtol=1e-9)


def test_networks_that_make_weights_in_two_ways_do_not_go_together():
    one, other = (
        tt.Network("tanh", 3, 4, parametrise={"weight_hh": P.low_rank(2, fixed=k * np.eye(4))}) for k in (1.0, 2.0)
    )
    with pytest.raises(ValueError, match="one way of making weights"):
        tt.Ensemble([one, other]).to("cuda")
