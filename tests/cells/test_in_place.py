"""Cells that write `e *= k`: numbers do not change so, and the arrays in their place must not either."""

from typing import NamedTuple

import numpy as np

import throughtime as tt
from throughtime.scalar import tanh, tanh_slope


@tt.cell(gates=2)
class InPlace(NamedTuple):
    """h' = h/2 + tanh(x₁ + r₁) tanh(m x₂ + r₂), sends .7 h."""

    m: float = 2.0

    def forward(cell, x, r, s):
        a, b, h = x[0], x[1], s[0]
        a += r[0]
        b *= cell.m
        b += r[1]
        h *= 0.5
        h += tanh(a) * tanh(b)
        return (h,), (a, b)

    def backward(cell, ds, s, s_next, saved):
        a, b = saved
        da = db = dh = ds[0]
        da *= tanh(b) * tanh_slope(a)
        db *= tanh(a) * tanh_slope(b)
        dx = db
        dx *= cell.m
        dh *= 0.5
        return (da, dx), (da, db), (dh,)

    def emit(cell, s):
        sent = s[0]
        sent *= 0.7
        return sent

    def emit_slope(cell, s):
        return (0.7,)


def test_analyses_of_it_agree_and_leave_its_states():
    assert "is right" in tt.check_cell(InPlace())
    net = tt.Network(InPlace(), 2, 20, seed=1)
    x = np.random.default_rng(0).standard_normal((120, 1, 2))
    run = net.unroll(x)
    states, J = run.states.copy(), run.jacobians()
    pushed = run.jvp(np.eye(20)[None], 50, 51)
    np.testing.assert_allclose(pushed, J[50], rtol=0, atol=1e-14)
    found = tt.analysis.lyapunov_spectrum(net, x, k=19, seed=0, warmup=20)  # its Jacobians by whole arrays
    expected = tt.analysis.lyapunov_from_jacobians(J[20:, 0], 19, seed=0)
    np.testing.assert_allclose(found.exponents, expected.exponents, rtol=0, atol=1e-11)
    tt.analysis.gradient_by_lag(run, np.ones_like(run.output))
    np.testing.assert_array_equal(run.states, states)
