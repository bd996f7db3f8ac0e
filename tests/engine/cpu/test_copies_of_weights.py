"""Large weights are copied by the loop that packs them: a run's own are what it ran with, whatever it was given."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

import throughtime as tt
from throughtime.engine import memory

N, I = 150, 70


def strided(w):
    wide = np.empty((*w.shape[:-1], 2 * w.shape[-1]), w.dtype)
    wide[..., ::2] = w
    return wide[..., ::2]


def read_only(w):
    w = w.copy()
    w.flags.writeable = False
    return w


def on_disk(w, path):
    file = path / f"{len(list(path.iterdir()))}"
    w.tofile(file)
    return np.memmap(file, w.dtype, shape=w.shape)


KINDS = {
    "as they are": lambda w, path: w,
    "read-only": lambda w, path: read_only(w),
    "Fortran": lambda w, path: np.asfortranarray(w),
    "strided": lambda w, path: strided(w),
    "on disk": on_disk,
    "of the engine": lambda w, path: memory.copy(w),
}
NETWORKS = {
    "lstm": lambda: tt.Network("lstm", I, N, seed=0),
    "two layers, two ways": lambda: tt.Network("gru", I, N, num_layers=2, bidirectional=True, seed=0),
    "no biases": lambda: tt.Network("tanh", I, N, bias=False, dtype="float32", seed=0),
    "unit parameters": lambda: tt.Network("ind_rnn", I, N, seed=0),
    "by pieces of time": lambda: tt.Network("min_gru", I, N, seed=0),
    "a stage": lambda: tt.Network("cho_gru", I, N, seed=0),
    "parametrised": lambda: tt.Network("tanh", I, N, parametrise={"weight_hh": tt.parametrise.antisymmetric()}, seed=0),
    "normalised": lambda: tt.Network("tanh", I, N, layer_norm=True, seed=0),
}
WAYS = {
    "usual": lambda: {},
    "lengths": lambda: {"lengths": [5, 0, 3]},
    "noise": lambda: {"noise": tt.Zoneout(0.5, seed=0)},  # another mask each time
    "checkpoint": lambda: {"checkpoint": 2},
}


@pytest.fixture(autouse=True)
def _full_of_nan(monkeypatch):
    """What is handed out holds NaN: what nobody filled is seen."""
    empty = memory.empty

    def poisoned(shape, dtype):
        out = empty(shape, dtype)
        if out.dtype.kind == "f":
            out.fill(np.nan)
        return out

    monkeypatch.setattr(memory, "empty", poisoned)


def held(run):
    return [layer.parameters[:4] for layer in chain(*run._stack.layers)]


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
@pytest.mark.parametrize("steps", [0, 5])
@pytest.mark.parametrize("batch", [0, 3])
def test_a_run_has_the_weights_of_its_network(make, steps, batch, threads):
    for count in (1, 2):
        threads(count)
        net = make()
        run = net.unroll(np.ones((steps, batch, I), net.dtype))
        for k, own in enumerate(held(run)):
            wanted = net.layer(*divmod(k, net.num_directions))
            for mine, theirs in zip(own, wanted[:4], strict=True):
                np.testing.assert_array_equal(mine, theirs)
                assert not np.shares_memory(mine, theirs)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_weights_of_any_kind(kind, way, tmp_path):
    """The same bits as of weights that the network made itself; what is changed afterwards changes nothing."""
    net, x = NETWORKS["lstm"](), np.random.default_rng(0).normal(size=(5, 3, I))
    expected = net.unroll(x, **way()).output.copy()
    for name, value in net.parameters.items():
        net.parameters[name] = kind(value, tmp_path)
    run = net.unroll(x, **way())
    net.parameters.update({name: np.zeros_like(value) for name, value in net.parameters.items()})
    np.testing.assert_array_equal(run.output, expected)
    first, second = (run.backprop(np.ones((5, 3, N))) for _ in range(2))
    for name, value in first.parameters.items():
        assert np.isfinite(value).all()
        np.testing.assert_array_equal(value, second.parameters[name])


def test_tied_weights():
    net, x = tt.Network("tanh", N, N, num_layers=2, seed=0), np.ones((3, 2, N))
    for name in ("weight_ih_l0", "weight_hh_l1"):
        net.parameters[name] = net.parameters["weight_hh_l0"]
    other = tt.Network("tanh", N, N, num_layers=2)
    other.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(net.unroll(x).output, other.unroll(x).output)
