"""NaN and infinity in what a user hands in: where they come from, and the refusal of what then has no meaning.

The rule of all analyses. What is measured for each time or sequence by itself holds NaN there and is right everywhere
else. Where no sequence is left, or where the result is one about the whole batch, ValueError says where the first such
number is: in a parameter, the input, the initial state, or nowhere of these, when a network grows beyond its numbers.

Dimensions: T time steps, B sequences, I inputs, S state size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import numeric, states

Array = numeric.Array


def trajectory(net: Any, inputs: Array | None, state: Any, what: str) -> None:
    """ValueError if the parameters, or input (T, B, I) and initial state of every sequence, hold NaN or infinity.

    `state` : as net.unroll takes it for a batch. What overflows on the way is not seen here.
    """
    inputs = np.zeros((1, 1, 1)) if inputs is None else inputs
    net = net.on_host()
    _given(net.parameters, inputs, states.state(state, net, inputs.shape[1], True)[None], what)


def given(run: Any, what: str) -> None:
    """The same of what a run was made from."""
    _given(run.made_with(), run.input, run.states[:1], what)


def run(run: Any, what: str, start: int = 0, stop: int | None = None, sequence: int | None = None) -> None:
    """ValueError if every sequence of a run holds NaN or infinity between states[start] and states[stop], or if this
    `sequence` does."""
    stop = run.steps if stop is None else stop
    chosen = np.arange(run.states.shape[1]) if sequence is None else np.array([sequence])
    if chosen.size and _broken(run.states[start : stop + 1, chosen]).all():
        _refuse(what, cause(run.made_with(), run.input, run.states, chosen))


def matrix(name: str, given: Array, what: str) -> None:
    """ValueError if a matrix holds NaN or infinity."""
    wrong = np.argwhere(~np.isfinite(given))
    if len(wrong):
        i, j = wrong[0]
        _refuse(what, f"`{name}` holds {given[i, j]} at [{i}, {j}]")


def cause(parameters: Mapping[str, Array], inputs: Array, states: Array, sequences: Array) -> str:
    """Where the first NaN or infinity is, in words; empty where all is finite. `states` begins with the initial one."""
    for name, value in parameters.items():
        wrong = np.argwhere(~np.isfinite(value))
        if len(wrong):
            found = value[tuple(wrong[0])]
            return f"the parameter {name}{wrong[0].tolist()} is {found}; draw it anew, or load what it was before"
    for series, words in (
        (inputs, "the input at time {t} of sequence {b} holds {x}; fill the gap, or pass only what comes before it"),
        (states[:1], "the initial state of sequence {b} holds {x}; pass finite numbers, or none for zeros"),
        (
            states,
            "states[{t}] of sequence {b} holds {x}, though all that was given is finite: the network grew beyond the "
            f"numbers of {states.dtype}; stop before, or take smaller weights",
        ),
    ):
        wrong = np.argwhere(~np.isfinite(series[:, sequences]))
        if len(wrong):
            t, b, i = wrong[0]
            return words.format(t=t, b=sequences[b], x=series[t, sequences[b], i])
    return ""


def _given(parameters: Mapping[str, Array], inputs: Array, initial: Array, what: str) -> None:
    sequences = np.arange(inputs.shape[1])
    lost = sequences.size and (_broken(inputs) | _broken(initial)).all()
    if lost or not all(np.isfinite(value).all() for value in parameters.values()):
        _refuse(what, cause(parameters, inputs, initial, sequences))


def _broken(series: Array) -> Array:
    """(B,) which sequences of (T, B, any) hold NaN or infinity."""
    return np.asarray(~np.isfinite(series).all(axis=(0, 2)))


def _refuse(what: str, why: str) -> None:
    raise ValueError(f"{what} has no meaning beyond NaN or infinity: {why}.")
