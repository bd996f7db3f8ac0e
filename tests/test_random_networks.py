"""Random networks, every cell, layers, lengths, dead units and both precisions, through analyses beside plain NumPy.

Seeded; THROUGHTIME_FUZZ=10 draws ten times as many.
"""

import os

import numpy as np
import pytest
from networks import CELLS, is_of_units, library_cell, near_start

import throughtime as tt
from throughtime import analysis
from throughtime.cells import spec

DRAWS = max(1, int(8 * float(os.environ.get("THROUGHTIME_FUZZ", "1"))))


def draw(seed):
    rng = np.random.default_rng(seed)
    cell, layers = CELLS[seed % len(CELLS)], int(rng.integers(1, 3))
    units, steps, batch = int(rng.integers(1, 6)), int(rng.integers(1, 9)), int(rng.integers(1, 4))
    dtype = ("float64", "float32")[int(rng.integers(2))]
    if layers == 2 and seed % 2:  # unlike layers
        cells, sizes = [cell, CELLS[int(rng.integers(len(CELLS)))]], [units, int(rng.integers(1, 6))]
    else:
        cells, sizes = [cell] * layers, [units] * layers
    net = tt.Network(list(map(library_cell, cells)), 2, sizes, dtype=dtype, seed=0)
    for name, value in net.parameters.items():
        if is_of_units(name):
            value[...] = near_start(value, rng)
            continue
        value[...] = rng.uniform(0.3, 2.0) * rng.standard_normal(value.shape)
        if rng.random() < 0.3 and name.startswith("weight_hh"):
            value[rng.random(len(value)) < 0.5] = 0.0
    lengths = rng.integers(0, steps + 1, batch) if rng.random() < 0.5 else None
    run = net.unroll(rng.standard_normal((steps, batch, 2)), lengths=lengths)
    return rng, run, np.full(batch, steps) if lengths is None else lengths


@pytest.mark.parametrize("seed", range(DRAWS))
def test_products_and_spectra(seed):
    """Rounding is some n S eps of Π‖J‖; of float32 the Jacobians themselves are the data."""
    _, run, lengths = draw(seed)
    J = run.jacobians().astype(np.float64)
    steps, batch, size = J.shape[:3]
    eps = np.finfo(np.float64).eps
    found = analysis.product_singular_values(run, 0, steps)
    one = analysis.product_singular_values(run, 0, steps, k=1)
    chain, spectrum = analysis.gradient_products(run), analysis.jacobian_spectrum(run, list(range(1, steps + 1)))
    assert found.converged
    assert one.converged
    assert chain.holds
    np.testing.assert_array_equal(found.steps, lengths)
    for b in range(batch):
        product, scale = np.eye(size), 1.0
        for t in range(steps):
            product, scale = J[t, b] @ product, scale * np.linalg.norm(J[t, b], 2)
        values, rounding = np.linalg.svd(product, compute_uv=False), 100 * steps * size * eps * scale
        np.testing.assert_allclose(np.exp(found.log_singular_values[b]), values, rtol=0, atol=rounding)
        assert np.exp(one.log_singular_values[b, 0]) == pytest.approx(values[0], abs=rounding)
        assert np.exp(chain.log_norm[lengths[b], b]) == pytest.approx(values[0], abs=rounding)
        own = np.finfo(run.network.dtype).eps * size * 100
        for t in range(steps):
            sigma = np.linalg.svd(J[t, b], compute_uv=False)
            np.testing.assert_allclose(spectrum.singular_values[t, b], sigma, rtol=0, atol=own * max(sigma[0], 1e-30))


def by_states(net, rows):
    """Rows (B, S) as h or (h, c, …), (L, B, N) each; of layers that differ in shape a list of such, one for each."""
    shapes = [(spec(cell).states, units) for cell, units in zip(net.cells, net.hidden_sizes, strict=True)]
    ends = np.cumsum([states * units for states, units in shapes])
    layers = [
        np.stack(np.split(block, states, axis=1))[:, None]
        for block, (states, _) in zip(np.split(rows, ends[:-1], axis=1), shapes, strict=True)
    ]
    whole = [np.concatenate(layers, axis=1)] if len(set(shapes)) == 1 else layers
    found = [own[0] if len(own) == 1 else tuple(own) for own in whole]
    return found[0] if len(set(shapes)) == 1 else found


@pytest.mark.parametrize("seed", range(DRAWS))
def test_gradients(seed):
    rng, run, _ = draw(seed + 1000)
    last = rng.standard_normal(run.states.shape[1:]).astype(run.network.dtype)
    J = run.jacobians().astype(np.float64)
    found = analysis.gradient_norms(run, grad_final_state=by_states(run.network, last))
    tolerance = 1e3 * float(np.finfo(run.network.dtype).eps)
    for b in range(len(last)):
        u, scale = last[b].astype(np.float64), float(np.linalg.norm(last[b]))
        for t in range(len(J), -1, -1):
            if t < len(J):
                u, scale = J[t, b].T @ u, scale * np.linalg.norm(J[t, b], 2)
            assert np.exp(found.log_norm[t, b]) == pytest.approx(np.linalg.norm(u), abs=tolerance * scale)


@pytest.mark.parametrize("seed", range(DRAWS))
def test_clipping(seed):
    rng, run, _ = draw(seed + 2000)
    g = 10.0 ** rng.uniform(-3, 3) * rng.standard_normal(run.output.shape).astype(run.network.dtype)
    grads, limit = run.backprop(g), float(10.0 ** rng.uniform(-2, 2))
    full = np.concatenate([value.ravel().astype(np.float64) for value in grads.parameters.values()])
    assert analysis.clip_by_norm(grads, limit) == pytest.approx(np.linalg.norm(full), rel=1e-12)
    after = np.concatenate([value.ravel() for value in grads.parameters.values()])
    expected = full * min(1.0, limit / (np.linalg.norm(full) + 1e-6))
    np.testing.assert_allclose(after, expected, rtol=4 * np.finfo(run.network.dtype).eps)
    effect = analysis.clipping_effect(run, g, [limit])
    assert effect.norm == pytest.approx(np.linalg.norm(full), rel=1e-12)
    if effect.norm > 0.0:
        ratio = np.linalg.norm(np.clip(full, -limit, limit)) / effect.norm
        assert effect.norm_ratio[1, 0] == pytest.approx(ratio, rel=1e-6)


@pytest.mark.parametrize("seed", range(DRAWS))
def test_matrix_analyses_of_steps(seed):
    _, run, _ = draw(seed + 3000)
    matrix = run.jacobian(1)[0].astype(np.float64)
    report = analysis.non_normality(run, 4, t=1)
    assert report.norm == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-12)
    assert report.spectral_radius == pytest.approx(np.abs(np.linalg.eigvals(matrix)).max(), rel=1e-9, abs=1e-300)
    power, scale = np.eye(len(matrix)), 1.0
    for k in range(1, 5):
        power, scale = matrix @ power, scale * report.norm
        assert np.exp(report.log_norm[k]) == pytest.approx(np.linalg.norm(power, 2), abs=1e-12 * scale)
