"""Backprop with the gradient of every state clipped on its way, beside plain NumPy."""

from __future__ import annotations

import naive
import networks
import numpy as np
import pytest

import throughtime as tt


def oracle(p, run, limit):
    """u_t = v_t min(1, limit/|v_t|) from T to 0, with the Jacobians and step derivatives of complex steps."""
    T = run.steps
    lengths = np.full(run.input.shape[1], T) if p.lengths is None else np.asarray(p.lengths)
    by_state, by_input, by_parameter = naive.jacobians(p.plain, p.x, run.states, lengths)
    states, g_input, total = np.zeros(run.states.shape), np.zeros(p.x.shape), np.zeros(by_parameter.shape[-1])
    v = np.array(p.grad_final)
    for t in range(T, -1, -1):
        if t:
            slope = naive.emit_slope(p.plain, run.states[t])
            v = v + np.einsum("bn,bns->bs", p.grad_output[t - 1] * (t - 1 < lengths)[:, None], slope)
        u = states[t] = v * np.minimum(1.0, limit / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300))
        if t:
            total += np.einsum("bs,bsp->p", u, by_parameter[t - 1])
            g_input[t - 1] = np.einsum("bs,bsi->bi", u, by_input[t - 1])
            v = np.einsum("bs,bsr->br", u, by_state[t - 1])
    return naive.split(p.plain, total), g_input, states


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", networks.CELLS)
def test_is_the_oracles(cell, layers):
    p = networks.problem(cell, 8, 3, 2, 5, layers=layers, lengths=[8, 5, 0])
    run = p.unroll()
    for limit in (0.5, 2.5):
        found = run.backprop(p.grad_output, naive.unflatten(p.plain, p.grad_final), clip_state=limit)
        parameters, g_input, states = oracle(p, run, limit)
        assert np.linalg.norm(found.states, axis=2).max() <= limit * (1 + 1e-14)
        np.testing.assert_allclose(found.states, states, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(found.input, g_input, rtol=1e-11, atol=1e-13)
        for name, value in parameters.items():
            np.testing.assert_allclose(found.parameters[name], value, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_limit_beyond_every_gradient_changes_nothing(dtype):
    net = tt.Network("lstm", 2, 5, num_layers=2, dtype=dtype, seed=0)
    rng = np.random.default_rng(1)
    run = net.unroll(rng.standard_normal((9, 3, 2)), lengths=[9, 4, 0])
    g = rng.standard_normal(run.output.shape)
    whole, same = run.backprop(g), run.backprop(g, clip_state=1e9)
    tolerance = 200 * np.finfo(dtype).eps  # sums of 27 rows, in another order
    for one, other in zip((whole.states, whole.input), (same.states, same.input), strict=True):
        np.testing.assert_allclose(other, one, rtol=tolerance, atol=tolerance)
    assert list(same.parameters) == list(whole.parameters)
    for name, value in whole.parameters.items():
        np.testing.assert_allclose(same.parameters[name], value, rtol=tolerance, atol=tolerance * np.abs(value).max())


def test_huge_and_non_finite_gradients():
    net = tt.Network("tanh", 2, 4, seed=0)
    run = net.unroll(np.random.default_rng(0).standard_normal((5, 3, 2)))
    g = np.ones((5, 3, 4))
    g[:, 0] *= 1e200  # whose squares are no numbers
    g[2, 1] = np.nan
    found = run.backprop(g, clip_state=1.0).states
    np.testing.assert_allclose(np.linalg.norm(found[:, 0], axis=1)[1:], 1.0, rtol=1e-14)
    assert np.isnan(found[:4, 1]).all()
    assert np.isfinite(found[4:, 1]).all()
    assert np.isfinite(found[:, 2]).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clip_state": 0.0}, "above 0"),
        ({"clip_state": -1}, "above 0"),
        ({"clip_state": float("nan")}, "clip_state"),
        ({"clip_state": 1.0, "window": 2}, "pass one of them"),
    ],
)
def test_refused(options, said):
    run = tt.Network("tanh", 2, 4, seed=0).unroll(np.ones((5, 2)))
    with pytest.raises(ValueError, match=said):
        run.backprop(np.ones((5, 4)), **options)


def test_of_one_direction():
    run = tt.Network("tanh", 2, 4, bidirectional=True, seed=0).unroll(np.ones((5, 2)))
    with pytest.raises(ValueError, match="bidirectional"):
        run.backprop(np.ones((5, 8)), clip_state=1.0)


@pytest.mark.parametrize("cell", networks.CELLS)
def test_single_steps_are_the_steps(cell):
    """All rows of a window one step back at once: the vjp of every time, and their weights' gradients summed."""
    p = networks.problem(cell, 7, 3, 2, 5, layers=2, lengths=[7, 4, 0])
    run = p.unroll()
    u = np.random.default_rng(0).standard_normal((4, 3, run.states.shape[2]))
    single = run.single_steps(2, 6)
    with pytest.raises(ValueError, match=r"single steps has no output .*take the run"):
        single.backprop(np.ones((4, 3, 5)))
    with pytest.raises(AttributeError, match="single steps has no attribute `final_state`; it has `vjp`"):
        _ = single.final_state
    back, parameters = single.pullback(u.reshape(12, -1), 0, 1)
    each = [run.pullback(u[i], 2 + i, 3 + i) for i in range(4)]
    np.testing.assert_array_equal(back.reshape(u.shape), np.array([one for one, _ in each]))
    for name, value in parameters.items():
        expected = sum(own[name] for _, own in each)
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-13)
    three = np.random.default_rng(1).standard_normal((12, run.states.shape[2], 3))
    expected = [run.vjp(three.reshape(4, 3, -1, 3)[i], 2 + i, 3 + i) for i in range(4)]
    np.testing.assert_array_equal(single.vjp(three, 0, 1).reshape(4, 3, -1, 3), np.array(expected))


def test_nothing_in_nothing_out():
    net = tt.Network("lstm", 2, 3, seed=0)
    for shape in ((0, 3, 2), (4, 0, 2)):
        run = net.unroll(np.zeros(shape))
        found = run.backprop(np.zeros_like(run.output), clip_state=1.0)
        assert found.states.shape == run.states.shape
        assert found.input.shape == shape
        assert not any(value.any() for value in found.parameters.values())
