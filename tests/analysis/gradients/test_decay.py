"""Norms of the gradient against closed forms, against backprop, and at lengths where plain numbers fail."""

import numpy as np
import pytest

import throughtime as tt


def linear(matrix, **options):
    """h' = W h + x_0, with the given W."""
    matrix = np.asarray(matrix, dtype=float)
    net = tt.Network("linear", 1, len(matrix), bias=False, seed=0, **options)
    net.parameters["weight_hh_l0"][...] = matrix
    return net


def orthogonal(n, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def from_the_end(net, steps, seed=0, batch=1):
    run = net.unroll(np.zeros((steps, batch, 1)))
    gradient = np.random.default_rng(seed).standard_normal((net.num_layers, batch, net.hidden_size))
    return run, gradient, tt.analysis.gradient_norms(run, grad_final_state=gradient)


def test_orthogonal_weights_keep_the_norm():
    _, _, decay = from_the_end(linear(orthogonal(30, 1)), 200)
    assert np.ptp(decay.log_norm) < 200 * 4e-16
    assert abs(decay.rate[0]) < 1e-15
    assert decay.horizon[0] == np.inf


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 2e-6)])
def test_scaled_orthogonal_weights_decay_exactly_at_length_5000(dtype, tolerance):
    _, gradient, decay = from_the_end(linear(0.9 * orthogonal(12, 2), dtype=dtype), 5000)
    lag = np.arange(5000, -1, -1)
    expected = lag * np.log(0.9) + np.log(np.linalg.norm(gradient))
    assert np.abs(decay.log_norm[:, 0] - expected).max() < 5000 * tolerance
    assert decay.log_norm[0, 0] < -500  # far below the smallest float32, below e^-745 would be the end of float64
    assert decay.rate[0] == pytest.approx(np.log(0.9), rel=1e-6)
    assert decay.horizon[0] == 10  # the first k with k |ln .9| ≥ 1
    assert decay.horizon_for(1e-3)[0] == decay.horizon_for(1e3)[0] == 66


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_growth_beyond_the_largest_number(dtype):
    _, _, decay = from_the_end(linear(3.0 * orthogonal(5, 3), dtype=dtype), 5000)
    assert decay.log_norm[0, 0] - decay.log_norm[-1, 0] == pytest.approx(5000 * np.log(3.0), rel=1e-5)


def test_late_slope_is_the_spectral_radius():
    q = orthogonal(20, 4)
    symmetric = q @ np.diag(np.linspace(-0.5, 0.95, 20)) @ q.T
    _, _, decay = from_the_end(linear(symmetric), 600)
    assert decay.log_norm[200, 0] - decay.log_norm[201, 0] == pytest.approx(np.log(0.95), abs=1e-12)


def test_exact_powers_of_the_transposed_matrix():
    matrix = np.array([[0.9, 1.0], [0.0, 0.9]])
    run = linear(matrix).unroll(np.zeros((20, 1)))
    decay = tt.analysis.gradient_norms(run, grad_final_state=np.array([[1.0, 2.0]]))
    for k in range(21):
        expected = np.linalg.norm(np.linalg.matrix_power(matrix.T, k) @ [1.0, 2.0])
        assert decay.log_norm[20 - k, 0] == pytest.approx(np.log(expected), abs=1e-13)


@pytest.mark.parametrize(
    ("cell", "layers"), [("tanh", 1), ("lstm", 2), ("gru", 1), ("rate", 1), ("leaky_tanh", 2), ("relu", 1)]
)
@pytest.mark.parametrize("lengths", [None, [12, 0, 7]])
def test_agrees_with_dense_jacobians_and_backprop(cell, layers, lengths):
    """A loss at every step and at the end, on the full state of all layers, h and c: one costate, the coordinates of
    s_t held apart."""
    net = tt.Network(cell, 3, 5, num_layers=layers, seed=1)
    rng = np.random.default_rng(2)
    run = net.unroll(rng.standard_normal((12, 3, 3)), lengths=lengths)
    grad_output = rng.standard_normal(run.output.shape)
    last = run.final_state
    grad_last = (
        tuple(rng.standard_normal(a.shape) for a in last)
        if isinstance(last, tuple)
        else rng.standard_normal(last.shape)
    )
    decay = tt.analysis.gradient_norms(run, grad_output, grad_last)
    gradients = run.backprop(grad_output, grad_last)
    parts = gradients.initial_state if isinstance(last, tuple) else (gradients.initial_state,)
    start = np.sqrt(sum((part**2).sum(axis=(0, 2)) for part in parts))
    np.testing.assert_allclose(np.exp(decay.log_norm[0]), start, rtol=1e-12)
    if layers == 1:
        np.testing.assert_allclose(np.exp(decay.log_norm), np.linalg.norm(gradients.states, axis=2), rtol=1e-12)
    at_end = grad_last if isinstance(last, tuple) else (grad_last,)
    costate = np.stack(at_end).transpose(2, 1, 0, 3).reshape(3, -1)
    for t in range(12, -1, -1):
        if t < 12:
            costate = np.einsum("bij,bi->bj", run.jacobian(t + 1), costate)
        if t > 0:
            costate = costate + run.output_cotangent(t, grad_output[t - 1])
        np.testing.assert_allclose(np.exp(decay.log_norm[t]), np.linalg.norm(costate, axis=1), rtol=1e-12)
    assert decay.last.tolist() == ([12, 12, 12] if lengths is None else lengths)


def step_by_step(run, g, at_end):
    """ln‖dL/ds_t‖ (T+1, B) by one product with a Jacobian per step, after each of which the numbers are scaled."""
    steps, (batch, size) = len(run.states) - 1, run.states.shape[1:]
    found, scale = np.full((steps + 1, batch), -np.inf), np.full(batch, -np.inf)
    rows = np.zeros((batch, size), run.network.dtype)
    for t in range(steps, -1, -1):
        if t < steps and np.any(scale != -np.inf):
            rows = run.vjp(rows, t, t + 1)
            rows, scale = of_length_one(rows, np.where(np.any(rows, axis=1), scale, -np.inf))
        new = at_end if t == steps and at_end is not None else np.zeros_like(rows)
        if g is not None and t > 0 and np.any(g[t - 1]):
            new = new + run.output_cotangent(t, g[t - 1])
        new, new_scale = of_length_one(new, np.where(np.any(new, axis=1), 0.0, -np.inf))
        top = np.maximum(scale, new_scale)
        level = np.where(top == -np.inf, 0.0, top)
        both = np.exp(scale - level)[:, None] * rows + np.exp(new_scale - level)[:, None] * new
        rows, scale = of_length_one(both.astype(rows.dtype), np.where(np.any(both, axis=1), level, -np.inf))
        found[t] = log_length(rows, scale)
    return found


def of_length_one(rows, scale):
    """Numbers around 1, by a power of 2, which rounds nothing; and ln of what they stand for."""
    exponent = np.frexp(np.abs(rows).max(axis=1))[1]
    rows = np.ldexp(rows, -exponent[:, None])
    return rows, np.where(np.isnan(scale), np.nan, scale + exponent * np.log(2.0))


def log_length(rows, scale):
    with np.errstate(divide="ignore"):
        return scale + np.log(np.linalg.norm(rows.astype(float), axis=1))


SLOW, FAST = 0.9, 1e-9


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lengths", [None, [150, 0, 97]])
@pytest.mark.parametrize(
    ("cell", "layers", "gain"),
    [
        ("tanh", 1, SLOW), ("tanh", 2, 1.6), ("lstm", 1, 1.0), ("lstm", 2, 2.0), ("gru", 1, 2.0), ("rate", 2, 3.0),
        ("linear", 1, FAST), ("linear", 2, 1e6), ("relu", 1, 1.2),
    ],
)  # fmt: skip
def test_windows_agree_with_steps(cell, layers, gain, lengths, dtype):
    """Losses everywhere, only at the end, and here and there with sizes from the smallest numbers to the largest."""
    net = tt.Network(cell, 3, 6, num_layers=layers, init=tt.init.gaussian(gain), seed=1, dtype=dtype)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((150, 3, 3)) * (0.0 if cell == "linear" else 1.0)
    run = net.unroll(x, lengths=lengths)
    dense = rng.standard_normal(run.output.shape).astype(dtype)
    sizes = 10.0 ** rng.integers(-30, 30, (150, 3, 1))
    sparse = (dense * sizes * (rng.random((150, 3, 1)) < 0.05)).astype(dtype)
    last = run.final_state
    at_end = [rng.standard_normal(a.shape).astype(dtype) for a in (last if isinstance(last, tuple) else (last,))]
    flat = np.stack(at_end).transpose(2, 1, 0, 3).reshape(3, -1)
    for g, end in ((dense, None), (None, True), (sparse, None), (sparse, True)):
        given = None if end is None else tuple(at_end) if isinstance(last, tuple) else at_end[0]
        with np.errstate(all="ignore"):
            expected = step_by_step(run, g, None if end is None else flat)
        found = tt.analysis.gradient_norms(run, g, given).log_norm
        # Roundings of every step, and those of the logarithms, added up in float64. The gru in float32 needs the 8:
        # there both ways differ by 4.5e-5 from the product of the same Jacobians in float64.
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=8 * 150 * np.finfo(dtype).eps)


def test_batch_first_and_two_dimensional_input():
    x = np.random.default_rng(0).standard_normal((9, 2, 3))
    plain, first = (tt.Network("tanh", 3, 4, seed=3, batch_first=flag) for flag in (False, True))
    gradient = np.random.default_rng(1).standard_normal((9, 2, 4))
    a = tt.analysis.gradient_norms(plain.unroll(x), gradient).log_norm
    b = tt.analysis.gradient_norms(first.unroll(x.swapaxes(0, 1)), gradient.swapaxes(0, 1)).log_norm
    c = tt.analysis.gradient_norms(plain.unroll(x[:, 1]), gradient[:, 1]).log_norm
    np.testing.assert_allclose(a, b, atol=1e-12)
    np.testing.assert_allclose(a[:, 1:], c, atol=1e-12)


@pytest.mark.parametrize("where", ["states", "gradient"])
def test_nan_stays_in_its_sequence_and_its_past(where):
    net = tt.Network("relu", 2, 5, seed=0)
    x, g = np.random.default_rng(0).standard_normal((300, 3, 2)), np.ones((300, 3, 5))
    (x if where == "states" else g)[140, 1, 0] = np.nan
    run = net.unroll(x)
    with np.errstate(all="ignore"):
        expected = step_by_step(run, g, None)
    found = tt.analysis.gradient_norms(run, g).log_norm
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-12)
    assert np.isnan(found[:141, 1]).all()
    assert np.isfinite(found[:, [0, 2]]).all()


def test_the_same_bits_beside_any_other_sequence():
    """A neighbour's exponents decide where windows end, and round nothing."""
    run = tt.Network("gru", 2, 5, seed=0).unroll(np.random.default_rng(0).standard_normal((200, 2, 2)))
    g = np.random.default_rng(1).standard_normal((200, 2, 5))
    beside = g.copy()
    beside[:, 1] *= 10.0 ** np.random.default_rng(2).integers(-300, 300, (200, 1))
    a, b = (tt.analysis.gradient_norms(run, given).log_norm[:, 0] for given in (g, beside))
    np.testing.assert_array_equal(a, b)


def test_few_calls_of_the_run():
    """One call for many steps of an ordinary network."""
    run = tt.Network("lstm", 2, 5, seed=0).unroll(np.ones((1000, 2, 2)))
    calls = []

    def noted(name):
        method = getattr(run, name)

        def call(*arguments):
            calls.append(name)
            return method(*arguments)

        return call

    for name in ("costates", "vjp", "output_cotangent"):
        setattr(run, name, noted(name))
    tt.analysis.gradient_norms(run, np.ones((1000, 2, 5)))
    assert len(calls) < 20


def test_no_gradient_is_minus_infinity():
    run = tt.Network("tanh", 2, 4, seed=0).unroll(np.zeros((6, 2, 2)))
    gradient = np.zeros((6, 2, 4))
    gradient[3, 1] = 1.0
    decay = tt.analysis.gradient_norms(run, gradient)
    assert np.all(decay.log_norm[:, 0] == -np.inf)
    assert np.all(decay.log_norm[5:, 1] == -np.inf)
    assert np.all(np.isfinite(decay.log_norm[:5, 1]))
    assert decay.last.tolist() == [-1, 4]
    assert np.isnan(decay.rate[0])
    assert np.isnan(decay.horizon[0])


def test_dead_relus_end_the_gradient():
    net = tt.Network("relu", 1, 1, seed=0)
    for name in net.parameters:
        net.parameters[name][...] = 1.0 if "weight" in name else 0.0
    x = np.ones((6, 1))
    x[2] = -10.0  # the third step switches the unit off
    decay = tt.analysis.gradient_norms(net.unroll(x), grad_final_state=np.ones((1, 1)))
    assert decay.log_norm[3:, 0] == pytest.approx(0.0)
    assert np.all(decay.log_norm[:3, 0] == -np.inf)
    assert decay.horizon[0] == 4


def test_pascanu_bound():
    """‖dL/ds_{t−k}‖ ≤ σ₁ᵏ ‖dL/ds_t‖ for tanh; an inequality, and a loose one."""
    net = tt.Network("tanh", 2, 16, seed=5)
    run = net.unroll(np.random.default_rng(0).standard_normal((40, 2)))
    decay = tt.analysis.gradient_norms(run, grad_final_state=np.ones((1, 16)))
    sigma = np.linalg.norm(net.parameters["weight_hh_l0"], 2)
    lag = np.arange(40, -1, -1)
    assert np.all(decay.log_norm[:, 0] <= decay.log_norm[-1, 0] + lag * np.log(sigma) + 1e-12)


def test_the_error_of_the_rate_is_honest():
    """Increments with known spread: the stated error covers the true slope about as often as it says."""
    from throughtime.analysis.statistics import slope_with_error

    rng = np.random.default_rng(0)
    scores = []
    for _ in range(300):
        noise = rng.standard_normal(404)
        increments = -0.1 + noise[4:] + noise[3:-1] + noise[2:-2]  # correlated over three steps
        slope, error = slope_with_error(np.arange(401.0), np.concatenate([[0.0], np.cumsum(increments)]))
        scores.append((slope + 0.1) / error)
    assert 0.7 < np.std(scores) < 1.35


def test_nan_in_nan_out():
    x = np.zeros((5, 1))
    x[2] = np.nan
    decay = tt.analysis.gradient_norms(tt.Network("tanh", 1, 3, seed=0).unroll(x), grad_final_state=np.ones((1, 3)))
    assert np.isnan(decay.log_norm[0, 0])
    assert np.isnan(decay.rate[0])


def test_empty_sequences():
    run = tt.Network("tanh", 1, 3, seed=0).unroll(np.zeros((0, 2, 1)))
    decay = tt.analysis.gradient_norms(run, grad_final_state=np.ones((1, 2, 3)))
    assert decay.log_norm.shape == (1, 2)
    assert decay.rate.shape == (2,)


def test_refusals():
    net = tt.Network("tanh", 2, 4, seed=0)
    run = net.unroll(np.zeros((6, 2, 2)))
    with pytest.raises(ValueError, match="no gradient to follow"):
        tt.analysis.gradient_norms(run)
    with pytest.raises(ValueError, match="grad_output"):
        tt.analysis.gradient_norms(run, np.zeros((6, 2, 5)))
    with pytest.raises(ValueError, match="grad_final_state"):
        tt.analysis.gradient_norms(run, grad_final_state=np.zeros((2, 4)))
    with pytest.raises(ValueError, match="factor"):
        tt.analysis.gradient_norms(run, np.ones((6, 2, 4)), factor=1.0)
    both = tt.Network("tanh", 2, 4, bidirectional=True, seed=0).unroll(np.zeros((6, 2, 2)))
    with pytest.raises(ValueError, match="bidirectional"):
        tt.analysis.gradient_norms(both, np.ones((6, 2, 8)))


def test_result_prints_and_converts():
    _, _, decay = from_the_end(linear(0.9 * orthogonal(4, 2)), 50)
    assert "-0.1054" in repr(decay)
    assert len(repr(decay).splitlines()) < 12
    assert set(decay.arrays()) == {"log_norm", "last", "rate", "rate_standard_error", "horizon", "factor"}
