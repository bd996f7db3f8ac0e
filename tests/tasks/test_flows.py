"""Trajectories against finer steps and plain loops, and the exponents that the docstrings print, by twins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import throughtime as tt

tasks = tt.tasks
FLOWS = [tasks.Lorenz(), tasks.Rossler(), tasks.MackeyGlass(), tasks.Henon()]
EVERY = pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: type(flow).__name__)


@EVERY
def test_batches_are_windows_of_trajectories(flow):
    batch = flow.batch(5, seed=3)
    states = flow.trajectory(flow.length + 1, 5, seed=3)
    np.testing.assert_allclose(batch.x * flow.std + flow.mean, states[:-1], rtol=0, atol=1e-12 * abs(states).max())
    assert np.array_equal(batch.targets[:-1], batch.x[1:])
    raw = replace(flow, standardised=False).batch(5, seed=3)
    assert np.array_equal(raw.x, states[:-1])
    assert np.array_equal(flow.standardise(raw.targets), batch.targets)


@EVERY
def test_standardised_states_have_moments_0_and_1(flow):
    """Of fresh trajectories, not those that the moments are taken of; the error from the spread over trajectories."""
    x = flow.standardise(flow.trajectory(1500, 64, seed=8))
    for moment, wanted in ((x, 0.0), (x**2, flow.baseline), (np.diff(x, axis=0) ** 2, flow.persistence)):
        means = moment.mean(axis=(0, 2))
        # the reference trajectories have an error of the same size
        assert abs(means.mean() - wanted) < 5 * np.sqrt(2) * means.std() / np.sqrt(64)


@EVERY
def test_a_trajectory_follows_the_equation(flow):
    """Central differences of finely sampled states; of the map, each iterate."""
    if isinstance(flow, tasks.Henon):
        x, y = np.moveaxis(flow.trajectory(50, 3, seed=0), -1, 0)
        np.testing.assert_array_equal(x[1:], 1 - 1.4 * x[:-1] ** 2 + y[:-1])
        np.testing.assert_array_equal(y[1:], 0.3 * x[:-1])
        return
    dt = 0.001 if isinstance(flow, tasks.Lorenz) else 0.01
    if isinstance(flow, tasks.MackeyGlass):
        dt = 0.1
    fine = replace(flow, dt=dt, substeps=1)
    s = fine.trajectory(500, 3, seed=0)
    slope = (8 * (s[3:-1] - s[1:-3]) - (s[4:] - s[:-4])) / (12 * dt)
    x, *others = np.moveaxis(s[2:-2], -1, 0)
    if isinstance(flow, tasks.Lorenz):
        y, z = others
        wanted = [10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z]
    elif isinstance(flow, tasks.Rossler):
        y, z = others
        wanted = [-y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)]
    else:
        late = s[2:-172, :, 0]
        x, slope = x[170:], slope[170:]
        wanted = [0.2 * late / (1 + late**10) - 0.1 * x]
    np.testing.assert_allclose(slope, np.stack(wanted, axis=-1), rtol=0, atol=1e-4 * abs(slope).max())


@pytest.mark.parametrize("flow", FLOWS[:2], ids=["Lorenz", "Rossler"])
def test_the_error_falls_with_the_fourth_power_of_the_step(flow):
    state = flow._run(flow._start(16, np.random.default_rng(1)), 3000)[1]
    exact = replace(flow, substeps=64)._run(state, 5)[0]
    errors = [abs(replace(flow, substeps=n)._run(state, 5)[0] - exact).mean() for n in (1, 2, 4)]
    assert 12 < errors[0] / errors[1] < 40
    assert 12 < errors[1] / errors[2] < 24


def test_mackey_glass_against_finer_steps():
    """From one whole state of a fine trajectory, taken at every 32nd, 16th and 8th of its steps."""
    fine = tasks.MackeyGlass(dt=1 / 160, substeps=1)
    state = tasks.MackeyGlass(substeps=160)._run(fine._start(4, np.random.default_rng(0)), 400)[1]
    x = fine._run(state, 160 * 25)[0][..., 0]
    errors = []
    for substeps in (5, 10, 20):
        flow, every = tasks.MackeyGlass(substeps=substeps), 160 // substeps
        now = 160 * 20
        history = x[now - (flow._delay + 1) * every : now + 1 : every].T.copy()
        errors.append(abs(flow._run(history, 4)[0][..., 0] - x[now + 160 :: 160][:4]).max())
    assert 12 < errors[0] / errors[1] < 20
    assert 12 < errors[1] / errors[2] < 20
    assert errors[1] < 1e-8


def twins(flow, size, interval, blocks, distance=1e-7):
    """λ₁ in nats per unit of time and its standard error, from `size` pairs brought together again and again."""
    rng = np.random.default_rng(2)
    start = flow._start(size, rng)
    state = flow._run(start, int(flow.transient / flow.dt) + 1)[1]
    apart = rng.standard_normal(state.shape[:2])
    apart *= (distance / np.linalg.norm(apart, axis=1))[:, None]
    growth = []
    for _ in range(blocks):
        both = flow._run(np.concatenate([state, state + apart]), interval)[1]
        state, apart = both[:size], both[size:] - both[:size]
        norm = np.linalg.norm(apart, axis=1)
        growth.append(np.log(norm / distance))
        apart *= (distance / norm)[:, None]
    rates = np.mean(growth[blocks // 5 :], axis=0) / (interval * flow.dt)
    return rates.mean(), rates.std() / np.sqrt(size)


@pytest.mark.parametrize(
    ("flow", "size", "interval", "blocks"),
    [
        (FLOWS[0], 128, 50, 40),
        (replace(FLOWS[1], dt=0.1), 128, 100, 25),
        (FLOWS[2], 64, 100, 60),
        (FLOWS[3], 128, 10, 60),
    ],
    ids=["Lorenz", "Rossler", "MackeyGlass", "Henon"],
)
def test_known_exponents(flow, size, interval, blocks):
    found, error = twins(flow, size, interval, blocks)
    assert error < 0.07 * flow.exponents[0]
    assert abs(found - flow.exponents[0]) < 4 * error
    assert flow.exponent_per_step == flow.exponents[0] * flow.dt
    assert flow.doubling_steps == np.log(2) / flow.exponent_per_step


def test_the_sum_of_the_exponents_is_the_divergence():
    assert sum(FLOWS[0].exponents) == pytest.approx(-(10 + 1 + 8 / 3), abs=1e-4)
    assert sum(FLOWS[3].exponents) == pytest.approx(np.log(0.3), abs=1e-5)
    assert sum(FLOWS[1].exponents) == pytest.approx(0.2 - 5.7 + FLOWS[1].mean[0], abs=0.02)  # a − c + E x


def test_exponents_are_those_of_the_parameters():
    assert replace(FLOWS[0], dt=0.02, length=7, standardised=False, substeps=3).exponents == FLOWS[0].exponents
    assert replace(FLOWS[0], rho=29.0).exponents is None
    assert np.isnan(replace(FLOWS[3], a=1.3).exponent_per_step)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tasks.Lorenz(dt=0.0), "a time above 0"),
        (lambda: tasks.Lorenz(dt=0.5).batch(2), "take a smaller `dt`"),
        (lambda: tasks.Lorenz(dt=1e-9).batch(2), "a million samples"),
        (lambda: tasks.Lorenz(rho=5.0).mean, "comes to rest"),
        (lambda: tasks.Lorenz(substeps=2000), "from 1 to 1000"),
        (lambda: tasks.Henon(a=3.0).batch(2), "leaves all bounds"),
        (lambda: tasks.MackeyGlass(tau=17.05, substeps=1), "a whole number of them"),
        (lambda: tasks.Lorenz().trajectory(2**60), "needs"),
        (lambda: tasks.Lorenz().standardise(np.zeros((4, 2))), r"expected \(…, 3\)"),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
