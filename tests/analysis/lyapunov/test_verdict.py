"""What `converged` claims: no trend, enough blocks, small errors, no unstable fixed point; how lower bounds print."""

import numpy as np
import pytest
from scipy.signal import lfilter

import throughtime as tt
from throughtime.analysis import lyapunov_from_jacobians, lyapunov_spectrum
from throughtime.analysis.statistics import batch_means, trends

TIME = np.arange(4000)
DRIFTS = {
    "decay": 2.0 * np.exp(-TIME / 1000.0),
    "step in the middle": np.where(TIME < 2000, 1.0, -1.0),
    "step early": np.where(TIME < 300, 1.0, -1.0),
    "step late": np.where(TIME < 3700, 1.0, -1.0),
    "trend": 1.0 - TIME / 2000.0,
    "slow oscillation": np.sin(2.0 * np.pi * TIME / 4000.0),
    "two oscillations": np.sin(4.0 * np.pi * TIME / 4000.0),
    "jump at the end": np.where(TIME < 3950, 1.0, -1.0),
}


def spectrum_of(rates, **options):
    """Of one-dimensional products that grow at these rates."""
    return lyapunov_from_jacobians(np.exp(rates)[:, None, None], seed=0, **options)


@pytest.mark.parametrize(("name", "noise"), [(name, noise) for name in sorted(DRIFTS) for noise in (0.0, 0.2)])
def test_drift_is_seen(name, noise):
    rates = DRIFTS[name] + noise * np.random.default_rng(0).standard_normal(4000)
    found = spectrum_of(rates, discard=0)
    assert not found.converged
    assert "drifts" in found.reason


def alarms(series, count=1):
    """The share of false alarms among groups of `count` series (n, M)."""
    means = batch_means(series, np.ones(len(series)), 20)[0]
    return trends(means.reshape(20, -1, count)).any(axis=-1).mean()


@pytest.mark.parametrize(("memory", "steps"), [(0.0, 200), (0.5, 800), (0.9, 4000)])
def test_false_alarms_on_stationary_series(memory, steps):
    """1 % by construction; 2000 series tell it to .2 %, and 400 correlation times add a little."""
    noise = np.random.default_rng(0).standard_normal((steps + 400, 2000))
    series = lfilter([1.0], [1.0, -memory], noise, axis=0)[400:]
    assert alarms(series) < 0.02
    assert alarms(series, 40) < 0.06  # fifty spectra of forty exponents


def test_fewer_than_a_hundred_correlation_times_are_doubted():
    noise = np.random.default_rng(0).standard_normal((2200, 500))
    assert alarms(lfilter([1.0], [1.0, -0.99], noise, axis=0)[1200:]) > 0.2  # ten of them


def test_chaotic_networks_converge():
    """Alarms are false here: at most one of ten networks, of a rate of one in a hundred."""
    found = [
        lyapunov_spectrum(tt.Network("tanh", 1, 40, seed=s, init=tt.init.gaussian(3.0)), k=5, steps=1500, seed=s)
        for s in range(10)
    ]
    assert sum(spectrum.converged for spectrum in found) >= 9


def test_eight_steps_are_no_evidence():
    matrices = np.random.default_rng(0).standard_normal((8, 3, 3))
    for steps in (8, 20, 99):
        found = spectrum_of(0.5 + 0.01 * np.random.default_rng(0).standard_normal(steps), discard=0)
        assert not found.converged
        assert "too short" in found.reason
    assert not lyapunov_from_jacobians(matrices, seed=0, discard=0).converged


def test_large_errors_are_doubted():
    rng = np.random.default_rng(0)
    found = spectrum_of(-17.5 + 100.0 * rng.standard_normal(1000), discard=0)
    assert not found.converged
    assert "times as many steps" in found.reason
    assert spectrum_of(-17.5 + 2.5 * rng.standard_normal(1000), discard=0).converged


def test_resting_on_an_unstable_fixed_point():
    net = tt.Network("tanh", 1, 30, bias=False, seed=0, init=tt.init.gaussian(1.5))
    still = lyapunov_spectrum(net, np.zeros((900, 1)), k=3, seed=0)
    assert still.exponents[0] > 0.1
    assert not still.converged
    assert "unstable" in still.reason
    assert "state=" in still.reason
    meant = lyapunov_spectrum(net, np.zeros((900, 1)), k=3, seed=0, state=np.zeros((1, 30)))
    assert meant.converged
    assert "unstable" in meant.reason
    moving = lyapunov_spectrum(net, np.zeros((900, 1)), k=3, seed=0, state=np.full((1, 30), 0.1))
    free = lyapunov_spectrum(net, steps=2000, k=3, seed=0)
    assert "unstable" not in moving.reason + free.reason
    assert abs(moving.exponents[0] - free.exponents[0]) < 0.05 < still.exponents[0] - free.exponents[0]


def test_stable_fixed_points_are_none_of_it():
    net = tt.Network("tanh", 1, 5, bias=False, seed=0, init=tt.init.gaussian(0.5))
    found = lyapunov_spectrum(net, np.zeros((900, 1)), seed=0)
    assert found.exponents[0] < 0.0
    assert "unstable" not in found.reason


def test_a_lower_bound_is_printed_as_one():
    net = tt.Network("tanh", 1, 40, seed=1, init=tt.init.gaussian(3.0))
    one, every = (lyapunov_spectrum(net, k=k, steps=300, seed=0) for k in (1, 40))
    assert one.entropy_rate_saturated
    assert not every.entropy_rate_saturated
    assert "entropy rate      ≥ " in repr(one)
    assert "entropy rate      ≥ " not in repr(every)
    assert one.entropy_rate < every.entropy_rate
