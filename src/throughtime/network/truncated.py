"""Truncated backpropagation through time, exactly: the loss at time t flows back through at most k steps, for every t.

k cotangents travel back side by side, one for each loss whose window is open; at every step the newest comes in and the
oldest is dropped. On the GPU the losses of all times take their steps back together instead: after j of them the
cotangent of the loss at time t has reached states[t+1-j], the rows of all times are one batch, and k launches take them
all the way. The weights' gradient is linear in the cotangents, so one more pass with their sum gives it.

Dimensions: T time steps, B sequences, S the state size, N units.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.back import Into
from ..engine.stack import Stack

Array = Any  # of the machine
Found = tuple[
    list[list[Any]], Array, Array
]  # of the parameters on the GPU, of the input (T, B, I), of the states (T+1, B, S)


def backprop(
    stack: Stack, g: Array | None, at_end: Array, window: int, into: Into | None = None, onward: Array | None = None
) -> Found:
    """The gradients when the flow from every loss is cut after `window` steps.

    g (T, B, N) is the gradient of the output, at_end (B, S) that of the final state; Unrolled.backprop calls this.
    into: on the CPU, the arrays to which the gradients of the parameters are added. onward (T, B, S): takes the
    gradients of states[1:] that go on into the step before them, without those that have come to their end there.
    """
    if stack.device == "cpu":
        return _step_by_step(stack, g, at_end, window, into, onward)
    if stack.layers[0][0].networks > 1:
        raise ValueError(
            '`window` works for one network on the GPU: pass it to the run of `network.to("cuda")` for each '
            "`network` of the ensemble."
        )
    return _all_times_at_once(stack, g, at_end, window, onward)


def _step_by_step(
    stack: Stack, g: Array | None, at_end: Array, window: int, into: Into | None, onward: Array | None
) -> Found:
    T, B, S, dtype = stack.steps, stack.batch, stack.size, at_end.dtype
    n = stack.layers[-1][0].units
    lengths = np.full(B, T) if stack.lengths is None else stack.lengths
    open_ = np.zeros((B, window, S), dtype)  # cotangents of the open losses; the loss of time t is in place t % window
    dropped = np.zeros((B, S), dtype)  # what the loss dropped last has brought to the present state
    states = np.zeros((T + 1, B, S), dtype)
    inputs = np.zeros((T, B, stack.layers[0][0].inputs), dtype)
    for t in reversed(range(T)):
        newest = t % window
        open_[:, newest] = np.where((lengths == t + 1)[:, None], at_end, 0)
        states[t + 1] = dropped
        arriving = np.zeros((1, B, window, n), dtype)
        if g is not None:
            arriving[0, :, newest] = g[t]
        here = np.zeros((2, B, S), dtype)
        summed, sent = open_.sum(axis=1), arriving.sum(axis=2)
        together = stack.back(
            summed, sent, start=t, stop=t + 1, grad_states=here, to_weights=True, to_input=True, into=into
        )
        rows, sent = open_.reshape(B * window, S), arriving.reshape(1, B * window, n)
        open_ = stack.back(rows, sent, start=t, stop=t + 1, copies=window).carry.reshape(B, window, S)
        states[t + 1] += here[1]
        if onward is not None:
            onward[t] = here[1]
        assert together.x is not None  # asked for by to_input
        inputs[t] = together.x[0]
        oldest = (t - 1) % window  # its place is needed for the loss of time t - 1
        dropped = open_[:, oldest].copy()
        open_[:, oldest] = 0
    states[0] = dropped + open_.sum(axis=1)
    # A sequence's state stands still after its end: the gradient of the final state is that of each copy.
    for t in range(T + 1):
        over = lengths < t if t else lengths == 0
        states[t][over] = at_end[over]
    return [], inputs, states


def _all_times_at_once(stack: Stack, g: Array | None, at_end: Array, window: int, onward: Array | None) -> Found:
    arrays, T, B, S = stack.engine.arrays, stack.steps, stack.batch, stack.size
    whole = stack.single_steps(0, T)
    rows = _losses(stack, whole, g, at_end)  # row (t, b): the cotangent of states[t+1] from the loss of time t
    total, initial = arrays.copy(rows), arrays.zeros((B, S), rows.dtype)
    for j in range(window):
        before = (stack.single_steps(0, T - j) if j else whole).back(rows).carry
        arrays.add(initial, before[:B])  # those of time j have arrived at the initial state
        rows = before[B:]
        if j + 1 < window:
            arrays.add(total[: (T - j - 1) * B], rows)
    states = arrays.empty((T + 1, B, S), rows.dtype)
    arrays.move(states[0], initial)
    arrays.move(states[1:], total.reshape((T, B, S)))
    arrays.add(states[1 : T - window + 1], rows.reshape((T - window, B, S)))  # where the flow ends
    if stack.lengths is not None:  # after its sequence's end a state stands still: there is the last one's gradient
        for b, length in enumerate(stack.lengths):
            first = int(length) + 1 if length else 0
            if first <= T:
                arrays.move(states[first:, b], arrays.repeated(at_end[b], T + 1 - first))
    if onward is not None:
        arrays.move(onward, total.reshape((T, B, S)))
    found = whole.back(total, to_weights=True, to_input=True)
    assert found.x is not None  # asked for by to_input
    return found.parameters, arrays.shaped(found.x, (T, B, int(found.x.shape[2]))), states


def _losses(stack: Stack, whole: Stack, g: Array | None, at_end: Array) -> Array:
    """What every loss brings into the state after its own time, (T*B, S)."""
    arrays, T, B = stack.engine.arrays, stack.steps, stack.batch
    if g is None:
        rows = arrays.zeros((T * B, stack.size), at_end.dtype)
    else:
        rows = whole.sent_back(arrays.compact(g).reshape((1, T * B, int(g.shape[2]))), 0)
    if stack.lengths is None:
        arrays.add(rows[(T - 1) * B :], at_end)
    else:
        for b, length in enumerate(stack.lengths):
            place = (int(length) - 1) * B + b
            if length:
                arrays.add(rows[place : place + 1], at_end[b : b + 1])
    return rows
