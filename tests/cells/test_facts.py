"""Closed forms: linear networks, the chain of relu units, the rate unit's Jacobian, gates left to themselves."""

from __future__ import annotations

import numpy as np
import pytest
from networks import LEAK, library_cell

import throughtime as tt

EPS = np.finfo(np.float64).eps


def network(cell, w_hh, inputs=1, **biases):
    """One layer with this recurrent matrix, no input weights and no biases but those given."""
    units = np.shape(w_hh)[1]
    net = tt.Network(library_cell(cell), inputs, units, seed=0)
    for value in net.parameters.values():
        value[...] = 0
    net.parameters["weight_hh_l0"][...] = w_hh
    for name, value in biases.items():
        net.parameters[name][...] = value
    return net


def orthogonal(size, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


def adjoint_norms(w, steps, seed=1):
    """‖dL/dh_t‖ for the loss <δ, h_T>, ‖δ‖ = 1, by lag 0…T, and the gradients themselves."""
    run = network("linear", w).unroll(np.zeros((steps, 1, 1)))
    delta = np.random.default_rng(seed).standard_normal((1, 1, len(w)))
    delta /= np.linalg.norm(delta)
    grads = run.backprop(grad_final_state=delta).states[::-1, 0]
    return np.linalg.norm(grads, axis=1), grads, delta[0, 0]


def test_linear_gradient_is_the_matrix_power():
    w = np.random.default_rng(0).standard_normal((8, 8)) / np.sqrt(8)
    norms, grads, delta = adjoint_norms(w, 20)
    for lag in range(21):
        # Each of `lag` products of 8 terms adds at most 8 eps of what it multiplies; 4 for what later ones add.
        error = np.abs(grads[lag] - np.linalg.matrix_power(w.T, lag) @ delta).max()
        assert error <= 4 * 8 * (lag + 1) * EPS * norms[: lag + 1].max()


def test_orthogonal_matrix_keeps_the_gradient():
    norms, _, _ = adjoint_norms(orthogonal(32), 200)
    assert np.abs(norms - 1).max() < 1e-13  # 200 steps of about 2 eps each, all to one side
    norms, _, _ = adjoint_norms(0.9 * orthogonal(32), 200)
    np.testing.assert_allclose(norms, 0.9 ** np.arange(201), rtol=1e-13)


def test_symmetric_matrix_decays_at_its_spectral_radius():
    q = orthogonal(20, 2)
    norms, _, _ = adjoint_norms(q @ np.diag(np.linspace(-0.6, 0.95, 20)) @ q.T, 400)
    # The second eigenvalue, .868, has fallen by (.868/.95)^400 = 3e-16 beside the first by then.
    assert np.log(norms[-1] / norms[-2]) == pytest.approx(np.log(0.95), abs=1e-13)


def test_a_spectral_radius_is_no_bound():
    jordan = np.array([[0.9, 1.0], [0.0, 0.9]])
    run = network("linear", jordan).unroll(np.zeros((20, 1, 1)))
    norm = [np.linalg.norm(run.jvp(np.eye(2)[None], 0, k)[0], 2) for k in range(21)]
    assert int(np.argmax(norm)) == 9
    assert norm[9] == pytest.approx(3.91257, abs=5e-6)
    assert norm[20] == pytest.approx(2.707163351, abs=5e-10)


def test_gain_to_the_power_t_holds_for_few_steps_only():
    """W Gaussian of gain g: ‖(Wᵀ)^t δ‖ is g^t while t ≪ √N; in the long run it is ρ^t, and g^t again for g W/ρ."""
    gain, size = 0.9, 400
    w = gain / np.sqrt(size) * np.random.default_rng(5).standard_normal((size, size))
    radius = np.abs(np.linalg.eigvals(w)).max()
    lag = np.arange(0, 2001, 20)  # whole turns and parts of the leading pair's rotation: the slope averages over them
    for scale, late in ((1.0, np.log(radius)), (gain / radius, np.log(gain))):
        run = network("linear", scale * w).unroll(np.zeros((2000, 1, 1)))
        decay = tt.analysis.gradient_norms(run, grad_final_state=np.ones((1, 1, size)) / np.sqrt(size))
        log_norm = decay.log_norm[::-1, 0]
        assert np.polyfit(lag[50:], log_norm[lag[50:]], 1)[0] == pytest.approx(late, abs=1e-3)
        assert abs(log_norm[10] - 10 * np.log(scale * gain)) < 4 * 10 / np.sqrt(2 * size)  # std √(1/2N) in each step
    assert abs(np.log(radius) - np.log(gain)) > 5e-3  # so that the two laws can be told apart


def test_scalar_recursion():
    """x_t = x₀ w^t: dx_t/dw = t x₀ w^(t-1), dx_t/dx₀ = w^t."""
    run = network("linear", [[1.1]]).unroll(np.zeros((50, 1, 1)), state=np.full((1, 1, 1), 0.5))
    grads = run.backprop(grad_final_state=np.ones((1, 1, 1)))
    assert grads.parameters["weight_hh_l0"][0, 0] == pytest.approx(2667.974, abs=5e-4)
    # 50 products, each rounded once, in the states and again in the gradient.
    assert grads.parameters["weight_hh_l0"][0, 0] == pytest.approx(50 * 0.5 * 1.1**49, rel=100 * EPS)
    assert grads.initial_state[0, 0, 0] == pytest.approx(1.1**50, rel=100 * EPS)
    assert run.final_state[0, 0, 0] == pytest.approx(0.5 * 1.1**50, rel=100 * EPS)


@pytest.mark.parametrize(
    ("w", "depth", "gradient", "of_square_loss"),
    [(0.5, 5, 0.0625, -0.12109375), (0.5, 20, 1.9073e-6, None), (2.0, 5, 16.0, 992.0), (2.0, 20, 524288.0, 1.09951e12)],
)
def test_relu_chain(w, depth, gradient, of_square_loss):
    """The chain ŷ = w^L as one unit over L steps from h₀ = 1: ∂ŷ/∂w₁ = ∂ŷ/∂h₁ · h₀, the gradient at the first link."""
    run = network("relu", [[w]]).unroll(np.zeros((depth, 1, 1)), state=np.ones((1, 1, 1)))
    assert run.final_state[0, 0, 0] == w**depth  # powers of two: exact
    through_first = run.backprop(grad_final_state=np.ones((1, 1, 1))).states[1, 0, 0]
    assert through_first == w ** (depth - 1)
    assert through_first == pytest.approx(gradient, rel=5e-5)  # the references print five digits
    if of_square_loss is not None:
        residual = 2 * (run.final_state - 1)
        assert run.backprop(grad_final_state=residual).states[1, 0, 0] == pytest.approx(of_square_loss, rel=5e-5)


def test_relu_chain_dies_on_a_negative_pre_activation():
    run = network("relu", [[2.0]], bias_ih_l0=-3.0).unroll(np.zeros((5, 1, 1)), state=np.ones((1, 1, 1)))
    grads = run.backprop(grad_final_state=np.ones((1, 1, 1)))
    assert grads.initial_state[0, 0, 0] == 0
    assert grads.parameters["weight_hh_l0"][0, 0] == 0


def test_identity_relu_network_keeps_every_gradient():
    run = network("relu", np.eye(6)).unroll(
        np.zeros((30, 2, 1)), state=np.random.default_rng(0).uniform(0.1, 1, (1, 2, 6))
    )
    for t in (1, 17, 30):
        np.testing.assert_array_equal(run.jacobian(t), np.broadcast_to(np.eye(6), (2, 6, 6)))
    grad = np.random.default_rng(1).standard_normal((1, 2, 6))
    np.testing.assert_array_equal(run.backprop(grad_final_state=grad).states, np.broadcast_to(grad, (31, 2, 6)))


def test_rate_unit_has_n_eigenvalues():
    """x' = (1-δ) x + δ W tanh(x): the state is x alone, J = (1-δ) 1 + δ W diag(sech² x)."""
    rng = np.random.default_rng(3)
    w = 1.5 * rng.standard_normal((7, 7)) / np.sqrt(7)
    net = network("rate", w)
    run = net.unroll(np.zeros((4, 1, 1)), state=rng.standard_normal((1, 1, 7)))
    assert net.state_size == 7
    assert run.jacobian(1).shape == (1, 7, 7)
    expected = (1 - LEAK) * np.eye(7) + LEAK * w / np.cosh(run.states[1, 0]) ** 2
    # Entries of order 1, a few roundings each.
    np.testing.assert_allclose(run.jacobian(2)[0], expected, rtol=0, atol=10 * EPS)
    np.testing.assert_allclose(run.output[:, 0], np.tanh(run.states[1:, 0]), rtol=10 * EPS)


def test_lstm_without_recurrent_weights_multiplies_its_forget_gates():
    """∂c_t/∂c_0 = Π f: with no recurrent weights the cell state is a leaky integrator."""
    rng = np.random.default_rng(4)
    net = network("lstm", np.zeros((20, 5)), inputs=3, bias_ih_l0=rng.standard_normal(20))
    net.parameters["weight_ih_l0"][...] = rng.standard_normal((20, 3))
    x = rng.standard_normal((12, 1, 3))
    run = net.unroll(x)
    gate = x[:, 0] @ net.parameters["weight_ih_l0"][5:10].T + net.parameters["bias_ih_l0"][5:10]
    kept = np.prod(1 / (1 + np.exp(-gate)), axis=0)
    jacobian = run.jvp(np.eye(10)[None], 0, 12)[0]
    # 12 factors: the error of each gate is 3 eps of its argument (up to 6 here) and a few ulp.
    np.testing.assert_allclose(np.diag(jacobian)[5:], kept, rtol=12 * 20 * EPS)
    np.testing.assert_array_equal(jacobian[5:, 5:] - np.diag(np.diag(jacobian)[5:]), 0)
    np.testing.assert_array_equal(jacobian[:, :5], 0)  # h is read by nobody


def test_regulariser_of_a_scaled_orthogonal_matrix():
    """Pascanu's Ω = ⟨(‖u J‖²/‖u‖² − 1)²⟩, u = dE/dx_{k+1} (their eq. 10), is (1 − a²)² for linear W = a·orthogonal."""
    for a in (0.5, 0.9, 1.0, 1.2):
        run = network("linear", a * orthogonal(16)).unroll(np.zeros((30, 1, 1)))
        u = run.backprop(grad_final_state=np.random.default_rng(0).standard_normal((1, 1, 16))).states[1:]
        back = np.array([run.vjp(u[t], t, t + 1) for t in range(30)])
        omega = (((back**2).sum(axis=2) / (u**2).sum(axis=2) - 1) ** 2).mean()
        assert omega == pytest.approx((1 - a**2) ** 2, abs=100 * EPS)


@pytest.mark.parametrize(("bias", "memory"), [(0, 1.443), (1, 3.192), (2, 7.879), (5, 148.9)])
def test_forget_bias_sets_the_memory(bias, memory):
    net = network("lstm", np.zeros((4, 1)), bias_ih_l0=np.array([0, bias, 0, 0.0]))
    run = net.unroll(np.zeros((10, 1, 1)))
    kept = run.jvp(np.array([[0.0, 1.0]]), 0, 10)[0, 1]
    assert -10 / np.log(kept) == pytest.approx(memory, rel=4e-4)  # four printed digits
