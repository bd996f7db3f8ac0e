"""Attention: for every query a mean of a memory, weighted by how well its entries answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.cpu import dense
from ..refuse import arguments, room
from ..refuse.called import told
from .embedding import no_state, output_gradient
from .layer_norm import steps_of
from .model import Model
from .model_run import ModelGradients, ModelRun, beyond
from .scores import SCORES

Array = np.ndarray


class Attention(Model):
    """For every query a mean of a memory, weighted by how well its entries answer.

        c_t = Σ_s a_ts m_s,    a_t = softmax over the real s of score(q_t, m_s)

        dot        q · m               (Luong, Pham & Manning 2015), queries = keys
        general    q · W m             (the same)
        additive   v · tanh(W q + U m) (Bahdanau, Cho & Bengio 2015)

    The queries are what a decoder's network sends, the memory what an encoder's does; the context c does not flow back
    into the network, as in Luong's models. Padding of the memory gets weight 0; a memory of length 0 gives context 0.

    Args:
        kind: "dot", "general" or "additive".
        queries: N, numbers of a query.
        keys: M, numbers of an entry of the memory.
        size: A, of the tanh units of "additive"; M by default.
        dtype: "float64" or "float32".
        seed: of the first values, U(−1/√n, 1/√n) with n the numbers that a product sums over.

    Attributes:
        parameters: general {"weight": (N, M)}; additive {"query_weight": (A, N), "key_weight": (A, M), "score_weight":
            (A,)}; dot none. Views into `flat`.
        shapes, dtype, flat: of these.

    Raises:
        TypeError, ValueError: for an argument that means nothing, or an input of another shape.

    >>> import numpy as np, throughtime as tt
    >>> encoder, decoder = (tt.Network("gru", 3, 8, seed=k).unroll(np.ones((n, 2, 3))) for k, n in ((0, 9), (1, 5)))
    >>> look = tt.models.Attention("general", queries=8, keys=8, seed=2)
    >>> run = look.unroll((decoder.output, encoder.output), lengths=(None, [9, 4]))
    >>> run.output.shape, run.weights.shape, run.weights[0, 1, 4:]
    ((5, 2, 8), (5, 2, 9), array([0., 0., 0., 0., 0.]))
    >>> to_decoder, to_encoder = run.backprop(np.ones((5, 2, 8))).input
    >>> decoder.backprop(to_decoder).input.shape, encoder.backprop(to_encoder).input.shape
    ((5, 2, 3), (9, 2, 3))
    """

    def __init__(
        self, kind: str, queries: int, keys: int, *, size: int | None = None, dtype: Any = "float64", seed: Any = None
    ) -> None:
        self.kind = arguments.known("kind of attention", kind, SCORES)
        self.queries, self.keys = arguments.size("queries", queries), arguments.size("keys", keys)
        self.size = self.keys if size is None else arguments.size("size", size)
        if self.kind == "dot" and self.queries != self.keys:
            raise ValueError(
                f'`queries` is {self.queries} and `keys` {self.keys}; attention "dot" multiplies them number by '
                'number: make them equal, or take "general".'
            )
        room.check("An attention of these sizes", self.size * (self.queries + self.keys) + self.queries * self.keys)
        shapes = SCORES[self.kind].shapes(self.queries, self.keys, self.size)
        rng = arguments.generator(seed)
        values = {name: rng.uniform(-1, 1, shape) / np.sqrt(shape[-1]) for name, shape in shapes.items()}
        self._hold(values, arguments.float_type(dtype))

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of a query, and of a context."""
        return self.queries, self.keys

    def unroll(self, x: Any, state: Any = None, lengths: Any = None) -> Any:
        """`ModelRun` with the contexts (T, B, M), 0 in the padding of the queries, and `weights` (T, B, S).

        x: a tuple (queries, memory) of arrays (T, B, N) and (S, B, M), or (T, N) and (S, M) of one sequence. lengths:
        None, or a tuple of those of both, each (B,) or None. state: None, for there is none.
        """
        no_state(state, "an attention")
        for name, pair in (("x", x), ("lengths", lengths)):
            if not (isinstance(pair, tuple) and len(pair) == 2) and (name == "x" or pair is not None):
                raise TypeError(f"`{name}` is {told(pair)}; of queries and a memory it is a tuple of two.")
        ends = (None, None) if lengths is None else lengths
        q, q_ends = steps_of(x[0], self.queries, "an attention of queries", self.dtype, ends[0])
        m, m_ends = steps_of(x[1], self.keys, "an attention of keys", self.dtype, ends[1])
        if q.ndim != m.ndim or q.ndim == 1 or (q.ndim == 3 and q.shape[1] != m.shape[1]):
            raise ValueError(
                f"`x` holds queries {q.shape} and a memory {m.shape}; expected (time, batch, N) and (time, batch, M) "
                "of one batch."
            )
        if 0 in q.shape[:2] or 0 in m.shape[:2]:
            raise ValueError(f"`x` holds queries {q.shape} and a memory {m.shape}; one of them is empty.")
        return AttentionRun(self, q, m, q_ends, m_ends)


class AttentionRun(ModelRun):
    """What `Attention` gives: `output`, the contexts (T, B, M), and `weights` (T, B, S), which sum to 1 over s."""

    def __init__(self, model: Attention, q: Array, m: Array, q_ends: Array | None, m_ends: Array | None) -> None:
        self.lengths, self._alone = q_ends, q.ndim == 2
        self._parameters = {name: value.copy() for name, value in model.parameters.items()}
        self._q, self._m = (_by_sequence(part) for part in (q, m))  # (B, T, N), (B, S, M)
        self._score = SCORES[model.kind](self._parameters, self._q, self._m)
        e = self._score.values  # (B, T, S)
        steps, entries = e.shape[1:]
        hidden = np.zeros(e.shape, bool)
        if m_ends is not None:
            hidden |= (np.arange(entries) >= m_ends[:, None])[:, None, :]
        if q_ends is not None:
            hidden |= beyond((steps, len(e)), q_ends).T[:, :, None]
        with np.errstate(all="ignore"):  # NaN and infinity are for the result to show
            e = np.where(hidden, -np.inf, e)
            top = e.max(axis=2, keepdims=True, initial=-np.inf)
            a = np.where(hidden, 0, np.exp(e - np.where(np.isneginf(top), 0, top)))
            total = a.sum(axis=2, keepdims=True)
            self._a = (a / np.where(total == 0, 1, total)).astype(q.dtype)
        context = np.stack([dense.to_inputs(own, memory) for own, memory in zip(self._a, self._m, strict=True)])
        self.output, self.weights = self._outside(context), self._outside(self._a)

    def backprop(self, grad_output: Any = None, grad_final_state: Any = None) -> ModelGradients:
        """`ModelGradients` from grad_output, dL/dcontext; their `input` is a tuple, for queries and memory.

        grad_final_state: None, for there is no state.
        """
        no_state(grad_final_state, "an attention", "grad_final_state")
        g = output_gradient(grad_output, self.output)
        g = _by_sequence(g)
        to_memory = np.stack([dense.to_weights(a, own)[0] for a, own in zip(self._a, g, strict=True)])
        da = np.stack([dense.forward(own, memory, None) for own, memory in zip(g, self._m, strict=True)])
        with np.errstate(all="ignore"):
            along = np.where(self._a == 0, 0, self._a * da).sum(axis=2, keepdims=True)
            de = np.where(self._a == 0, 0, self._a * (da - along))
        parameters, dq, dm = self._score.back(de)
        return ModelGradients(parameters, (self._outside(dq), self._outside(dm + to_memory)))

    def _outside(self, own: Array) -> Array:
        return own[0] if self._alone else np.ascontiguousarray(own.transpose(1, 0, 2))


def _by_sequence(x: Array) -> Array:
    """(T, B, N), or (T, N) of one sequence, as (B, T, N)."""
    return x[None] if x.ndim == 2 else np.ascontiguousarray(x.transpose(1, 0, 2))
