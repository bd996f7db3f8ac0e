"""Populations of cells that say more than a plain one: the same laws told otherwise, and closed forms; or a word."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.optimize import brentq

import throughtime as tt
from throughtime.analysis.mean_field.quadrature import gaussian_rule
from throughtime.scalar import sigmoid, sigmoid_slope, tanh, tanh_slope

mean_field = tt.analysis.mean_field
UNITS, STEPS, GAIN = 1000, 200, 2.0


def step_back(ds, saved):
    return (tanh_slope(saved[0]) * ds[0],)


@tt.cell(gates=("u",), states=2, sends={"a": ("u",), "b": ("u",)})
class TwoSignals(NamedTuple):
    """tanh of the sum of two fields, of one and the same signal: variances add up. The second state is a copy."""

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        return (tanh(u), tanh(u)), (u,)

    def backward(cell, ds, s, s_next, saved):
        d = (tanh_slope(saved[0]) * (ds[0] + ds[1]),)
        return d, d, (0.0, 0.0)


@tt.cell(gates=("u",), sends={}, stage={"a": ("u",)})
class Staged(NamedTuple):
    """The tanh network, whose state is sent by a stage."""

    def stage(cell, x, r, s):
        return (s[0],)

    def stage_backward(cell, da, s, saved):
        return (0.0,), (), (da[0],)

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        return (tanh(u),), (u,)

    def backward(cell, ds, s, s_next, saved):
        d = step_back(ds, saved)
        return d, d, (0.0,)


@tt.cell(gates=("g", "u"), sends={"h": ("g",)}, stage={"reset": ("u",)})
class Gated(NamedTuple):
    """h' = tanh(x_u + W (σ(g) ∘ h)): a product after a gate."""

    def stage(cell, x, r, s):
        return (sigmoid(x[0] + r[0]) * s[0],)

    def stage_backward(cell, da, s, saved):
        d = (da[0] * s[0] * sigmoid_slope(saved[0]), 0.0)
        return d, (d[0],), (da[0] * sigmoid(saved[0]),)

    def forward(cell, x, r, s):
        u = x[1] + r[1]
        return (tanh(u),), (x[0] + r[0], u)

    def backward(cell, ds, s, s_next, saved):
        d = tanh_slope(saved[1]) * ds[0]
        return (0.0, d), (0.0, d), (0.0,)


@tt.cell(parameters=("steep",))
class Steep(NamedTuple):
    """tanh(steep u): units of different gains, fixed in time."""

    low: float = 0.5
    high: float = 1.5

    def forward(cell, x, r, s, p):
        u = x[0] + r[0]
        return (tanh(p[0] * u),), (u,)

    def backward(cell, ds, s, s_next, saved, p):
        d = tanh_slope(p[0] * saved[0]) * ds[0]
        return (p[0] * d,), (p[0] * d,), (0.0,), (saved[0] * d,)

    def initial(cell, units, rng):
        return (np.where(np.arange(units) % 2 == 0, cell.low, cell.high),)


@tt.cell()
class SteepField(NamedTuple):
    """The same by a field."""

    steep: float = 1.0

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        return (tanh(cell.steep * u),), (u,)

    def backward(cell, ds, s, s_next, saved):
        d = (cell.steep * tanh_slope(cell.steep * saved[0]) * ds[0],)
        return d, d, (0.0,)


@tt.cell(gates=("z", "n"), sends={})
class Alone(NamedTuple):
    """It hears no other unit."""

    def forward(cell, x, r, s):
        return (s[0] + x[0] * (x[1] - s[0]),), (x[0], x[1])

    def backward(cell, ds, s, s_next, saved):
        d = ds[0]
        return (d * (saved[1] - s[0]), d * saved[0]), (), (d * (1.0 - saved[0]),)


def near(theory, expected, q):
    """4 standard errors in time, and 1/√M for what M units leave."""
    assert theory.q == pytest.approx(q, abs=3 / np.sqrt(UNITS) * q)
    assert theory.lyapunov == pytest.approx(expected, abs=4 * theory.lyapunov_error + 0.3 / np.sqrt(UNITS))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("cell", "gain", "moment"),
    [
        (Staged(), GAIN, 1.0),
        (TwoSignals(), GAIN / np.sqrt(2.0), 1.0),  # E Σ_ij J_ij²: four blocks of half the power, over two states
        (TwoSignals(), 0.6 * GAIN, None),
    ],
    ids=["stage", "two signals", "of another gain"],
)
def test_the_tanh_network_told_otherwise(cell, gain, moment, tied):
    both = np.sqrt(2.0) if isinstance(cell, TwoSignals) else 1.0
    closed = mean_field.tanh(gain * both)
    theory = mean_field.population(cell, gain, units=UNITS, steps=STEPS, tied=tied)
    near(theory, closed.lyapunov, closed.q)
    if moment is not None:
        assert theory.jacobian_moment == pytest.approx(moment * closed.chi, rel=0.05)


def of_two_gains(gain, low, high):
    """q and χ where half of the units are `low` and half `high` times as steep, by quadrature over the field."""

    def average(q, function):
        z, weights = gaussian_rule(gain * high * max(1.0, np.sqrt(q)))
        return 0.5 * sum(weights @ function(steep * gain * np.sqrt(q) * z, steep) for steep in (low, high))

    q = brentq(lambda q: average(q, lambda u, _: np.tanh(u) ** 2) - q, 0.05, 1.0, xtol=1e-12)
    chi = average(q, lambda u, steep: (steep * gain / np.cosh(u) ** 2) ** 2)
    return q, 0.5 * np.log(chi)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "cell",
    [Steep(), SteepField(np.array([0.5, 1.5])), SteepField(np.repeat([0.5, 1.5], 1500))],
    ids=["parameter", "field", "field of more units"],
)
def test_units_of_different_gains_are_averaged_over(cell, tied):
    """The closed form: E over the field and over the units."""
    q, expected = of_two_gains(GAIN, 0.5, 1.5)
    theory = mean_field.population(cell, GAIN, units=UNITS, steps=STEPS, tied=tied)
    near(theory, expected, q)
    assert theory.jacobian_moment == pytest.approx(np.exp(2 * expected), rel=0.05)


def test_equal_values_of_a_field_are_the_one_number():
    one = mean_field.population(tt.Rate(leak=0.3), 1.5, units=100, steps=50)
    many = mean_field.population(tt.Rate(leak=np.full(7, 0.3)), 1.5, units=100, steps=50)
    assert one.lyapunov == pytest.approx(many.lyapunov, rel=1e-10)
    np.testing.assert_allclose(one.autocorrelation, many.autocorrelation, rtol=1e-6)


@pytest.mark.parametrize("tied", [True, False])
def test_a_product_after_a_gate_against_matrices_written_down(tied):
    """The same step with full Gaussian matrices and its Jacobian by the chain rule: λ_1, q and ⟨σ²⟩ of J itself."""
    gains = (1.5, 3.0)
    theory = mean_field.population(Gated(), gains, units=UNITS, steps=STEPS, noise=0.3, tied=tied, seed=1)
    n, rng = 600, np.random.default_rng(0)
    rates, qs, moments = [], [], []
    w = [g * rng.standard_normal((n, n)) / np.sqrt(n) for g in gains]
    h, v = rng.uniform(-1, 1, n), rng.standard_normal(n)
    for t in range(260):
        if not tied and t % 4 == 0:  # as often as the time allows
            w = [g * rng.standard_normal((n, n)) / np.sqrt(n) for g in gains]
        x = 0.3 * rng.standard_normal((2, n))
        gate = 1 / (1 + np.exp(-x[0] - w[0] @ h))
        u = x[1] + w[1] @ (gate * h)
        jacobian = (1 - np.tanh(u) ** 2)[:, None] * (w[1] @ (np.diag(gate) + (h * gate * (1 - gate))[:, None] * w[0]))
        v = jacobian @ v
        if t >= 60:
            qs.append((h**2).mean())
            rates.append(np.log(np.linalg.norm(v)))
            moments.append((jacobian**2).sum() / n)
        v /= np.linalg.norm(v)
        h = np.tanh(u)
    assert theory.q == pytest.approx(np.mean(qs), rel=0.05)
    error = np.hypot(theory.lyapunov_error, np.std(rates) / np.sqrt(len(rates)))
    assert theory.lyapunov == pytest.approx(np.mean(rates), abs=4 * error + 0.02)
    assert theory.jacobian_moment == pytest.approx(np.mean(moments), rel=0.05)


def test_numbers_by_names_of_gates():
    named = mean_field.population("gru", {"n": 2.0}, bias_mean={"z": 1.0}, noise={"r": 0.1}, units=100, steps=30)
    listed = mean_field.population("gru", (1, 1, 2), bias_mean=(0, 1, 0), noise=(0.1, 0, 0), units=100, steps=30)
    assert named.lyapunov == listed.lyapunov
    assert mean_field.population(Gated(), (1.0, 2.0), units=50, steps=10).gain.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("cell", "options", "error", "words"),
    [
        (Alone(), {}, ValueError, r"Alone\(\) hear no others.*lyapunov_spectrum"),
        (["tanh", "gru"], {}, TypeError, r"is a list; the theory is of one layer.*lyapunov_spectrum"),
        (tt.Network("tanh", 1, 3), {}, TypeError, r"`cell` is a network; .*`net.cell`.*lyapunov_spectrum\(net, x\)"),
        ("gru", {"gain": {"q": 1.0}}, ValueError, r"`gain` names 'q'; GRU\(\) has r, z, n"),
        ("gru", {"noise": {"n": -1.0}}, ValueError, "noise"),
        (Gated(), {"gain": (1.0, 2.0, 3.0)}, ValueError, "`gain` has shape"),
    ],
)
def test_what_no_equation_is_about(cell, options, error, words):
    with pytest.raises(error, match=words):
        mean_field.population(cell, **{"units": 5, "steps": 5} | options)


@pytest.mark.parametrize("gains", [(2.0, 1.0), (6.0, 1.4)])
def test_the_minimal_rnn_has_its_closed_form(gains):
    """Chen, Pennington & Schoenholz: of the candidates z nothing enters but their power, which is E tanh² here."""
    z, weights = gaussian_rule(0.8)
    closed = mean_field.minimal_rnn(*gains, power=float(weights @ np.tanh(0.8 * z) ** 2))
    theory = mean_field.population("minimal_rnn", gains, noise=0.8, tied=False, units=UNITS, steps=STEPS)
    near(theory, closed.lyapunov, closed.q)
    assert theory.jacobian_moment == pytest.approx(closed.chi, rel=0.05)
