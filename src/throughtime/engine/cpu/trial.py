"""A small layer of a cell, run by the engine and by plain Python: whether compiled code does what the cell says.

T steps, B sequences, N units, I inputs: sizes that no block of units divides, one row at a time and several.
"""

from typing import Any

import numpy as np

from ...cells.base import spec
from ...cells.on_arrays import on_arrays
from . import run as cpu

T, N, I = 3, 5, 2
ERROR = 1e-8  # far above rounding, of some 50 operations on numbers near 1, and far below what a wrong term makes


def disagreement(cell: Any, batch: int, seed: int = 0) -> str:
    """ "" where both agree, otherwise which number differs and by how much, for a sentence."""
    record, rng = spec(cell), np.random.default_rng(seed)
    G, S = record.gates, record.states
    shapes = (G * N, I), (G * N, N), (G * N,), (G * N,)
    parameters: Any = tuple(rng.normal(size=shape) / np.sqrt(N) for shape in shapes)
    x, start, last = rng.normal(size=(T, batch, I)), rng.normal(size=(batch, S * N)), rng.normal(size=(batch, S * N))
    outward = rng.normal(size=(T, batch, N))
    states = np.empty((T + 1, batch, S * N))
    states[0] = start
    layer = cpu.unroll(cell, parameters, x, states, 0, None, False)
    back = cpu.backprop(layer, last, outward)
    assert back.parameters is not None
    of = ("W_ih", "W_hh", "b_ih", "b_hh", "the input", "the first state")
    names = ("the states", *(f"the gradient of {name}" for name in of))
    compiled: Any = (states, *back.parameters, back.x, back.carry)
    with np.errstate(all="ignore"):
        plain = _plain(cell, parameters, x, start, outward, last)
    for name, ours, theirs in zip(names, compiled, plain, strict=True):
        known = np.isfinite(theirs)
        scale = 1.0 + np.abs(theirs[known]).max(initial=0.0)
        error = np.abs(ours - theirs)[known].max(initial=0.0)
        if not error <= ERROR * scale or not (np.isfinite(ours) == known).all():
            return f"{name} differ by {error:.3g}" if name == "the states" else f"{name} differs by {error:.3g}"
    return ""


def _plain(cell: Any, parameters: Any, x: Any, start: Any, outward: Any, last: Any) -> tuple:
    """The same as a loop over time in NumPy, from the cell's own functions."""
    w_ih, w_hh, b_ih, b_hh = parameters
    record, batch = spec(cell), x.shape[1]
    G, S = record.gates, record.states

    def parts(rows: Any, count: int) -> Any:
        return tuple(rows[:, k * N : (k + 1) * N] for k in range(count))

    def whole(values: Any) -> Any:
        return np.concatenate([np.broadcast_to(value, (batch, N)) for value in values], axis=1)

    def emit(s: Any) -> Any:
        return on_arrays(lambda s: ((cell.emit(s),),), (s,))[0][0] if record.emits else s[0]

    def slopes(s: Any) -> Any:
        found = on_arrays(lambda s: (cell.emit_slope(s),), (s,))[0] if record.emits else (1.0,) + (0.0,) * (S - 1)
        return tuple(np.broadcast_to(value, (batch, N)) for value in found)

    states, kept = [start], []
    for t in range(T):
        s = parts(states[-1], S)
        new, saved = on_arrays(cell.forward, (parts(x[t] @ w_ih.T + b_ih, G), parts(emit(s) @ w_hh.T + b_hh, G), s))
        kept.append(saved)
        states.append(whole(new))
    g_ih, g_hh, gb_ih, gb_hh = (np.zeros_like(value) for value in parameters)
    g_x, ds = np.empty_like(x), last
    for t in range(T - 1, -1, -1):
        s, s_next = parts(states[t], S), parts(states[t + 1], S)
        ds = ds + whole([slope * outward[t] for slope in slopes(s_next)])
        found = on_arrays(cell.backward, (parts(ds, S), s, s_next, kept[t]))
        dx, dr, ds = (whole(part) for part in found)
        g_ih, g_hh = g_ih + dx.T @ x[t], g_hh + dr.T @ emit(s)
        gb_ih, gb_hh, g_x[t] = gb_ih + dx.sum(axis=0), gb_hh + dr.sum(axis=0), dx @ w_ih
        ds = ds + whole([slope * (dr @ w_hh) for slope in slopes(s)])
    return np.array(states), g_ih, g_hh, gb_ih, gb_hh, g_x, ds
