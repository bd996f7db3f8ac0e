"""Penalties on gradient dynamics: values and gradients in the model's vector, in fit as by hand, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import throughtime as tt

sys.path.insert(0, str(Path(__file__).parent))
from learners import TASK, many_to_one

t = tt.training
MSE = t.mean_squared_error
X = np.random.default_rng(0).standard_normal((30, 3, 2))


def two_networks():
    pieces = [tt.Network("gru", 2, 5, seed=0), tt.models.Residual([tt.Network("tanh", 5, 5, seed=1)])]
    return tt.models.Chain([*pieces, tt.models.Readout(5, 2, seed=2)])


def test_flossing_is_the_mean_square_of_exponents_and_its_gradient():
    """Over both networks, beside lyapunov_gradient of each on the same steps and sequences."""
    model, flossing = two_networks(), t.Flossing(3, target=-0.1, weight=0.7, steps=20, sequences=2, warmup=4, discard=3)
    run = model.unroll(X)
    value, gradient = flossing(model, run)
    expected, named = 0.0, model.named(gradient)
    for name, own in run.networks.items():
        part = own.network.unroll(own.input[:20, :2])
        found = tt.analysis.lyapunov_gradient(
            part, lambda e: 0.7 * 2 * (e + 0.1) / e.size, k=3, warmup=4, discard=3, seed=0
        )
        expected += 0.7 * ((found.exponents + 0.1) ** 2).mean()
        for key, by in found.parameters.items():
            np.testing.assert_allclose(named[f"{name}.{key}"], by, rtol=1e-12, atol=1e-15)
    assert value == pytest.approx(expected, rel=1e-13)
    assert not named["2.weight"].any()


def test_omega_is_that_of_each_network():
    model, omega = two_networks(), t.Omega(2.0)
    found = model.forward_backward(X, np.ones((30, 3, 2)), MSE)
    value, gradient = omega(model, found.run, found.gradients)
    own = [tt.analysis.pascanu_omega(run, found.gradients.networks[name]) for name, run in found.run.networks.items()]
    assert value == pytest.approx(2.0 * sum(one.value for one in own), rel=1e-13)
    np.testing.assert_allclose(
        model.named(gradient)["1.0.weight_hh_l0"], 2.0 * own[1].parameters["weight_hh_l0"], rtol=1e-13
    )


def test_in_fit_as_by_hand():
    """The same bits as the loop by hand; columns by name; norms of the whole gradient."""
    penalties = (t.Omega(0.5), t.Flossing(2, steps=5, weight=lambda step: 0.1 if step >= 2 else 0.0), decay)
    model, other = many_to_one(), many_to_one()
    trained = t.fit(model, TASK.batches(8, seed=1), MSE, t.SGD(0.1), steps=4, penalties=penalties)
    optimiser, norms, losses = t.SGD(0.1), [], []
    for step, batch in zip(range(4), TASK.batches(8, seed=1), strict=False):
        found = other.forward_backward(batch.x, batch.targets, MSE)
        gradient = found.gradient.copy()
        for penalty in penalties:
            gradient += penalty(other, found.run, found.gradients, step)[1]
        norms.append(optimiser.step(other.flat, gradient))
        losses.append(found.value)
    assert np.array_equal(model.flat, other.flat)
    history = trained.history
    assert history["norm"].tolist() == norms
    assert history["loss"].tolist() == losses
    assert (history["omega"] > 0).all()
    assert history["flossing"][:2].tolist() == [0.0, 0.0]
    assert (history["flossing"][2:] > 0).all()
    assert (history["decay"] > 0).all()


def decay(model, run, gradients, step):
    """A penalty of one's own."""
    return 0.5 * float(model.flat @ model.flat), model.flat.copy()


def test_flossing_brings_exponents_to_their_target():
    """60 updates of Adam on 4 exponents of an LSTM that forgets: |λ − target| falls to a tenth."""
    net = tt.Network("lstm", 2, 8, seed=0)
    model = tt.models.Chain([net, tt.models.Readout(8, 1, seed=1)])
    flossing, optimiser, x = t.Flossing(4, target=-0.05, sequences=3), t.Adam(0.02), X
    first = flossing(model, model.unroll(x))[0]
    for _ in range(60):
        optimiser.step(model.flat, flossing(model, model.unroll(x))[1])
    assert flossing(model, model.unroll(x))[0] < first / 100


def test_a_penalty_that_is_not_finite_ends_training():
    def bad(model, run, gradients, step):
        return float("nan"), np.zeros_like(model.flat)

    model = many_to_one()
    before = model.flat.copy()
    with pytest.raises(t.Diverged):
        t.fit(model, TASK.batches(8, seed=1), MSE, t.SGD(0.1), steps=4, penalties=[bad])
    assert np.array_equal(model.flat, before)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: t.Omega(-1.0), "weight"),
        (lambda: t.Omega(1.0, smallest=-1.0), "smallest"),
        (lambda: t.Flossing(0), "k"),
        (lambda: t.Flossing(1, target=float("nan")), "target"),
        (lambda: t.Flossing(1, steps=0), "steps"),
        (lambda: t.Flossing(1, discard=-1), "discard"),
    ],
)
def test_refused_when_made(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_refused_where_it_means_nothing():
    model, readout = many_to_one(), tt.models.Readout(2, 1, seed=0)
    run = model.unroll(TASK.batch(4, seed=0).x)
    with pytest.raises(ValueError, match="a model with a network"):
        t.Flossing(1)(readout, readout.unroll(X))
    with pytest.raises(ValueError, match=r"forward_backward\(…\).gradients"):
        t.Omega(1.0)(model, run, None)
    with pytest.raises(ValueError, match="the state has 8 numbers"):
        t.Flossing(9)(model, run)
    for wrong in (t.Omega(1.0), [3], "omega", [t.Omega]):
        with pytest.raises(TypeError, match="`penalties`"):
            t.fit(model, TASK.batches(8, seed=1), MSE, t.SGD(0.1), steps=1, penalties=wrong)
    with pytest.raises(ValueError, match="two of one name"):
        t.fit(model, TASK.batches(8, seed=1), MSE, t.SGD(0.1), steps=1, penalties=[t.Omega(1.0), t.Omega(2.0)])
    with pytest.raises(ValueError, match="returned"):
        t.fit(model, TASK.batches(8, seed=1), MSE, t.SGD(0.1), steps=1, penalties=[lambda *given: 1.0])
