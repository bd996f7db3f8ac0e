"""Models and their training with numba-cuda's own driver calls on the emulated device, in types that are inferred."""

from __future__ import annotations

import numpy as np
import pytest

import throughtime as tt
from throughtime.engine.cuda import device

training = tt.training
TOLERANCE = {"float64": 1e-11, "float32": 1e-4}


def of_tokens(dtype, pool):
    pieces = [tt.models.Embedding(5, 3, seed=0, dtype=dtype), tt.models.Dropout(0.3, seed=1), pool]
    return tt.models.Chain([piece for piece in pieces if piece] + [tt.models.Readout(3, 5, seed=2, dtype=dtype)])


def batches(rng, one_each):
    for _ in range(4):
        targets = rng.integers(0, 5, (2,) if one_each else (70, 2))
        yield rng.integers(0, 5, (70, 2)), targets, np.array([70, 40])


def both(make, given, loss, optimiser, dtype, steps=4):
    """Trained on both machines: parameters and history."""
    ends = []
    for model in (make(), make().to("cuda")):
        found = training.fit(model, given(), loss, optimiser(), steps=steps)
        ends.append((model.state_dict(), found.history))
    for name, wanted in ends[0][0].items():
        np.testing.assert_allclose(ends[1][0][name], wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], err_msg=name)
    for name in ("loss", "norm", "clipped_norm"):
        np.testing.assert_allclose(ends[1][1][name], ends[0][1][name], rtol=TOLERANCE[dtype], err_msg=name)


OPTIMISERS = {
    "Adam": lambda: training.AdamW(0.05, amsgrad=True, transforms=(training.ClipNorm(0.2),)),
    "RMSprop": lambda: training.RMSprop(
        0.02, momentum=0.5, centred=True, transforms=(training.WeightDecay(0.1), training.ClipValue(0.01))
    ),
    "SGD": lambda: training.SGD(0.1, transforms=(training.Frozen(np.arange(35) % 5 == 0),)),
    "momentum": lambda: training.SGD(0.1, momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize(
    ("dtype", "pool", "optimiser"),
    [
        ("float32", None, "Adam"), ("float64", tt.models.last, "RMSprop"), ("float32", tt.models.mean, "SGD"),
        ("float32", None, "momentum"),
    ],
)  # fmt: skip
def test_training_of_classes(dtype, pool, optimiser):
    both(
        lambda: of_tokens(dtype, pool), lambda: batches(np.random.default_rng(3), pool is not None), "cross_entropy",
        OPTIMISERS[optimiser], dtype,
    )  # fmt: skip


@pytest.mark.parametrize("loss", ["mean_squared_error", "binary_cross_entropy"])
def test_training_of_numbers(loss):
    rng = np.random.default_rng(4)
    given = [(rng.standard_normal((6, 2, 3)), rng.random((6, 2, 4)), [6, 3]) for _ in range(3)]
    both(
        lambda: tt.models.Readout(3, 4, seed=0, dtype="float32"), lambda: given, loss,
        lambda: training.SGD(0.1), "float32", steps=3,
    )  # fmt: skip


def test_training_of_normalised_rows():
    """More numbers in a row than threads of a warp."""
    rng = np.random.default_rng(7)
    given = [(rng.standard_normal((6, 2, 3)), rng.standard_normal((6, 2, 40)), [6, 3]) for _ in range(2)]

    def make():
        block = [tt.models.LayerNorm(40, dtype="float32"), tt.models.Readout(40, 40, seed=1, dtype="float32")]
        return tt.models.Chain([tt.models.Readout(3, 40, seed=0, dtype="float32"), tt.models.Residual(block)])

    both(make, lambda: given, "mean_squared_error", lambda: training.SGD(0.1), "float32", steps=2)


def test_a_network_learns_with_the_weights_that_it_has_now():
    """What was packed of the weights of before an update is not used after it, and runs of before keep theirs."""
    rng = np.random.default_rng(5)

    def make():
        net = tt.Network("tanh", 2, 3, seed=0, dtype="float32")
        return tt.models.Chain([net, tt.models.last, tt.models.Readout(3, 1, seed=1, dtype="float32")])

    given = [(rng.standard_normal((4, 2, 2)), rng.standard_normal((2, 1))) for _ in range(3)]
    both(make, lambda: given, "mean_squared_error", lambda: training.Adam(0.1), "float32", steps=3)
    there = make().to("cuda")
    run = there.unroll(given[0][0])
    before = device.to_host(run.backprop(np.ones((2, 1))).input)
    there.write(np.zeros(there.flat.size))
    assert not there.predict(given[0][0]).any()
    np.testing.assert_array_equal(device.to_host(run.backprop(np.ones((2, 1))).input), before)


def test_a_training_is_queued_without_waiting(monkeypatch):
    """Nothing is fetched but the numbers at the end."""
    fetched, to_host = [], device.to_host

    def noted(array):
        fetched.append(tuple(array.shape))
        return to_host(array)

    there = of_tokens("float32", None).to("cuda")
    monkeypatch.setattr(device, "to_host", noted)
    training.fit(there, batches(np.random.default_rng(6), False), "cross_entropy", OPTIMISERS["Adam"](), steps=4)
    assert fetched == [(16,)]
