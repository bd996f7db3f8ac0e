"""One step back through cells with signals, stages and parameters: the sum over all lags is the gradient of the run."""

from typing import NamedTuple

import numpy as np
import pytest

import throughtime as tt
from throughtime.analysis.gradients import lag_sweep
from throughtime.analysis.gradients.wired_step_back import WiredBack
from throughtime.scalar import sigmoid, sigmoid_slope, tanh, tanh_slope

T, B, N = 7, 3, 5


def problem(cell, layers=1, lengths=None, dtype="float64", **options):
    rng = np.random.default_rng(0)
    net = tt.Network(cell, 2, N, num_layers=layers, dtype=dtype, seed=1, **options)
    run = net.unroll(rng.standard_normal((T, B, 2)).astype(dtype), lengths=lengths)
    return run, lag_sweep.checked(run, rng.standard_normal(run.output.shape).astype(dtype), "it")[0]


@pytest.mark.parametrize("lengths", [None, [7, 0, 4]])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm", tt.Rate(0.3)], ids=str)
def test_plain_cells_go_back_as_by_one_product(cell, layers, lengths, monkeypatch):
    """Signal by signal, and with one product for all gates."""
    run, g = problem(cell, layers, lengths)
    names = tuple(run.network.parameters)
    plain = list(lag_sweep.by_lag(run, g, T - 1, names))
    monkeypatch.setattr(lag_sweep, "LayerBack", WiredBack)
    for (norms, parts), (others, again) in zip(plain, lag_sweep.by_lag(run, g, T - 1, names), strict=True):
        np.testing.assert_allclose(norms, others, rtol=1e-12)
        for name in names:
            np.testing.assert_allclose(parts[name], again[name], rtol=0, atol=1e-13)


@tt.cell(
    gates=("g", "n"), states=2, sends={"y": ("g", "n"), "z": ("n",)}, stage={"a": ("n", "q"), "b": ("n",)},
    parameters=("tau",),
)  # fmt: skip
class Everything(NamedTuple):
    """Two signals of the state, two of a stage, a parameter of the units."""

    def stage(cell, x, r, s, p):
        gate = sigmoid(x[0] + r[0])
        return gate * s[0], gate * s[1] + p[0] * r[1]

    def stage_backward(cell, da, s, saved, p):
        gate, slope = sigmoid(saved[0]), sigmoid_slope(saved[0])
        d = (da[0] * s[0] + da[1] * s[1]) * slope
        return (d, 0.0), (d, p[0] * da[1]), (gate * da[0], gate * da[1]), (saved[2] * da[1],)

    def forward(cell, x, r, s, p):
        u = x[1] + r[1] + r[2] + r[3]
        n = tanh(u)
        return (s[0] + p[0] * (n - s[0]), s[1] + 0.5 * (n * sigmoid(x[0] + r[0]) - s[1])), (x[0] + r[0], u, r[1])

    def backward(cell, ds, s, s_next, saved, p):
        n, gate = tanh(saved[1]), sigmoid(saved[0])
        du = (p[0] * ds[0] + 0.5 * gate * ds[1]) * tanh_slope(saved[1])
        dg = 0.5 * n * ds[1] * sigmoid_slope(saved[0])
        return (dg, du), (dg, du, du, du), (ds[0] - p[0] * ds[0], 0.5 * ds[1]), ((n - s[0]) * ds[0],)

    def emit(cell, s):
        return tanh(s[0]), s[0] * s[1]

    def emit_slope(cell, s):
        return (tanh_slope(s[0]), 0.0), (s[1], s[0])

    def initial(cell, units, rng):
        return (rng.uniform(0.3, 0.9, units),)


@tt.cell(gates=("z", "n"), sends={}, parameters=("scale",))
class Alone(NamedTuple):
    """It hears no other unit."""

    def forward(cell, x, r, s, p):
        return (s[0] + sigmoid(x[0]) * (p[0] * x[1] - s[0]),), (x[0], x[1])

    def backward(cell, ds, s, s_next, saved, p):
        z = sigmoid(saved[0])
        dz = sigmoid_slope(saved[0]) * (p[0] * saved[1] - s[0]) * ds[0]
        return (dz, z * p[0] * ds[0]), (), (ds[0] - z * ds[0],), (z * saved[1] * ds[0],)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lengths", [None, [7, 0, 4]])
@pytest.mark.parametrize(("layers", "norm"), [(1, False), (2, False), (2, True)])
@pytest.mark.parametrize(
    "cell", [Everything(), Alone(), tt.LeakyTanh(np.linspace(0.2, 0.6, N))], ids=["everything", "alone", "leaks"]
)
def test_lags_add_up_to_the_gradient_of_the_run(cell, layers, norm, lengths, dtype):
    """And each norm is that of the cotangent which the run itself takes back so far."""
    run, g = problem(cell, layers, lengths, dtype, layer_norm=norm)
    names, eps = tuple(run.network.parameters), np.finfo(dtype).eps
    found = list(lag_sweep.by_lag(run, g, T - 1, names))
    for name, whole in lag_sweep.whole(run, g).items():
        summed = sum(parts[name].astype(np.float64) for _, parts in found)
        assert np.abs(summed - whole).max() <= 200 * eps * np.abs(whole).max()
    for t, lag in ((6, 0), (6, 3), (5, 5), (3, 2)):
        u = run.output_cotangent(t + 1, g[t])
        back = run.vjp(u, t + 1 - lag, t + 1)
        alive = np.full(B, T) > t if lengths is None else np.array(lengths) > t
        theirs = np.log(np.linalg.norm(back.astype(np.float64)[alive], axis=1))
        np.testing.assert_allclose(found[lag][0][t - lag][alive], theirs, rtol=0, atol=200 * eps)


def test_without_a_product_the_default_is_every_parameter():
    run, g = problem(Alone())
    found = tt.analysis.gradient_by_lag(run, g)
    assert found.parameters == ("weight_ih_l0", "bias_ih_l0", "scale_l0") == tuple(run.network.parameters)
    every = tt.analysis.gradient_by_lag(run, g, parameters=list(run.network.parameters))
    np.testing.assert_array_equal(found.share, every.share)
    assert tt.analysis.gradient_by_lag(run, g, parameters="scale_l0").remainder < 1e-13
