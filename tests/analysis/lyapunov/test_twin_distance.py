"""The twin's distance beside the rounding of the states: the right exponent, an error that covers it, or a reason."""

import numpy as np
import pytest

import throughtime as tt
from throughtime.analysis import lyapunov_spectrum, perturbed_twin


def units(weights, bias, cell="linear", dtype="float64"):
    net = tt.Network(cell, 1, len(weights), seed=0, dtype=dtype)
    for value in net.parameters.values():
        value[...] = 0.0
    net.parameters["weight_hh_l0"][...] = weights
    net.parameters["bias_hh_l0"][...] = bias
    return net


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("bias", [0.0, 1e-10, 1.0, 1000.0, 1e8])
@pytest.mark.parametrize("leading", [0.9, 0.05, 0.005, 1e-6])
def test_linear_units(leading, bias, dtype):
    """Closed form: ln of the larger weight, with an error that says what rounding does."""
    twin = perturbed_twin(units(np.diag([leading, leading / 2]), bias, dtype=dtype), steps=500, seed=0)
    allowed = 5 * twin.standard_error + (1e-7 if dtype == "float64" else 2e-4)
    assert abs(twin.exponent - np.log(np.dtype(dtype).type(leading))) < allowed
    assert twin.standard_error < 0.01
    assert not twin.reason


def test_a_contraction_below_rounding():
    twin = perturbed_twin(units(np.diag([1e-18, 1e-19]), 1.0), steps=200, seed=0)
    assert twin.exponent == pytest.approx(np.log(1e-18), abs=1e-5)
    assert twin.distance > 1.0


@pytest.mark.parametrize(("weights", "bias", "cell"), [
    (np.zeros((2, 2)), 1.0, "linear"), (np.zeros((2, 2)), 0.0, "linear"), (np.diag([0.9, 0.5]), -1.0, "relu"),
    ([[0.0, 1.0], [0.0, 0.0]], 1.0, "linear"),
])  # fmt: skip
def test_twins_that_meet(weights, bias, cell):
    assert perturbed_twin(units(weights, bias, cell), steps=30, seed=0).exponent == -np.inf


def test_what_cannot_be_measured_has_a_reason():
    """A saturated unit: the slope e^-2000 is hidden by rounding at 1, and what is far from it is not its slope."""
    net = units(np.diag([0.9, 0.5]), 1000.0, "tanh")
    twin = perturbed_twin(net, steps=200, seed=0)
    assert np.isnan(twin.exponent)
    assert np.isnan(twin.standard_error)
    assert "rounding" in twin.reason
    assert twin.reason in repr(twin)
    given = perturbed_twin(units(np.diag([0.05, 0.025]), 1e8), steps=200, seed=0, distance=1e-9)
    assert np.isnan(given.exponent)
    assert "larger" in given.reason


@pytest.mark.parametrize("cell", ["tanh", "relu", "sigmoid", "leaky_tanh", "rate", "lstm", "gru"])
def test_the_spectrum_agrees(cell):
    rng = np.random.default_rng(3)
    net = tt.Network(cell, 2, 5, seed=0)
    for value in net.parameters.values():
        value[...] = (0.7 if cell == "relu" else 1.5) * rng.standard_normal(value.shape) / np.sqrt(5)
    x = 3.0 * rng.standard_normal((600, 2, 2))
    twin, spectrum = perturbed_twin(net, x, seed=0), lyapunov_spectrum(net, x, k=1, seed=0, interval=1)
    for b in range(2):
        if np.isfinite(spectrum.exponents[b, 0]):
            error = np.hypot(twin.standard_error[b], spectrum.standard_error[b, 0])
            assert abs(twin.exponent[b] - spectrum.exponents[b, 0]) < 5 * error + 1e-3
        else:
            assert not np.isfinite(twin.exponent[b])
