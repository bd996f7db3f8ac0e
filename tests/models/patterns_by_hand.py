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
    of = {"cell": cell, "hidden_size": N, "dtype": dtype, "seed": 1}
    vectors, targets = rng.standard_normal((B, I)), rng.standard_normal((T, B, 2))
    if name == "one-to-one":
        return Case(tt.models.one_to_one(inputs=I, outputs=2, **of), vectors, targets[0], squares, None)
    if name == "one-to-many":
        return Case(tt.models.one_to_many(inputs=I, outputs=2, steps=T, **of), vectors, targets, squares, lengths)
    if name == "deep":
        first = tt.Network(cell, I, N, bidirectional=True, dtype=dtype, seed=1)
        norm, second = tt.models.LayerNorm(N, dtype=dtype), tt.Network(cell, N, N, dtype=dtype, seed=2)
        skips = tt.models.Residual([norm, second])
        head = tt.models.Readout(N, 2, dtype=dtype, seed=3)
        return Case(Chain([first, tt.models.sum_directions, skips, head]), x, targets, squares, lengths)
    if name == "encoder-decoder":
        encoder = Chain([tt.models.Embedding(V, I, dtype=dtype, seed=0), tt.Network(cell, I, N, dtype=dtype, seed=3)])
        both = tt.models.EncoderDecoder(encoder, tt.models.language_model(tokens=V, embedding=I, **of))
        classes = rng.integers(0, V, (T - 2, B))
        ends = (lengths, np.array([2, T - 2, 4, 1])) if padded else None
        return Case(both, (tokens, rng.integers(0, V, (T - 2, B))), classes, cross_entropy, ends)
    raise KeyError(name)


NAMES = (
    "many-to-one classes",
    "many-to-one regression",
    "two directions",
    "aligned",
    "language model",
    "256 classes",
)
PATTERNS = ("one-to-one", "one-to-many", *NAMES[:-1], "deep", "encoder-decoder")


def trained(given, steps=100, rate=RATE):
    """Plain descent: the losses of all steps, and the parameters after them."""
    losses = []
    for _ in range(steps):
        value, gradient = given.model.value_and_gradient(given.x, given.targets, given.loss, given.lengths)
        losses.append(value)
        given.model.flat[...] -= rate * gradient
    return np.array(losses), given.model.flat.copy()
