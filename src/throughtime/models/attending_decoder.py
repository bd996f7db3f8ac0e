"""A decoder that looks at a memory, all steps at once: its recurrent part, attention, and what stands behind."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..engine.cpu import dense
from ..network.gradients import Gradients
from ..network.network import Network
from ..network.unrolled import Unrolled
from .attention import Attention, Look, Memory
from .chain_run import ChainRun
from .embedding import output_gradient
from .fitting_pieces import is_bare, is_recurrent
from .input_feeding import InputFeeding
from .model_run import ModelGradients, beyond
from .scores import to_weights

Array = np.ndarray


class Parts(NamedTuple):
    """A decoder as `EncoderDecoder` runs it; the numbers of its pieces begin with `numbers` in each part."""

    before: list[Any]  # what is fed; nothing without input feeding
    feeding: InputFeeding | None
    body: list[Any]  # to the last piece with a state
    head: list[Any]  # behind it
    numbers: tuple[int, int, int]
    alone: bool  # a network without a chain, whose names have no number

    def named(self, found: dict[str, Any]) -> dict[str, Any]:
        """What is known by the names of the parts, by those of the whole model."""
        return {f"decoder.{name[2:] if self.alone else name}".rstrip("."): value for name, value in found.items()}


def parts_of(decoder: Any) -> Parts:
    """The parts of a decoder with a network in it."""
    pieces = [decoder] if isinstance(decoder, Network) else list(decoder.pieces)
    last = max(k for k, piece in enumerate(pieces) if not is_bare(piece) and is_recurrent(piece))
    fed = next((k for k, piece in enumerate(pieces) if isinstance(piece, InputFeeding)), -1)
    groups = pieces[: max(fed, 0)], pieces[fed + 1 : last + 1], pieces[last + 1 :]
    counts = [sum(not is_bare(piece) for piece in group) for group in groups[:2]]
    feeding: Any = pieces[fed] if fed >= 0 else None
    return Parts(groups[0], feeding, groups[1], groups[2], (0, counts[0], sum(counts)), isinstance(decoder, Network))


class Attending(NamedTuple):
    """What a decoder is run with, beside its input."""

    parts: Parts
    memory: Memory
    combine: Array  # W_c
    training: bool


class AttendingRun:
    """c_t looked up with h_t, h̃_t = tanh(W_c [c_t; h_t]), and the head over h̃: Luong's global attention.

    output, final_state, lengths, networks: as of a model's run; weights: (T, B, S).
    """

    def __init__(self, given: Attending, x: Any, state: Any, lengths: Any) -> None:
        self.given = given
        parts, training = given.parts, given.training
        self.body = ChainRun(parts.body, x, state, lengths, training, parts.numbers[1])
        self.lengths, self.final_state = self.body.lengths, self.body.final_state
        self._look = Look(given.memory, batched(self.body.output), self.lengths)
        self.weights = unbatched(self._look.weights, self.body.output)
        self._combined = Combined(given.combine, unbatched(self._look.context, self.body.output), self.body.output)
        self._head = Head(parts, self._combined.output, self.lengths, training)
        self.output = self._head.output

    @property
    def networks(self) -> dict[str, Unrolled]:
        return self.given.parts.named(self.body.networks)

    def backprop(
        self, grad_output: Any, grad_final_state: Any, clip_state: float | None = None
    ) -> tuple[ModelGradients, Array]:
        """The gradients, and that of the memory (S, B, M)."""
        memory, parts = self.given.memory, self.given.parts
        memory.begin()
        parameters, g = self._head.back(grad_output)
        pair, dc, dh = self._combined.back(g)
        dh = dh + unbatched(self._look.back(batched(dc)), dh)
        found = self.body.backprop(dh, grad_final_state, clip_state)
        named = parts.named(parameters | found.parameters) | {"combine.weight": to_weights([pair])}
        return gathered(memory, named, found.input, found.initial_state, parts.named(found.networks))


class Combined:
    """h̃ = tanh(W_c [c; h])."""

    def __init__(self, weight: Array, context: Array, h: Array) -> None:
        self._weight, self._columns = weight, context.shape[-1]
        joined = np.concatenate([context, h], axis=-1)
        self._rows = joined.reshape(-1, joined.shape[-1])
        output = dense.forward(self._rows, weight, None).reshape(h.shape)
        with np.errstate(all="ignore"):  # NaN and infinity are for the result to show
            self.output = np.tanh(output)

    def back(self, g: Array) -> tuple[tuple[Array, Array], Array, Array]:
        """The rows from which the gradient of W_c is made, and the gradients of c and of h."""
        with np.errstate(all="ignore"):
            d = (g * (1 - self.output * self.output)).reshape(-1, g.shape[-1])
        found = dense.to_inputs(d, self._weight)
        dc, dh = found[:, : self._columns], found[:, self._columns :]
        return (d, self._rows), dc.reshape(*g.shape[:-1], -1), dh.reshape(g.shape)


class Head:
    """What stands behind the attention, over all steps; mostly a readout."""

    def __init__(self, parts: Parts, x: Array, lengths: Array | None, training: bool) -> None:
        self._run = ChainRun(parts.head, x, None, lengths, training, parts.numbers[2]) if parts.head else None
        self.output = x if self._run is None else self._run.output
        self._padding = None if lengths is None else beyond(x.shape[:-1], lengths)

    def back(self, grad_output: Any) -> tuple[dict[str, Array], Array]:
        """The gradients of its parameters and of what it reads."""
        if grad_output is None:
            grad_output = np.zeros_like(self.output)
        g, parameters = output_gradient(grad_output, self.output), dict[str, Array]()
        if self._run is not None:
            found = self._run.backprop(g)
            parameters, g = found.parameters, found.input
        return parameters, g if self._padding is None else np.where(self._padding[..., None], 0, g)


def gathered(
    memory: Memory, named: dict[str, Array], x: Any, state: Any, networks: dict[str, Gradients]
) -> tuple[ModelGradients, Array]:
    """All gradients of a way back, and that of the memory."""
    parameters, dm = memory.gathered()
    named = named | {f"attention.{name}": value for name, value in parameters.items()}
    return ModelGradients(named, x, state, networks), dm


def batched(x: Array) -> Array:
    """(T, B, N), also of one sequence (T, N)."""
    return x[:, None] if x.ndim == 2 else x


def unbatched(x: Array, like: Array) -> Array:
    """x (T, B, M), or (T, M) where `like` is that of one sequence."""
    return x[:, 0] if like.ndim == 2 else x


def fits(attention: Attention, encoder: Any, parts: Parts, sizes: tuple[int, int], directions: int) -> None:
    """ValueError where the attention does not fit what the decoder asks and the encoder gives, (queries, keys)."""
    if directions == 2:
        raise ValueError("`decoder` reads in both directions; one with attention says one token after another.")
    if getattr(encoder, "one_out", False):
        raise ValueError("`encoder` gives one output for a sequence; a memory has an entry for each step.")
    for name, own, found, whose in (
        ("queries", attention.queries, sizes[0], "the last network of `decoder` sends"),
        ("keys", attention.keys, sizes[1], "`encoder` gives"),
    ):
        if own != found:
            raise ValueError(f"`attention` has {name}={own}, but {whose} {found} numbers at a step.")
    feeding = parts.feeding
    if feeding is None:
        return
    if any(is_recurrent(piece) for piece in parts.before if not is_bare(piece)):
        raise ValueError("A network stands before the InputFeeding of `decoder`; put it before the first of them.")
    wanted = sizes[0] if feeding.feeds == "attended" else sizes[1]
    if feeding.size != wanted:
        raise ValueError(f'The {feeding!r} of `decoder` has size {feeding.size}; "{feeding.feeds}" feeds {wanted}.')
    if feeding.feeds == "context" and not isinstance(parts.body[-1], Network):
        raise ValueError(
            'With InputFeeding "context" the last piece of `decoder` with a state is a network, whose state asks first.'
        )
