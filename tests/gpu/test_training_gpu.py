"""Models trained on the GPU and on the CPU: the same parameters and history after twenty updates."""

from __future__ import annotations

import numpy as np
import pytest

import throughtime as tt

training = tt.training
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}


def of_tokens(dtype):
    pieces = [tt.models.Embedding(30, 16, seed=0, dtype=dtype), tt.models.Dropout(0.2, seed=1)]
    pieces += [tt.models.LayerNorm(16, dtype=dtype), tt.Network("lstm", 16, 64, seed=2, dtype=dtype)]
    return tt.models.Chain([*pieces, tt.models.Readout(64, 30, seed=3, dtype=dtype)])


def of_numbers(dtype):
    net = tt.Network("gru", 2, 96, seed=0, dtype=dtype)
    return tt.models.Chain([net, tt.models.last, tt.models.Readout(96, 1, seed=1, dtype=dtype)])


def batches(rng, tokens):
    for k in range(20):
        if tokens:
            yield rng.integers(0, 30, (40, 9)), rng.integers(0, 30, (40, 9)), rng.integers(1, 41, 9), None, k % 2 > 0
        else:
            yield rng.standard_normal((30, 9, 2)), rng.standard_normal((9, 1))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("make", [of_tokens, of_numbers])
def test_twenty_updates(make, dtype):
    """On the CPU float32 and float64 are apart by 1e-5 at most after these."""
    ends = []
    for model in (make(dtype), make(dtype).to("cuda")):
        optimiser = training.Adam(0.005, transforms=(training.WeightDecay(1e-3), training.ClipNorm(0.5)))
        given = batches(np.random.default_rng(4), make is of_tokens)
        loss = "cross_entropy" if make is of_tokens else "mean_squared_error"
        trained = training.fit(model, given, loss, optimiser, steps=20)
        ends.append((model.state_dict(), trained.history))
    for name, wanted in ends[0][0].items():
        np.testing.assert_allclose(ends[1][0][name], wanted, rtol=0, atol=TOLERANCE[dtype], err_msg=name)
    for name in ("loss", "norm", "clipped_norm"):
        np.testing.assert_allclose(ends[1][1][name], ends[0][1][name], rtol=TOLERANCE[dtype], err_msg=name)
