"""Clipping: PyTorch's numbers, the oracle's way back with a limit at every step, and what it does to the direction."""

import naive
import networks
import numpy as np
import pytest

import throughtime as tt

clip = tt.analysis


def some(seed=0, scale=1.0, dtype="float64"):
    rng = np.random.default_rng(seed)
    shapes = {"a": (3, 4), "b": (5,)}
    return {name: (scale * rng.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("limit", [0.5, 3.0, 1e3])
def test_the_same_numbers_as_torch(torch, dtype, limit):
    for ours, theirs in (
        (clip.clip_by_norm, torch.nn.utils.clip_grad_norm_),
        (clip.clip_by_value, torch.nn.utils.clip_grad_value_),
    ):
        gradients = some(dtype=dtype)
        tensors = []
        for value in gradients.values():
            tensors.append(torch.nn.Parameter(torch.zeros(value.shape, dtype=getattr(torch, dtype))))
            tensors[-1].grad = torch.tensor(value)
        returned, norm = ours(gradients, limit), theirs(tensors, limit)
        if norm is not None:
            assert returned == pytest.approx(float(norm), rel=1e-6)
        for value, tensor in zip(gradients.values(), tensors, strict=True):
            np.testing.assert_allclose(value, tensor.grad.numpy(), rtol=2e-6 if dtype == "float32" else 1e-15)


def test_by_norm_keeps_the_direction_and_returns_the_norm_before():
    gradients, before = some(scale=10.0), some(scale=10.0)
    norm = np.sqrt(sum((g**2).sum() for g in before.values()))
    assert clip.clip_by_norm(gradients, 2.0) == pytest.approx(norm, rel=1e-15)
    for name, value in gradients.items():
        np.testing.assert_allclose(value, before[name] * 2.0 / (norm + 1e-6), rtol=1e-15)
    untouched = some()
    clip.clip_by_norm(untouched, 1e9)
    np.testing.assert_array_equal(untouched["a"], some()["a"])


def test_gradients_of_a_run_are_clipped_in_place():
    run = tt.Network("lstm", 2, 5, seed=0).unroll(np.ones((10, 2)))
    grads = run.backprop(np.ones((10, 5)))
    clip.clip_by_norm(grads, 0.1)
    assert np.sqrt(sum((g**2).sum() for g in grads.parameters.values())) == pytest.approx(0.1, rel=1e-5)
    assert 0.0 < clip.clip_by_value(grads, 0.001) < 1.0
    assert max(np.abs(g).max() for g in grads.parameters.values()) == 0.001


def oracle(p, run, limit):
    """The way back one step at a time with the plain Jacobians, clipped at each."""
    lengths = np.full(run.input.shape[1], run.steps) if p.lengths is None else p.lengths
    by_state, _, by_parameter = naive.jacobians(p.plain, p.x, run.states, lengths)
    u, total = np.zeros(p.start.shape), np.zeros(by_parameter.shape[-1])
    for t in reversed(range(run.steps)):
        slope = naive.emit_slope(p.plain, run.states[t + 1])
        u = u + np.einsum("bn,bns->bs", p.grad_output[t] * (t < lengths)[:, None], slope)
        u = u * np.minimum(1.0, limit / (np.linalg.norm(u, axis=1, keepdims=True) + 1e-6))
        total += np.einsum("bs,bsp->p", u, by_parameter[t])
        u = np.einsum("bs,bsr->br", u, by_state[t])
    return naive.split(p.plain, total)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", networks.CELLS)
def test_per_step_is_the_oracles(cell, layers):
    p = networks.problem(cell, 8, 3, 2, 5, layers=layers, lengths=[8, 5, 0])
    run = p.unroll()
    for limit in (0.5, 2.5) if cell != "threshold_power" else (0.005, 0.05):  # whose gradients are small: 1/tau
        gradients, fraction = clip.clip_per_step(run, p.grad_output, limit)
        for name, value in oracle(p, run, limit).items():
            np.testing.assert_allclose(gradients[name], value, rtol=1e-11, atol=1e-13)
        assert 0.0 < fraction <= 1.0


def test_a_limit_beyond_every_gradient_changes_nothing():
    p = networks.problem("gru", 20, 2, 3, 6, layers=2)
    run = p.unroll()
    gradients, fraction = clip.clip_per_step(run, p.grad_output, 1e9)
    assert fraction == 0.0
    for name, value in run.backprop(p.grad_output).parameters.items():
        np.testing.assert_allclose(gradients[name], value, rtol=1e-11, atol=1e-13)


def test_effect_on_length_and_direction():
    p = networks.problem("tanh", 40, 2, 3, 12, gain=3.0)
    run = p.unroll()
    limits = np.array([1e-3, 1e-1, 1.0, 1e9])
    effect = clip.clipping_effect(run, p.grad_output, limits)
    full = np.concatenate([g.ravel() for g in run.backprop(p.grad_output).parameters.values()])
    assert effect.norm == pytest.approx(np.linalg.norm(full), rel=1e-12)
    np.testing.assert_allclose(effect.cosine[0], 1.0, atol=1e-14)  # by norm: shortened only
    np.testing.assert_allclose(effect.norm_ratio[0, :3], limits[:3] / (effect.norm + 1e-6), rtol=1e-12)
    np.testing.assert_allclose(effect.cosine[:, -1], 1.0, atol=1e-12)
    np.testing.assert_allclose(effect.norm_ratio[:, -1], 1.0, rtol=1e-12)
    np.testing.assert_array_equal(effect.clipped[:, -1], 0.0)
    for i, limit in enumerate(limits):
        value = np.clip(full, -limit, limit)
        cosine = value @ full / np.linalg.norm(value) / np.linalg.norm(full)
        assert effect.cosine[1, i] == pytest.approx(cosine, rel=1e-12)
        assert effect.clipped[1, i] == np.mean(np.abs(full) > limit)
    assert effect.cosine[1, 0] < 0.99
    assert effect.cosine[2, 0] < 0.99


def test_refusals_are_sentences():
    for wrong in (0, -1.0, np.inf, np.nan, True, "1", [1.0]):
        with pytest.raises(ValueError, match="`max_norm` is"):
            clip.clip_by_norm(some(), wrong)
    with pytest.raises(TypeError, match=r"run\.backprop"):
        clip.clip_by_value([1.0], 1.0)
    with pytest.raises(TypeError, match="in place"):
        clip.clip_by_value({"a": 1.0}, 1.0)
    bad = some() | {"b": np.array([np.inf])}
    with pytest.raises(ValueError, match="gradient of b is not finite"):
        clip.clip_by_norm(bad, 1.0)
    run = tt.Network("tanh", 2, 4, seed=0).unroll(np.ones((6, 2)))
    with pytest.raises(ValueError, match="`thresholds` is"):
        clip.clipping_effect(run, np.ones((6, 4)), [1.0, -1.0])
    both = tt.Network("tanh", 2, 4, bidirectional=True).unroll(np.ones((6, 2)))
    with pytest.raises(ValueError, match="bidirectional=False"):
        clip.clip_per_step(both, np.ones((6, 8)), 1.0)


def test_the_result_prints_draws_and_converts_itself():
    from matplotlib import pyplot

    p = networks.problem("lstm", 12, 2, 3, 6)
    effect = clip.clipping_effect(p.unroll(), p.grad_output, [0.01, 0.1, 1.0])
    assert "per step" in repr(effect)
    assert len(repr(effect).splitlines()) < 12
    assert effect.arrays()["cosine"].shape == (3, 3)
    figure, ax = pyplot.subplots()
    assert len(effect.plot(ax=ax)["curves"]) == 3
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    pyplot.close(figure)
