"""Writing with a model of tokens: each token it says is what it reads next, its state carried on."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..refuse import arguments
from ..refuse.expected import checking
from .writer import Generated, Writer

Array = np.ndarray


@checking
def generate(
    model: Any,
    start: Any,
    steps: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    end: int | None = None,
    seed: Any = None,
    state: Any = None,
    source: Any = None,
    source_lengths: Any = None,
) -> Generated:
    """`Generated`: up to `steps` tokens, each drawn from what the model says, and read as the next input.

        token ~ softmax(y_t / temperature), of the `top_k` likeliest tokens alone where that is given

    model: of tokens (T, B), whose output are logits (T, B, V), such as `tt.models.language_model`; or an
    `EncoderDecoder` with such a decoder, which reads `source` once, of lengths source_lengths (B,), and looks at it
    from then on where it has attention. start: the tokens it reads first, (T, B) or (T,), at least one; with a source
    also one for all its sequences. temperature: 0 takes the likeliest each time (greedy). end: a token that ends its
    sequence. seed: None, a whole number, or a numpy Generator; each step draws one number for each sequence. state:
    from which the model reads `start`, in place of zeros or of what the encoder ends with. The state is carried: a step
    costs one step.

    TypeError and ValueError for what means nothing, and for a model that says NaN.

    >>> import numpy as np, throughtime as tt
    >>> model = tt.models.language_model("gru", 5, hidden_size=8, embedding=4, seed=0)
    >>> written = tt.models.generate(model, np.array([0, 1, 2]), 10, temperature=0.5, top_k=3, end=0, seed=1)
    >>> written.tokens.shape == (written.lengths[0],), bool(written.log_probability[0] < 0)
    (True, True)
    """
    steps, temperature = arguments.size("steps", steps), arguments.real("temperature", temperature, 0.0)
    writer = Writer(model, start, state, source, source_lengths)
    count = writer.count
    top_k = count if top_k is None else arguments.step("top_k", top_k, 1)
    end = None if end is None else arguments.step("end", end, 0, count - 1)
    rng, batch = arguments.generator(seed), writer.first.shape[1]
    tokens, total = np.zeros((steps, batch), np.int64), np.zeros(batch)
    lengths, going, reads = np.zeros(batch, np.int64), np.ones(batch, bool), None
    x, state, weights = writer.first, writer.state, list[Array]()
    for t in range(steps):
        logs, state, looked = writer.said(x, state, reads)
        drawn = logs.argmax(axis=1) if not temperature else _draw(logs, temperature, top_k, rng)
        total += np.where(going, logs[np.arange(batch), drawn], 0)
        tokens[t] = np.where(going, drawn, 0 if end is None else end)
        if looked is not None:
            weights.append(np.where(going[:, None], looked, 0))
        lengths += going
        if end is not None:
            going &= drawn != end
        if not going.any():
            tokens = tokens[: t + 1]
            break
        x, reads = tokens[t : t + 1], going.astype(np.int64)
    return writer.written(tokens, lengths, total, state, weights)


def _draw(logs: Array, temperature: float, top_k: int, rng: np.random.Generator) -> Array:
    with np.errstate(over="ignore"):  # −∞ at temperatures near 0: a token that is never drawn
        chances = np.exp((logs - logs.max(axis=1, keepdims=True)) / temperature)
    if top_k < logs.shape[1]:
        left_out = np.argsort(-logs, axis=1, kind="stable")[:, top_k:]
        np.put_along_axis(chances, left_out, 0.0, axis=1)
    sums = np.cumsum(chances, axis=1)
    return (sums > rng.random(len(logs))[:, None] * sums[:, -1:]).argmax(axis=1)
