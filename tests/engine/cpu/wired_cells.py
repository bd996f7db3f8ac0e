"""Cells that are not plain, written with NumPy's functions, so that an oracle can take complex numbers through them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import throughtime as tt


@tt.cell(gates=("r", "z", "n"), sends={"h": ("r", "z")}, stage={"reset": ("n",)})
class StagedGRU(NamedTuple):
    """Cho et al. 2014: the reset gate acts before the product."""

    def stage(cell, x, r, s):
        return (s[0] / (1.0 + np.exp(-(x[0] + r[0]))),)

    def forward(cell, x, r, s):
        z, n = 1.0 / (1.0 + np.exp(-(x[1] + r[1]))), np.tanh(x[2] + r[2])
        return (z * s[0] + (1.0 - z) * n,), (1.0 / (1.0 + np.exp(-(x[0] + r[0]))), z, n)

    def backward(cell, ds, s, s_next, saved):
        _, z, n = saved
        dz, dn = ds[0] * (s[0] - n) * z * (1.0 - z), ds[0] * (1.0 - z) * (1.0 - n * n)
        return (0.0, dz, dn), (0.0, dz, dn), (z * ds[0],)

    def stage_backward(cell, da, s, saved):
        reset = saved[0]
        dr = da[0] * s[0] * reset * (1.0 - reset)
        return (dr, 0.0, 0.0), (dr, 0.0), (da[0] * reset,)


@tt.cell(gates=2, states=2, parameters=("peep", "tau"))
class Peeping(NamedTuple):
    """A leaky memory c that a gate looks at with a weight of its own; plain wiring, two parameters of each unit."""

    gain: float = 0.7

    def forward(cell, x, r, s, p):
        i = 1.0 / (1.0 + np.exp(-(x[0] + r[0] + p[0] * s[1])))
        g = np.tanh(x[1] + r[1])
        c = s[1] + p[1] * (i * g - cell.gain * s[1])
        return (np.tanh(c), c), (i, g)

    def backward(cell, ds, s, s_next, saved, p):
        i, g = saved
        dc = ds[1] + ds[0] * (1.0 - s_next[0] * s_next[0])
        di = dc * p[1] * g * i * (1.0 - i)
        du = (di, dc * p[1] * i * (1.0 - g * g))
        dp = (di * s[1], dc * (i * g - cell.gain * s[1]))
        return du, du, (0.0, dc * (1.0 - p[1] * cell.gain) + di * p[0]), dp

    def initial(cell, units, rng):
        return rng.normal(size=units), rng.uniform(0.2, 0.9, units)


@tt.cell(gates=1, states=2, sends={"y": (0,), "z": (0,)})
class Oscillating(NamedTuple):
    """coRNN (Rusch & Mishra 2021): a part of r is the sum of the products of two signals; its fields may be arrays."""

    step: float = 0.3
    stiff: float = 1.1
    drag: float = 0.6

    def forward(cell, x, r, s):
        u = np.tanh(x[0] + r[0])
        z = s[1] + cell.step * (u - cell.stiff * s[0] - cell.drag * s[1])
        return (s[0] + cell.step * z, z), (u,)

    def backward(cell, ds, s, s_next, saved):
        dz = ds[1] + cell.step * ds[0]
        du = (cell.step * dz * (1.0 - saved[0] * saved[0]),)
        return du, du, (ds[0] - cell.step * cell.stiff * dz, dz * (1.0 - cell.step * cell.drag))


@tt.cell(gates=2, sends={})
class Alone(NamedTuple):
    """minGRU (Feng et al. 2024): nothing is sent to other units."""

    def forward(cell, x, r, s):
        z = 1.0 / (1.0 + np.exp(-x[0]))
        return (s[0] + z * (x[1] - s[0]),), (z, x[1])

    def backward(cell, ds, s, s_next, saved):
        z, new = saved
        return (ds[0] * (new - s[0]) * z * (1.0 - z), ds[0] * z), (), (ds[0] * (1.0 - z),)


@tt.cell(gates=("z",), sends={"h": ("u",)}, stage={"z": ("u",)})
class Minimal(NamedTuple):
    """The minimal RNN (Chen 2017): u = sigma(U_h h + U_z z), z = tanh(x), two products of which one needs no state."""

    def stage(cell, x, r, s):
        return (np.tanh(x[0]),)

    def forward(cell, x, r, s):
        z, u = np.tanh(x[0]), 1.0 / (1.0 + np.exp(-(r[0] + r[1])))
        return (u * s[0] + (1.0 - u) * z,), (z, u)

    def backward(cell, ds, s, s_next, saved):
        z, u = saved
        du = ds[0] * (s[0] - z) * u * (1.0 - u)
        return (ds[0] * (1.0 - u) * (1.0 - z * z),), (du, du), (u * ds[0],)

    def stage_backward(cell, da, s, saved):
        return (da[0] * (1.0 - saved[0] * saved[0]),), (0.0,), (0.0,)


@tt.cell(
    gates=3, states=2, sends={"a": ("p", "q"), "b": ("q",)}, stage={"c": (0, 1), "d": (1, 2)}, parameters=("k", "l")
)
class Everything(NamedTuple):
    """Two signals with their own `emit`, one of which does not feed a part; two of the stage, parameters, a field."""

    gain: float = 0.8

    def emit(cell, s):
        return np.sin(s[0]) + 0.5 * s[1], cell.gain * np.cos(s[1])

    def emit_slope(cell, s):
        return (np.cos(s[0]), 0.5), (0.0, -cell.gain * np.sin(s[1]))

    def stage(cell, x, r, s, p):
        return np.tanh(x[0] + p[0] * r[1]), s[1] * r[0] * cell.gain

    def forward(cell, x, r, s, p):
        u = np.tanh(x[1] + r[0] - r[1] + r[2] + p[1] * r[3])
        v = np.tanh(x[2] + r[4])
        c = np.tanh(x[0] + p[0] * r[1])
        return (u + 0.3 * s[1], cell.gain * v - 0.2 * s[0]), (u, v, c, r[0], r[1], r[3])

    def backward(cell, ds, s, s_next, saved, p):
        u, v = saved[0], saved[1]
        du, dv = ds[0] * (1.0 - u * u), ds[1] * cell.gain * (1.0 - v * v)
        dr = (du, -du, du, p[1] * du, dv)
        return (0.0, du, dv), dr, (-0.2 * ds[1], 0.3 * ds[0]), (0.0, du * saved[5])

    def stage_backward(cell, da, s, saved, p):
        c, r0, r1 = saved[2], saved[3], saved[4]
        dc, dd = da[0] * (1.0 - c * c), da[1] * cell.gain
        return (dc, 0.0, 0.0), (dd * s[1], dc * p[0]), (0.0, dd * r0), (dc * r1, 0.0)


@tt.cell(gates=1, states=2, sends={}, stage={"m": ("v",)}, parameters=("decay",))
class Mixing(NamedTuple):
    """The state is sent to nobody by itself; a stage mixes the units. It has its own `emit`, for the output alone."""

    def emit(cell, s):
        return s[0] * s[1]

    def emit_slope(cell, s):
        return s[1], s[0]

    def stage(cell, x, r, s, p):
        return (np.sin(s[1] + x[0]),)

    def forward(cell, x, r, s, p):
        v = np.tanh(r[0])
        return (p[0] * s[0] + v, 0.5 * s[1] + x[0]), (v, x[0])

    def backward(cell, ds, s, s_next, saved, p):
        v = saved[0]
        return (ds[1],), (ds[0] * (1.0 - v * v),), (p[0] * ds[0], 0.5 * ds[1]), (ds[0] * s[0],)

    def stage_backward(cell, da, s, saved, p):
        d = da[0] * np.cos(s[1] + saved[1])
        return (d,), (), (0.0, d), (0.0,)


CELLS = (StagedGRU, Peeping, Oscillating, Alone, Minimal, Everything, Mixing)
