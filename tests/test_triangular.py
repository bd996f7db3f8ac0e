"""Triangular frames find what orthonormal ones find; float32 and the cheap determinants are right."""

import numpy as np
import pytest

import throughtime as tt
from throughtime.analysis import lyapunov_spectrum
from throughtime.analysis.frames import measure, random_frame
from throughtime.analysis.step_jacobian import Dense
from throughtime.analysis.tangents import NetworkTangent


def network(cell, n=24, gain=1.6, **options):
    init = "uniform" if cell == "lstm" else tt.init.gaussian(gain=gain)
    return tt.Network(cell, 2, n, init=init, seed=1, **options)


def by_qr(net, x, k, discard):
    """Every step a QR decomposition, as in the usual script."""
    tangent = NetworkTangent(net, x, x.shape[1], None)
    frame = random_frame(x.shape[1], net.state_size, k, 0, np.float64)
    return measure(tangent, frame, interval=1, discard=discard, steps=len(x), warmup=0, single=False)


@pytest.mark.parametrize("cell", ["tanh", "linear", "leaky_tanh", "rate", "lstm", "gru"])
@pytest.mark.parametrize("interval", [1, 3])
def test_the_same_as_a_qr_at_every_step(cell, interval):
    net = network(cell)
    x = np.random.default_rng(0).standard_normal((60, 2, 2))
    found = lyapunov_spectrum(net, x, warmup=0, seed=0, interval=interval)
    expected = by_qr(net, x, net.state_size, found.discarded)
    np.testing.assert_allclose(found.exponents, expected.exponents, atol=1e-6 if cell == "lstm" else 1e-9)
    np.testing.assert_allclose(found.mean_log_det, expected.mean_log_det, atol=1e-12)


def test_tall_frames():
    net, x = network("tanh"), np.random.default_rng(0).standard_normal((60, 1, 2))
    found = lyapunov_spectrum(net, x, k=20, warmup=0, seed=0)
    np.testing.assert_allclose(found.exponents, by_qr(net, x, 20, found.discarded).exponents[0], atol=1e-9)


@pytest.mark.parametrize("cell", ["tanh", "rate", "gru", "lstm"])
@pytest.mark.parametrize("k", [6, None])
def test_float32(cell, k):
    net, x = network(cell), np.random.default_rng(0).standard_normal((200, 2))
    double, single = (lyapunov_spectrum(net, x, k=k, seed=0, precision=p) for p in ("float64", "float32"))
    assert single.precision == "float32"
    np.testing.assert_allclose(single.exponents, double.exponents, atol=5e-3 if cell == "lstm" else 1e-4)
    if k is None:
        assert single.sum_rule_residual < 1e-4 * net.state_size


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_determinants(cell):
    run = network(cell, n=7).unroll(np.random.default_rng(0).standard_normal((3, 2, 2)))
    jacobian = run.jacobian(3)
    expected = np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(Dense(jacobian, 7).log_det(), expected, atol=1e-10)


def test_the_sum_rule_can_be_left_out():
    net = network("gru")
    spectrum = lyapunov_spectrum(net, steps=60, seed=0, sum_rule=False)
    assert np.isnan(spectrum.sum_rule_residual)
    np.testing.assert_allclose(spectrum.exponents, lyapunov_spectrum(net, steps=60, seed=0).exponents, atol=1e-12)


def test_a_weight_matrix_of_lower_rank_has_exponents_of_minus_infinity():
    net = tt.Network("tanh", 1, 20, bias=False, seed=0)
    rng = np.random.default_rng(0)
    net.parameters["weight_hh_l0"][...] = rng.standard_normal((20, 17)) @ rng.standard_normal((17, 20)) / 10
    exponents = lyapunov_spectrum(net, steps=60, seed=0).exponents
    assert np.isfinite(exponents[:17]).all()
    assert np.all(exponents[17:] == -np.inf)


def test_saturated_units_are_not_singular():
    """Gain 20: slopes down to 1e-30, but a determinant that the sum of the exponents finds."""
    spectrum = lyapunov_spectrum(network("tanh", gain=20.0, bias=False), steps=60, seed=0)
    assert np.isfinite(spectrum.exponents).all()
    assert spectrum.mean_log_det < -100


def test_refuses_another_precision():
    with pytest.raises(ValueError, match="precision='float16'"):
        lyapunov_spectrum(network("tanh"), steps=60, precision="float16")
