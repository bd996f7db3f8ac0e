"""A decoder that hears what its attention has seen: a step at a time, and back through the steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cells.on_arrays import emitted, sent_slopes
from ..cells.versions import in_force
from ..network.field_gradients import Deferred, FieldGradients, added
from ..network.fields_back import by_sending
from ..network.gradients import Gradients
from ..network.network import Network
from ..network.unrolled import Unrolled
from ..refuse import numeric, states
from .attending_decoder import Attending, Combined, Head, batched, gathered, unbatched
from .attention import Look
from .chain_run import ChainRun
from .model_run import ModelGradients
from .scores import to_weights

Array = np.ndarray


class FedRun:
    """As `AttendingRun`, with [x_t; f_t] as the body's input: f_t = h̃_{t−1}, or the context that h_{t−1} looks up.

    fed: h̃ of the step before the first, (1, B, N); zeros where it is None. `last_fed` is that of each sequence's end.
    """

    def __init__(self, given: Attending, x: Any, state: Any, lengths: Any, fed: Any = None) -> None:
        self.given, parts = given, given.parts
        assert parts.feeding is not None
        self._attended = parts.feeding.feeds == "attended"
        self._before = ChainRun(parts.before, x, None, lengths, given.training)
        x = self._before.output
        self.lengths = self._before.lengths
        self._one = x[:1]
        self._first = () if self._attended else _last_layer(parts.body[-1], state, x)
        h: Any = None if self._attended else _sent(parts.body[-1], self._first)
        if self._attended:
            shape = (*x[:1].shape[:-1], parts.feeding.size)
            wanted = {f"axis {k}": n for k, n in enumerate(shape)}
            fed = np.zeros(shape, x.dtype) if fed is None else numeric.array('state["fed"]', fed, wanted, x.dtype)
        self._steps: list[tuple[ChainRun, Look, Combined | None]] = []
        inputs, contexts, combined, sends = [], [], [], []
        at_first = state
        for t in range(len(x)):
            real = None if self.lengths is None else (self.lengths > t).astype(np.int64)
            ends = None if self.lengths is None else real
            if not self._attended:
                look = Look(given.memory, batched(h), ends)
                fed = unbatched(look.context, self._one)
            inputs.append(np.concatenate([x[t : t + 1], fed], axis=-1))
            run = ChainRun(parts.body, inputs[-1], state, real, given.training, parts.numbers[1])
            state, h, own = run.final_state, run.output, None
            if self._attended:
                look = Look(given.memory, batched(h), ends)
                own = Combined(given.combine, unbatched(look.context, self._one), h)
                combined.append(own.output)
                fed = own.output if real is None else np.where(real[:, None] > 0, own.output, fed)
            contexts.append(look)
            sends.append(h)
            self._steps.append((run, look, own))
        self.final_state, self.last_fed = state, fed if self._attended else None
        self.weights = unbatched(np.concatenate([look.weights for look in contexts]), self._one)
        if self._attended:
            self._combined, seen = None, np.concatenate(combined)
        else:
            context = np.concatenate([unbatched(look.context, self._one) for look in contexts])
            self._combined = Combined(given.combine, context, np.concatenate(sends))
            seen = self._combined.output
        self._head = Head(parts, seen, self.lengths, given.training)
        self.output = self._head.output
        whole = np.concatenate(inputs)
        self._whole = ChainRun(parts.body, whole, at_first, self.lengths, False, parts.numbers[1])

    @property
    def networks(self) -> dict[str, Unrolled]:
        """Unrolled over all steps at once, with what was fed as a part of their input."""
        return self.given.parts.named(self._whole.networks)

    def backprop(
        self, grad_output: Any, grad_final_state: Any, clip_state: float | None = None
    ) -> tuple[ModelGradients, Array]:
        """The gradients, and that of the memory (S, B, M)."""
        if clip_state is not None:
            raise ValueError(
                "A decoder with InputFeeding does not clip the gradients of its states; leave `clip_state` out."
            )
        parts, memory = self.given.parts, self.given.memory
        memory.begin()
        parameters, g = self._head.back(grad_output)
        each, pairs = list[ModelGradients](), list[tuple[Array, Array]]()
        if self._combined is not None:
            pair, to_context, to_h = self._combined.back(g)
            pairs.append(pair)
        size, steps = self._before.output.shape[-1], len(self._steps)
        dx, to_state = np.empty_like(self._before.output), grad_final_state
        df: Any = 0  # of what the step behind is fed
        dq: Any = 0  # of h_t by what it looks up for the step behind
        for t in reversed(range(steps)):
            (run, look, own), at = self._steps[t], slice(t, t + 1)
            if own is not None:
                pair, dc, dh = own.back(g[at] + df)
                pairs.append(pair)
                dh = dh + unbatched(look.back(batched(dc)), dh)
            else:
                dh = to_h[at] + dq
            found = run.backprop(np.ascontiguousarray(dh), to_state)
            each.append(found)
            to_state, df = found.initial_state, found.input[..., size:]
            dx[at] = found.input[..., :size]
            if own is None:
                dq = unbatched(look.back(np.ascontiguousarray(batched(to_context[at] + df))), dh)
        of_first: FieldGradients | None = None
        if self._combined is not None:
            to_state = _to_state(parts.body[-1], self._first, to_state, dq)
            of_first = by_sending(in_force(parts.body[-1].cells[-1]), self._first, dq)
        before, each = self._before.backprop(dx), each[::-1]
        sums = {name: value.copy() for name, value in each[0].parameters.items()}
        for found in each[1:]:
            for name, value in found.parameters.items():
                sums[name] += value
        parameters = parameters | sums
        named = parts.named(before.parameters | parameters) | {"combine.weight": to_weights(pairs)}
        networks, last = dict[str, Gradients](), list(each[0].networks)[-1]
        for name in each[0].networks:
            of_steps = [found.networks[name] for found in each]
            networks[name] = _joined(name, of_steps, sums, of_first if name == last else None)
        return gathered(memory, named, before.input, to_state, parts.named(networks))


def _joined(
    name: str, each: list[Gradients], sums: dict[str, Array], of_first: FieldGradients | None = None
) -> Gradients:
    """The gradients of single steps of a network as those of all of them; sums: of the parameters, over the steps;
    of_first: by the fields of the last layer, of what it sent before the first step."""
    parameters = {inner: sums[f"{name}.{inner}"] for inner in each[0].parameters}
    states: Any = [own.states for own in each]
    inputs: Any = [own.input for own in each]
    all_states = np.concatenate([states[0][:1], *(own[1:] for own in states)])
    fields = Deferred(_all_cells, each, of_first)
    return Gradients(parameters, np.concatenate(inputs), each[0].initial_state, all_states, fields)


def _all_cells(each: list[Gradients], of_first: FieldGradients | None) -> tuple[FieldGradients, ...]:
    found = added([own.cells or () for own in each])
    return found if of_first is None or not found else (*found[:-1], *added([found[-1:], (of_first,)]))


def _last_layer(net: Network, state: Any, x: Array) -> tuple[Array, ...]:
    """The states of the last layer of the last network, each (1, B, N), or (1, N) of one sequence; checked."""
    own = list(state.values())[-1] if isinstance(state, dict) and state else state
    batch = x.shape[1] if x.ndim == 3 else 1
    flat = states.state(own, net, batch, x.ndim == 3, name="state")
    count, units = net.unit_states[-1], net.hidden_sizes[-1]
    parts = flat[:, -count * units :].reshape(batch, count, units).swapaxes(0, 1)
    return tuple(part[None] if x.ndim == 3 else part for part in parts)


def _sent(net: Network, s: tuple[Array, ...]) -> Array:
    """What the last layer sends in these states."""
    return np.array(emitted(in_force(net.cells[-1]), s)[0])


def _to_state(net: Network, s: tuple[Array, ...], gradient: Any, dh: Array) -> Any:
    """The gradient of the first state, with that of what it sends added."""
    slopes = sent_slopes(in_force(net.cells[-1]), s)
    last = list(gradient)[-1] if isinstance(gradient, dict) else None
    whole = gradient if last is None else gradient[last]
    own = whole[-1] if isinstance(whole, list) else whole  # of unlike layers
    parts = [part.copy() for part in (own if isinstance(own, tuple) else (own,))]
    for part, slope in zip(parts, slopes, strict=True):
        part[-1:] += slope * dh
    found: Any = tuple(parts) if isinstance(own, tuple) else parts[0]
    found = [*whole[:-1], found] if isinstance(whole, list) else found
    return found if last is None else gradient | {last: found}
