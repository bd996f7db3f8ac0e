"""Truncated backpropagation through time on the GPU: the cotangents of all losses take their steps back together.

A loss at time t flows back through at most k steps. After j of them its cotangent has reached states[t+1-j], for every
t: the rows of all times are one batch, and k launches take them all the way. The gradient of the weights is linear in
the cotangents, so one more pass, with their sum at each time, gives it.
"""

from __future__ import annotations

from typing import Any

from ..engine.cuda import arrays, device
from ..engine.cuda import run as gpu
from .unrolled import Gradients

Array = Any  # of the device


def backprop(run: Any, g: Array | None, at_end: Array, window: int) -> Gradients:
    """The gradients when the flow from every loss is cut after `window` steps; as in truncated.py, for one network."""
    T, (B, S) = run.steps, (int(n) for n in run.states.shape[1:])
    rows = _losses(run, g, at_end)  # row (t, b): the cotangent of states[t+1] from the loss of time t
    total, initial = arrays.compact(rows), arrays.zeros((B, S), rows.dtype)
    for j in range(window):
        before, _ = run._backward(run._apart(0, T - j), rows, 0, 1)
        arrays.add(initial, before[:B])  # those of time j have arrived at the initial state
        rows = before[B:]
        if j + 1 < window:
            arrays.add(total[: (T - j - 1) * B], rows)
    states = device.empty((T + 1, B, S), rows.dtype)
    arrays.move(states[0], initial)
    arrays.move(states[1:], total.reshape((T, B, S)))
    arrays.add(states[1 : T - window + 1], rows.reshape((T - window, B, S)))  # where the flow ends
    if run.lengths is not None:  # a state stands still after its sequence's end: there is the gradient of the last one
        for b, length in enumerate(run.lengths):
            first = int(length) + 1 if length else 0
            if first <= T:
                arrays.move(states[first:, b], device.repeated(at_end[b], T + 1 - first))
    parameters, x = _to_weights(run, total)
    in_order = {name: parameters[name] for name in run.network.shapes}
    return Gradients(in_order, run._outside(x), run._as_state(arrays.compact(states[0])), states)


def _losses(run: Any, g: Array | None, at_end: Array) -> Array:
    """What every loss brings into the state after its own time, (T*B, S)."""
    T, (B, S) = run.steps, (int(n) for n in run.states.shape[1:])
    rows, top = arrays.zeros((T * B, S), at_end.dtype), run._apart(0, T)[-1]
    if g is not None:
        sent = gpu.sent_back(top, arrays.compact(g).reshape((1, T * B, top.units)))
        arrays.move(rows[:, top.offset : top.offset + int(sent.shape[1])], sent)
    if run.lengths is None:
        arrays.add(rows[(T - 1) * B :], at_end)
    else:
        for b, length in enumerate(run.lengths):
            place = (int(length) - 1) * B + b
            if length:
                arrays.add(rows[place : place + 1], at_end[b : b + 1])
    return rows


def _to_weights(run: Any, total: Array) -> tuple[dict[str, Array], Array]:
    """The gradients of the parameters and of the input (T, B, I) from the cotangents of states[1] ... states[T]."""
    parameters: dict[str, Array] = {}
    above: Any = None
    layers = run._apart(0, run.steps)
    for k in reversed(range(len(layers))):
        own = arrays.compact(total[:, run.columns(k)])
        back = gpu.backprop(layers[k], own, above, start=0, stop=1)
        run._name(parameters, k, 0, back.parameters)
        above = back.x
    return parameters, device.shaped(above, (run.steps, int(run.states.shape[1]), run.network.input_size))
