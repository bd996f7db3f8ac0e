"""What is asked of a way back: which gradients, summed or of each sequence, and the arrays that they are written to.

Dimensions: T time steps, B sequences, I inputs, S the state size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..engine import checkpointed, memory, stack
from ..engine.back import Into
from ..refuse import arguments
from ..refuse.called import told
from .gradients import Gradients
from .parameters import NORM

Array = Any  # of the machine


@dataclass(slots=True)
class Asked:
    """The arguments of `backprop`, checked. names: of the parameters asked for, in the order of network.parameters;
    weights: of the weights whose gradients these follow from; each: of every sequence; out: arrays to write to, by
    names; others: arrays for what is not a parameter; made: what `into` made, by names."""

    input: bool
    states: bool
    names: tuple[str, ...]
    weights: tuple[str, ...]
    each: bool
    out: dict[str, Array]
    others: Gradients | None
    made: dict[str, Array] = field(default_factory=dict)

    def into(self, run: Any) -> Into | None:
        """Zeros to which the gradients of the parameters asked for are added; None on the GPU, which makes its own."""
        if run._stack.device != "cpu":
            return None
        network, out, made = run.network, self.out, self.made
        shapes, dtype = network.weight_shapes, network.dtype
        zeros = np.zeros if network._largest < memory.SMALLEST else memory.zeros
        for name in self.weights:
            if name in out:
                made[name] = out[name]
                made[name].fill(0)
            elif self.each:
                made[name] = memory.zeros((run._stack.batch, *shapes[name]), dtype)
            else:
                made[name] = zeros(shapes[name], dtype)
        arrays: list[list[tuple[Array | None, ...]]] = []
        for ways in network._layer_names:
            arrays.append([])
            for names in ways:
                arrays[-1].append(tuple(map(made.get, names)))
        if not network.layer_norm:
            return Into(arrays, self.each)
        norms = [[made.get(f"{kind}_l{k}") for kind in NORM] for k in range(network.num_layers)]
        return Into(arrays, self.each, norms)

    def written(self, named: dict[str, Array], of_input: Any, initial: Any, of_states: Any, fields: Any) -> Gradients:
        """The gradients asked for; what is not a parameter copied to the arrays given for it. named: of parameters."""
        parameters = named if self.names == self.weights == tuple(named) else {name: named[name] for name in self.names}
        for name in self.out:
            if parameters[name] is not self.out[name]:  # of a free parameter, to which no engine writes
                parameters[name] = _copied(self.out[name], parameters[name])
        of_input, of_states = of_input if self.input else None, of_states if self.states else None
        if self.others is not None:
            of_input, of_states = _copied(self.others.input, of_input), _copied(self.others.states, of_states)
            initial = _copied(self.others.initial_state, initial)
        return Gradients(parameters, of_input, initial, of_states, fields)


def asked_method(network: Any, method: Any) -> str | None:
    """The argument `method` of `unroll`, looked at."""
    if method is not None:
        arguments.known("method", method, ("loop", "scan"))
        if network.device != "cpu":
            raise ValueError(
                f'method="{method}" is of networks on the CPU, and this one is on the GPU, which goes step by step: '
                "leave it out."
            )
    return method


def asked_forward(network: Any, checkpoint: Any) -> Callable[..., tuple[stack.Stack, Array]]:
    """The function that goes forward as the argument `checkpoint` of `unroll` says."""
    every = asked_checkpoint(checkpoint)
    if every is None:
        return stack.forward
    if network.device != "cpu":
        raise ValueError('`checkpoint` works on the CPU: take the run of `network.to("cpu")`.')
    return partial(checkpointed.forward, every if isinstance(every, int) else None)


def asked_checkpoint(checkpoint: Any) -> int | str | None:
    """A number of steps, "auto", or None; TypeError or ValueError in words for anything else."""
    if checkpoint is None or isinstance(checkpoint, (bool, np.bool_)):
        return "auto" if checkpoint else None
    if isinstance(checkpoint, str) and checkpoint == "auto":
        return "auto"
    if isinstance(checkpoint, str):
        raise ValueError(f'`checkpoint` is {told(checkpoint)}; expected a number of steps, or "auto" for about √T.')
    return arguments.size("checkpoint", checkpoint)


def asked(run: Any, input: Any, states: Any, parameters: Any, per_sequence: Any, out: Any) -> Asked:
    """The arguments of `backprop` looked at; TypeError or ValueError in words for what does not fit."""
    of_input = input if type(input) is bool else arguments.flag("input", input)
    of_states = states if type(states) is bool else arguments.flag("states", states)
    each = per_sequence if type(per_sequence) is bool else arguments.flag("per_sequence", per_sequence)
    names = _names(run.network, parameters)
    weights = run.network.weights_behind(names) if run.network._assignment else names
    if (each or out is not None) and run.device != "cpu":
        what = "per_sequence=True" if each else "`out`"
        raise ValueError(f'{what} is of runs on the CPU, and this one is on the GPU: take `net.to("cpu").unroll(x)`.')
    if out is None:
        return Asked(of_input, of_states, names, weights, each, {}, None)
    if not isinstance(out, (dict, Gradients)):
        raise TypeError(
            f"`out` is {told(out)}; expected a dict of arrays by the names of the parameters, or the Gradients of an "
            "earlier call with the same arguments."
        )
    dtype = run.network.dtype
    arrays, others = (out.parameters, out) if isinstance(out, Gradients) else (out, None)
    for name in arrays:
        arguments.known("parameter", name, run.network.shapes)
    for name in names:
        if name not in arrays:
            raise ValueError(
                f"`out` has no array for {name}; it needs one for every gradient asked for, or ask for fewer, "
                "`parameters=[…]`."
            )
        own = run.network.parameters[name]
        arguments.writable(f"out[{name}]", arrays[name], _shape(name, run, each), dtype, parameter=own)
    if others is not None:
        T, B, S = run.steps, run.input.shape[1], run.network.state_size
        if of_input and others.input is not None:
            arguments.writable(
                "out.input", others.input, (*run.output.shape[:-1], run.network.input_size), dtype, compact=False
            )
        if of_states and others.states is not None:
            arguments.writable("out.states", others.states, (T + 1, B, S), dtype, compact=False)
        theirs, ours = _parts(others.initial_state), _parts(run.final_state)
        if others.initial_state is not None and len(theirs) != len(ours):
            raise ValueError(
                f"`out.initial_state` is of {len(theirs)} arrays; the state of this run is of {len(ours)}."
            )
        for part, like in zip(theirs, ours, strict=False):
            arguments.writable("out.initial_state", part, like.shape, dtype, compact=False)
    return Asked(of_input, of_states, names, weights, each, {name: arrays[name] for name in names}, others)


def _names(network: Any, parameters: Any) -> tuple[str, ...]:
    shapes, held = network.shapes, network.parameters
    if parameters is None:
        if type(held) is dict and held.keys() == shapes.keys():
            return tuple(held)
        wanted = set(shapes)
    elif isinstance(parameters, (list, tuple, set, frozenset)):
        wanted = {arguments.known("parameter", name, shapes) for name in parameters}
    else:
        raise TypeError(
            f'`parameters` is {told(parameters)}; expected a list of names, such as ["weight_hh_l0"], or None for all.'
        )
    return tuple(name for name in [*held, *(name for name in shapes if name not in held)] if name in wanted)


def _shape(name: str, run: Any, each: bool) -> tuple[int, ...]:
    shape = tuple(run.network.held_shape(name))
    return (int(run.input.shape[1]), *shape) if each else shape


def _parts(state: Any) -> tuple[Array, ...]:
    if state is None:
        return ()
    if isinstance(state, list):  # of unlike layers
        return tuple(part for own in state for part in _parts(own))
    return state if isinstance(state, tuple) else (state,)


def _copied(target: Any, found: Any) -> Any:
    """`found` in the arrays of `target`, where there are such."""
    if target is None or found is None:
        return found
    for own, part in zip(_parts(target), _parts(found), strict=True):
        own[...] = part
    return target
