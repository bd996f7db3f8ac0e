"""The local derivatives of one layer over a whole run, and one step back through it for many times at once.

    ds_t = D_s ds_{t−1} + D_r dr + D_x dx,   dr = W_hh de_{t−1},   dx = W_ih dinput   (unit by unit but for W)

They come from the cell's own `backward`, fed with unit cotangents.

Dimensions: M rows = times × sequences, N units, G gates, I inputs; a cell's state has as many parts as it says.
"""

from typing import Any

import numpy as np

from ...cells.base import spec, unit_derivatives
from ...engine import memory
from ...engine.cpu import run as cpu
from ...results import Array

Terms = list[tuple[int, int, Array | float]]  # (from state, to gate or state, factor (T·B, N)), those that are not zero


class Local:
    """Layer k of a run, which has to go one way only; `names` are the parameters whose gradients are wanted."""

    def __init__(self, run: Any, k: int, names: tuple[str, ...]) -> None:
        (layer,) = run._layers[k]
        record, T, B = spec(layer.cell), run.steps, run.states.shape[1]
        self.columns, self.units = run.columns(k), layer.units
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
        # The state, if any, that is sent as it is and on which the unit itself does not look back: what comes back
        # through W_hh is then all that comes back to it.
        sent_as_it_is = not record.emits and all(j > 0 for _, j, _ in self.to_s)
        self.sends = 0 if sent_as_it_is else None
        self._rooms: dict[str, Array] = {}
        sent = layer.sent[:-1].reshape(T * B, self.units)
        x = (run.input if self.first else run._layers[k - 1][0].sent[1:]).reshape(T * B, -1)
        kinds = {"weight_ih": ("x", x), "weight_hh": ("r", sent), "bias_ih": ("x", None), "bias_hh": ("r", None)}
        self.wanted = {f"{kind}_l{k}": how for kind, how in kinds.items() if f"{kind}_l{k}" in names}

    def sent_back(self, g: Array) -> Array:
        """Gradients g (T·B, N) of what is sent after every step, as cotangents (T·B, S) of the states then."""
        return np.concatenate([slope * g for slope in self.slope_next], axis=1)

    def back(
        self, ds: Array, above: Array | None, scale: Array | None, before: Array
    ) -> tuple[Array | None, dict[str, Array]]:
        """Cotangents ds (M, S) of the states and `above` (M, N) of what is sent to the next layer, one step back.

        Those of the states before go to `before` (M, S). Returns those of the input (None in the first layer), and the
        parameters' gradients, in which row m counts scale[m] times. M does not grow from call to call.
        """
        M = len(ds)
        states, new = (array.reshape(M, self.parts, self.units) for array in (ds, before))
        if above is not None:
            states = states + np.stack([_part(slope, M) * above for slope in self.slope_next], axis=1)
        dr = self._through(self.to_r, states, self._room("r", M))
        dx = dr if self.shared else self._through(self.to_x, states, self._room("x", M))
        self._through(self.to_s, states, new, keep=self.sends)
        flat_r = dr.reshape(M, -1)
        if self.sends is not None:
            np.matmul(flat_r, self.w_hh, out=new[:, self.sends])
        else:
            recurrent = _product(flat_r, self.w_hh)
            for j, slope in enumerate(self.slope):
                if isinstance(slope, np.ndarray) or slope:
                    new[:, j] += _part(slope, M) * recurrent
        found = {}
        for name, (side, source) in self.wanted.items():
            d = (dx if side == "x" else dr).reshape(M, -1)
            d = d if scale is None else d * scale
            found[name] = d.sum(axis=0) if source is None else _product(d.T, source[:M])
        return None if self.first else _product(dx.reshape(M, -1), self.w_ih), found

    def _room(self, name: str, rows: int) -> Array:
        """(rows, G, N), the same memory in every step: on lease anew it would take 4 microseconds each time."""
        if name not in self._rooms:
            self._rooms[name] = memory.empty((rows, self.gates, self.units), self.w_hh.dtype)
        return self._rooms[name][:rows]

    def _through(self, terms: Terms, states: Array, out: Array, keep: int | None = None) -> Array:
        """out[:, j] = sum of factor * states[:, i] over the terms (i, j, factor), but for out[:, keep]."""
        M = len(states)
        for target in range(out.shape[1]):
            mine = [(i, factor) for i, j, factor in terms if j == target]
            if not mine and target != keep:
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
