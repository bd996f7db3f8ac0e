"""Encoders and decoders with attention, trained by plain descent: by this library here, by PyTorch in golden/."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from patterns_by_hand import cross_entropy

import throughtime as tt

m = tt.models
S, T, B, N, E, V, W = 7, 5, 3, 6, 4, 8, 9
LENGTHS = (np.array([S, 1, 4]), np.array([T, 3, 1]))
# name -> (kind of attention, input feeding, cell, whether the encoder reads in both directions)
WIRINGS = {
    "luong dot": ("dot", None, "tanh", False),
    "luong general": ("general", None, "lstm", True),
    "luong additive": ("additive", None, "gru", False),
    "fed attended": ("general", "attended", "lstm", False),
    "fed context": ("additive", "context", "gru", True),
}
RATE = 0.1


class Case(NamedTuple):
    wiring: tuple
    model: tt.models.EncoderDecoder
    x: tuple
    targets: np.ndarray
    lengths: tuple | None


def case(name, padded):
    kind, feeding, cell, both = WIRINGS[name]
    keys = 2 * N if both else N
    encoder = m.Chain([m.Embedding(V, E, seed=0), tt.Network(cell, E, N, bidirectional=both, seed=1)])
    fed = [] if feeding is None else [m.InputFeeding(feeding, N if feeding == "attended" else keys)]
    net = tt.Network(cell, E + sum(piece.size for piece in fed), N, seed=3)
    decoder = m.Chain([m.Embedding(W, E, seed=2), *fed, net, m.Readout(N, W, seed=4)])
    model = m.EncoderDecoder(encoder, decoder, m.Attention(kind, N, keys, seed=5), seed=6)
    rng = np.random.default_rng(0)
    x = (rng.integers(0, V, (S, B)), rng.integers(0, W, (T, B)))
    return Case(WIRINGS[name], model, x, rng.integers(0, W, (T, B)), LENGTHS if padded else None)


def trained(given, steps=100):
    """The losses of all steps, and the parameters after them."""
    losses = []
    for _ in range(steps):
        value, gradient = given.model.value_and_gradient(given.x, given.targets, cross_entropy, given.lengths)
        losses.append(value)
        given.model.flat -= RATE * gradient
    return np.array(losses), given.model.flat.copy()
