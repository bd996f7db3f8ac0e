"""Backpropagation through time with the gradient of every state clipped on its way back.

    u_t = v_t min(1, most/|v_t|),   v_t = J_{t+1}^T u_{t+1} + (doutput_t/ds_t)^T dL/doutput_t,   t = T, ..., 0

Only the u_t are found step by step; the gradients of weights and input then come from all of them at once.

Dimensions: T time steps, B sequences, S the state size, N units.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.stack import Into, Stack
from ..refuse import arguments, direction
from . import norms

Array = np.ndarray
Found = tuple[list[list[Any]], Array, Array]  # of the parameters, of the input (T, B, I), of the states (T+1, B, S)


def backprop(stack: Stack, g: Array | None, at_end: Array, most: float, into: Into | None = None) -> Found:
    """The gradients when every dL/ds_t, for each sequence by itself, is brought to a norm of at most `most`.

    g (T, B, N) is the gradient of the output, at_end (B, S) that of the final state; Unrolled.backprop calls this.
    into: the arrays to which the gradients of the parameters are added.
    """
    T, B, S = stack.steps, stack.batch, stack.size
    states = stack.engine.arrays.empty((T + 1, B, S), at_end.dtype)
    u = at_end
    for t in reversed(range(T + 1)):
        if t and g is not None:
            u = u + stack.sent_back(g[t - 1 : t], t - 1)
        states[t] = u = shortened(u, most)
        if t:
            u = stack.back(u, start=t - 1, stop=t).carry
    rows = states[1:].reshape(T * B, S)
    found = stack.single_steps(0, T).back(rows, to_weights=True, to_input=True, into=into)
    assert found.x is not None  # asked for by to_input
    return found.parameters, found.x.reshape(T, B, found.x.shape[2]), states


def limit(run: Any, clip_state: Any, window: Any, per_sequence: bool = False) -> float:
    """The norm to which a run's gradients of states are clipped; or an error in words."""
    norm = arguments.real("clip_state", clip_state)
    if not norm > 0.0:
        raise ValueError(f"`clip_state` is {norm:g}; it is a norm of a gradient, above 0.")
    if window is not None:
        raise ValueError("`window` and `clip_state` are two ways back; pass one of them.")
    if per_sequence:
        raise ValueError("`clip_state` has no gradients per_sequence; pass one of them.")
    direction.one_way(run.network, "`clip_state`", ", or leave it out")
    if run.device != "cpu":
        raise ValueError('`clip_state` works on the CPU: take the run of `network.to("cpu")`.')
    return norm


def shortened(rows: Array, most: float) -> Array:
    """Rows (B, S) brought to a norm of at most `most`; those that hold NaN or infinity as they are."""
    m, e = norms.split(rows)
    with np.errstate(over="ignore"):
        over = (np.ldexp(m, e) > most) & np.isfinite(m)
    if not over.any():
        return rows
    rows = rows.copy()
    rows[over] = norms.brought_to(rows[over], most, m[over, None], e[over, None])
    return rows
