"""The pattern of translation: an encoder and a decoder of tokens, with attention or without, in one call."""

from __future__ import annotations

from typing import Any

from ..network.each_layer import each_layer
from ..network.network import Network
from ..refuse import arguments, words
from .attention import Attention
from .chain import Chain
from .embedding import Embedding
from .encoder_decoder import EncoderDecoder
from .input_feeding import InputFeeding
from .readout import Readout


@words.explained
def sequence_to_sequence(
    cell: Any,
    source_tokens: int,
    target_tokens: int,
    *,
    hidden_size: Any,
    embedding: int = 64,
    attention: str | None = None,
    feeding: str | None = None,
    bidirectional: bool = False,
    seed: Any = None,
    **network: Any,
) -> EncoderDecoder:
    """Translation of tokens: source (S, B), inputs (T, B) -> logits (T, B, V) of the next token, `EncoderDecoder`.

    cell, hidden_size and what else `network` says: of both `tt.Network`s. source_tokens, target_tokens: how many there
    are; one of the latter begins a sequence and one ends it, or one does both. embedding: the size of a token's vector.
    attention: None for the bottleneck alone, "dot", "general" or "additive". feeding: what an `InputFeeding` feeds,
    "attended" or "context" (slower: a step at a time), or None. bidirectional: whether the encoder reads in both
    directions, with `hidden_size` units each; the decoder begins with the sum of their states. seed: of all first
    values. TypeError and ValueError for what means nothing.

    It is trained on pairs, `batch.teacher_forced(start)`, and written with by `generate` and `beam_search`.

    >>> import numpy as np, throughtime as tt
    >>> task = tt.tasks.Reversal(shortest=3, longest=3, symbols=4, aligned=False)
    >>> model = tt.models.sequence_to_sequence("gru", task.inputs, task.outputs, hidden_size=24, embedding=8,
    ...                                        attention="additive", seed=0)
    >>> pairs = task.batches(32, seed=0).teacher_forced(start=4)
    >>> trained = tt.training.fit(model, pairs, task.loss, tt.training.Adam(0.01), steps=200)
    >>> batch = task.batch(100, seed=1)
    >>> written = tt.models.generate(model, 4, 4, temperature=0, end=4, source=batch.x, source_lengths=batch.lengths)
    >>> bool((written.tokens == batch.targets).all(axis=0).mean() > 0.9), written.attention_weights.shape
    (True, (4, 100, 3))
    """
    sizes = {"source_tokens": source_tokens, "target_tokens": target_tokens}
    sources, targets = (arguments.size(name, value) for name, value in sizes.items())
    numbers = arguments.size("embedding", embedding)
    units = each_layer(cell, hidden_size, network.get("num_layers"))[1][-1]
    both, rng = arguments.flag("bidirectional", bidirectional), arguments.generator(seed)
    dtype = arguments.float_type(network.get("dtype", "float64"))
    if feeding is not None and attention is None:
        raise ValueError("`feeding` hears what an attention sees: pass `attention` too, or leave it out.")
    keys = units * (2 if both else 1)
    fed = [] if feeding is None else [InputFeeding(feeding, units if feeding == "attended" else keys)]
    inputs = numbers + sum(piece.size for piece in fed)
    drawn: dict[str, Any] = {"dtype": dtype, "seed": rng}
    encoder = [
        Embedding(sources, numbers, **drawn),
        Network(cell, numbers, hidden_size, bidirectional=both, seed=rng, **network),
    ]
    decoder = [Embedding(targets, numbers, **drawn), *fed, Network(cell, inputs, hidden_size, seed=rng, **network)]
    look = None if attention is None else Attention(attention, units, keys, **drawn)
    says = Chain([*decoder, Readout(units, targets, **drawn)], classes=True)
    return EncoderDecoder(Chain(encoder), says, look, seed=rng)
