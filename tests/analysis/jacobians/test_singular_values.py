"""Eigenvalues and singular values of single Jacobians."""

import numpy as np
import pytest

import throughtime as tt


def gaussian_linear(n, gain, seed=0):
    net = tt.Network("linear", 1, n, bias=False, seed=0)
    net.parameters["weight_hh_l0"][...] = gain / np.sqrt(n) * np.random.default_rng(seed).standard_normal((n, n))
    return net


def test_circular_law_and_quarter_circle():
    gain, n = 1.5, 500
    spectrum = tt.analysis.jacobian_spectrum(gaussian_linear(n, gain).unroll(np.zeros((1, 1))), 1)
    assert spectrum.eigenvalues.shape == spectrum.singular_values.shape == (1, n)
    modulus = np.abs(spectrum.eigenvalues[0])
    assert spectrum.spectral_radius[0] == pytest.approx(gain, rel=0.03)
    for r in (0.5, 0.8):
        assert np.mean(modulus < r * gain) == pytest.approx(r**2, abs=0.03)
    s = spectrum.singular_values[0] / gain
    assert s.mean() == pytest.approx(8 / (3 * np.pi), abs=0.01)
    assert (s**2).mean() == pytest.approx(1.0, abs=0.02)
    assert (s**4).mean() == pytest.approx(2.0, abs=0.06)
    assert spectrum.norm[0] == pytest.approx(2 * gain, rel=0.03)


@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru", "rate"])
def test_equals_numpy_on_the_jacobian(cell):
    run = tt.Network(cell, 2, 4, num_layers=2, seed=1).unroll(np.random.default_rng(0).standard_normal((5, 3, 2)))
    spectrum = tt.analysis.jacobian_spectrum(run, [2, 5])
    size = run.states.shape[2]
    assert spectrum.eigenvalues.shape == (2, 3, size)
    assert spectrum.t.tolist() == [2, 5]
    for i, t in enumerate((2, 5)):
        jacobian = run.jacobian(t)
        np.testing.assert_allclose(spectrum.singular_values[i], np.linalg.svd(jacobian, compute_uv=False), atol=1e-14)
        log_det = np.log(np.abs(spectrum.eigenvalues[i])).sum(axis=1)
        np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-8)
    assert np.all(np.diff(np.abs(spectrum.eigenvalues), axis=-1) <= 1e-15)
    assert np.all(np.diff(spectrum.singular_values, axis=-1) <= 0.0)


def test_second_moment_of_a_tanh_jacobian_is_chi():
    """⟨σ²⟩ = χ and m₂/m₁² = 1 + κ on the attractor."""
    n, gain = 400, 2.0
    net = tt.Network("tanh", 1, n, bias=False, seed=0)
    net.parameters["weight_hh_l0"][...] = gain / np.sqrt(n) * np.random.default_rng(1).standard_normal((n, n))
    state = np.random.default_rng(2).standard_normal((1, n))
    run = net.unroll(np.zeros((120, 1)), state=state)
    theory = tt.analysis.mean_field.tanh(gain)
    s = tt.analysis.jacobian_spectrum(run, range(101, 121, 2)).singular_values
    assert (s**2).mean() == pytest.approx(theory.chi, rel=0.04)
    assert (s**4).mean() / (s**2).mean() ** 2 == pytest.approx(1 + theory.kappa, rel=0.04)


def test_nan_in_nan_out_for_that_sequence_only():
    x = np.zeros((3, 2, 1))
    x[0, 1] = np.nan
    spectrum = tt.analysis.jacobian_spectrum(tt.Network("tanh", 1, 3, seed=0).unroll(x), 2)
    assert np.isfinite(spectrum.singular_values[0]).all()
    assert np.isnan(spectrum.singular_values[1]).all()
    assert np.isnan(spectrum.spectral_radius[1])


@pytest.mark.parametrize(
    ("t", "error"),
    [
        (0, ValueError),
        (6, ValueError),
        (-1, ValueError),
        ([1, 6], ValueError),
        (1.5, TypeError),
        ("a", TypeError),
        ([[1]], ValueError),
    ],
)
def test_refuses_steps_outside_the_run(t, error):
    run = tt.Network("tanh", 1, 3, seed=0).unroll(np.zeros((5, 1)))
    with pytest.raises(error, match=r"`t`|t="):
        tt.analysis.jacobian_spectrum(run, t)


def test_refuses_bidirectional_networks():
    run = tt.Network("tanh", 1, 3, bidirectional=True, seed=0).unroll(np.zeros((5, 1)))
    with pytest.raises(ValueError, match="bidirectional"):
        tt.analysis.jacobian_spectrum(run, 1)


def test_no_steps_asked_for():
    run = tt.Network("tanh", 1, 3, seed=0).unroll(np.zeros((5, 2, 1)))
    assert tt.analysis.jacobian_spectrum(run, []).eigenvalues.shape == (0, 2, 3)


def test_result_prints_and_converts():
    run = tt.Network("tanh", 1, 3, seed=0).unroll(np.zeros((5, 2, 1)))
    spectrum = tt.analysis.jacobian_spectrum(run, [1, 2])
    assert "steps 1, 2" in repr(spectrum)
    assert spectrum.arrays()["eigenvalues"].dtype.kind == "c"


def test_steps_in_any_order_and_in_pieces(monkeypatch):
    from throughtime.analysis.jacobians import jacobians_in_order as jacobians

    run = tt.Network("gru", 2, 4, num_layers=2, seed=0).unroll(np.random.default_rng(0).standard_normal((12, 2, 2)))
    steps = [7, 8, 9, 10, 3, 12, 11, 1]
    one_by_one = [tt.analysis.jacobian_spectrum(run, t) for t in steps]
    for at_once in (1, 3 * run.jacobian(1).nbytes, 1 << 22):
        monkeypatch.setattr(jacobians, "AT_ONCE", at_once)
        found = tt.analysis.jacobian_spectrum(run, steps)
        np.testing.assert_array_equal(found.singular_values, [one.singular_values for one in one_by_one])
        np.testing.assert_array_equal(found.eigenvalues, [one.eigenvalues for one in one_by_one])
        for back in (False, True):
            expected = list(run.jacobians(2, 9))
            found = list(jacobians.in_order(run, 2, 9, back))
            np.testing.assert_array_equal(found, expected[::-1] if back else expected)
