"""Lyapunov spectra of networks: theory, sum rule, batches, cells, and the mistake of leaving out the cell state."""

from typing import NamedTuple

import numpy as np
import pytest

import throughtime as tt
from throughtime.analysis import lyapunov_from_jacobians, lyapunov_spectrum


def tanh_network(n, gain, seed):
    """h' = tanh(W h), W_ij ~ N(0, gain²/N)."""
    net = tt.Network("tanh", 1, n, bias=False, seed=0)
    net.parameters["weight_hh_l0"][...] = gain / np.sqrt(n) * np.random.default_rng(seed).standard_normal((n, n))
    return net


@pytest.mark.parametrize(("gain", "units"), [(1.5, 2000), (2.0, 500), (3.0, 500), (5.0, 500)])
def test_largest_exponent_of_the_tanh_network(gain, units):
    """λ_1 = ½ ln χ − (3κ−1)/(4N), and growth that scatters by ½ √((3κ−1)/N) from step to step."""
    spectrum = lyapunov_spectrum(tanh_network(units, gain, 0), k=1, steps=1500, seed=1)
    theory = tt.analysis.mean_field.tanh(gain)
    assert abs(spectrum.exponents[0] - theory.finite_size(units)) < 4 * spectrum.standard_error[0] + 0.003
    # 20 batches know their error to 16 %; the rates of successive steps are nearly, not quite, independent
    assert 0.5 < spectrum.standard_error[0] * np.sqrt(spectrum.steps) / theory.step_std(units) < 2.0


@pytest.mark.parametrize(("gain", "law"), [(3.0, 0.2355), (5.0, 0.4337)])
def test_continuous_time(gain, law):
    """τẋ = −x + J tanh x by Euler steps of δ = .1, the rate unit: λ_1 per τ, some 12 % low at N = 1000."""
    net = tt.Network(tt.Rate(leak=0.1), 1, 1000, bias=False, init=tt.init.gaussian(gain), seed=1)
    spectrum = lyapunov_spectrum(net, k=1, steps=4000, warmup=500, seed=1)
    assert abs(spectrum.exponents[0] / 0.1 / law - 0.88) < 4 * spectrum.standard_error[0] / 0.1 / law + 0.04


def test_continuous_time_without_self_coupling_contracts_at_rate_n():
    """Σλ = −N exactly for the flow; for Euler steps N ln(1−δ)/δ and a term of order δ from loops of two units."""
    n, leak = 40, 0.01
    net = tt.Network(tt.Rate(leak=leak), 1, n, bias=False, init=tt.init.gaussian(2.0), seed=1)
    net.parameters["weight_hh_l0"][np.diag_indices(n)] = 0.0
    total = lyapunov_spectrum(net, steps=500, seed=1).exponents.sum() / leak
    run = net.unroll(np.zeros((300, 1)), state=np.random.default_rng(0).uniform(-1, 1, (1, n)))
    w, slope = net.parameters["weight_hh_l0"], 1 / np.cosh(run.states[-1, 0]) ** 2
    loops = np.trace(w * slope @ (w * slope))
    assert abs(total - n * np.log1p(-leak) / leak) < 2 * leak * max(abs(loops), 4.0)
    assert abs(total + n) < n * leak


@pytest.mark.parametrize("gain", [1.5, 2.0])
def test_sum_rule_and_whole_spectrum_of_the_tanh_network(gain):
    """Σλ = ln|det W| + Σ⟨ln d⟩ holds to rounding, for any network and length; the spectrum follows the closed form."""
    n = 100
    net = tanh_network(n, gain, 3)
    spectrum = lyapunov_spectrum(net, steps=300, seed=1)
    assert spectrum.sum_rule_residual < 1e-10 * n
    run = net.unroll(np.zeros((30, 1)), state=np.random.default_rng(0).standard_normal((1, n)))
    twin = lyapunov_from_jacobians(np.array([run.jacobian(t)[0] for t in range(1, 31)]), seed=0, discard=0)
    slopes = 1 - run.states[1:, 0] ** 2
    expected = np.linalg.slogdet(net.parameters["weight_hh_l0"])[1] + np.log(slopes).sum(axis=1).mean()
    assert abs(twin.exponents.sum() - expected) < 1e-10 * n
    fraction = (np.arange(n) + 0.5) / n
    middle = slice(5, 80)
    law = tt.analysis.mean_field.tanh(gain).spectrum(fraction[middle])
    assert np.abs(spectrum.exponents[middle] - law).mean() < 0.08


def test_below_the_edge_the_spectrum_is_that_of_the_matrix():
    net = tanh_network(12, 0.6, 5)
    spectrum = lyapunov_spectrum(net, steps=4000, seed=0)
    expected = np.sort(np.log(np.abs(np.linalg.eigvals(net.parameters["weight_hh_l0"]))))[::-1]
    np.testing.assert_allclose(spectrum.exponents, expected, atol=2e-3)
    assert spectrum.kaplan_yorke_dimension == 0.0
    assert spectrum.entropy_rate == 0.0


def test_the_same_as_from_its_jacobians():
    net = tanh_network(15, 2.0, 1)
    x = np.random.default_rng(0).standard_normal((300, 1))
    spectrum = lyapunov_spectrum(net, x, warmup=0, seed=4)
    run = net.unroll(x)
    given = lyapunov_from_jacobians((run.jacobian(t)[0] for t in range(1, 301)), seed=4, discard=30)
    np.testing.assert_allclose(spectrum.exponents, given.exponents, atol=1e-10)
    assert spectrum.steps == given.steps == 270


def test_a_batch_equals_its_sequences():
    net = tt.Network("tanh", 2, 10, seed=1)
    x = np.random.default_rng(0).standard_normal((200, 3, 2))
    together = lyapunov_spectrum(net, x, seed=0, interval=2)
    assert together.exponents.shape == together.standard_error.shape == (3, 10)
    assert together.history.shape[1:] == (3, 10)
    assert together.sum_rule_residual.shape == (3,)
    for b in range(3):
        alone = lyapunov_spectrum(net, x[:, b], seed=0, interval=2)
        np.testing.assert_allclose(together.exponents[b], alone.exponents, atol=1e-9)


def test_batch_first():
    x = np.random.default_rng(0).standard_normal((120, 2, 3))
    plain, first = (tt.Network("tanh", 3, 6, seed=1, batch_first=flag) for flag in (False, True))
    a, b = lyapunov_spectrum(plain, x, seed=0), lyapunov_spectrum(first, x.swapaxes(0, 1), seed=0)
    np.testing.assert_allclose(a.exponents, b.exponents, atol=1e-12)


def test_pieces_of_time_do_not_show(monkeypatch):
    """Unrolling in pieces of 16 steps, which the interval straddles, changes nothing."""
    from throughtime.analysis.lyapunov import trajectory

    net = tanh_network(20, 2.0, 1)
    whole = lyapunov_spectrum(net, steps=200, seed=0, interval=3)
    monkeypatch.setattr(trajectory, "CHUNK_BYTES", 0)
    pieces = lyapunov_spectrum(net, steps=200, seed=0, interval=3)
    np.testing.assert_allclose(pieces.exponents, whole.exponents, atol=1e-9)


@pytest.mark.parametrize(("cell", "layers"), [("lstm", 1), ("lstm", 2), ("gru", 1), ("rate", 1), ("leaky_tanh", 2)])
def test_sum_rule_for_other_cells_and_layers(cell, layers):
    net = tt.Network(cell, 2, 6, num_layers=layers, seed=2)
    spectrum = lyapunov_spectrum(net, np.random.default_rng(0).standard_normal((300, 2)), seed=0)
    assert spectrum.exponents.size == net.state_size
    assert spectrum.sum_rule_residual < 1e-9 * net.state_size


def long_memory_lstm(n=6):
    """Forget gates near one, little else: the memory is the cell state c."""
    net = tt.Network("lstm", 1, n, seed=0)
    for name, values in net.parameters.items():
        values[...] *= 0.3
        if name.startswith("bias_ih"):
            values[n : 2 * n] = 6.0
    return net


def test_lstm_on_h_alone_is_wrong():
    """The cell state carries the memory: without it the leading exponent is off by more than a nat per step."""
    net = long_memory_lstm()
    x = np.random.default_rng(1).standard_normal((500, 1))
    truth = lyapunov_spectrum(net, x, k=2, warmup=100, seed=0)
    run = net.unroll(x)
    whole = lyapunov_from_jacobians((run.jacobian(t)[0] for t in range(101, 501)), 2, seed=0, discard=40)
    h_alone = lyapunov_from_jacobians((run.jacobian(t)[0, :6, :6] for t in range(101, 501)), 2, seed=0, discard=40)
    np.testing.assert_allclose(truth.exponents, whole.exponents, atol=1e-9)
    assert -0.01 < truth.exponents[0] < 0.0
    assert h_alone.exponents[0] < -1.0


def test_lstm_without_recurrence_forgets_by_its_gate():
    """Recurrent weights 0: ∂c_T/∂c_0 = Π f, so half of the exponents are ln σ(b), the others −∞."""
    net = tt.Network("lstm", 1, 3, seed=0)
    for values in net.parameters.values():
        values[...] = 0.0
    net.parameters["bias_ih_l0"][3:6] = [0.0, 1.0, 5.0]
    spectrum = lyapunov_spectrum(net, steps=3000, seed=0)
    np.testing.assert_allclose(-1 / spectrum.exponents[:3], [148.9, 3.192, 1.443], rtol=2e-3)
    assert np.all(spectrum.exponents[3:] == -np.inf)
    assert "singular" in spectrum.reason


def test_float32_agrees_with_float64():
    nets = [tt.Network("tanh", 1, 12, bias=False, dtype=dtype, seed=0) for dtype in ("float64", "float32")]
    nets[1].parameters["weight_hh_l0"][...] = nets[0].parameters["weight_hh_l0"]
    nets[1].parameters["weight_ih_l0"][...] = nets[0].parameters["weight_ih_l0"]
    x = np.random.default_rng(0).standard_normal((600, 1)).astype(np.float32)
    double, single = (lyapunov_spectrum(net, x, seed=0, steps=480) for net in nets)
    np.testing.assert_allclose(single.exponents, double.exponents, atol=1e-3)


@pytest.mark.parametrize(("interval", "least", "most"), [(5, 0.0, 1e-5), (10, 1e-4, 1.0)])
def test_safe_zone_of_float32(interval, least, most):
    """Clean while interval · spread ≤ 7 (6.9 at 5); errors begin at 11.7 (13.8 at 10), and the verdict says so."""
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((10, 10)))[0]
    exact = np.linspace(0.0, -1.38, 10)
    net = tt.Network("linear", 1, 10, bias=False, dtype="float32", seed=0)
    net.parameters["weight_hh_l0"][...] = q * np.exp(exact) @ q.T
    spectrum = lyapunov_spectrum(net, steps=1400, warmup=0, seed=0, precision="float32", interval=interval)
    assert least < np.abs(spectrum.exponents - exact).max() < most
    assert spectrum.converged == (interval == 5)


def test_dead_relus_give_minus_infinity():
    net = tt.Network("relu", 1, 4, bias=True, seed=0)
    net.parameters["weight_hh_l0"][...] = np.eye(4)
    net.parameters["bias_ih_l0"][...] = [1.0, 1.0, -1.0, -1.0]  # identity weights: two units grow, two die
    net.parameters["bias_hh_l0"][...] = 0.0
    spectrum = lyapunov_spectrum(net, steps=60, warmup=5, seed=0)
    np.testing.assert_allclose(spectrum.exponents, [0.0, 0.0, -np.inf, -np.inf], atol=1e-12)
    assert spectrum.kaplan_yorke_dimension == 2.0


def test_nan_in_nan_out():
    x = np.zeros((60, 2, 1))
    x[40, 1] = np.nan
    spectrum = lyapunov_spectrum(tt.Network("tanh", 1, 3, seed=0), x, seed=0)
    assert np.all(np.isfinite(spectrum.exponents[0]))
    assert np.all(np.isnan(spectrum.exponents[1]))
    assert not spectrum.converged
    assert "NaN" in spectrum.reason
    assert "NaN" in repr(spectrum)


def test_refused_runs():
    net = tt.Network("tanh", 2, 4, seed=0)
    x = np.zeros((50, 2))
    for options, words in (
        ({"k": 5}, "k=5"),
        ({"steps": 60}, "steps="),
        ({"warmup": 50}, "none is left"),
        ({"steps": 0}, "steps=0"),
        ({"warmup": -1}, "warmup=-1"),
        ({"steps": 10, "discard": 10}, "discard=10"),
    ):
        with pytest.raises(ValueError, match=words):
            lyapunov_spectrum(net, x, **options)
    with pytest.raises(TypeError, match="whole number"):
        lyapunov_spectrum(net, x, steps=2.5)
    with pytest.raises(ValueError, match="bidirectional"):
        lyapunov_spectrum(tt.Network("tanh", 2, 4, bidirectional=True, seed=0), x)


def test_largest_exponent_is_the_growth_of_a_perturbed_twin():
    """Two trajectories 1e-7 apart, brought back to that distance every 5 steps: no derivative is used."""
    net = tanh_network(50, 2.0, 4)
    state = net.unroll(np.zeros((200, 1)), state=np.random.default_rng(0).uniform(-1, 1, (1, 50))).final_state
    spectrum = lyapunov_spectrum(net, k=1, steps=1500, warmup=0, discard=100, state=state, seed=1)
    still, direction, growth = np.zeros((5, 1)), np.ones((1, 50)) / np.sqrt(50), []
    for _ in range(300):
        twin = net.unroll(still, state=state + 1e-7 * direction).final_state
        state = net.unroll(still, state=state).final_state
        distance = np.linalg.norm(twin - state)
        direction = (twin - state) / distance
        growth.append(np.log(distance / 1e-7) / 5)
    assert np.mean(growth[20:]) == pytest.approx(spectrum.exponents[0], abs=1e-3)


@pytest.mark.parametrize("cell", ["tanh", "gru"])
def test_gradients_decay_at_the_rate_of_the_largest_exponent(cell):
    net = tt.Network(cell, 2, 24, seed=1)
    x = np.random.default_rng(0).standard_normal((1500, 2))
    spectrum = lyapunov_spectrum(net, x, k=1, seed=0)
    decay = tt.analysis.gradient_norms(net.unroll(x), grad_final_state=np.ones((1, 24)))
    error = np.hypot(decay.rate_standard_error[0], spectrum.standard_error[0])
    assert abs(decay.rate[0] - spectrum.exponents[0]) < 4 * error + 0.002
    assert error < 0.02


def test_float32_lstm_is_not_singular():
    """Two stacked layers, 8 nats per step from first to last: more than float32 frames resolve, but not singular."""
    nets = [tt.Network("lstm", 2, 16, num_layers=2, dtype=dtype, seed=0) for dtype in ("float64", "float32")]
    nets[1].load_state_dict(nets[0].state_dict())
    x = np.random.default_rng(0).standard_normal((200, 2)).astype(np.float32)
    double, single = (lyapunov_spectrum(net, x, seed=0, interval=1) for net in nets)
    assert np.isfinite(double.exponents).all()
    assert np.isfinite(single.exponents).all()
    np.testing.assert_allclose(single.exponents[:32], double.exponents[:32], atol=2e-3)
    assert single.sum_rule_residual < 1e-9 * 64


def test_a_cell_that_branches():
    """An `if` is scalar mathematics too: plain arrays cannot take it, so the local derivative goes unit by unit."""

    @tt.cell()
    class Kink(NamedTuple):
        def forward(cell, x, r, s):
            u = x[0] + r[0]
            return (u if u > 0.0 else 0.5 * u,), (u,)

        def backward(cell, ds, s, s_next, saved):
            d = (ds[0] if saved[0] > 0.0 else 0.5 * ds[0],)
            return d, d, (0.0,)

    net = tt.Network(Kink(), 2, 6, seed=0)
    x = np.random.default_rng(0).normal(size=(300, 2))
    wide = tt.analysis.lyapunov_spectrum(net, x, seed=0)
    narrow = tt.analysis.lyapunov_spectrum(net, x, k=1, seed=0)
    assert wide.sum_rule_residual < 1e-10 * 6
    np.testing.assert_allclose(wide.exponents[0], narrow.exponents[0], atol=1e-2)
