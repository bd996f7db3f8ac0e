"""The local derivatives of one layer over a whole run, and one step back through it for many times at once.

    ds_t = D_s ds_{t−1} + D_r dr + D_x dx,   dr = W_hh de_{t−1},   dx = W_ih dinput   (unit by unit but for W)

They come from the cell's own `backward`, fed with unit cotangents.

Dimensions: M rows = times × sequences, N units, G gates, I inputs; a cell's state has as many parts as it says.
"""

from typing import Any

import numpy as np

from ..cells.base import spec, unit_derivatives
from ..engine import cpu, memory
from .arrays import Array

Terms = list[tuple[int, int, Array | float]]  # (from state, to gate or state, factor (T·B, N)), those that are not zero


class Local:
    """Layer k of a run, which has to go one way only; `names` are the parameters whose gradients are wanted."""

    def __init__(self, run: Any, k: int, names: tuple[str, ...]) -> None:
        (layer,) = run._layers[k]
        record, T, B = spec(layer.cell), run.steps, run.states.shape[1]
        self.columns, self.units = run._columns(k, 0), layer.units
        self.gates, self.parts = record.gates, record.states
        self.w_ih, self.w_hh = layer.parameters[:2]
        self.first = k == 0
        saved = tuple(part.reshape(T * B, self.units) for part in layer.saved_by_unit(0, T))
        own = run.states[:, :, self.columns].reshape(T + 1, B, self.parts, self.units).transpose(2, 0, 1, 3)
        s, s_next = (tuple(part.reshape(T * B, self.units) for part in side) for side in (own[:, :-1], own[:, 1:]))
        alive = np.repeat(np.arange(T), B) < np.tile(layer.lengths, T)
        self.to_x: Terms = []
        self.to_r: Terms = []
        self.to_s: Terms = []
        with np.errstate(all="ignore"):  # padding saved nothing: whatever its memory holds
            for i, found in enumerate(unit_derivatives(layer.cell, s, s_next, saved)):
                for terms, factors in zip((self.to_x, self.to_r, self.to_s), found, strict=True):
                    living = enumerate(_living(factor, alive) for factor in factors)
                    terms += [(i, j, factor) for j, factor in living if factor is not None]
            self.shared = record.shared
            self.slope, self.slope_next = (cpu.sent_slopes(layer, side) for side in (s, s_next))
        sent = layer.sent[:-1].reshape(T * B, self.units)
        x = (run.input if self.first else run._layers[k - 1][0].sent[1:]).reshape(T * B, -1)
        kinds = {"weight_ih": ("x", x), "weight_hh": ("r", sent), "bias_ih": ("x", None), "bias_hh": ("r", None)}
        self.wanted = {f"{kind}_l{k}": how for kind, how in kinds.items() if f"{kind}_l{k}" in names}

    def sent_back(self, g: Array) -> Array:
        """Gradients g (T·B, N) of what is sent after every step, as cotangents (T·B, S) of the states then."""
        return np.concatenate([slope * g for slope in self.slope_next], axis=1)

    def back(self, ds: Array, above: Array | None, scale: Array | None) -> tuple[Array, Array | None, dict[str, Array]]:
        """Cotangents ds (M, S) of the states and `above` (M, N) of what is sent to the next layer, one step back.

        Returns those of the states before, of the input (None in the first layer), and the parameters' gradients, in
        which row m counts scale[m] times.
        """
        M = len(ds)
        states = ds.reshape(M, self.parts, self.units)
        if above is not None:
            states = states + np.stack([_part(slope, M) * above for slope in self.slope_next], axis=1)
        dr = self._through(self.to_r, states, self.gates)
        dx = dr if self.shared else self._through(self.to_x, states, self.gates)
        before = self._through(self.to_s, states, self.parts)
        recurrent = _product(dr.reshape(M, -1), self.w_hh)
        for j, slope in enumerate(self.slope):
            if isinstance(slope, np.ndarray) or slope:
                before[:, j] += _part(slope, M) * recurrent
        found = {}
        for name, (side, source) in self.wanted.items():
            d = (dx if side == "x" else dr).reshape(M, -1)
            d = d if scale is None else d * scale
            found[name] = d.sum(axis=0) if source is None else _product(d.T, source[:M])
        return before.reshape(M, -1), None if self.first else _product(dx.reshape(M, -1), self.w_ih), found

    def _through(self, terms: Terms, states: Array, count: int) -> Array:
        M = len(states)
        out = memory.empty((M, count, self.units), states.dtype)
        for target in range(count):
            mine = [(i, factor) for i, j, factor in terms if j == target]
            if not mine:
                out[:, target] = 0
            for number, (i, factor) in enumerate(mine):
                if number:
                    out[:, target] += _part(factor, M) * states[:, i]
                else:
                    np.multiply(_part(factor, M), states[:, i], out=out[:, target])
        return out


def _product(a: Array, b: Array) -> Array:
    """a @ b, in memory used before: fresh memory took as long as the product."""
    return np.matmul(a, b, out=memory.empty((a.shape[0], b.shape[1]), a.dtype))


def _part(factor: Array | float, rows: int) -> Array | float:
    return factor[:rows] if isinstance(factor, np.ndarray) else factor


def _living(factor: Any, alive: Array) -> Array | float | None:
    """A factor without what padding brought in; None if it is zero throughout."""
    if np.ndim(factor) == 0:
        return float(factor) or None
    found = factor if alive.all() else np.where(alive[:, None], factor, factor.dtype.type(0))
    return found if found.any() else None
