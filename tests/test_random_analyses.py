"""Random networks, every cell, layers, lengths, dead units, through the analyses of runs and of networks, beside plain
NumPy (tests/naive.py). Seeded; THROUGHTIME_FUZZ=10 draws ten times as many.

Tolerances: float64's eps (float32: its own) times some 1e4 for sums over steps, units and parameters, times the scale
of what is summed.
"""

import naive
import numpy as np
import pytest
from networks import CELLS, is_of_units, library_cell, near_start, oracle
from test_random_networks import DRAWS

import throughtime as tt
from throughtime import analysis
from throughtime.cells import spec


def has_product(name):
    """Whether a cell has W_hh."""
    own = library_cell(name)
    return spec(tt.CELLS[own] if isinstance(own, str) else own).recurrent


WITH_PRODUCT = tuple(filter(has_product, CELLS))


def draw(seed, layers=2, steps=(1, 9), batch=(1, 4), lengths=True, dead=0.3, dtypes=("float64",), product=False):
    """A network, its plain version, an input (T, B, I), lengths (B,) or None, and the generator."""
    rng = np.random.default_rng(seed)
    cells = WITH_PRODUCT if product else CELLS
    cell = cells[seed % len(cells)]
    units, steps, batch = int(rng.integers(1, 5)), int(rng.integers(*steps)), int(rng.integers(*batch))
    dtype = dtypes[int(rng.integers(len(dtypes)))]
    net = tt.Network(library_cell(cell), 2, units, num_layers=int(rng.integers(1, layers + 1)), dtype=dtype, seed=0)
    for name, value in net.parameters.items():
        if is_of_units(name):
            value[...] = near_start(value, rng)
            continue
        value[...] = rng.uniform(0.3, 1.5) * rng.standard_normal(value.shape)
        if name.startswith("weight_hh") and rng.random() < dead:
            value[rng.random(len(value)) < 0.5] = 0.0
    x = rng.standard_normal((steps, batch, 2)).astype(dtype)
    padded = rng.integers(0, steps + 1, batch) if lengths and rng.random() < 0.5 else None
    return net, naive.of(net, oracle(cell)), x, padded, rng


def close(found, expected, tolerance):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance)


def norm(gradient, names):
    return np.concatenate([np.ravel(gradient[name]) for name in names])


@pytest.mark.parametrize("seed", range(DRAWS))
def test_gradient_by_lag(seed):
    net, plain, x, lengths, rng = draw(seed + 4000, dtypes=("float64", "float32"), product=True)
    run = net.unroll(x, lengths=lengths)
    g = rng.standard_normal(run.output.shape).astype(net.dtype)
    found = analysis.gradient_by_lag(run, g)
    states = run.states.astype(np.float64)
    J, _, by_parameter = naive.jacobians(plain, x.astype(np.float64), states, lengths)
    places = np.concatenate([np.full(v.size, name.startswith("weight_hh")) for name, v in plain.parameters.items()])
    eps = 1e4 * float(np.finfo(net.dtype).eps)
    parts, sizes = np.zeros((len(x), places.sum())), np.zeros(len(x))
    for b in range(x.shape[1]):
        for t in range(len(x)):
            alive = lengths is None or t < lengths[b]
            u = g[t, b] @ naive.emit_slope(plain, states[t + 1, b]) * alive
            scale = np.linalg.norm(u)
            for k in range(t + 1):
                close(np.exp(found.log_norm[t, k, b]), np.linalg.norm(u), eps * max(scale, 1e-30))
                parts[k] += (u @ by_parameter[t - k, b])[places]
                sizes[k] += scale * np.abs(by_parameter[t - k, b]).sum()
                scale *= np.linalg.norm(J[t - k, b], 2)
                u = u @ J[t - k, b]
            assert np.isneginf(found.log_norm[t, t + 1 :, b]).all()
    full = np.linalg.norm(parts.sum(axis=0))
    if full > 1e3 * eps * sizes.sum():
        close(found.share, np.linalg.norm(parts, axis=1) / full, 10 * eps * sizes.sum() / full)
        assert found.remainder < 10 * eps * sizes.sum() / full


@pytest.mark.parametrize("seed", range(DRAWS))
def test_truncation_bias(seed):
    net, plain, x, lengths, rng = draw(seed + 5000)
    run = net.unroll(x, lengths=lengths)
    g, names = rng.standard_normal(run.output.shape), list(net.parameters)
    windows = list(range(1, len(x) + 1))
    found = analysis.truncation_bias(run, g, windows, parameters=names)
    start, none = np.zeros_like(run.states[0]), np.zeros_like(run.states[0])
    grads = [norm(naive.bptt(plain, x, start, lengths, g, none, window).parameters, names) for window in windows]
    full = grads[-1]
    if np.linalg.norm(full) > 0.0:
        errors = [np.linalg.norm(part - full) / np.linalg.norm(full) for part in grads]
        close(found.relative_error, errors, 1e-10 * (1 + max(errors)))
        close(found.norm_ratio, [np.linalg.norm(p) / np.linalg.norm(full) for p in grads], 1e-10 * (1 + max(errors)))
        close(found.cosine[-1], 1.0, 1e-12)
    else:
        assert np.isnan(found.relative_error).all()


@pytest.mark.parametrize("seed", range(DRAWS))
def test_lyapunov_spectrum_and_twin(seed):
    """Against a QR decomposition of every Jacobian; the twin's distance has errors of its own size, 1e-7."""
    net, plain, x, _, rng = draw(seed + 6000, steps=(220, 221), batch=(1, 3), lengths=False, dead=0.0)
    k = int(rng.integers(1, net.state_size + 1))
    found = analysis.lyapunov_spectrum(net, x, k=k, seed=0, warmup=20, discard=0)
    states = naive.unroll(plain, x).states
    J = naive.jacobians(plain, x, states)[0]
    first = np.linalg.qr(np.random.default_rng(0).standard_normal((k, net.state_size)).T)[0]
    twin = analysis.perturbed_twin(net, x, seed=0, warmup=20)
    for b in range(x.shape[1]):
        q, sums = first, []
        for jacobian in J[20:, b]:
            q, r = np.linalg.qr(jacobian @ q)
            sums.append(np.log(np.maximum(np.abs(np.diagonal(r)), 1e-300)))
        expected = np.sort(np.mean(sums, axis=0))[::-1]
        spectrum = np.atleast_2d(found.exponents)[b]
        if np.min(sums) > -15.0:  # beyond, the columns of plain Householder QR come from rounding
            close(spectrum, expected, 1e-7)
        error = np.atleast_1d(twin.standard_error)[b]
        if not np.isnan(error):
            close(np.atleast_1d(twin.exponent)[b], spectrum[0], 0.02 + 4 * error)


@pytest.mark.parametrize("seed", range(DRAWS))
def test_covariant_vectors(seed):
    """J v(t−1) = e^r v(t), and each grows at its exponent; where Jacobians are singular it is refused in words."""
    net, plain, x, _, rng = draw(seed + 7000, layers=1, steps=(60, 61), batch=(1, 2), lengths=False, dead=0.0)
    k = int(rng.integers(1, net.state_size + 1))
    options = {"k": k, "seed": 0, "warmup": 0, "transient": 10, "times": list(range(41))}
    J = naive.jacobians(plain, x, naive.unroll(plain, x).states)[0][:, 0]
    ranks = [np.linalg.matrix_rank(jacobian, tol=1e-14 * np.linalg.norm(jacobian, 2)) for jacobian in J]
    if min(ranks) < k:  # for these vectors to be lost their Jacobians must be singular
        with pytest.raises(ValueError, match="singular"):
            analysis.covariant_vectors(net, x, **options)
        return
    found = analysis.covariant_vectors(net, x, **options)
    J = J[10:50]
    for t in range(40):
        moved = J[t] @ found.vectors[t]
        close(
            moved,
            found.vectors[t + 1] * np.exp(found.local_rates[t]) * np.sign((moved * found.vectors[t + 1]).sum(0)),
            1e-10 * np.linalg.norm(J[t], 2),
        )
    close(np.linalg.norm(found.vectors, axis=1), 1.0, 1e-12)
    close(found.exponents, found.local_rates.mean(axis=0), 1e-12)


@pytest.mark.parametrize("seed", range(DRAWS))
def test_products_of_gradients_and_bounds(seed):
    net, plain, x, lengths, _ = draw(seed + 8000, layers=1)
    run = net.unroll(x, lengths=lengths)
    J = naive.jacobians(plain, x, naive.unroll(plain, x, lengths=lengths).states, lengths)[0]
    chain = analysis.gradient_products(run)
    known = hasattr(net.cell, "slope_bounds")
    bound = analysis.pascanu_bound(net, input_bound=float(np.abs(x).max()), state_bound=0.0) if known else None
    spectrum = analysis.jacobian_spectrum(run, list(range(1, len(x) + 1)))
    for b in range(x.shape[1]):
        end = len(x) if lengths is None else int(lengths[b])
        for start in range(end):
            product = np.eye(net.state_size)
            for t in range(start, end):
                product = J[t, b] @ product
            largest = np.linalg.norm(product, 2)
            scale = np.prod([np.linalg.norm(J[t, b], 2) for t in range(start, end)])
            close(np.exp(chain.log_norm[end - start, b]), largest, 1e-12 * scale)
            assert bound is None or largest <= np.exp(bound.log_bound([end - start])[0]) * (1 + 1e-12)
        for t in range(len(x)):
            modulus = np.sort(np.abs(np.linalg.eigvals(J[t, b])))[::-1]
            # an eigenvalue of multiplicity m feels rounding as its m-th root; sums and determinant do not
            close(np.abs(spectrum.eigenvalues[t, b])[0], modulus[0], 10 * (1e-14 * np.linalg.norm(J[t, b], 2)) ** 0.25)
            close(spectrum.eigenvalues[t, b].sum(), np.trace(J[t, b]), 1e-12 * (1 + np.abs(J[t, b]).sum()))
            close(spectrum.singular_values[t, b], np.linalg.svd(J[t, b], compute_uv=False), 1e-12 * (1 + modulus[0]))


@pytest.mark.parametrize("seed", range(DRAWS))
def test_fixed_points(seed):
    net, plain, x, _, _ = draw(seed + 9000, steps=(1, 2), batch=(1, 2), lengths=False)
    found = analysis.fixed_points(net, x[0, 0], starts=8, seed=0)
    for point, residual, eigenvalues in zip(found.points, found.residual, found.eigenvalues, strict=True):
        states = naive.unroll(plain, x, point[None]).states
        moved = np.abs(states[1, 0] - point).max()
        close(residual, moved, 1e-12 * (1 + np.abs(point).max()))
        assert moved < 1e-8 * (1 + np.abs(point).max())
        jacobian = naive.jacobians(plain, x, states)[0][0, 0]
        close(np.sum(eigenvalues), np.trace(jacobian), 1e-11 * (1 + np.abs(jacobian).sum()))


@pytest.mark.parametrize("seed", range(DRAWS))
def test_loss_surface(seed):
    net, plain, x, lengths, rng = draw(seed + 10000, layers=2, product=True)
    names = ["weight_hh_l0", "weight_ih_l0"]
    first, second = ({name: rng.standard_normal(net.parameters[name].shape)} for name in names)
    g = rng.standard_normal((*x.shape[:2], net.hidden_size))
    before = {name: value.copy() for name, value in net.parameters.items()}
    offsets = [-0.3, 0.0, 0.2]
    found = analysis.loss_surface(
        net, x, lambda run: ((g * run.output).sum(), g), first, second, offsets, [0.1], lengths=lengths
    )
    start = np.zeros((x.shape[1], net.state_size))
    for i, a in enumerate(offsets):
        moved = {**plain.parameters, names[0]: plain.parameters[names[0]] + a * first[names[0]]}
        moved[names[1]] = moved[names[1]] + 0.1 * second[names[1]]
        there = naive.Net(plain.cell, moved, plain.num_layers, False, plain.leak)
        value = naive.loss(there, x, start, lengths, g, start)
        close(found.loss[i, 0], value, 1e-11 * (1 + abs(value)))
        zero = {name: np.zeros_like(v) for name, v in moved.items()}
        for which, direction in enumerate((first, second)):
            slope = naive.directional(there, x, start, lengths, g, start, {**zero, **direction}, 0 * x, start)
            close(found.gradient[i, 0, which], slope, 1e-10 * (1 + abs(slope)))
    for name, value in before.items():
        np.testing.assert_array_equal(net.parameters[name], value)
