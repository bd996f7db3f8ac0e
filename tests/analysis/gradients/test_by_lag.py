"""The gradient by loss time and lag: against the oracle's Jacobians, closed forms, BPTT, and past the numbers' ends."""

import time

import naive
import networks
import numpy as np
import pytest

import throughtime as tt
from throughtime.analysis.gradients.lag_sweep import by_lag, checked

STEPS = 7


def oracle(p, run):
    """u[t][k] = ∂L_t/∂s_{t−k} (B, S), and the parameters' gradient through each lag, the obvious way."""
    lengths = np.full(run.input.shape[1], run.steps) if p.lengths is None else p.lengths
    by_state, _, by_parameter = naive.jacobians(p.plain, p.x, run.states, lengths)
    gradients, parts = [], np.zeros((run.steps, by_parameter.shape[-1]))
    for t in range(run.steps):
        slope = naive.emit_slope(p.plain, run.states[t + 1])
        u = np.einsum("bn,bns->bs", p.grad_output[t] * (t < lengths)[:, None], slope)
        gradients.append([])
        for k in range(t + 1):
            gradients[t].append(u)
            parts[k] += np.einsum("bs,bsp->p", u, by_parameter[t - k])
            u = np.einsum("bs,bsr->br", u, by_state[t - k])
    return gradients, parts


def hidden(p, flat):
    """The weight_hh of all layers out of a flat vector of parameters; all of it where there is none."""
    split = naive.split(p.plain, flat)
    found = [value.ravel() for name, value in split.items() if name.startswith("weight_hh")]
    return np.concatenate(found) if found else flat


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", networks.CELLS)
def test_every_entry_and_every_share_is_the_oracles(cell, layers):
    p = networks.problem(cell, STEPS, 3, 2, 5, layers=layers, lengths=[STEPS, 4, 0])
    run = p.unroll()
    lags = tt.analysis.gradient_by_lag(run, p.grad_output)
    assert lags.log_norm.shape == (STEPS, STEPS, 3)
    gradients, parts = oracle(p, run)
    for t in range(STEPS):
        for k in range(STEPS):
            norm = np.linalg.norm(gradients[t][k], axis=1) if k <= t else np.zeros(3)
            np.testing.assert_allclose(np.exp(lags.log_norm[t, k]), norm, rtol=1e-12, atol=1e-14)
    full = hidden(p, parts.sum(axis=0))
    for k in range(STEPS):
        part = hidden(p, parts[k])
        assert lags.share[k] == pytest.approx(np.linalg.norm(part) / np.linalg.norm(full), rel=1e-11, abs=1e-13)
        if np.linalg.norm(part) > 1e-9:
            assert lags.cosine[k] == pytest.approx(part @ full / np.linalg.norm(part) / np.linalg.norm(full), abs=1e-11)


@pytest.mark.parametrize(("dtype", "eps"), [("float64", 2.3e-16), ("float32", 1.2e-7)])
@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru", "rate"])
def test_the_double_sum_over_loss_times_and_lags_is_the_full_gradient(cell, dtype, eps):
    p = networks.problem(cell, 60, 2, 3, 16, layers=2, dtype=dtype)
    run = p.unroll()
    full = run.backprop(p.grad_output).parameters
    g, scale = checked(run, p.grad_output, "it")
    total = dict.fromkeys(full, 0.0)
    for _, parts in by_lag(run, g, run.steps - 1, tuple(full)):
        for name, part in parts.items():
            total[name] = total[name] + part * np.exp(scale)
    for name, value in full.items():
        assert np.abs(total[name] - value).max() <= 60 * eps * np.abs(value).max(), name
    lags = tt.analysis.gradient_by_lag(run, p.grad_output, parameters=tuple(full))
    assert lags.remainder < 60 * eps
    assert np.nansum(lags.share * lags.cosine) == pytest.approx(1.0, abs=60 * eps)


def test_partial_sums_are_truncated_bptt():
    p = networks.problem("lstm", 20, 2, 3, 6)
    run, total = p.unroll(), {}
    g, scale = checked(run, p.grad_output, "it")
    for k, (_, parts) in enumerate(by_lag(run, g, 19, tuple(run.network.parameters))):
        total = {name: total.get(name, 0.0) + part * np.exp(scale) for name, part in parts.items()}
        truncated = run.backprop(p.grad_output, window=k + 1).parameters
        for name, value in truncated.items():
            np.testing.assert_allclose(total[name], value, rtol=1e-11, atol=1e-12)


def linear(matrix, steps, dtype="float64", state=None):
    net = tt.Network("linear", 1, len(matrix), bias=False, dtype=dtype, seed=0)
    net.parameters["weight_hh_l0"][...] = matrix
    return net.unroll(np.ones((steps, 1)), state)


def test_one_unit_and_one_loss_share_the_gradient_equally():
    """h_T = w^T h_0: each of the T lags brings h_0 w^(T−1), and dL/dw = T h_0 w^(T−1) (references, section 1)."""
    net = tt.Network("linear", 1, 1, bias=False, seed=0)
    net.parameters["weight_hh_l0"][...] = 1.1
    run = net.unroll(np.zeros((50, 1)), state=[[0.5]])
    last = np.zeros((50, 1))
    last[-1] = 1.0
    lags = tt.analysis.gradient_by_lag(run, last)
    np.testing.assert_allclose(lags.share, 1 / 50, rtol=1e-13)
    np.testing.assert_allclose(lags.cosine, 1.0, rtol=1e-13)
    np.testing.assert_allclose(lags.log_norm[-1, :, 0], np.arange(50) * np.log(1.1), atol=1e-13)
    assert np.isneginf(lags.log_norm[:-1]).all()
    assert run.backprop(last).parameters["weight_hh_l0"][0, 0] == pytest.approx(2667.974, abs=5e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 3e-4)])
@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_neither_under_nor_overflow_at_2000_lags(factor, dtype, tolerance):
    q = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    run = linear(factor * q if factor < 1 else q, 2001, dtype)
    if factor > 1:  # growing states would overflow: let the way back alone grow
        run._layers[0][0].parameters[1][...] *= factor
    lags = tt.analysis.gradient_by_lag(run, np.ones((2001, 3)))
    expected = np.arange(2001) * np.log(factor) + 0.5 * np.log(3)
    assert np.abs(lags.log_norm[-1, :, 0] - expected).max() < 40 * tolerance
    assert abs(lags.log_norm[-1, -1, 0]) > 1385  # beyond e^±745, the ends of float64
    if factor < 1:
        rounding = 2001 * float(np.finfo(dtype).eps)  # of a sum of 2001 equal terms
        assert lags.remainder < rounding
        assert np.nansum(lags.share * lags.cosine) == pytest.approx(1.0, rel=rounding)
    else:
        assert np.isnan(lags.share).all()


def test_a_few_lags_are_the_first_of_all_and_say_what_they_leave_out():
    p = networks.problem("gru", 30, 2, 3, 8)
    run = p.unroll()
    lags, few = (tt.analysis.gradient_by_lag(run, p.grad_output, k) for k in (None, 4))
    assert few.max_lag == 4
    np.testing.assert_array_equal(few.log_norm, lags.log_norm[:, :5])
    np.testing.assert_array_equal(few.share, lags.share[:5])
    cut, full = (run.backprop(p.grad_output, window=w).parameters["weight_hh_l0"] for w in (5, None))
    assert few.remainder == pytest.approx(np.linalg.norm(full - cut) / np.linalg.norm(full), rel=1e-10)


def test_scale_of_the_loss_does_not_matter():
    p = networks.problem("tanh", 20, 1, 2, 6)
    run = p.unroll()
    one = tt.analysis.gradient_by_lag(run, p.grad_output)
    tiny = tt.analysis.gradient_by_lag(run, p.grad_output * 2.0**-900)
    np.testing.assert_array_equal(one.share, tiny.share)
    np.testing.assert_allclose(tiny.log_norm + 900 * np.log(2), one.log_norm, atol=1e-12)


def test_no_loss_is_no_gradient():
    run = tt.Network("tanh", 2, 4, seed=0).unroll(np.ones((5, 2)))
    lags = tt.analysis.gradient_by_lag(run, np.zeros((5, 4)))
    assert np.isneginf(lags.log_norm).all()
    assert np.isnan(lags.share).all()
    assert np.isnan(lags.profile).all()


def test_refusals_are_sentences():
    x = np.ones((5, 2))
    run = tt.Network("tanh", 2, 4, seed=0).unroll(x)
    ask = tt.analysis.gradient_by_lag
    for wrong in (-1, 5, 2.0, True):
        with pytest.raises(ValueError, match="lags go from 0 to 4"):
            ask(run, np.ones((5, 4)), wrong)
    with pytest.raises(ValueError, match="grad_output"):
        ask(run, None)
    with pytest.raises(ValueError, match=r"shape \(4, 5\)"):
        ask(run, np.ones((4, 5)))
    with pytest.raises(ValueError, match="bidirectional=False"):
        ask(tt.Network("tanh", 2, 4, bidirectional=True).unroll(x), np.ones((5, 8)))
    with pytest.raises(ValueError, match="no time steps"):
        ask(run.network.unroll(x[:0]), np.ones((0, 4)))
    with pytest.raises(ValueError, match=r"`parameters` names 'w', but this network has weight_ih_l0"):
        ask(run, np.ones((5, 4)), parameters="w")
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"`run.states\[4\]` of sequence 0 holds nan"):
        ask(run.network.unroll(x), np.ones((5, 4)))


def test_the_result_prints_draws_and_converts_itself():
    from matplotlib import pyplot

    p = networks.problem("lstm", 12, 2, 3, 6)
    lags = tt.analysis.gradient_by_lag(p.unroll(), p.grad_output)
    text = repr(lags)
    assert "12 loss times, lags 0 to 11, 2 sequence(s)" in text
    assert len(text.splitlines()) < 12
    assert set(lags.arrays()) == {"log_norm", "share", "cosine", "remainder"}
    figure, axes = pyplot.subplots(1, 2)
    image = lags.plot(ax=axes[0], sequence=1)["image"]
    assert image.get_array().shape == (12, 12)
    lines = lags.plot(ax=axes[1], kind="share")
    np.testing.assert_array_equal(lines["share"].get_ydata(), lags.share)
    for ax in axes:
        assert ax.get_xlabel()
        assert ax.get_ylabel()
    with pytest.raises(ValueError, match="heat_map"):
        lags.plot(kind="pie")
    pyplot.close(figure)


@pytest.mark.slow
def test_much_faster_than_one_torch_backward_per_loss_time(torch):
    """T = 200, N = 128, nn.RNN on one thread; 10 of its loss times, spread evenly, stand for all of them.

    Measured on a busy machine: 22 to 28 times. The limit leaves room for a busier one.
    """
    steps, units = 200, 128
    net = tt.Network("tanh", 8, units, seed=0)
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((steps, 8)), rng.standard_normal((steps, units))
    run = net.unroll(x)
    ours = min(_seconds(lambda: tt.analysis.gradient_by_lag(run, g)) for _ in range(5))
    rnn = torch.nn.RNN(8, units, dtype=torch.float64)
    rnn.load_state_dict({name: torch.tensor(value) for name, value in net.parameters.items()})
    out, weights = rnn(torch.tensor(x))[0], torch.tensor(g)

    def theirs():
        for t in range(10, steps, 20):
            (out[t] @ weights[t]).backward(retain_graph=True)

    assert 20 * min(_seconds(theirs) for _ in range(2)) > 10 * ours


def _seconds(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
