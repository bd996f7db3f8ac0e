"""Pascanu's bound: equal to its closed form, and never below what any run does."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib import pyplot
from networks import Adapting

import throughtime as tt
from throughtime import analysis


def network(cell, gain=1.0, units=6, **options):
    net = tt.Network(cell, 2, units, seed=1, **options)
    for value in net.parameters.values():
        value *= gain
    return net


@pytest.mark.parametrize(("cell", "gamma"), [("tanh", 1.0), ("relu", 1.0), ("linear", 1.0), ("sigmoid", 0.25)])
def test_gamma_times_sigma(cell, gamma):
    net = network(cell, 2.0)
    sigma = np.linalg.norm(net.parameters["weight_hh_l0"], 2)
    bound = analysis.pascanu_bound(net)
    assert bound.factor == pytest.approx(gamma * sigma, rel=1e-14)
    np.testing.assert_allclose(bound.log_bound(np.arange(2000)), np.arange(2000) * np.log(gamma * sigma), atol=1e-10)
    assert bound.must_vanish == (gamma * sigma < 1.0)


@pytest.mark.parametrize("cell", [tt.LeakyTanh(0.3), tt.Rate(0.3), tt.LeakyTanh(1.5)])
def test_leaky_cells(cell):
    net = network(cell, 2.0)
    sigma = np.linalg.norm(net.parameters["weight_hh_l0"], 2)
    expected = abs(1 - cell.leak) + cell.leak * sigma
    assert analysis.pascanu_bound(net).factor == pytest.approx(expected, rel=1e-14)


def test_the_bound_is_reached_by_a_linear_network():
    """W = σ·orthogonal, linear: the norm of the product is σ^k exactly."""
    net = tt.Network("linear", 2, 5, bias=False, init=tt.init.orthogonal(1.3), seed=0)
    bound = analysis.pascanu_bound(net)
    found = analysis.gradient_products(net.unroll(np.ones((200, 2))), bound=bound)
    np.testing.assert_allclose(found.log_norm[:, 0], found.log_bound, atol=1e-10)
    assert found.holds


@pytest.mark.parametrize("gain", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("cell", sorted(name for name, cls in tt.CELLS.items() if hasattr(cls, "slope_bounds")))
def test_no_run_exceeds_the_bound(cell, gain):
    """Inputs and initial states at the edge of what was allowed, where the slopes are largest."""
    net = network(cell, gain)
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0, 0.0], (25, 8, 2))
    parts = net.state_size // net.hidden_size
    start = [rng.uniform(-2.0, 2.0, (1, 8, 6)) for _ in range(parts)]
    run = net.unroll(x, state=start[0] if parts == 1 else tuple(start))
    bound = analysis.pascanu_bound(net, input_bound=1.0, state_bound=2.0)
    found = analysis.gradient_products(run, bound=bound)
    assert found.holds
    for t in (1, 5, 25):  # the blocks by themselves too
        n = net.hidden_size
        for jacobian in run.jacobian(t):
            for i in range(parts):
                for j in range(parts):
                    block = jacobian[i * n : (i + 1) * n, j * n : (j + 1) * n]
                    assert np.linalg.norm(block, 2) <= bound.block_norms[i, j] * (1 + 1e-12)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_small_gated_networks_must_vanish_when_their_input_is_bounded(cell):
    bound = analysis.pascanu_bound(network(cell, 0.2), input_bound=1.0)
    assert bound.must_vanish
    assert bound.rate < 0.0
    wider = analysis.pascanu_bound(network(cell, 0.2), input_bound=3.0)
    assert wider.rate > bound.rate


def test_gated_networks_without_a_bound_on_their_input():
    bound = analysis.pascanu_bound(network("gru", 0.2))
    np.testing.assert_allclose(bound.gamma[0, 1:], [0.5, 1.0])  # |h − n| ≤ 2 times σ' ≤ ¼; 1 for the new state
    assert bound.factor > 1.0  # the update gate may come to 1
    with pytest.raises(ValueError, match="input_bound="):
        analysis.pascanu_bound(network("lstm"))


def test_lstm_without_recurrent_weights_keeps_its_forget_gate():
    """W_hh = 0, W_ih = 0: ∂c'/∂c = f, and the bound on that block is exact."""
    net = tt.Network("lstm", 1, 1, seed=0)
    for value in net.parameters.values():
        value[...] = 0.0
    net.parameters["bias_ih_l0"][1] = 2.0
    forget = 1 / (1 + np.exp(-2.0))
    bound = analysis.pascanu_bound(net)
    assert bound.block_norms[1, 1] == pytest.approx(forget, rel=1e-14)
    assert bound.rate == pytest.approx(np.log(forget), rel=1e-12)


def test_a_cell_of_ones_own_brings_its_slopes():
    net = network(Adapting(0.4))
    with pytest.raises(ValueError, match="γ of the cell Adapting is not known"):
        analysis.pascanu_bound(net)
    run = net.unroll(np.ones((20, 2)))
    assert analysis.gradient_products(run).holds  # the steps' norms bound it all the same
    slopes = analysis.SlopeBounds(gamma=[[5.0, 5.0], [5.0, 5.0]], carried=[[5.0, 5.0], [5.0, 5.0]], sent=[2.0, 1.0])
    assert analysis.gradient_products(run, bound=analysis.pascanu_bound(net, slopes=slopes)).holds
    with pytest.raises(ValueError, match=r"slopes\.gamma"):
        analysis.pascanu_bound(net, slopes=([[1.0]], [[1.0]], [1.0]))


def test_products_are_those_of_the_jacobians():
    run = network("lstm", 2.0).unroll(np.random.default_rng(0).standard_normal((12, 3, 2)))
    found = analysis.gradient_products(run, stop=10, max_lag=4)
    product = np.eye(12)
    for t in (10, 9, 8, 7):
        product = product @ run.jacobian(t)[1]
    assert found.log_norm.shape == (5, 3)
    assert found.log_norm[4, 1] == pytest.approx(np.log(np.linalg.norm(product, 2)), abs=1e-12)


def test_long_products_stay_finite_and_stacks_are_measured():
    net = network("tanh", 0.3, num_layers=2)
    found = analysis.gradient_products(net.unroll(np.zeros((600, 2))))
    assert np.isfinite(found.log_norm).all()
    assert found.log_norm[-1, 0] < -700
    assert found.holds


def test_a_dead_relu_network_passes_nothing_on():
    net = tt.Network("relu", 1, 1, bias=False)
    for value in net.parameters.values():
        value[...] = 1.0
    found = analysis.gradient_products(net.unroll(-np.ones((4, 1))))
    np.testing.assert_array_equal(found.log_norm[:, 0], [0.0] + [-np.inf] * 4)
    assert found.holds


def test_nan_stays_in_its_sequence():
    x = np.zeros((3, 2, 2))
    x[0, 1] = np.nan
    found = analysis.gradient_products(network("tanh").unroll(x))
    assert np.isfinite(found.log_norm[:, 0]).all()
    assert np.isnan(found.log_norm[1:, 1]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_layers": 2}, "2 layers"),
        ({"bidirectional": True}, "bidirectional"),
    ],
)
def test_refuses_networks_without_such_a_bound(options, words):
    with pytest.raises(ValueError, match=words):
        analysis.pascanu_bound(network("tanh", **options))


def test_refuses_wrong_values():
    net = network("tanh")
    with pytest.raises(ValueError, match="input_bound"):
        analysis.pascanu_bound(net, input_bound=-1.0)
    with pytest.raises(ValueError, match="state_bound"):
        analysis.pascanu_bound(net, state_bound=np.inf)
    with pytest.raises(ValueError, match="lag"):
        analysis.pascanu_bound(net).log_bound(-1)
    with pytest.raises(ValueError, match="stop"):
        analysis.gradient_products(net.unroll(np.zeros((3, 2))), stop=4)
    both = network("tanh", bidirectional=True).unroll(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="bidirectional"):
        analysis.gradient_products(both)
    net.parameters["weight_hh_l0"][0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        analysis.pascanu_bound(net)


def test_results_print_plot_and_convert():
    net = network("gru", 0.2)
    bound = analysis.pascanu_bound(net, input_bound=1.0)
    found = analysis.gradient_products(net.unroll(np.ones((9, 2))), bound=bound)
    assert "every gradient vanishes" in repr(bound)
    assert "proves nothing" in repr(analysis.pascanu_bound(network("tanh", 9.0)))
    assert "Pascanu" in repr(found)
    assert found.arrays()["log_norm"].shape == (10, 1)
    assert bound.arrays()["gamma"].shape == (1, 3)
    for result in (bound, found):
        figure, ax = pyplot.subplots()
        assert result.plot(ax=ax)
        assert "nats" in ax.get_ylabel()
        pyplot.close(figure)
