"""Backpropagation through time with the gradient of every state clipped on its way back.

    u_t = v_t min(1, most/|v_t|),   v_t = J_{t+1}^T u_{t+1} + (doutput_t/ds_t)^T dL/doutput_t,   t = T, ..., 0

Only the u_t are found step by step; the gradients of weights and input then come from all of them at once.

Dimensions: T time steps, B sequences, S the state size, N units.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.back import Into
from ..engine.stack import Stack
from ..refuse import arguments, direction
from . import norms

Array = np.ndarray
Found = tuple[
    list[list[Any]], Array, Array
]  # none of the parameters, of the input (T, B, I), of the states (T+1, B, S)


def backprop(stack: Stack, g: Array | None, at_end: Array, most: float, into: Into | None) -> Found:
    """The gradients when every dL/ds_t, for each sequence by itself, is brought to a norm of at most `most`.

    g (T, B, N) is the gradient of the output, at_end (B, S) that of the final state; Unrolled.backprop calls this.
    into: the arrays to which the gradients of the parameters are added.
    """
    T, B, S = stack.steps, stack.batch, stack.size
    states = stack.engine.arrays.empty((T + 1, B, S), at_end.dtype)
    x = stack.engine.arrays.empty((T, B, stack.layers[0][0].inputs), at_end.dtype)
    u = at_end
    for part, begin in stack.parts_from_end():
        end = begin + part.steps
        for t in reversed(range(begin, end)):
            if g is not None:
                u = u + part.sent_back(g[t : t + 1], t - begin)
            states[t + 1] = u = shortened(u, most)
            u = part.back(u, start=t - begin, stop=t - begin + 1).carry
        rows, steps = states[begin + 1 : end + 1].reshape(-1, S), part.single_steps(0, part.steps)
        found = steps.back(rows, to_weights=True, to_input=True, into=into)
        assert found.x is not None  # asked for by to_input
        x[begin:end] = found.x.reshape(end - begin, B, x.shape[2])
    states[0] = shortened(u, most)
    return [], x, states


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
