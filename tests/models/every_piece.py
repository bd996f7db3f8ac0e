"""An example of every kind of piece that files know: what the tests of all pieces go through.

A new piece comes in here by one line, and is then asked for its gradients and for its way through a file.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import throughtime as tt

m = tt.models
T, S, B, I, N, V = 7, 5, 3, 4, 6, 9


class Example(NamedTuple):
    model: Any
    x: Any
    lengths: Any


def net(seed, inputs=N, cell="gru", **options):
    return tt.Network(cell, inputs, N, seed=seed, **options)


def examples(dtype="float64"):
    """name -> model, x, lengths of its sequences."""
    rng, of, seeded = np.random.default_rng(0), {"dtype": dtype}, {"dtype": dtype, "seed": 0}
    x, letters = rng.standard_normal((T, B, N)), rng.integers(0, V, (T, B))
    vectors, memory = rng.standard_normal((B, N)), rng.standard_normal((S, B, N))
    ends, of_memory = np.array([T, 1, 4]), np.array([2, S, 1])
    two = net(0, bidirectional=True, **of)
    shared = np.random.default_rng(7)
    encoder = m.Chain([m.Embedding(V, I, **seeded), net(1, I, "lstm", **of), net(2, **of)])
    decoder = m.Chain([net(3, cell="lstm", **of), m.Dropout(0.3, seed=4), net(5, **of), m.Readout(N, V, **seeded)])
    blocks = [m.Residual([m.LayerNorm(N, **of), net(k, **of), m.Dropout(0.4, seed=shared)]) for k in (1, 2)]

    def attending(kind, feeding, cell="gru", *behind, **options):
        both = m.Chain([m.Embedding(V, I, **seeded), net(6, I, cell, bidirectional=True, **of)])
        sent = net(7, I + (0 if feeding is None else feeding.size), cell, **of)
        says = m.Chain([m.Embedding(V, I, **seeded), *([] if feeding is None else [feeding]), sent, *behind])
        return m.EncoderDecoder(both, says, m.Attention(kind, N, 2 * N, dtype=dtype, seed=8, **options), seed=9)

    def head():
        return m.LayerNorm(N, **of), m.Readout(N, V, **seeded)

    noise = [tt.Zoneout(0.2, seed=11), tt.RecurrentDropout(0.3, seed=12)]
    found = {
        "embedding": (m.Embedding(V, N, **seeded), letters, ends),
        "readout": (m.Readout(N, I, **seeded), x, ends),
        "no bias": (m.Readout(N, I, bias=False, **seeded), x, ends),
        "layer norm": (m.LayerNorm(N, eps=1e-3, **of), x, ends),
        "dropout": (m.Chain([net(0, **of), m.Dropout(0.4, seed=7), m.Readout(N, 2, **seeded)]), x, ends),
        "noise": (m.Chain([net(0, **of), m.Readout(N, 2, **seeded)], noise=noise), x, ends),
        "last": (m.Chain([net(0, cell="lstm", **of), m.last, m.Readout(N, 2, **seeded)], classes=True), x, ends),
        "mean": (m.Chain([net(0, num_layers=2, **of), m.mean, m.Readout(N, 2, **seeded)]), x, ends),
        "sum": (m.Chain([two, m.sum_directions, m.Readout(N, 2, **seeded)]), x, ends),
        "repeat": (m.Chain([m.Repeat(T), net(0, **of), m.Readout(N, 2, **seeded)]), vectors, ends),
        "chain": (m.Chain([m.Chain([net(0, **of), m.last]), m.Chain([m.Repeat(S), net(1, **of)])]), x, ends),
        "residual": (m.Chain([m.Readout(N, N, **seeded), *blocks]), x, ends),
        "encoder-decoder": (m.EncoderDecoder(encoder, decoder), (letters, memory), (ends, of_memory)),
        "looking": (attending("general", None, "lstm", m.Dropout(0.3, seed=3), *head()), (letters, letters[:S]),
                    (ends, of_memory)),
        "looking networks": (m.EncoderDecoder(net(0, **of), net(1, **of), m.Attention("dot", N, N, **of), seed=2),
                             (x, memory), (ends, of_memory)),
        "fed attended": (attending("additive", m.InputFeeding("attended", N), "lstm", *head(), size=I),
                         (letters, letters[:S]), (ends, of_memory)),
        "fed context": (attending("additive", m.InputFeeding("context", 2 * N), "lstm", size=I),
                        (letters, letters[:S]), (ends, of_memory)),
        "fed by a rate": (attending("general", m.InputFeeding("context", 2 * N), "rate", *head()),
                          (letters, letters[:S]), (ends, of_memory)),
        "dot": (m.Attention("dot", N, N, **seeded), (x, memory), (ends, of_memory)),
        "general": (m.Attention("general", N, N, **seeded), (x, memory), (ends, of_memory)),
        "additive": (m.Attention("additive", N, N, size=I, **seeded), (x, memory), (ends, of_memory)),
    }  # fmt: skip
    for model, _, _ in found.values():  # so that normalisations are not at their first values
        model.flat += 0.3 * rng.standard_normal(model.flat.size)
    return {name: Example(*parts) for name, parts in found.items()}


NAMES = tuple(examples())


def kinds_in(model):
    """The classes and functions that a model is made of."""
    others = (getattr(model, name, None) for name in ("encoder", "decoder", "attention"))
    parts = [*getattr(model, "pieces", ()), *getattr(model, "noise", ()), *(one for one in others if one is not None)]
    own = model if callable(model) and hasattr(model, "__code__") else type(model)
    return {own}.union(*map(kinds_in, parts))
