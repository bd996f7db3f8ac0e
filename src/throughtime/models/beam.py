"""Beam search: the likeliest sequence of tokens, with a few candidates kept at each step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..refuse import arguments, room
from ..refuse.expected import checking
from .writer import Array, Generated, Writer


@checking
def beam_search(
    model: Any,
    start: Any,
    steps: int,
    width: int = 4,
    end: int | None = None,
    state: Any = None,
    source: Any = None,
    source_lengths: Any = None,
) -> Generated:
    """`Generated`: the likeliest of the sequences of up to `steps` tokens that were kept, `width` at each step.

        score = Σ_t ln p(token_t | start, tokens before),    in nats, not divided by the length

    model, start, end, state, source, source_lengths: as of `tt.models.generate`. width: K; 1 is greedy, V^(steps − 1)
    finds the likeliest of all. A sequence that has ended keeps its score. Ties go to the candidate before, and to the
    lower token. Work and memory are those of K sequences for each of `start`, the state of each carried; a source is
    read and kept once.

    TypeError and ValueError for what means nothing, and for a model that says NaN.

    >>> import numpy as np, throughtime as tt
    >>> model = tt.models.language_model("gru", 5, hidden_size=8, embedding=4, seed=0)
    >>> best = tt.models.beam_search(model, np.array([0, 1, 2]), 6, width=8)
    >>> greedy = tt.models.generate(model, np.array([0, 1, 2]), 6, temperature=0)
    >>> best.tokens.shape, bool(best.log_probability[0] >= greedy.log_probability[0])
    ((6,), True)
    """
    steps, width = arguments.size("steps", steps), arguments.size("width", width)
    writer = Writer(model, start, state, source, source_lengths)
    first, count = writer.first, writer.count
    end = None if end is None else arguments.step("end", end, 0, count - 1)
    batch = first.shape[1]
    room.check(f"A search of width {width} over {count} tokens", width * batch * (count + steps))
    logs, state, looked = writer.said(first, writer.state)
    scores, ended = np.full((batch, width), -np.inf), np.zeros((batch, width), bool)
    scores[:, 0] = 0.0  # one candidate, which has written nothing; the others stand for none
    all_rows, trail = np.repeat(np.arange(batch), width), list[tuple[Array, Any]]()
    state, logs, looked = _rows(state, all_rows), logs[all_rows], None if looked is None else looked[all_rows]
    written = np.zeros((0, batch, width), np.int64)
    for t in range(steps):
        if t:
            reads = (~ended).reshape(-1).astype(np.int64)
            logs, state, looked = writer.said(written[-1].reshape(1, -1), state, reads)
        own = logs.reshape(batch, width, count).copy()
        if end is not None:
            own[ended] = -np.inf
            own[ended, end] = 0.0
        found = (scores[:, :, None] + own).reshape(batch, -1)
        places = np.argsort(-found, axis=1, kind="stable")[:, :width]
        scores = np.take_along_axis(found, places, axis=1)
        parents, tokens = places // count, places % count
        trail.append((parents, looked))
        state = _rows(state, (parents + width * np.arange(batch)[:, None]).reshape(-1))
        ended = np.take_along_axis(ended, parents, axis=1)
        written = np.concatenate([np.take_along_axis(written, parents[None], axis=2), tokens[None]])
        if end is not None:
            ended |= tokens == end
            if ended[:, 0].all():  # scores only fall: what leads and has ended stays ahead
                break
    best = written[:, :, 0]
    lengths = np.full(batch, len(best))
    if end is not None:
        is_end = best == end
        lengths = np.where(is_end.any(axis=0), is_end.argmax(axis=0) + 1, len(best))
        best = best[: lengths.max()]
    final, weights = _rows(state, np.arange(batch) * width), _looked(trail, lengths, width)
    return writer.written(best, lengths, scores[:, 0], final, weights)


def _looked(trail: list[tuple[Array, Any]], lengths: Array, width: int) -> list[Array]:
    """Where the best candidates looked for each token, (B, L), found back from the last through those before."""
    found, batch = list[Array](), np.arange(len(lengths))
    own = np.zeros(len(lengths), np.int64)
    for t, (parents, looked) in reversed(list(enumerate(trail))):
        own = parents[batch, own]
        if looked is not None:
            found.append(np.where((t < lengths)[:, None], looked[batch * width + own], 0))
    return found[::-1]


def _rows(state: Any, rows: Array) -> Any:
    """A model's state for these sequences of its batch, again and again where a row is named so."""
    if isinstance(state, dict):
        return {name: _rows(part, rows) for name, part in state.items()}
    if isinstance(state, tuple):
        return tuple(_rows(part, rows) for part in state)
    return None if state is None else state[:, rows]
