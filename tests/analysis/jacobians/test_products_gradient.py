"""The gradient of a·J q by states and parameters, beside differences of the Jacobians themselves."""

from __future__ import annotations

import networks
import numpy as np
import pytest

from throughtime.analysis.jacobians.products_gradient import gradient_of_products

T, B, START, N = 5, 3, 1, 3  # steps 1 … 3 of a run of 5
LENGTHS = [5, 3, 0]


def phi(p, states, a, q):
    """Σ a·J q with the Jacobian of each step from given states."""
    total = 0.0
    for i in range(len(q)):
        alive = [int(START + i < length) for length in LENGTHS]
        jacobian = p.net.unroll(p.x[START + i : START + i + 1], state=states[START + i], lengths=alive).jacobian(1)
        for b in np.flatnonzero(alive):
            total += np.einsum("ks,sr,kr->", a[i, b], jacobian[b], q[i, b])
    return total


def slope(function, step):
    """Of fourth order."""
    h = step
    return (8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))) / (12 * h)


@pytest.mark.parametrize("vectors", [1, 12])  # fewer and more than there are directions of a unit
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", networks.CELLS)
def test_by_states_and_by_every_parameter(cell, layers, vectors):
    """Along random directions of all states and of each parameter: h⁴ = 1e-12 beside fifth derivatives up to 1e3; for a
    rectifier, whose φ is linear in between corners, a step too small to meet one."""
    p = networks.problem(cell, T, B, 2, 4, layers=layers, lengths=LENGTHS)
    run, rng = p.unroll(), np.random.default_rng(1)
    states = np.array(run.states)
    a, q, v = (rng.standard_normal((N, B, k, states.shape[2])) for k in (vectors, vectors, 1))
    by_states, by_parameters = gradient_of_products(run, a, q, START)
    step = 1e-7 if cell == "relu" else 1e-4 if cell == "lru" else 1e-3
    moved = np.zeros_like(states)
    moved[START : START + N] = v[:, :, 0]
    expected = slope(lambda e: phi(p, states + e * moved, a, q), step)
    np.testing.assert_allclose((by_states * v[:, :, 0]).sum(), expected, rtol=1e-7, atol=1e-7)
    for name, value in p.net.parameters.items():
        original, way = value.copy(), rng.standard_normal(value.shape)

        def at(e, value=value, original=original, way=way):
            value[...] = original + e * way
            return phi(p, states, a, q)

        expected = slope(at, step)
        value[...] = original
        np.testing.assert_allclose((by_parameters[name] * way).sum(), expected, rtol=1e-7, atol=1e-7)


def test_with_the_slopes_held_only_the_weights_move():
    """Of a tanh network ∂/∂W of a·diag(φ') W q with φ' held is (φ' a) qᵀ."""
    p = networks.problem("tanh", T, B, 2, 4)
    run, rng = p.unroll(), np.random.default_rng(2)
    a, q = (rng.standard_normal((N, B, 2, 4)) for _ in range(2))
    by_states, found = gradient_of_products(run, a, q, START, slopes_held=True)
    slopes = 1 - run.states[START + 1 : START + N + 1, :, None] ** 2
    np.testing.assert_allclose(found["weight_hh_l0"], np.einsum("tbki,tbkj->ij", slopes * a, q), rtol=1e-12)
    assert not by_states.any()
    assert not any(found[name].any() for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"))


def test_single_precision():
    double, single = (networks.problem("lstm", T, B, 2, 4, layers=2, dtype=dtype) for dtype in ("float64", "float32"))
    rng = np.random.default_rng(3)
    a, q = (rng.standard_normal((N, B, 2, 16)) for _ in range(2))
    for value, other in zip(double.net.parameters.values(), single.net.parameters.values(), strict=True):
        value[...] = other
    one = double._replace(x=single.x.astype(float), start=single.start.astype(float))
    (states, expected), (rough, found) = (gradient_of_products(p.unroll(), a, q, START) for p in (one, single))
    np.testing.assert_allclose(rough, states, rtol=0, atol=1e-4 * np.abs(states).max())
    for name, value in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-4 * np.abs(value).max())
