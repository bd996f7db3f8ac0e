"""The cells without a matrix between units, and coRNN, against what their authors wrote.

Each reference is the published code's own arithmetic, in the library that it was written in, on the same numbers.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import throughtime as tt
from throughtime.cells.base import spec
from throughtime.cells.co_rnn import CoRNN
from throughtime.cells.ind_rnn import IndRNN
from throughtime.cells.lru import LRU
from throughtime.cells.min_gru import MinGRU
from throughtime.cells.min_lstm import MinLSTM

EPS = np.finfo(np.float64).eps


def unrolled(cell, x, s, p=()):
    """States (T+1, S, …) of units that hear nobody, for x (T, G, …) from s: the cell's own `forward`, step by step."""
    own = (p,) if spec(cell).parameters else ()
    states = [tuple(s)]
    for u in x:
        states.append(cell.forward(tuple(u), (), states[-1], *own)[0])
    return np.array(states)


def closed_in_on(torch, log_coeffs, log_values):
    """Heinsen's scan in logarithms, as the published minGRU and minLSTM have it."""
    a_star = log_coeffs.cumsum(dim=0)
    return (a_star + (log_values - a_star).logcumsumexp(dim=0)).exp()


def test_min_gru_is_the_published_one():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    gate, hidden = torch.tensor(rng.standard_normal((2, 200, 7)))
    g = torch.where(hidden >= 0, hidden + 0.5, hidden.sigmoid())
    softplus = torch.nn.functional.softplus
    wanted = closed_in_on(torch, -softplus(gate), -softplus(-gate) + g.log())
    found = unrolled(MinGRU(), np.stack([gate.numpy(), g.numpy()], 1), [np.zeros(7)])[1:, 0]
    # The reference sums 200 logarithms of up to some 3 each: 200·3 eps, and as much again in the exponent.
    np.testing.assert_allclose(found, wanted, rtol=2 * 600 * EPS)


def test_min_lstm_is_the_published_one():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    forget, enter, hidden = torch.tensor(rng.standard_normal((3, 200, 7)))
    g = torch.where(hidden >= 0, hidden + 0.5, hidden.sigmoid())
    softplus = torch.nn.functional.softplus
    difference = softplus(-forget) - softplus(-enter)
    wanted = closed_in_on(torch, -softplus(difference), -softplus(-difference) + g.log())
    found = unrolled(MinLSTM(), np.stack([forget.numpy(), enter.numpy(), g.numpy()], 1), [np.zeros(7)])[1:, 0]
    np.testing.assert_allclose(found, wanted, rtol=2 * 600 * EPS)
    sequential = torch.zeros(7, dtype=torch.float64)
    for f, i, h in zip(forget.sigmoid(), enter.sigmoid(), g, strict=True):
        sequential = sequential * (f / (f + i)) + h * (i / (f + i))
    np.testing.assert_allclose(found[-1], sequential, rtol=100 * EPS)


@pytest.mark.parametrize("far", [-2000.0, -40.0, 0.0, 40.0, 2000.0])
def test_the_shares_of_min_lstm_stay_right_where_gates_are_shut(far):
    """f/(f + i) for f = sigma(far + 1), i = sigma(far): e/(e + 1) of both nearly shut, 1/2 of both open."""
    x = tuple(map(np.float64, (far + 1, far, 3.0)))
    (h,), saved = MinLSTM().forward(x, (), (np.float64(0.0),))
    exact = {-1.0: 1 / (1 + np.e), 1.0: 0.5}.get(np.sign(far) * (abs(far) >= 40))
    if exact is None:
        f, i = (1 / (1 + np.exp(-u)) for u in x[:2])
        exact = i / (f + i)
    assert h == pytest.approx(3 * exact, rel=20 * EPS)
    slopes = MinLSTM().backward((np.float64(1.0),), (np.float64(0.0),), (h,), saved)
    assert np.isfinite([*slopes[0], *slopes[2]]).all()


def test_lru_is_the_published_one():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        jnp, rng = jax.numpy, np.random.default_rng(2)
        cell, inputs, units = LRU(), 5, 6
        nu_log, theta_log, gamma_log = cell.initial(units, rng)
        b_re, b_im, u = (rng.standard_normal(shape) for shape in ((units, inputs), (units, inputs), (300, inputs)))
        factor = jnp.exp(-jnp.exp(nu_log) + 1j * jnp.exp(theta_log))
        b = (b_re + 1j * b_im) * jnp.expand_dims(jnp.exp(gamma_log), axis=-1)

        def after(q_i, q_j):
            return q_j[0] * q_i[0], q_j[0] * q_i[1] + q_j[1]

        pairs = jnp.repeat(factor[None, ...], len(u), axis=0), jax.vmap(lambda own: b @ own)(u)
        wanted = np.array(jax.lax.associative_scan(jax.vmap(after), pairs)[1])
    x = np.stack([u @ b_re.T, u @ b_im.T], 1)
    found = unrolled(cell, x, np.zeros((2, units)), (nu_log, theta_log, gamma_log))[1:]
    # Sums of 5 products in each step, of which the last 1/(1 - |lambda|) count; the scan adds in 9 levels.
    scale = np.abs(wanted).max(axis=0) / (1 - np.exp(-np.exp(nu_log)))
    assert (np.abs(found[:, 0] + 1j * found[:, 1] - wanted) <= 20 * EPS * scale).all()


def test_ind_rnn_is_the_published_one():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    x, recurrent = torch.tensor(rng.standard_normal((100, 4, 9))), torch.tensor(rng.uniform(0, 1, 9))
    h, states = torch.zeros(4, 9, dtype=torch.float64), []
    for step in x:
        h = torch.nn.functional.relu(step + h * recurrent.unsqueeze(0).expand(4, 9))
        states.append(h)
    found = unrolled(IndRNN(), x.numpy()[:, None], [np.zeros((4, 9))], (recurrent.numpy(),))[1:, 0]
    np.testing.assert_array_equal(found, torch.stack(states))


def test_co_rnn_is_the_published_one():
    torch = pytest.importorskip("torch")
    inputs, units = 3, 8
    linear = torch.nn.Linear(inputs + 2 * units, units).double()
    cell, x = CoRNN(dt=0.1, gamma=2.7, epsilon=4.7), torch.randn(50, 2, inputs, dtype=torch.float64)
    hy, hz = torch.zeros(2, 2, units, dtype=torch.float64)
    w_ih, w_z, w_y = np.split(linear.weight.detach().numpy(), [inputs, inputs + units], 1)
    y, z = np.zeros((2, 2, units))
    for step in x:
        u = torch.tanh(linear(torch.cat((step, hz, hy), 1)))
        hz = hz + cell.dt * (u - cell.gamma * hy - cell.epsilon * hz)
        hy = hy + cell.dt * hz
        r = y @ w_y.T + z @ w_z.T
        (y, z), _ = cell.forward((step.numpy() @ w_ih.T + linear.bias.detach().numpy(),), (r,), (y, z))
    # Values below 1, 50 steps of some 30 roundings, damped.
    np.testing.assert_allclose(y, hy.detach(), atol=1500 * EPS, rtol=0)
    np.testing.assert_allclose(z, hz.detach(), atol=1500 * EPS, rtol=0)


# ---- what each is known for
@pytest.mark.parametrize("cell", [MinGRU(), MinLSTM()], ids=["min_gru", "min_lstm"])
def test_a_running_mean_stays_between_what_it_is_a_mean_of(cell):
    rng = np.random.default_rng(4)
    x = 5 * rng.standard_normal((500, spec(cell).gates, 50))
    start = rng.standard_normal(50)
    states = unrolled(cell, x, [start])[:, 0]
    low, high = np.minimum.accumulate(np.vstack([start, x[:, -1]])), np.maximum.accumulate(np.vstack([start, x[:, -1]]))
    slack = 4 * EPS * np.abs([low, high]).max()  # two products and a sum in each step
    assert (states >= low - slack).all()
    assert (states <= high + slack).all()


def test_lru_starts_in_its_ring_with_states_of_unit_variance():
    rng = np.random.default_rng(5)
    cell, units, inputs, steps = LRU(r_min=0.4, r_max=0.98, max_phase=1.0), 400, 8, 4000
    p = cell.initial(units, rng)
    modulus, angle = np.exp(-np.exp(p[0])), np.exp(p[1])
    assert modulus.min() >= 0.4
    assert modulus.max() <= 0.98
    # uniform over the ring's area and over the angle
    for uniform in ((modulus**2 - 0.16) / (0.98**2 - 0.16), angle):
        assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    values = {"weight_ih": np.empty((2 * units, inputs)), "bias_ih": np.ones(2 * units)}
    cell.published(None, rng, values)
    assert not values["bias_ih"].any()
    u = rng.standard_normal((steps, inputs))
    x = (u @ values["weight_ih"].T).reshape(steps, 2, units)
    states = unrolled(cell, x, np.zeros((2, units)), p)[500:]
    # E|s|² of a unit is |B|², whose mean over draws is 1
    power = (states**2).sum(1)
    of_weights = (values["weight_ih"] ** 2).sum(1).reshape(2, units).sum(0)
    assert power.mean() / of_weights.mean() == pytest.approx(1.0, abs=0.05)
    assert of_weights.mean() == pytest.approx(1.0, abs=5 * np.sqrt(1 / 8 / units))
    assert (
        np.abs(power.mean(0) / of_weights - 1).max() < 0.6
    )  # no unit far off, with |lambda| = .98 some 100 independent


@pytest.mark.parametrize("steps", [10, 100, 1000])
def test_the_gradient_of_ind_rnn_is_at_most_two(steps):
    rng = np.random.default_rng(6)
    p = (rng.uniform(-1, 1, 50) * 2 ** (1 / steps),)
    cell, s, product = IndRNN(), (rng.uniform(0, 1, 50),), np.ones(50)
    for x in rng.standard_normal((steps, 50)):
        new, saved = cell.forward((x,), (), s, p)
        product = cell.backward((product,), s, new, saved, p)[2][0]
        s = new
    assert np.abs(product).max() <= 2 * (1 + 2 * steps * EPS)
    own = cell.initial(1000, rng)[0]
    assert own.min() >= 0
    assert own.max() <= 1  # so at most 2^(1/T) for every T


@pytest.mark.parametrize("dt", [0.01, 0.042, 0.1])
def test_the_gradient_of_co_rnn_is_bounded(dt):
    """‖J_k … J_1‖ ≤ (1 + dt rho)^k in the largest row sum, as long as rho ≤ 1/(1 - dt); theirs is of the same form."""
    rng, units = np.random.default_rng(7), 12
    cell = CoRNN(dt=dt, gamma=1.0, epsilon=1.0)
    w_y, w_z = rng.uniform(-1, 1, (2, units, units)) / (2 * units) ** 0.5 / 4
    rho = abs(1 - dt) + dt * (1 + np.abs(w_y).sum(1).max() + np.abs(w_z).sum(1).max())
    assert rho <= 1 / (1 - dt)
    s, product = tuple(rng.standard_normal((2, units))), np.eye(2 * units)
    for k in range(1, 201):
        r = s[0] @ w_y.T + s[1] @ w_z.T
        new, saved = cell.forward((rng.standard_normal(units),), (r,), s)
        step = np.zeros((2 * units, 2 * units))
        for i in range(2):
            ds = tuple(np.ones(units) * (i == j) for j in range(2))
            _, (du,), carried = cell.backward(ds, s, new, saved)
            rows = slice(i * units, (i + 1) * units)
            step[rows, :units], step[rows, units:] = du[:, None] * w_y, du[:, None] * w_z
            for j in range(2):
                step[rows, j * units : (j + 1) * units] += np.diag(np.broadcast_to(carried[j], units))
        product, s = step @ product, new
        assert np.abs(product).sum(1).max() <= (1 + dt * rho) ** k
        # y moves with the new z, a shear, so that a step changes volumes as dz'/dz at fixed y does
        of_z = (1 - dt) * np.eye(units) + du[:, None] * w_z
        assert np.linalg.slogdet(step)[1] == pytest.approx(np.linalg.slogdet(of_z)[1], abs=1e-12)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (LRU(r_min=0.5, r_max=0.4), "ring"), (LRU(r_max=1.5), "ring"), (LRU(max_phase=0.0), "angle"),
        (CoRNN(dt=-1.0), "more than 0"),
    ],
)  # fmt: skip
def test_fields_out_of_their_range_are_refused(cell, said):
    with pytest.raises(ValueError, match=said):
        tt.Network(cell, 1, 2)
