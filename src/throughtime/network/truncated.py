"""Truncated backpropagation through time, exactly: the loss at time t flows back through at most k steps, for every t.

k cotangents travel back side by side, one for each loss whose window is open; at every step the newest comes in and the
oldest is dropped. The weights' gradient is linear in the cotangents, so one more pass with their sum gives it.
"""

from __future__ import annotations

import numpy as np

from ..engine.cpu import run as cpu
from .unrolled import Gradients, Unrolled

Array = np.ndarray


def backprop(run: Unrolled, g: Array | None, at_end: Array, window: int) -> Gradients:
    """The gradients when the flow from every loss is cut after `window` steps.

    g (T, B, N) is the gradient of the output, at_end (B, S) that of the final state; Unrolled.backprop calls this.
    """
    T, (B, S) = run.steps, run.states.shape[1:]
    dtype, layers = run.network.dtype, [layer for (layer,) in run._layers]
    lengths = np.full(B, T) if run.lengths is None else run.lengths
    open_ = np.zeros((B, window, S), dtype)  # cotangents of the open losses; the loss of time t is in place t % window
    dropped = np.zeros((B, S), dtype)  # what the loss dropped last has brought to the present state
    states = np.zeros((T + 1, B, S), dtype)
    inputs = np.zeros(run.input.shape, dtype)
    total: dict[str, Array] = {}
    for t in reversed(range(T)):
        newest = t % window
        open_[:, newest] = np.where((lengths == t + 1)[:, None], at_end, 0)
        states[t + 1] = dropped
        arriving = np.zeros((1, B, window, run.network.hidden_size), dtype)
        if g is not None:
            arriving[0, :, newest] = g[t]
        summed, from_above = open_.sum(axis=1), arriving.sum(axis=2)
        here = np.zeros((2, B, S), dtype)
        slots, slots_above = open_.reshape(B * window, S), arriving.reshape(1, B * window, run.network.hidden_size)
        for k in reversed(range(len(layers))):
            layer, cols, below_top = layers[k], run.columns(k), k + 1 < len(layers)
            together = cpu.backprop(
                layer, summed[:, cols], from_above, start=t, stop=t + 1, grad_states=here, apart=below_top
            )
            each = cpu.backprop(
                layer, slots[:, cols], slots_above, start=t, stop=t + 1, copies=window, to_weights=False, to_input=k > 0
            )
            slots[:, cols] = each.carry
            assert together.x is not None  # asked for by to_input, true unless said otherwise
            assert together.parameters is not None  # likewise by to_weights
            named: dict[str, Array] = {}
            run._name(named, k, 0, together.parameters)
            for name, grad in named.items():
                total[name] = total[name] + grad if name in total else grad
            from_above = together.x
            if each.x is not None:
                slots_above = each.x
        states[t + 1] += here[1]
        inputs[t] = from_above[0]
        oldest = (t - 1) % window  # its place is needed for the loss of time t - 1
        dropped = open_[:, oldest].copy()
        open_[:, oldest] = 0
    states[0] = dropped + open_.sum(axis=1)
    # A sequence's state stands still after its end: the gradient of the final state is that of each copy.
    for t in range(T + 1):
        over = lengths < t if t else lengths == 0
        states[t][over] = at_end[over]
    in_order = {name: total[name] for name in run.network.parameters}
    initial = run._as_state(states[0].reshape(B, len(layers), run._own))
    return Gradients(in_order, run._outside(inputs), initial, states)
