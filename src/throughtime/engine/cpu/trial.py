"""A small layer of a cell, run by the engine and by plain Python: whether compiled code does what the cell says.

T steps, B sequences, N units, I inputs: sizes that no block of units divides, one row at a time and several.
"""

from typing import Any

import numpy as np

from ...cells.base import spec
from ...cells.central_differences import drawn
from ...cells.on_arrays import emitted, on_arrays, sent_slopes, signal_slopes, staged
from . import run as cpu

T, N, I = 3, 5, 2
ERROR = 1e-8  # far above rounding, of some 50 operations on numbers near 1, and far below what a wrong term makes


def disagreement(cell: Any, batch: int, seed: int = 0) -> str:
    """ "" where both agree, otherwise which number differs and by how much, for a sentence."""
    record, rng = spec(cell), np.random.default_rng(seed)
    G, S, W, R = record.gates, record.states, len(record.blocks), record.parts
    shapes = (G * N, I), (W * N, N), (G * N,), (R * N,)
    matrices = tuple(rng.normal(size=shape) / np.sqrt(N) for shape in shapes)
    parameters: Any = (*matrices, *drawn(cell, record, N, rng).p)
    x, start, last = rng.normal(size=(T, batch, I)), rng.normal(size=(batch, S * N)), rng.normal(size=(batch, S * N))
    outward = rng.normal(size=(T, batch, N))
    states = np.empty((T + 1, batch, S * N))
    states[0] = start
    layer = cpu.unroll(cell, parameters, x, states, 0, None, False)
    back = cpu.backprop(layer, last, outward)
    assert back.parameters is not None
    of = ("W_ih", "W_hh", "b_ih", "b_hh", *record.parameters, "the input", "the first state")
    names = ("the states", *(f"the gradient of {name}" for name in of))
    compiled: Any = (states, *back.parameters, back.x, back.carry)
    with np.errstate(all="ignore"):
        plain = _Plain(cell, parameters).run(x, start, outward, last)
    for name, ours, theirs in zip(names, compiled, plain, strict=True):
        known = np.isfinite(theirs)
        scale = 1.0 + np.abs(theirs[known]).max(initial=0.0)
        error = np.abs(ours - theirs)[known].max(initial=0.0)
        if not error <= ERROR * scale or not (np.isfinite(ours) == known).all():
            return f"{name} differ by {error:.3g}" if name == "the states" else f"{name} differs by {error:.3g}"
    return ""


class _Plain:
    """The same as a loop over time in NumPy, from the cell's own functions."""

    def __init__(self, cell: Any, parameters: Any) -> None:
        self.cell, self.record, self.parameters = cell, spec(cell), parameters
        self.w_ih, w_hh, self.b_ih, b_hh, *p = parameters
        self.own = (tuple(p),) if p else ()
        self.blocks = [(*places, w_hh[b * N : (b + 1) * N]) for b, places in enumerate(self.record.blocks)]
        self.b_hh = [b_hh[k * N : (k + 1) * N] for k in range(self.record.parts)]
        self.grads = [np.zeros_like(value) for value in parameters]

    def run(self, x: Any, start: Any, outward: Any, last: Any) -> tuple:
        """States, the gradients of the parameters, of the input and of the first state."""
        states, kept, g_x, ds = [start], [], np.empty_like(x), last
        for t in range(T):
            new, saved = self.step(x[t], _parts(states[-1]))
            kept.append(saved)
            states.append(_whole(new, start[:, :N]))
        for t in range(T - 1, -1, -1):
            slopes = sent_slopes(self.cell, _parts(states[t + 1]))
            ds = ds + _whole([slope * outward[t] for slope in slopes], start[:, :N])
            g_x[t], ds = self.back(x[t], _parts(states[t]), _parts(states[t + 1]), kept[t], _parts(ds))
        return np.array(states), *self.grads, g_x, ds

    def signals(self, x: Any, s: Any) -> tuple[Any, Any]:
        """All that is sent in a step, by the state and then by the stage, and r."""
        sent, r = list(emitted(self.cell, s)), [np.broadcast_to(b, s[0].shape) for b in self.b_hh]
        for first in (True, False):
            for signal, part, w in self.blocks:
                if (signal < self.record.signals) == first:
                    r[part] = r[part] + sent[signal] @ w.T
            if first and self.record.stage:
                sent += staged(self.cell, x, tuple(r[: self.record.first]), s, *self.own)
        return sent, tuple(r)

    def step(self, given: Any, s: Any) -> tuple:
        """The next states, and what is saved."""
        x = _parts(given @ self.w_ih.T + self.b_ih)
        return on_arrays(self.cell.forward, (x, self.signals(x, s)[1], s, *self.own))

    def back(self, given: Any, s: Any, s_next: Any, saved: Any, ds: Any) -> tuple[Any, Any]:
        """The gradients of what is given and of the states before; those of the parameters are added up."""
        like, record = s[0], self.record
        found = on_arrays(self.cell.backward, (ds, s, s_next, saved, *self.own))
        dx, dr, ds, *dp = ([np.broadcast_to(value, like.shape) for value in part] for part in found)
        sent, _ = self.signals(_parts(given @ self.w_ih.T + self.b_ih), s)
        to: list[Any] = [np.zeros_like(like) for _ in range(record.signals + record.staged)]
        for first in (False, True):
            for signal, part, w in self.blocks:
                if (signal < record.signals) == first:
                    to[signal] = to[signal] + dr[part] @ w
            if not first and record.stage:
                more = on_arrays(self.cell.stage_backward, (tuple(to[record.signals :]), s, saved, *self.own))
                for own, part in zip((dx, dr, ds, *dp), more, strict=True):
                    own[: len(part)] = [a + b for a, b in zip(own, part, strict=False)]
        for slopes, d in zip(signal_slopes(self.cell, s), to, strict=False):
            ds = [own + slope * d for own, slope in zip(ds, slopes, strict=True)]
        flat_x = _whole(dx, like)
        for own, more in zip(self.grads, self._gradients(flat_x, given, dr, sent, dp), strict=True):
            own += more
        return flat_x @ self.w_ih, _whole(ds, like)

    def _gradients(self, dx: Any, given: Any, dr: Any, sent: Any, dp: Any) -> list[Any]:
        like = sent[0]
        by_block = [dr[part].T @ sent[signal] for signal, part, _ in self.blocks]
        w_hh = np.concatenate(by_block) if by_block else np.zeros((0, N))
        sums = [value.sum(axis=0) for value in (dx, _whole(dr, like))]
        return [dx.T @ given, w_hh, *sums, *(value.sum(axis=0) for part in dp for value in part)]


def _parts(rows: Any) -> Any:
    """The blocks of N numbers that lie side by side."""
    return tuple(rows[:, a : a + N] for a in range(0, rows.shape[1], N))


def _whole(values: Any, like: Any) -> Any:
    """The way back from `_parts`."""
    return np.concatenate([np.broadcast_to(v, like.shape) for v in values] or [like[:, :0]], axis=1)
