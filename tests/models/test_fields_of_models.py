"""The gradients by the fields of cells inside models, against differences of fourth order of the model's loss.

1e-8 of the loss's size is asked for: as of networks alone, tests/network/test_field_gradients.py.
"""

from __future__ import annotations

from typing import NamedTuple

import every_piece
import numpy as np
import pytest

import throughtime as tt
from throughtime.scalar import tanh, tanh_slope

m = tt.models
H = 1e-3
N = every_piece.N


@tt.cell()
class Amplified(NamedTuple):
    """A leaky unit that sends tanh(gain h): fields in the step and in what is sent."""

    leak: float = 0.3
    gain: float = 1.4

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        return (s[0] + cell.leak * (tanh(u) - s[0]),), (u,)

    def backward(cell, ds, s, s_next, saved):
        d = (cell.leak * tanh_slope(saved[0]) * ds[0],)
        return d, d, ((1.0 - cell.leak) * ds[0],)

    def emit(cell, s):
        return tanh(cell.gain * s[0])

    def emit_slope(cell, s):
        return (cell.gain * tanh_slope(cell.gain * s[0]),)


def net(cell, seed, inputs=N, **options):
    return tt.Network(cell, inputs, N, seed=seed, **options)


def chain(cell):
    return m.Chain([net(cell, 0, 4), m.Residual([m.LayerNorm(N), net(cell, 1, num_layers=2)]), m.last, m.Readout(N, 2)])


def attending(cell, feeding=None):
    size = 0 if feeding is None else feeding.size
    fed = [] if feeding is None else [m.Readout(3, 3, seed=6), feeding]
    says = m.Chain([*fed, net(cell, 2, 3 + size), m.Readout(N, 2, seed=3)])
    return m.EncoderDecoder(net(cell, 1, 4), says, m.Attention("general", N, N, seed=4), seed=5)


MODELS = {
    "chain": chain,
    "encoder and decoder": lambda cell: m.EncoderDecoder(net(cell, 0, 4), m.Chain([net(cell, 1, 3), m.Readout(N, 2)])),
    "attention": attending,
    "fed what it attended to": lambda cell: attending(cell, m.InputFeeding("attended", N)),
    "fed the context": lambda cell: attending(cell, m.InputFeeding("context", N)),
}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_against_differences_of_the_loss(name, padded):
    rng, cell = np.random.default_rng(0), Amplified()
    x: object = rng.standard_normal((7, 3, 4))
    lengths: object = [7, 2, 4] if padded else None
    if name != "chain":
        x, lengths = (x, rng.standard_normal((5, 3, 3))), ([7, 2, 4], [1, 5, 3]) if padded else None
    first = MODELS[name](cell)
    first.flat += 0.3 * rng.standard_normal(first.flat.size)

    def run(cell):
        model = MODELS[name](cell)
        model.flat[...] = first.flat
        return model.unroll(x, lengths=lengths)

    g = rng.standard_normal(run(cell).output.shape)
    found = run(cell).backprop(g).networks
    assert list(found) == list(run(cell).networks)
    for field in Amplified._fields:
        at = [(run(cell._replace(**{field: getattr(cell, field) + k * H})).output * g).sum() for k in (-2, -1, 1, 2)]
        expected = (8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * H)
        ours = sum(getattr(own, field) for gradients in found.values() for own in gradients.cells)
        assert abs(ours - expected) < 1e-8 * max(1.0, abs(at[0]), abs(expected))


def test_training_does_not_ask_for_them():
    model = chain("rate")
    asked = model.forward_backward(np.ones((7, 3, 4)), np.ones((3, 2)), tt.training.mean_squared_error).gradients
    left = model.forward_backward(
        np.ones((7, 3, 4)), np.ones((3, 2)), tt.training.mean_squared_error, states=False
    ).gradients
    assert all(own.cells is None for own in left.networks.values())
    assert [len(own.cells) for own in asked.networks.values()] == [1, 2]
