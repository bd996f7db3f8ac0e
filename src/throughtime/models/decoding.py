"""Writing with a model of tokens: each token it says is what it reads next, its state carried on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..refuse import arguments, numeric
from ..refuse.called import told
from ..refuse.expected import checking
from .chain import Chain
from .embedding import Embedding
from .model import Model

Array = np.ndarray


@dataclass(frozen=True)
class Generated:
    """What a model wrote.

    tokens           (S, B), or (S,) for one sequence; behind the end of a sequence its end token
    lengths          (B,), how many tokens of each were written, the end token counted
    log_probability  (B,), ln of the model's probability of them, in nats, whatever the temperature
    final_state      the model's state when it has read all but the last, to go on from: `generate(model,
                     written.tokens[-1:], …, state=written.final_state)`; of a sequence that has ended, as it stood then

    >>> import numpy as np, throughtime as tt
    >>> model = tt.models.language_model("gru", 5, hidden_size=8, embedding=4, seed=0)
    >>> tt.models.generate(model, np.zeros((1, 3), int), 10, seed=0).tokens.shape
    (10, 3)
    """

    tokens: Array
    lengths: Array
    log_probability: Array
    final_state: Any


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
) -> Generated:
    """`Generated`: up to `steps` tokens, each drawn from what the model says, and read as the next input.

        token ~ softmax(y_t / temperature), of the `top_k` likeliest tokens alone where that is given

    model: of tokens (T, B), whose output are logits (T, B, V), such as `tt.models.language_model`. start: the tokens
    it reads first, (T, B) or (T,), at least one. temperature: 0 takes the likeliest each time (greedy). end: a token
    that ends its sequence. seed: None, a whole number, or a numpy Generator; each step draws one number for each
    sequence. state: from which the model reads `start`. The state is carried: a step costs one step.

    TypeError and ValueError for what means nothing, and for a model that says NaN.

    >>> import numpy as np, throughtime as tt
    >>> model = tt.models.language_model("gru", 5, hidden_size=8, embedding=4, seed=0)
    >>> written = tt.models.generate(model, np.array([0, 1, 2]), 10, temperature=0.5, top_k=3, end=0, seed=1)
    >>> written.tokens.shape == (written.lengths[0],), bool(written.log_probability[0] < 0)
    (True, True)
    """
    steps, temperature = arguments.size("steps", steps), arguments.real("temperature", temperature, 0.0)
    first, one, count = started(model, start)
    top_k = count if top_k is None else arguments.step("top_k", top_k, 1)
    end = None if end is None else arguments.step("end", end, 0, count - 1)
    rng, batch = arguments.generator(seed), first.shape[1]
    tokens, total = np.zeros((steps, batch), np.int64), np.zeros(batch)
    lengths, going, reads = np.zeros(batch, np.int64), np.ones(batch, bool), None
    x = first
    for t in range(steps):
        logs, state = said(model, x, state, reads)
        drawn = logs.argmax(axis=1) if not temperature else _draw(logs, temperature, top_k, rng)
        total += np.where(going, logs[np.arange(batch), drawn], 0)
        tokens[t] = np.where(going, drawn, 0 if end is None else end)
        lengths += going
        if end is not None:
            going &= drawn != end
        if not going.any():
            tokens = tokens[: t + 1]
            break
        x, reads = tokens[t : t + 1], going.astype(np.int64)
    return Generated(tokens[:, 0] if one else tokens, lengths, total, state)


def started(model: Any, start: Any) -> tuple[Array, bool, int]:
    """The first tokens (T, B), whether they came as (T,), and V; or an error in words."""
    if not isinstance(model, Model):
        raise TypeError(f"`model` is {told(model)}; expected a model of tokens, `tt.models.language_model(…)`.")
    piece: Any = model
    while isinstance(piece, Chain):
        piece = piece.pieces[0]
    if not isinstance(piece, Embedding):
        raise ValueError(
            "`model` takes numbers, not tokens: its first piece is no Embedding, so it cannot read itself."
        )
    found = numeric.numbers("start", start)
    if found.dtype.kind not in "iu":
        raise TypeError(f"`start` has dtype {found.dtype}; expected tokens, whole numbers below {piece.tokens}.")
    if found.ndim not in (1, 2) or not found.size:
        raise ValueError(f"`start` has shape {found.shape}; expected tokens (time, batch) or (time,), at least one.")
    if found.min() < 0 or found.max() >= piece.tokens:
        raise ValueError(f"`start` holds a token that there is not; this model has {piece.tokens}, from 0 on.")
    outputs = getattr(model, "sizes", (0, piece.tokens))[1]
    if outputs != piece.tokens:
        raise ValueError(f"`model` reads {piece.tokens} tokens, but says {outputs}: it cannot read itself.")
    return (found if found.ndim == 2 else found[:, None]), found.ndim == 1, piece.tokens


def said(model: Any, x: Array, state: Any, lengths: Array | None = None) -> tuple[Array, Any]:
    """ln of the probabilities of the next token, (B, V), and the state, when the model has read x."""
    run = model.unroll(x, state, lengths)
    if run.output.ndim != 3:
        raise ValueError("`model` gives one output for a sequence; to write, it has to give one at every step.")
    y = run.output[-1].astype(np.float64)
    if np.isnan(y).any():
        raise ValueError("`model` says NaN: look for it in its parameters, and in `state`.")
    y = y - y.max(axis=1, keepdims=True)
    return y - np.log(np.exp(y).sum(axis=1, keepdims=True)), run.final_state


def _draw(logs: Array, temperature: float, top_k: int, rng: np.random.Generator) -> Array:
    with np.errstate(over="ignore"):  # −∞ at temperatures near 0: a token that is never drawn
        chances = np.exp((logs - logs.max(axis=1, keepdims=True)) / temperature)
    if top_k < logs.shape[1]:
        left_out = np.argsort(-logs, axis=1, kind="stable")[:, top_k:]
        np.put_along_axis(chances, left_out, 0.0, axis=1)
    sums = np.cumsum(chances, axis=1)
    return (sums > rng.random(len(logs))[:, None] * sums[:, -1:]).argmax(axis=1)
