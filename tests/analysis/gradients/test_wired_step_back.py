"""One step back through cells with signals, stages and parameters: the sum over all lags is the gradient of the run."""

import numpy as np
import pytest

import throughtime as tt
from throughtime.analysis.gradients import lag_sweep
from throughtime.analysis.gradients.wired_step_back import WiredBack

T, B, N = 7, 3, 5


def problem(cell, layers=1, lengths=None, dtype="float64"):
    rng = np.random.default_rng(0)
    net = tt.Network(cell, 2, N, num_layers=layers, dtype=dtype, seed=1)
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
