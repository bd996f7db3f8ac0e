"""Backward through time: the gradients of a run, whole, truncated or clipped.

Dimensions: T time steps, B sequences, S the state size of the whole network.
"""

from __future__ import annotations

from typing import Any

from ..engine import of
from ..refuse import arguments, direction
from . import clipped, handed_in, handed_out, truncated
from .asked import Asked
from .fields_back import deferred
from .gradients import Gradients


def backwards(
    run: Any, wanted: Asked, grad_output: Any, grad_final_state: Any, window: Any, clip_state: Any, by_fields: bool
) -> Gradients:
    """What `run.backprop` gives; TypeError or ValueError for gradients and ways that do not fit."""
    stack, network, had_batch = run._stack, run.network, run._had_batch
    arrays = of(stack.device).arrays
    g = handed_in.output_gradient(grad_output, run)
    at_end = handed_in.state("grad_final_state", grad_final_state, network, stack.batch, had_batch)
    into = wanted.into(run)
    x: Any
    of_states: Any
    most = None if clip_state is None else clipped.limit(run, clip_state, window, wanted.each)
    window = None if window is None or most is not None else _cut(run, window)
    of_fields = deferred(run, g, at_end, window, most, wanted.each) if by_fields else None
    if most is None and window is None:
        T, (B, S) = stack.steps, at_end.shape
        of_states = arrays.empty((T + 1, B, S), at_end.dtype) if wanted.states else None
        found = stack.back(
            at_end, g, stop=T, grad_states=of_states, to_weights=bool(wanted.names), to_input=wanted.input, into=into
        )
        of_weights, x, at_start = found.parameters, found.x, found.carry
    else:
        way: Any = (truncated, window) if most is None else (clipped, most)
        of_weights, x, of_states = way[0].backprop(stack, g, at_end, way[1], into)
        at_start = arrays.compact(of_states[0])
    named = run._named(of_weights) if into is None else wanted.made
    named = run.to_parameters(named) if run._followed else named
    of_input = None if x is None else run._outside(x)
    return wanted.written(named, of_input, handed_out.state(at_start, network, arrays, had_batch), of_states, of_fields)


def _cut(run: Any, window: Any) -> int | None:
    """The steps after which truncated BPTT cuts, None where there is nothing to cut."""
    meaning = "it is a number of time steps, at least 1, or None for the full gradient"
    window = arguments.step("window", window, 1, meaning=meaning)
    direction.one_way(run.network, "`window`", ", or leave it out")
    return window if window < run.steps else None
