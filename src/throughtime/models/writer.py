"""Who says the next token: a model of tokens alone, or one that has read a source; and what was written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..refuse import numeric
from ..refuse.called import told
from .chain import Chain
from .embedding import Embedding
from .encoder_decoder import EncoderDecoder, SourceRun
from .fitting_pieces import sizes_of
from .model import Model

Array = np.ndarray
FED, STATE = "fed", "state"  # of a state with what an InputFeeding hears


@dataclass(frozen=True)
class Generated:
    """What a model wrote.

    tokens           (S, B), or (S,) for one sequence; behind the end of a sequence its end token
    lengths          (B,), how many tokens of each were written, the end token counted
    log_probability  (B,), ln of the model's probability of them, in nats, whatever the temperature
    final_state      the model's state when it has read all but the last, to go on from: `generate(model,
                     written.tokens[-1:], …, state=written.final_state)`; of a sequence that has ended, as it stood then
    attention_weights  (S, B, L), or (S, L): where in the L steps of its source the model looked for each token, 0
                     behind the end; None without attention

    >>> import numpy as np, throughtime as tt
    >>> model = tt.models.language_model("gru", 5, hidden_size=8, embedding=4, seed=0)
    >>> tt.models.generate(model, np.zeros((1, 3), int), 10, seed=0).tokens.shape
    (10, 3)
    """

    tokens: Array
    lengths: Array
    log_probability: Array
    final_state: Any
    attention_weights: Array | None = None


class Writer:
    """A model that reads its own tokens: `first` (T, B), the `state` before it, `count` tokens there are."""

    def __init__(self, model: Any, start: Any, state: Any, source: Any, source_lengths: Any) -> None:
        if not isinstance(model, Model):
            raise TypeError(f"`model` is {told(model)}; expected a model of tokens, `tt.models.language_model(…)`.")
        self._source: SourceRun | None = None
        decoder: Any = model.to("cpu")  # tokens are drawn in NumPy
        if isinstance(model, EncoderDecoder):
            if source is None:
                raise ValueError("`model` goes on from a source: pass what its encoder reads as `source`.")
            decoder = model.decoder
        elif source is not None or source_lengths is not None:
            raise ValueError("`source` is read by an encoder, and this model has none; leave it out.")
        self._model, self.count = decoder, _tokens_of(decoder)
        if isinstance(model, EncoderDecoder):
            found, self._alone = _with_batch(model.encoder, source)
            self._source = SourceRun(_held(model), found, None, source_lengths, training=False)
            self.first = _first(start, self.count, found.shape[1])
        else:
            self.first = _first(start, self.count, None)
            self._alone = np.ndim(start) == 1
        self.state = self._source.state if self._source is not None and state is None else state

    def said(self, x: Array, state: Any, lengths: Array | None = None) -> tuple[Array, Any, Array | None]:
        """ln of the probabilities of the next token, (B, V), the state, and where it looked, when it has read x."""
        fed = None
        if isinstance(state, dict) and FED in state:
            state, fed = state[STATE], state[FED]
        run = (
            self._model.unroll(x, state, lengths)
            if self._source is None
            else self._source.decoded(x, state, lengths, fed)
        )
        if run.output.ndim != 3:
            raise ValueError("`model` gives one output for a sequence; to write, it has to give one at every step.")
        y = run.output[-1].astype(np.float64)
        if np.isnan(y).any():
            raise ValueError("`model` says NaN: look for it in its parameters, and in `state`.")
        y = y - y.max(axis=1, keepdims=True)
        weights, carried = getattr(run, "weights", None), getattr(run, "last_fed", None)
        state = run.final_state if carried is None else {STATE: run.final_state, FED: carried}
        logs = y - np.log(np.exp(y).sum(axis=1, keepdims=True))
        return logs, state, None if weights is None else weights[-1]

    def written(self, tokens: Array, lengths: Array, total: Array, state: Any, weights: list[Array]) -> Generated:
        """`Generated` of tokens (S, B), for one sequence without the batch; weights: a (B, L) for each of them."""
        looked = np.stack(weights[: len(tokens)]) if weights else None
        if self._alone:
            tokens, looked = tokens[:, 0], None if looked is None else looked[:, 0]
        return Generated(tokens, lengths, total, state, looked)


def _held(model: EncoderDecoder) -> EncoderDecoder:
    model._held()
    return model


def _tokens_of(model: Any) -> int:
    """V of a model that reads what it says, or an error in words."""
    piece: Any = model
    while isinstance(piece, Chain):
        piece = piece.pieces[0]
    if not isinstance(piece, Embedding):
        raise ValueError(
            "`model` takes numbers, not tokens: its first piece is no Embedding, so it cannot read itself."
        )
    outputs = getattr(model, "sizes", (0, piece.tokens))[1]
    if outputs != piece.tokens:
        raise ValueError(f"`model` reads {piece.tokens} tokens, but says {outputs}: it cannot read itself.")
    return piece.tokens


def _first(start: Any, count: int, batch: int | None) -> Array:
    """The first tokens (T, B); batch: of the source, all of whose sequences begin with `start` (T,) or one token."""
    found = numeric.numbers("start", start)
    if found.size and found.dtype.kind not in "iu":
        raise TypeError(f"`start` has dtype {found.dtype}; expected tokens, whole numbers below {count}.")
    if batch is not None and found.ndim < 2 and found.size:
        found = np.repeat(found.reshape(-1, 1), batch, axis=1)
    if found.ndim not in (1, 2) or not found.size:
        raise ValueError(f"`start` has shape {found.shape}; expected tokens (time, batch) or (time,), at least one.")
    if found.min() < 0 or found.max() >= count:
        raise ValueError(f"`start` holds a token that there is not; this model has {count}, from 0 on.")
    if batch is not None and found.shape[1] != batch:
        raise ValueError(f"`start` has shape {found.shape}, but `source` has {batch} sequences.")
    return found if found.ndim == 2 else found[:, None]


def _with_batch(encoder: Any, source: Any) -> tuple[Array, bool]:
    """A source (L, B) of tokens or (L, B, I) of numbers, and whether it came without the batch."""
    axes = 3 if sizes_of(encoder)[0] else 2
    if isinstance(encoder, Chain) and encoder.one_in:
        raise ValueError("The encoder of `model` takes one vector for a sequence; to write from, it reads a sequence.")
    found = numeric.numbers("source", source)
    if found.ndim not in (axes - 1, axes) or not found.size:
        expected = "(time, batch, inputs), or (time, inputs)" if axes == 3 else "tokens (time, batch), or (time,)"
        raise ValueError(f"`source` has shape {found.shape}; expected {expected} for one sequence, and none empty.")
    return (found, False) if found.ndim == axes else (found[:, None], True)
