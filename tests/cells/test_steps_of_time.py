"""Units in steps of time: the antisymmetric network's, and the rate units of power laws."""

from __future__ import annotations

import numpy as np
import pytest

import throughtime as tt

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_a_step_of_the_antisymmetric_network_has_no_growing_direction_in_continuous_time(gamma):
    """(J - 1)/step = diag(sech² u)(M - Mᵀ - gamma 1): similar to an antisymmetric one less gamma times a positive."""
    rng, units = np.random.default_rng(8), 20
    cell, m = tt.EulerTanh(step=0.01), rng.standard_normal((units, units)) / np.sqrt(units)
    w, h = m - m.T - gamma * np.eye(units), rng.standard_normal(units)
    for x in rng.standard_normal((50, units)):
        (new,), saved = cell.forward((x,), (w @ h,), (h,))
        _, (du,), (kept,) = cell.backward((np.ones(units),), (h,), (new,), saved)
        assert (kept == 1).all()
        real = np.linalg.eigvals(du[:, None] / cell.step * w).real
        assert real.max() <= 1e-12 - gamma * (1 / np.cosh(saved[0]) ** 2).min()
        h = new


def test_a_unit_of_a_power_law_rests_where_its_quadratic_says():
    """v = w k v² + input has the root (1 - √(1 - 4 w k input))/(2 w k), which is stable."""
    cell, w, given = tt.ThresholdPower(tau=5.0), -2.0, np.array([0.2, 1.0, 4.0])
    v = (np.zeros(3),)
    for _ in range(400):
        v = cell.forward((given,), (w * cell.emit(v),), v)[0]
    a = w * cell.k
    np.testing.assert_allclose(v[0], (1 - np.sqrt(1 - 4 * a * given)) / (2 * a), rtol=100 * EPS)


def test_voltages_and_rates_of_a_power_law_are_one_network():
    """tau dr/dt = -r + k [W r + h]^n of Ahmadian et al. is that of the voltages v = W r + h, for equal tau."""
    rng, units = np.random.default_rng(9), 6
    cell = tt.ThresholdPower(tau=10.0, k=0.04, power=2.2)
    w, h, r = rng.standard_normal((units, units)), rng.uniform(0, 2, units), rng.uniform(0, 1, units)
    v = (w @ r + h,)
    for _ in range(100):
        r = r + (-r + cell.k * np.maximum(w @ r + h, 0) ** cell.power) / cell.tau
        v = cell.forward((h,), (w @ cell.emit(v),), v)[0]
        np.testing.assert_allclose(v[0], w @ r + h, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (tt.EulerTanh(step=0.0), "more than 0"), (tt.ThresholdPower(tau=0.4), "1/2"),
        (tt.ThresholdPower(tau=np.array([1.0, 0.1])), "1/2"), (tt.ThresholdPower(power=0.5), "slope"),
    ],
)  # fmt: skip
def test_fields_out_of_their_range_are_refused(cell, said):
    with pytest.raises(ValueError, match=said):
        tt.Network(cell, 1, 2)
