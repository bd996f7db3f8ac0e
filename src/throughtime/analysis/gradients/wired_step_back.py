"""One step back through a layer whose units send several signals, none, or some in a stage, or have parameters.

    ds_t = D_s ds_{t−1} + D_r dr + D_x dx + D_p dp,   da = A_s ds_{t−1} + A_r dr + A_x dx + A_p dp   (unit by unit)
    dr_j = Σ W_jk de_k over the signals of the state that feed part j,   Σ W_jk da_k over those of the stage

`LayerBack`, for all cells: what it does with one product for each lag this does signal by signal.

Dimensions: M rows = times × sequences, N units, R parts of r, I inputs.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...cells.base import spec
from ...cells.on_arrays import emitted, staged
from ...results import Array
from ..jacobians.wires import Wires
from .normalised_back import NormalisedBack

Side = list[list[Any]]  # [from state or signal][to gate, part, state or parameter]: (T·B, N), or a number


class WiredBack:
    """Layer k of a run, which has to go one way only; `names` are the parameters whose gradients are wanted."""

    def __init__(self, run: Any, k: int, names: tuple[str, ...]) -> None:
        self.local, weights = run.derivatives(k), run.made_with()
        self.record, self.columns = spec(self.local.cell), run.columns(k)
        self.end, self.first, self.units = f"_l{k}", k == 0, run.network.hidden_sizes[k]
        self.weights = {name: weights[name] for name in weights if name.endswith(self.end)}
        self.w_ih = self.weights["weight_ih" + self.end]
        self.wires = Wires(self.record, self.weights.get("weight_hh" + self.end), self.units)
        self.wanted = [name for name in self.weights if name in names]
        self.given = run.given(k).reshape(-1, self.w_ih.shape[1])
        self.norm = NormalisedBack(run, k, names) if run.norms else None
        lengths = np.full(run.states.shape[1], run.steps) if run.lengths is None else run.lengths
        self.alive = (np.arange(run.steps)[:, None] < lengths).reshape(-1, 1)
        local = self.local
        sides = local.by_input, local.by_recurrent, local.by_state, local.by_parameter
        of_stage = local.stage_by_input, local.stage_by_recurrent, local.stage_by_state, local.stage_by_parameter
        self.sides, self.of_stage = ([self._rows(side) for side in own] for own in (sides, of_stage))
        self.before, (self.after,) = self._rows(local.signals_before), self._rows((local.sent_after,))
        with np.errstate(all="ignore"):  # padding holds whatever it holds
            self.sent = self._signals() if "weight_hh" + self.end in self.wanted else []

    def _rows(self, side: Iterable[Iterable[Any]]) -> Side:
        """(T, B, N) as rows, 0 in the padding; a number stays one."""
        return [[self._flat(factor) for factor in row] for row in side]

    def _flat(self, factor: Any) -> Any:
        if not np.ndim(factor):
            return factor
        flat = factor.reshape(-1, self.units)
        return flat if self.alive.all() else np.where(self.alive, flat, flat.dtype.type(0))

    def _signals(self) -> list[Array]:
        """What was sent in each step, by the state and then by the stage, (T·B, N) each."""
        local, record = self.local, self.record
        sent = list(emitted(local.cell, local.before))
        if record.stage:
            shape = (*local.before[0].shape[:2], -1)
            x = self.given @ self.w_ih.T + self.weights.get("bias_ih" + self.end, 0)
            x = x.reshape(shape).astype(sent[0].dtype, copy=False)
            bias = self.weights.get("bias_hh" + self.end, np.zeros(record.parts * self.units, x.dtype))
            r = [np.broadcast_to(part, sent[0].shape) for part in bias.reshape(record.parts, self.units)]
            self.wires.ahead(sent, r)
            gates = tuple(x[..., g * self.units : (g + 1) * self.units] for g in range(record.gates))
            sent += staged(local.cell, gates, tuple(r[: record.first]), local.before, local.parameters)
        return [self._flat(np.broadcast_to(value, local.before[0].shape)) for value in sent]

    def sent_back(self, g: Array) -> Array:
        """Gradients g (T·B, N) of what is sent after every step, as cotangents (T·B, S) of the states then."""
        return np.concatenate([slope * g for slope in self.after], axis=1)

    def back(
        self, ds: Array, above: Array | None, scale: Array | None, before: Array
    ) -> tuple[Array | None, dict[str, Array]]:
        """Cotangents ds (M, S) of the states and `above` (M, N) of what is sent to the next layer, one step back: as
        `LayerBack.back`."""
        M, N = len(ds), self.units
        states = [ds[:, j * N : (j + 1) * N] for j in range(self.record.states)]
        if above is not None:
            states = [own + _of(slope, M) * above for own, slope in zip(states, self.after, strict=True)]
        x, r, s, p = (self._through(side, states, M) for side in self.sides)
        if self.record.stage:
            signals = self.wires.back(r, stage=True)
            for own, side in zip((x, r, s, p), self.of_stage, strict=True):
                for j, more in enumerate(self._through(side, signals, M)):  # of r the parts that the state feeds
                    own[j] = own[j] + more
        for slopes, back in zip(self.before, self.wires.back(r), strict=True):
            if back is not None:  # otherwise no unit hears it
                s = [own + _of(slope, M) * back for own, slope in zip(s, slopes, strict=True)]
        before[...] = np.concatenate(s, axis=1)
        found = self._gradients(x, r, p, scale, M)
        if self.first and not (self.norm and any(self.norm.wanted)):
            return None, found
        below = np.concatenate(x, axis=1) @ self.w_ih
        if self.norm is not None:
            below, of_norm = self.norm.back(below, scale)
            found |= of_norm
        return None if self.first else below, found

    def _through(self, side: Side, states: list[Array], M: int) -> list[Array]:
        """What cotangents of states, or of the stage's signals, are for what these depend on, (M, N) each."""
        zero = np.zeros((M, self.units), states[0].dtype)
        columns = zip(*side, strict=True)
        return [sum((_of(f, M) * own for f, own in zip(c, states, strict=True)), zero) for c in columns]

    def _gradients(
        self, x: list[Array], r: list[Array], p: list[Array], scale: Array | None, M: int
    ) -> dict[str, Array]:
        """Of the parameters that are wanted; row m counts scale[m] times."""
        if scale is not None and self.wanted:
            x, r, p = ([own * scale for own in side] for side in (x, r, p))
        found = {}
        for name in self.wanted:
            kind = name.removesuffix(self.end)
            if kind == "weight_ih":
                found[name] = np.concatenate(x, axis=1).T @ self.given[:M]
            elif kind == "weight_hh":
                found[name] = self.wires.gradient(r, [own[:M] for own in self.sent])
            elif kind in ("bias_ih", "bias_hh"):
                found[name] = np.concatenate([own.sum(axis=0) for own in (x if kind == "bias_ih" else r)])
            elif kind in self.record.parameters:
                found[name] = p[self.record.parameters.index(kind)].sum(axis=0)
        return found


def _of(factor: Any, rows: int) -> Any:
    return factor[:rows] if isinstance(factor, np.ndarray) else factor
