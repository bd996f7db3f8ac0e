"""Pascanu's Ω beside its definition, the paper's gradient beside its formula, the full one beside differences."""

from __future__ import annotations

import networks
import numpy as np
import pytest

import throughtime as tt

omega = tt.analysis.pascanu_omega
LENGTHS = [7, 4, 0]


def by_definition(p, smallest=1e-10):
    run = p.unroll()
    g, found = run.backprop(p.grad_output).states, []
    for b, length in enumerate(run.lengths):
        for t in range(1, length + 1):
            before = run.jacobian(t)[b].T @ g[t, b]
            if np.linalg.norm(g[t, b]) >= smallest:
                found.append((np.linalg.norm(before) / np.linalg.norm(g[t, b]) - 1) ** 2)
    return np.mean(found), len(found)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", networks.CELLS)
def test_value_and_full_gradient(cell, layers):
    """Along a random direction of each parameter: h⁴ = 1e-16 beside fifth derivatives up to 1e7; a rectifier's between
    its corners."""
    p = networks.problem(cell, 7, 3, 2, 5, layers=layers, lengths=LENGTHS)
    found, (value, count) = omega(p.unroll(), p.grad_output, full=True), by_definition(p)
    np.testing.assert_allclose(found.value, value, rtol=1e-12)
    assert np.isfinite(found.ratio).sum() == count
    rng, h = np.random.default_rng(1), 1e-7 if cell == "relu" else 1e-4
    for name, own in p.net.parameters.items():
        original, v = own.copy(), rng.standard_normal(own.shape)

        def at(e, own=own, original=original, v=v):
            own[...] = original + e * v
            return omega(p.unroll(), p.grad_output).value

        expected = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        own[...] = original
        np.testing.assert_allclose((found.parameters[name] * v).sum(), expected, rtol=1e-7, atol=1e-7)


def test_the_papers_gradient_of_a_tanh_network():
    """(1/C) Σ ∂(‖Wᵀ diag(1 − h²) g‖/‖g‖ − 1)²/∂W with h and g held: differences of this formula, from plain NumPy."""
    p = networks.problem("tanh", 9, 3, 2, 5)
    run = p.unroll()
    g, w = run.backprop(p.grad_output).states, p.net.parameters["weight_hh_l0"]
    sent = g[1:] * (1 - run.states[1:] ** 2)

    def value(w):
        return np.mean((np.linalg.norm(sent @ w, axis=2) / np.linalg.norm(g[1:], axis=2) - 1) ** 2)

    found = omega(run, p.grad_output)
    np.testing.assert_allclose(found.value, value(w), rtol=1e-13)
    v, h = np.random.default_rng(2).standard_normal(w.shape), 1e-4
    expected = (8 * (value(w + h * v) - value(w - h * v)) - value(w + 2 * h * v) + value(w - 2 * h * v)) / (12 * h)
    np.testing.assert_allclose((found.parameters["weight_hh_l0"] * v).sum(), expected, rtol=1e-10)
    assert not any(value.any() for name, value in found.parameters.items() if name != "weight_hh_l0")


def test_of_two_layers_the_weights_between_count_too():
    p = networks.problem("gru", 9, 3, 2, 5, layers=2)
    found = omega(p.unroll(), p.grad_output)
    moved = {name for name, value in found.parameters.items() if value.any()}
    assert moved == {"weight_hh_l0", "weight_hh_l1", "weight_ih_l1"}


def test_a_finished_backprop_does():
    for cell, layers in (("lstm", 2), ("tanh", 1)):
        p = networks.problem(cell, 7, 3, 2, 5, layers=layers, lengths=LENGTHS)
        run = p.unroll()
        gradients = run.backprop(p.grad_output)
        for full in (False, True):
            one, other = omega(run, p.grad_output, full=full), omega(run, gradients, full=full)
            assert one.value == other.value
            for name, value in one.parameters.items():
                assert np.array_equal(value, other.parameters[name])
    p = networks.problem("rate", 7, 3, 2, 5)
    run = p.unroll()
    with pytest.raises(ValueError, match="dL/doutput"):
        omega(run, run.backprop(p.grad_output), full=True)


def test_going_down_lowers_it():
    """20 steps along the paper's gradient, and along the full one, bring the mean ratio of the norms towards 1."""
    for full in (False, True):
        p = networks.problem("tanh", 30, 4, 2, 10, gain=0.5)
        first = omega(p.unroll(), p.grad_output)
        for _ in range(20):
            found = omega(p.unroll(), p.grad_output, full=full)
            for name, value in p.net.parameters.items():
                value -= 1.0 * found.parameters[name]
        last = omega(p.unroll(), p.grad_output)
        assert last.value < 0.8 * first.value
        assert abs(np.nanmean(last.ratio) - 1) < abs(np.nanmean(first.ratio) - 1)


def test_steps_without_a_gradient_do_not_count():
    run = tt.Network("tanh", 2, 4, seed=0).unroll(np.random.default_rng(0).standard_normal((10, 2, 2)))
    g = np.zeros((10, 2, 4))
    assert omega(run, g).value == 0.0
    g[4, 0] = 1.0
    found = omega(run, g, full=True)
    assert np.isfinite(found.ratio).sum() == 5
    assert np.isnan(found.ratio[:, 1]).all()
    assert all(np.isfinite(value).all() for value in found.parameters.values())


def test_a_dead_rectifier_has_a_value_and_no_slope():
    net = tt.Network("relu", 1, 3, bias=False, seed=0)
    net.parameters["weight_ih_l0"][...] = -1.0
    net.parameters["weight_hh_l0"][...] = 0.0
    found = omega(net.unroll(np.ones((5, 1))), np.ones((5, 3)), full=True)
    assert found.value == 1.0
    assert not any(value.any() for value in found.parameters.values())


def test_refused():
    run = tt.Network("tanh", 2, 4, seed=0).unroll(np.ones((10, 2)))
    other = tt.Network("tanh", 2, 4, seed=0).unroll(np.ones((9, 2))).backprop(np.ones((9, 4)))
    with pytest.raises(ValueError, match="this run has states"):
        omega(run, other)
    with pytest.raises(ValueError, match="smallest"):
        omega(run, np.ones((10, 4)), smallest=-1.0)
    with pytest.raises(ValueError, match="bidirectional"):
        omega(tt.Network("tanh", 2, 4, bidirectional=True).unroll(np.ones((10, 2))), np.ones((10, 8)))
