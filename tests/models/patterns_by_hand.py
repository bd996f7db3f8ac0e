"""Models, data and losses that the tests of models share: every pattern, small, from seeded generators."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import throughtime as tt

T, B, I, N, V = 9, 4, 3, 6, 11
RATE = 0.1  # at .5 some of these regressions leap over the minimum, and every rounding grows with the leaps


class Case(NamedTuple):
    model: tt.models.Chain
    x: np.ndarray
    targets: np.ndarray
    loss: object
    lengths: np.ndarray | None


def cross_entropy(output, targets, lengths=None):
    """The mean over real steps, and its gradient."""
    z = output - output.max(axis=-1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    real = np.ones(output.shape[:-1]) if lengths is None else (np.arange(len(output))[:, None] < lengths) * 1.0
    own = np.take_along_axis(p, targets[..., None], -1)[..., 0]
    gradient = (p - np.eye(output.shape[-1])[targets]) * (real / real.sum())[..., None]
    return -(np.log(own) * real).sum() / real.sum(), gradient.astype(output.dtype)


def squares(output, targets, lengths=None):
    """The mean over real steps and outputs of (output - target)², and its gradient."""
    real = np.ones(output.shape[:-1]) if lengths is None else (np.arange(len(output))[:, None] < lengths) * 1.0
    share = (real / real.sum() / output.shape[-1])[..., None]
    error = (output - targets) * (real[..., None] > 0)
    return (share * error**2).sum(), (2 * share * error).astype(output.dtype)


def pieces(cell, inputs, outputs, dtype, pool=None, **options):
    width = N * (1 + options.get("bidirectional", False))
    net = tt.Network(cell, inputs, N, dtype=dtype, seed=1, **options)
    between = [] if pool is None else [pool]
    return [net, *between, tt.models.Readout(width, outputs, dtype=dtype, seed=2)]


def case(name, dtype="float64", cell="lstm", padded=False):
    rng = np.random.default_rng(3)
    x, tokens = rng.standard_normal((T, B, I)), rng.integers(0, V, (T, B))
    lengths = np.array([T, 5, 1, 7]) if padded else None
    last, mean, Chain = tt.models.last, tt.models.mean, tt.models.Chain
    if name == "many-to-one classes":
        return Case(Chain(pieces(cell, I, 5, dtype, last)), x, rng.integers(0, 5, B), cross_entropy, lengths)
    if name == "many-to-one regression":
        return Case(Chain(pieces(cell, I, 2, dtype, mean)), x, rng.standard_normal((B, 2)), squares, lengths)
    if name == "two directions":
        model = Chain(pieces(cell, I, 2, dtype, last, bidirectional=True, num_layers=2))
        return Case(model, x, rng.standard_normal((B, 2)), squares, lengths)
    if name == "aligned":
        targets = rng.standard_normal((T, B, 2))
        return Case(Chain(pieces(cell, I, 2, dtype, num_layers=2)), x, targets, squares, lengths)
    if name == "language model":
        letters = tt.models.Embedding(V, I, dtype=dtype, seed=0)
        targets = rng.integers(0, V, (T, B))
        return Case(Chain([letters, *pieces(cell, I, V, dtype)]), tokens, targets, cross_entropy, lengths)
    if name == "256 classes":
        letters = tt.models.Embedding(256, I, dtype=dtype, seed=0)
        tokens, targets = rng.integers(0, 256, (2, T, B))
        return Case(Chain([letters, *pieces(cell, I, 256, dtype)]), tokens, targets, cross_entropy, lengths)
    raise KeyError(name)


NAMES = (
    "many-to-one classes",
    "many-to-one regression",
    "two directions",
    "aligned",
    "language model",
    "256 classes",
)


def trained(given, steps=100, rate=RATE):
    """Plain descent: the losses of all steps, and the parameters after them."""
    losses = []
    for _ in range(steps):
        value, gradient = given.model.value_and_gradient(given.x, given.targets, given.loss, given.lengths)
        losses.append(value)
        given.model.flat[...] -= rate * gradient
    return np.array(losses), given.model.flat.copy()
