"""History and Monitor: rows, measures, other formats; what is measured is what the analysis says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import throughtime as tt

sys.path.insert(0, str(Path(__file__).parent))
from learners import TASK, many_to_one

from throughtime.training.measures import saturation

t = tt.training


@pytest.fixture(scope="module")
def trained():
    optimiser = t.Adam(t.Cosine(0.01, 10), transforms=(t.ClipNorm(0.5),))
    monitor = t.Monitor(every=4, probe=TASK.batch(3, seed=2), measure=["exponent", "horizon"])
    return t.fit(many_to_one(), TASK.batches(8, seed=0), TASK.loss, optimiser, steps=10, monitor=monitor)


def test_columns_are_one_row_a_step(trained):
    history = trained.history
    assert history.names[:7] == ("step", "loss", "norm", "clipped_norm", "clipped", "rate", "seconds")
    assert history["step"].tolist() == list(range(10))
    assert history["rate"].tolist() == [t.Cosine(0.01, 10)(step) for step in range(10)]
    clipped = history["norm"] > 0.5
    assert np.array_equal(history["clipped"] == 1, clipped)
    assert history.clipped_share == clipped.mean() > 0
    assert history["clipped_norm"] == pytest.approx(np.minimum(history["norm"], 0.5), rel=1e-15)
    assert (np.diff(history["seconds"]) >= 0).all()
    assert history.at("horizon").tolist() == [0, 4, 8]
    assert history.at("loss").tolist() == list(range(10))
    assert "10 steps" in repr(history)
    with pytest.raises(KeyError, match=r"no column 'los'.*there are step, loss"):
        history["los"]


def test_other_formats(trained, tmp_path):
    arrays = trained.history.arrays()
    np.savez(tmp_path / "history.npz", **arrays)
    assert np.load(tmp_path / "history.npz")["horizon_step"].tolist() == [0, 4, 8]
    xarray = pytest.importorskip("xarray")
    found = trained.history.to_xarray()
    assert isinstance(found, xarray.Dataset)
    assert found["loss"].sel(step=3) == arrays["loss"][3]
    assert found["horizon"].dims == ("horizon_step",)


def test_what_is_measured_is_what_the_analyses_say():
    net = tt.Network("lstm", 2, 5, num_layers=2, seed=0)
    x = np.random.default_rng(0).normal(size=(40, 3, 2))
    monitor = t.Monitor(probe=x, measure=["exponent", "horizon", "by_lag", "saturation", lambda run: run.steps])
    monitor(net)
    run, last = net.unroll(x), np.zeros((40, 3, 5))
    last[-1] = 1
    found = monitor.history
    assert found["exponent"][0] == tt.analysis.lyapunov_spectrum(net, x, k=1, seed=0).exponents.mean()
    assert found["horizon"][0] == np.median(tt.analysis.gradient_norms(run, last).horizon)
    assert np.array_equal(
        found["by_lag"][0], tt.analysis.gradient_by_lag(run, np.ones((40, 3, 5))).share, equal_nan=True
    )
    assert found["<lambda>"][0] == 40


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 3), ("gru", 2)])
@pytest.mark.parametrize("layers", [1, 2])
def test_gates_that_are_open_or_shut_count_as_saturated(cell, gates, layers):
    """By the biases alone every gate's place is known: σ(3) = .953, σ(−3) = .047, σ(0) = ½."""
    net = tt.Network(cell, 2, 4, num_layers=layers, seed=0)
    for value in net.parameters.values():
        value[...] = 0
    for layer in range(layers):
        bias = net.parameters[f"bias_ih_l{layer}"].reshape(-1, 4)
        bias[:2] = [[3.0] * 3 + [-3.0], [-3.0] * 4]
    found = saturation(net.unroll(np.zeros((5, 2, 2)), lengths=[5, 3]))
    assert found.shape == (layers, gates, 2)
    assert np.array_equal(found[:, 0], [[0.25, 0.75]] * layers)
    assert np.array_equal(found[:, 1], [[1.0, 0.0]] * layers)
    assert not found[:, 2:].any()


def test_several_networks_have_columns_of_their_own():
    nets = [tt.Network("gru", 2, 4, seed=0), tt.Network("gru", 4, 4, seed=1)]
    monitor = t.Monitor(probe=np.ones((6, 2, 2)), measure={"long": lambda run: run.states.shape[0]})
    monitor(tt.models.Chain(nets))
    assert monitor.history.names[-2:] == ("0.long", "1.long")


def test_a_monitor_around_another_library():
    """A loop of one's own tells what it has; columns of its own begin with NaN."""
    monitor = t.Monitor(every=2)
    monitor(loss=2.0)
    monitor(loss=1.0, accuracy=0.5)
    history = monitor.history
    assert np.array_equal(history["accuracy"], [np.nan, 0.5], equal_nan=True)
    assert np.isnan(history["norm"]).all()
    again = t.Monitor(history=history)
    again(loss=np.float32(0.5))
    assert history["step"].tolist() == [0, 1, 2]


def test_an_empty_history():
    assert repr(t.History()) == "History of 0 steps"
    assert np.isnan(t.History().clipped_share)
    assert t.History().to_xarray()["loss"].size == 0 if pytest.importorskip("xarray") else True


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: t.Monitor(every=0), ValueError, "`every` is 0"),
        (lambda: t.Monitor(measure=["horizon"]), ValueError, "pass `probe=x`"),
        (lambda: t.Monitor(probe=1, measure=["horizn"]), ValueError, 'Did you mean "horizon"'),
        (lambda: t.Monitor(probe=1, measure=3), TypeError, "expected a list of exponent"),
        (lambda: t.Monitor(probe=1, measure={"a": 1}), TypeError, "expected a function of a network's run"),
        (lambda: t.Monitor(history=[]), TypeError, "expected a History"),
        (lambda: t.Monitor(evry=1), TypeError, "has no argument `evry`; perhaps you mean `every`"),
        (lambda: saturation(tt.Network("tanh", 1, 2).unroll(np.ones((3, 1)))), ValueError, "gates of an LSTM"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_finished_backprop_is_not_made_again():
    """gradient_norms of what backprop gave: the same norms, fits and horizons, to rounding."""
    net = tt.Network("lstm", 2, 5, num_layers=2, seed=0)
    run = net.unroll(np.random.default_rng(0).normal(size=(40, 3, 2)), lengths=[40, 11, 0])
    g = np.random.default_rng(1).normal(size=run.output.shape)
    gradients = run.backprop(g)
    found, again = tt.analysis.gradient_norms(run, gradients), tt.analysis.gradient_norms(run, g)
    np.testing.assert_allclose(found.log_norm, again.log_norm, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.rate, again.rate, rtol=1e-9, equal_nan=True)
    assert np.array_equal(found.last, again.last)
    assert np.array_equal(found.horizon, again.horizon, equal_nan=True)
    with pytest.raises(ValueError, match="leave it out"):
        tt.analysis.gradient_norms(run, gradients, run.final_state)
    with pytest.raises(ValueError, match="this run has states"):
        tt.analysis.gradient_norms(net.unroll(np.ones((7, 2))), gradients)
    with pytest.raises(ValueError, match="shape None"):
        tt.analysis.gradient_norms(run, run.backprop(g, states=False))


def test_around_a_loop_of_torchs():
    """A monitor on a network that follows a torch module: what it measures is of the module's parameters."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module, readout = torch.nn.GRU(2, 6), torch.nn.Linear(6, 1)
    optimiser = torch.optim.Adam([*module.parameters(), *readout.parameters()], lr=0.01)
    net, x = tt.Network("gru", 2, 6), np.random.default_rng(0).normal(size=(30, 4, 2))
    monitor = t.Monitor(every=2, probe=x, measure=["horizon"])
    for _ in range(5):
        loss = (readout(module(torch.tensor(x, dtype=torch.float32))[0]) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        net.load_state_dict(module.state_dict())
        monitor(net, loss=loss, norm=norm)
    assert all(type(value) is float for value in monitor.history.rows["loss"])  # no tensor, which keeps its graph
    with pytest.raises(TypeError, match=r"`loss` is a torch tensor of shape \(3,\); a column has one real number"):
        monitor(net, loss=torch.ones(3))
    with pytest.raises(TypeError, match=r"`model` is a torch module \(GRU\); what is measured is a model or a `tt.Net"):
        monitor(module, step=6)
    assert monitor.history.at("horizon").tolist() == [0, 2, 4]
    run = net.unroll(x)
    last = np.zeros_like(run.output)
    last[-1] = 1.0
    expected = np.median(tt.analysis.gradient_norms(run, last).horizon)
    assert monitor.history["horizon"][-1] == expected
    assert len(monitor.history["loss"]) == 5


def test_pictures_of_what_was_measured(trained):
    found = trained.plot(kind="measured", name="horizon")
    assert found["curves"][0].get_xdata().tolist() == [0, 4, 8]
    with pytest.raises(ValueError, match="measured column"):
        trained.plot(kind="measured", name="loss")
    with pytest.raises(ValueError, match="Nothing was measured"):
        t.Monitor().history.plot(kind="measured")
    many = t.Monitor()
    many(loss=1.0)
    many.history.measure("by_lag", 0, np.ones(30))
    with pytest.raises(ValueError, match="30 numbers at each time"):
        many.history.plot(kind="measured")
