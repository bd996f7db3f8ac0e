"""Cells that are not plain (cells/wiring.py), and what they compute step by step in NumPy, with complex numbers.

Derivatives come from a perturbation of 1e-30 i: exact to rounding, and without the cells' own `backward`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from networks import on_complex

import throughtime as tt
from throughtime.cells import spec
from throughtime.scalar import sigmoid, sigmoid_slope, tanh, tanh_slope


@tt.cell(gates=("r", "z", "n"), sends={"h": ("r", "z")}, stage={"reset": ("n",)})
class Cho(NamedTuple):
    """The GRU with the reset gate before the product."""

    def stage(cell, x, r, s):
        return (sigmoid(x[0] + r[0]) * s[0],)

    def forward(cell, x, r, s):
        reset, update, new = x[0] + r[0], x[1] + r[1], x[2] + r[2]
        z = sigmoid(update)
        return ((1.0 - z) * s[0] + z * tanh(new),), (reset, update, new)

    def backward(cell, ds, s, s_next, saved):
        z = sigmoid(saved[1])
        dz, dn = ds[0] * (tanh(saved[2]) - s[0]) * sigmoid_slope(saved[1]), ds[0] * z * tanh_slope(saved[2])
        return (0.0, dz, dn), (0.0, dz, dn), (ds[0] * (1.0 - z),)

    def stage_backward(cell, da, s, saved):
        d = da[0] * s[0] * sigmoid_slope(saved[0])
        return (d, 0.0, 0.0), (d, 0.0), (da[0] * sigmoid(saved[0]),)


@tt.cell(gates=2, states=2, parameters=("peep", "tau"))
class Peephole(NamedTuple):
    """A gate looks at the unit's memory through a weight of its own; the memory has a rate of its own."""

    gain: float = 1.0

    def forward(cell, x, r, s, p):
        gate, u = x[0] + r[0] + p[0] * s[1], x[1] + r[1]
        c = s[1] + p[1] * (tanh(u) - s[1])
        return (cell.gain * sigmoid(gate) * c, c), (gate, u)

    def backward(cell, ds, s, s_next, saved, p):
        gate, u = saved
        dgate = ds[0] * cell.gain * s_next[1] * sigmoid_slope(gate)
        dc = ds[1] + ds[0] * cell.gain * sigmoid(gate)
        d = (dgate, dc * p[1] * tanh_slope(u))
        return d, d, (0.0, dc * (1.0 - p[1]) + dgate * p[0]), (dgate * s[1], dc * (tanh(u) - s[1]))


@tt.cell(gates=1, states=2, sends={"y": ("u",), "z": ("u",)})
class Oscillators(NamedTuple):
    """Coupled oscillators: position and velocity are both sent, into one part."""

    stiffness: float = 1.0
    friction: float = 1.0

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        z = s[1] + 0.5 * (tanh(u) - cell.stiffness * s[0] - cell.friction * s[1])
        return (s[0] + 0.5 * z, z), (u,)

    def backward(cell, ds, s, s_next, saved):
        dz = ds[1] + 0.5 * ds[0]
        d = (dz * 0.5 * tanh_slope(saved[0]),)
        return d, d, (ds[0] - 0.5 * cell.stiffness * dz, dz - 0.5 * cell.friction * dz)


@tt.cell(gates=2, sends={}, parameters=("w",))
class Alone(NamedTuple):
    """No unit hears of another: a gate from the input, and a weight to the unit itself."""

    def forward(cell, x, r, s, p):
        u = x[1] + p[0] * s[0]
        z = sigmoid(x[0])
        return ((1.0 - z) * s[0] + z * tanh(u),), (x[0], u)

    def backward(cell, ds, s, s_next, saved, p):
        z = sigmoid(saved[0])
        du = ds[0] * z * tanh_slope(saved[1])
        dx = (ds[0] * (tanh(saved[1]) - s[0]) * sigmoid_slope(saved[0]), du)
        return dx, (), (ds[0] * (1.0 - z) + du * p[0],), (du * s[0],)


@tt.cell(gates=("z",), sends={"h": ("u",)}, stage={"z": ("u",)})
class Minimal(NamedTuple):
    """The minimal RNN: the gate hears of the state and of the input's embedding, which has its own product."""

    def stage(cell, x, r, s):
        return (tanh(x[0]),)

    def forward(cell, x, r, s):
        u, z = sigmoid(r[0] + r[1]), tanh(x[0])
        return (u * s[0] + (1.0 - u) * z,), (r[0] + r[1], x[0])

    def backward(cell, ds, s, s_next, saved):
        u = sigmoid(saved[0])
        du = ds[0] * (s[0] - tanh(saved[1])) * sigmoid_slope(saved[0])
        return (ds[0] * (1.0 - u) * tanh_slope(saved[1]),), (du, du), (ds[0] * u,)

    def stage_backward(cell, da, s, saved):
        return (da[0] * tanh_slope(saved[1]),), (0.0,), (0.0,)


@tt.cell(gates=1, sends={}, stage={"m": ("u",)})
class Late(NamedTuple):
    """Only the stage sends."""

    def stage(cell, x, r, s):
        return (tanh(x[0] + s[0]),)

    def forward(cell, x, r, s):
        return (0.5 * s[0] + tanh(x[0] + r[0]),), (x[0], r[0])

    def backward(cell, ds, s, s_next, saved):
        d = (ds[0] * tanh_slope(saved[0] + saved[1]),)
        return d, d, (0.5 * ds[0],)

    def stage_backward(cell, da, s, saved):
        d = (da[0] * tanh_slope(saved[0] + s[0]),)
        return d, (), d


@tt.cell(
    gates=("a", "b"), states=2, parameters=("tau", "v"),
    sends={"p": ("a", "c"), "q": ("b", "c")}, stage={"m": ("d",), "n": ("e", "d")},
)  # fmt: skip
class Everything(NamedTuple):
    """Two signals that are no states and feed some of three parts, a stage with two more, parameters in both."""

    gain: float = 1.0
    leak: float = 0.5

    def emit(cell, s):
        return (tanh(s[0]) * cell.gain, s[1] + 0.5 * s[0])

    def emit_slope(cell, s):
        return (tanh_slope(s[0]) * cell.gain, 0), (0.5, 1)  # whole numbers among others

    def stage(cell, x, r, s, p):
        return (tanh(x[0] + r[0] + p[0] * s[1]), r[1] * r[2] * p[1])

    def forward(cell, x, r, s, p):
        u, w = r[3] + r[4] * p[0] + x[1], x[0] * r[1] + r[0]
        first = s[0] + cell.leak * (tanh(u) - s[0])
        return (first, p[1] * tanh(w + s[0])), (u, w, r[0], r[1], r[2], x[0], r[4])

    def backward(cell, ds, s, s_next, saved, p):
        u, w, _, r1, _, x0, r4 = saved
        du = ds[0] * cell.leak * tanh_slope(u)
        dw = ds[1] * p[1] * tanh_slope(w + s[0])
        dx, dr = (dw * r1, du), (dw, dw * x0, 0.0, du, du * p[0])
        return dx, dr, (ds[0] * (1.0 - cell.leak) + dw, 0.0), (du * r4, ds[1] * tanh(w + s[0]))

    def stage_backward(cell, da, s, saved, p):
        _, _, r0, r1, r2, x0, _ = saved
        d = da[0] * tanh_slope(x0 + r0 + p[0] * s[1])
        dr = (d, da[1] * r2 * p[1], da[1] * r1 * p[1])
        return (d, 0), dr, (0, d * p[0]), (d * s[1], da[1] * r1 * r2)


def spread(low, high):
    """A field with a value for each unit."""
    return lambda units: np.linspace(low, high, units)


# Name -> the cell for so many units.
WIRED = {
    "stage": lambda units: Cho(),
    "parameters": lambda units: Peephole(0.8),
    "parameters and fields": lambda units: Peephole(np.linspace(0.5, 1.5, units)),
    "two signals": lambda units: Oscillators(np.linspace(0.5, 1.5, units), 0.7),
    "no product": lambda units: Alone(),
    "one part twice": lambda units: Minimal(),
    "only the stage": lambda units: Late(),
    "everything": lambda units: Everything(np.linspace(0.5, 1.5, units), 0.3),
}
TINY = 1e-30


def run(cell, parameters, x, state, lengths, reverse=False):
    """(states, outputs) of one network: (T+1, B, S*N) and (T, B, N), over x (T, B, I) from `state` (B, S*N)."""
    w_ih, w_hh, b_ih, b_hh, *p = parameters
    record, n = spec(cell), w_hh.shape[1]
    names = ("forward", "stage", "emit")
    functions = {name: on_complex(getattr(type(cell), name)) for name in names if hasattr(cell, name)}
    numbers = (tuple(p),) if p else ()

    def split(a, count):
        return tuple(a[:, k * n : (k + 1) * n] for k in range(count))

    def emit(s):
        if not record.emits:
            return s[: record.signals]
        found = functions["emit"](cell, s)
        return found if record.signals > 1 else (found,)

    def fed(signals, stage):
        r = [b_hh[j * n : (j + 1) * n] for j in range(record.parts)]
        for k, (signal, part) in enumerate(record.blocks):
            if (signal >= record.signals) == stage:
                r[part] = r[part] + signals[signal - record.signals * stage] @ w_hh[k * n : (k + 1) * n].T
        own = r[record.first :] if stage else r[: record.first]
        return tuple(np.broadcast_to(part, (len(x[0]), n)) for part in own)

    T = len(x)
    states, outputs = [None] * (T + 1), [None] * T
    states[T if reverse else 0] = state
    for t in range(T - 1, -1, -1) if reverse else range(T):
        before, after = (t + 1, t) if reverse else (t, t + 1)
        s, inputs = split(states[before], record.states), split(x[t] @ w_ih.T + b_ih, record.gates)
        r = fed(emit(s), False) if record.first else ()
        if record.staged:
            r = (*r, *fed(functions["stage"](cell, inputs, r, s, *numbers), True))
        s_next, _ = functions["forward"](cell, inputs, r, s, *numbers)
        alive = (t < lengths)[:, None]
        states[after] = np.where(alive, np.concatenate(s_next, 1), states[before])
        outputs[t] = np.where(alive, emit(split(states[after], record.states))[0], 0)
    return np.array(states), np.array(outputs)


def moved(function, arrays, directions):
    """The imaginary parts, divided by TINY, of what `function` gives for arrays perturbed along these directions."""
    found = function(*(a.astype(complex) + 1j * TINY * d for a, d in zip(arrays, directions, strict=True)))
    return tuple(np.imag(one) / TINY for one in found)


def gradients(function, arrays):
    """The gradient of a number by each of the arrays, number after number."""
    found = []
    for k, array in enumerate(arrays):
        own = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            directions = [np.zeros(a.shape) for a in arrays]
            directions[k][place] = 1
            own[place] = moved(lambda *given: (function(*given),), arrays, directions)[0]
        found.append(own)
    return found
