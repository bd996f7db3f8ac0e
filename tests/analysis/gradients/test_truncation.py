"""The bias of truncated BPTT: against run.backprop(window=…), against training in pieces, and in closed form."""

import networks
import numpy as np
import pytest

import throughtime as tt


def vector(gradients, names):
    return np.concatenate([gradients[name].astype(np.float64).ravel() for name in names])


def expected(cut, full):
    error, ratio = np.linalg.norm(cut - full) / np.linalg.norm(full), np.linalg.norm(cut) / np.linalg.norm(full)
    return error, cut @ full / np.linalg.norm(cut) / np.linalg.norm(full), ratio


@pytest.mark.parametrize("every_parameter", [False, True])
@pytest.mark.parametrize("cell", networks.CELLS)
def test_windows_are_those_of_backprop(cell, every_parameter):
    p = networks.problem(cell, 15, 3, 2, 5, layers=2, lengths=[15, 9, 0])
    run = p.unroll()
    known = list(run.network.parameters)
    names = known if every_parameter else [name for name in known if name.startswith("weight_hh")] or known
    windows = [15, 1, 4, 7]
    bias = tt.analysis.truncation_bias(run, p.grad_output, windows, parameters=names if every_parameter else None)
    full = vector(run.backprop(p.grad_output).parameters, names)
    for i, window in enumerate(windows):
        cut = vector(run.backprop(p.grad_output, window=window).parameters, names)
        error, cosine, ratio = expected(cut, full)
        assert bias.relative_error[i] == pytest.approx(error, rel=1e-10, abs=1e-13)
        assert bias.cosine[i] == pytest.approx(cosine, abs=1e-13)
        assert bias.norm_ratio[i] == pytest.approx(ratio, rel=1e-10)
    assert bias.parameters == tuple(names)


def test_they_are_partial_sums_of_the_lags():
    p = networks.problem("gru", 20, 2, 3, 6)
    run = p.unroll()
    lags = tt.analysis.gradient_by_lag(run, p.grad_output)
    bias = tt.analysis.truncation_bias(run, p.grad_output, np.arange(1, 21))
    # ⟨G(w), G⟩/‖G‖² = Σ_{k<w} share cosine
    along = np.nancumsum(lags.share * lags.cosine)
    np.testing.assert_allclose(bias.norm_ratio * bias.cosine, along, rtol=1e-12)
    for w in (1, 5, 12):
        remainder = tt.analysis.gradient_by_lag(run, p.grad_output, w - 1).remainder
        assert bias.relative_error[w - 1] == pytest.approx(remainder, rel=1e-10)
    assert bias.relative_error[-1] < 1e-13


def in_pieces(net, x, grad_output, every, window):
    """What a trainer does: each piece of `every` steps forward from the handed-on state, its losses back `window`."""
    states = net.unroll(x).states
    total = {}
    for begin in range(0, len(x), every):
        end = min(begin + every, len(x))
        start = max(0, end - window)
        n, B = net.hidden_size, x.shape[1]
        parts = states[start].reshape(B, net.num_layers, -1, n).transpose(2, 1, 0, 3)
        piece = net.unroll(x[start:end], state=tuple(parts) if len(parts) > 1 else parts[0])
        g = grad_output[start:end].copy()
        g[: begin - start] = 0
        for name, value in piece.backprop(g).parameters.items():
            total[name] = total.get(name, 0) + value
    return total


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["tanh", "lstm", "rate"])
@pytest.mark.parametrize(("every", "window"), [(5, 5), (5, 12), (4, 4), (23, 23), (2, 23)])
def test_pieces_are_those_of_a_trainer(cell, layers, every, window):
    p = networks.problem(cell, 23, 2, 3, 5, layers=layers)
    net, run = p.net, p.net.unroll(p.x)
    names = list(net.parameters)
    bias = tt.analysis.truncation_bias(run, p.grad_output, window, every=every, parameters=names)
    full = vector(run.backprop(p.grad_output).parameters, names)
    cut = vector(in_pieces(net, p.x, p.grad_output, every, window), names)
    error, cosine, ratio = expected(cut, full)
    assert bias.every == every
    assert bias.relative_error[0] == pytest.approx(error, rel=1e-10, abs=1e-13)
    assert bias.cosine[0] == pytest.approx(cosine, abs=1e-13)
    assert bias.norm_ratio[0] == pytest.approx(ratio, rel=1e-10)


def test_one_unit_in_closed_form():
    """h_t = h_{t−1} = 1, L = Σ_t h_t: dL/dw = T(T+1)/2; a window w brings Σ_t min(t, w), a piece k(k+1)/2."""
    T = 12
    net = tt.Network("linear", 1, 1, bias=False, seed=0)
    net.parameters["weight_hh_l0"][...] = 1.0
    run = net.unroll(np.zeros((T, 1)), state=[[1.0]])
    full = T * (T + 1) / 2
    windows = np.arange(1, T + 1)
    bias = tt.analysis.truncation_bias(run, np.ones((T, 1)), windows)
    sums = np.array([np.minimum(np.arange(1, T + 1), w).sum() for w in windows])
    np.testing.assert_allclose(bias.norm_ratio, sums / full, rtol=1e-14)
    np.testing.assert_allclose(bias.relative_error, 1 - sums / full, atol=1e-15)
    for k in (2, 3, 4, 6):
        pieces = tt.analysis.truncation_bias(run, np.ones((T, 1)), [k], every=k)
        assert pieces.norm_ratio[0] == pytest.approx(T / k * k * (k + 1) / 2 / full, rel=1e-14)
    assert bias.window_for(0.5) == windows[np.argmax(1 - sums / full < 0.5)]
    assert bias.window_for(0.0) == np.inf


def test_vanishing_gradients_make_short_windows_enough():
    """‖W‖ = ½: what a window leaves out falls like 2^−w."""
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0]
    net = tt.Network("linear", 2, 8, bias=False, seed=0)
    net.parameters["weight_hh_l0"][...] = 0.5 * q
    rng = np.random.default_rng(1)
    run = net.unroll(rng.standard_normal((200, 2)))
    bias = tt.analysis.truncation_bias(run, rng.standard_normal((200, 8)), np.arange(1, 41))
    slope = np.polyfit(bias.windows, np.log(bias.relative_error), 1)[0]
    assert slope == pytest.approx(np.log(0.5), abs=0.03)


def test_refusals_are_sentences():
    run = tt.Network("tanh", 2, 4, seed=0).unroll(np.ones((6, 2)))
    g, ask = np.ones((6, 4)), tt.analysis.truncation_bias
    for wrong in (0, 7, -1):
        with pytest.raises(ValueError, match=f"`windows` holds {wrong}; a window here is 1 to 6"):
            ask(run, g, [2, wrong])
    for wrong in ([], 2.5, [[1]], "all"):
        with pytest.raises(ValueError, match="expected whole numbers"):
            ask(run, g, wrong)
    with pytest.raises(ValueError, match="would leave out losses"):
        ask(run, g, [2], every=3)
    for wrong in (0, 7, 1.5, True):
        with pytest.raises(ValueError, match="`every` is"):
            ask(run, g, [6], every=wrong)
    with pytest.raises(ValueError, match="bidirectional=False"):
        ask(tt.Network("tanh", 2, 4, bidirectional=True).unroll(np.ones((6, 2))), np.ones((6, 8)), [1])
    with pytest.raises(ValueError, match="parameters"):
        ask(run, g, [1], parameters=[])


def test_no_gradient_has_no_bias():
    run = tt.Network("tanh", 2, 4, seed=0).unroll(np.ones((6, 2)))
    assert np.isnan(tt.analysis.truncation_bias(run, np.zeros((6, 4)), [1, 6]).relative_error).all()


def test_the_result_prints_draws_and_converts_itself():
    from matplotlib import pyplot

    p = networks.problem("lstm", 12, 2, 3, 6)
    bias = tt.analysis.truncation_bias(p.unroll(), p.grad_output, [1, 4, 12])
    assert "of each loss" in repr(bias)
    assert len(repr(bias).splitlines()) < 8
    assert set(bias.arrays()) == {"windows", "every", "relative_error", "cosine", "norm_ratio"}
    figure, ax = pyplot.subplots()
    lines = bias.plot(ax=ax)
    np.testing.assert_array_equal(lines["error"].get_ydata()[:2], bias.relative_error[:2])
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    figure.canvas.draw()
    pyplot.close(figure)
