"""One step back through a layer for the rows of many times at once, from its local derivatives over a whole run.

    ds_t = D_s ds_{t−1} + D_r dr + D_x dx,   dr = W_hh de_{t−1},   dx = W_ih dinput   (unit by unit but for W)

They come from the cell's own `backward`, fed with unit cotangents.

Dimensions: M rows = times × sequences, N units, G gates, I inputs; a cell's state has as many parts as it says.
"""

from typing import Any

import numpy as np

from ...cells.base import spec
from ...engine import memory
from ...results import Array
from .normalised_back import NormalisedBack

Terms = list[tuple[int, int, Array | float]]  # (from state, to gate or state, factor (T·B, N)), those that are not zero


class LayerBack:
    """Layer k of a run, which has to go one way only; `names` are the parameters whose gradients are wanted."""

    def __init__(self, run: Any, k: int, names: tuple[str, ...]) -> None:
        local, weights, T, B = run.derivatives(k), run.made_with(), run.steps, run.states.shape[1]
        record = spec(local.cell)
        self.columns, self.units = run.columns(k), run.network.hidden_sizes[k]
        self.gates, self.parts, self.shared = record.gates, record.states, record.shared
        self.w_ih, self.w_hh = weights[f"weight_ih_l{k}"], weights[f"weight_hh_l{k}"]
        self.first = k == 0
        lengths = np.full(B, T) if run.lengths is None else run.lengths
        alive = np.repeat(np.arange(T), B) < np.tile(lengths, T)
        self.to_x, self.to_r, self.to_s = (
            self._terms(side, alive) for side in (local.by_input, local.by_recurrent, local.by_state)
        )
        self.slope, self.slope_next = (
            [self._flat(slope) for slope in side] for side in (local.sent_before, local.sent_after)
        )
        # The state, if any, that is sent as it is and on which the unit itself does not look back: what comes back
        # through W_hh is then all that comes back to it.
        sent_as_it_is = not record.emits and all(j > 0 for _, j, _ in self.to_s)
        self.sends = 0 if sent_as_it_is else None
        self._rooms: dict[str, Array] = {}
        sent = run.sent(k)[:-1].reshape(T * B, self.units)
        x = run.given(k).reshape(T * B, -1)
        self.norm = NormalisedBack(run, k, names) if run.norms else None
        kinds = {"weight_ih": ("x", x), "weight_hh": ("r", sent), "bias_ih": ("x", None), "bias_hh": ("r", None)}
        self.wanted = {f"{kind}_l{k}": how for kind, how in kinds.items() if f"{kind}_l{k}" in names}

    def _terms(self, by_state: tuple[tuple, ...], alive: Array) -> Terms:
        """Those of (from state i, to gate or state j, factor) that are not zero throughout."""
        living = (
            (i, j, _living(self._flat(factor), alive)) for i, row in enumerate(by_state) for j, factor in enumerate(row)
        )
        return [(i, j, factor) for i, j, factor in living if factor is not None]

    def _flat(self, factor: Any) -> Any:
        """(T, B, N) as rows (T·B, N); a number stays one."""
        return factor.reshape(-1, self.units) if np.ndim(factor) else factor

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
        if self.first and not (self.norm and any(self.norm.wanted)):
            return None, found
        below = _product(dx.reshape(M, -1), self.w_ih)
        if self.norm is not None:
            below, of_norm = self.norm.back(below, scale)
            found |= of_norm
        return None if self.first else below, found

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
