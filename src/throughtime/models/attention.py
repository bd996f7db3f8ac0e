"""Attention: for every query a mean of a memory, weighted by how well its entries answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..refuse import arguments, room
from ..refuse.called import told
from .embedding import no_state, output_gradient
from .layer_norm import steps_of
from .model import Model
from .model_run import ModelGradients, ModelRun
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
        room.check("The weights of all queries and entries of the memory", q.size // self.queries * len(m), q.itemsize)
        return AttentionRun(self, q, m, q_ends, m_ends)


class AttentionRun(ModelRun):
    """What `Attention` gives: `output`, the contexts (T, B, M), and `weights` (T, B, S), which sum to 1 over s."""

    def __init__(self, model: Attention, q: Array, m: Array, q_ends: Array | None, m_ends: Array | None) -> None:
        self.lengths, self._alone = q_ends, q.ndim == 2
        self._memory = Memory(model, _batched(m), m_ends)
        self._look = Look(self._memory, _batched(q), q_ends)
        self.output, self.weights = self._outside(self._look.context), self._outside(self._look.weights)

    def backprop(self, grad_output: Any = None, grad_final_state: Any = None) -> ModelGradients:
        """`ModelGradients` from grad_output, dL/dcontext; their `input` is a tuple, for queries and memory.

        grad_final_state: None, for there is no state.
        """
        no_state(grad_final_state, "an attention", "grad_final_state")
        g = output_gradient(grad_output, self.output)
        self._memory.begin()
        dq = self._look.back(_batched(g))
        parameters, dm = self._memory.gathered()
        return ModelGradients(parameters, (self._outside(dq), self._outside(dm)))

    def _outside(self, own: Array) -> Array:
        return own[:, 0] if self._alone else own


class Memory:
    """A memory (S, B, M) read once, with a copy of the parameters, to be looked at as often as one likes."""

    def __init__(self, model: Attention, m: Array, ends: Array | None) -> None:
        parameters = {name: value.copy() for name, value in model.parameters.items()}
        self.ends = _ends(ends, m)
        self.score = SCORES[model.kind](parameters, m, self.ends)

    def begin(self) -> None:
        """Begin a way back: nothing is gathered yet."""
        self.score.begin()

    def gathered(self) -> tuple[dict[str, Array], Array]:
        """The gradients of the parameters and of the memory, of all looks whose way back has been gone since."""
        return self.score.gathered()


class Look:
    """Queries (T, B, N) at a memory: `context` (T, B, M) and `weights` (T, B, S), both 0 behind the ends.

    Of K times as many queries as there are memories, those of one side by side, as of a beam search, each K look at
    one, as if they were K times as many steps; this has no way back.
    """

    def __init__(self, memory: Memory, q: Array, ends: Array | None) -> None:
        steps, batch, copies = len(q), len(memory.ends), q.shape[1] // len(memory.ends)
        if copies > 1:
            q, ends = q.reshape(steps, batch, copies, -1).transpose(0, 2, 1, 3).reshape(steps * copies, batch, -1), None
        self.memory, self._q, self._ends = memory, q, _ends(ends, q)
        with np.errstate(all="ignore"):  # NaN and infinity are for the result to show
            found = memory.score.look(q, self._ends)
        if copies > 1:
            back = [part.reshape(steps, copies, batch, -1).transpose(0, 2, 1, 3) for part in found]
            found = tuple(part.reshape(steps, batch * copies, -1) for part in back)
        self.weights, self.context = found

    def back(self, g: Array) -> Array:
        """The gradient of the queries from that of the contexts; the rest the memory gathers."""
        with np.errstate(all="ignore"):
            return self.memory.score.back(g, self.weights, self._q, self._ends)


def _ends(ends: Array | None, x: Array) -> Array:
    return np.full(x.shape[1], len(x)) if ends is None else np.asarray(ends, np.int64)


def _batched(x: Array) -> Array:
    """(T, B, N), also of one sequence (T, N)."""
    return x[:, None] if x.ndim == 2 else x
