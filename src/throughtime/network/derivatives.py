"""The local derivatives of one layer's units along a run, unit by unit: what the weights then mix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cells.on_arrays import sent_slopes, signal_slopes, stage_derivatives, unit_derivatives
from ..engine.once import once

Array = np.ndarray


@dataclass(frozen=True)
class LayerDerivatives:
    """What `run.derivatives(k, start, stop)` gives: derivatives of a layer's units over n steps, in NumPy.

        ds_{t+1}[i] = Σ_g by_input[i][g] dx[g] + Σ_j by_recurrent[i][j] dr[j] + Σ_j by_state[i][j] ds_t[j]
                      + Σ_k by_parameter[i][k] dp[k]
        de_t = Σ_j sent_before[j] ds_t[j],   de_{t+1} = Σ_j sent_after[j] ds_{t+1}[j]

    with dx = W_ih dinput, of a plain cell dr = W_hh de_t. Each entry is an array (n, B, N), or a number where the cell
    says so. They are worked out when first asked for. In the padding of a short sequence they mean nothing.

    e is what the next layer and the output hear, the first signal. Of a cell that sends more, signals_before[k] is for
    signal k what sent_before is for the first, and of one with a stage

        da[k] = Σ_g stage_by_input[k][g] dx[g] + Σ_j stage_by_recurrent[k][j] dr[j] + Σ_j stage_by_state[k][j] ds_t[j]
                + Σ_l stage_by_parameter[k][l] dp[l]

    with the parts of r that the state feeds; then, over the signals that feed part j (`spec(cell).blocks`),

        dr[j] = Σ_k W_kj de[k]  for these parts,   dr[j] = Σ_k W_kj da[k]  for those that the stage feeds

    cell        the version of the cell that the run was made with; its fields are those of these units
    states      a tuple with an array (n+1, B, N) for each state of a unit, states[start] to states[stop]
    saved       a tuple of arrays (n, B, N): what the steps kept for the way back
    parameters  a tuple of arrays, (N,) or (B, N): p, the parameters of the units by themselves

    >>> import numpy as np, throughtime as tt
    >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((20, 3, 2)))
    >>> local = run.derivatives(0)
    >>> local.by_recurrent[0][0].shape, local.by_state, local.sent_before
    ((20, 3, 8), ((0.0,),), (1.0,))
    """

    cell: Any
    states: tuple[Array, ...]
    saved: tuple[Array, ...]
    parameters: tuple[Array, ...] = ()

    @once
    def before(self) -> tuple[Array, ...]:
        """The states before each step, (n, B, N) each."""
        return tuple(s[:-1] for s in self.states)

    @once
    def after(self) -> tuple[Array, ...]:
        """The states after each step."""
        return tuple(s[1:] for s in self.states)

    @once
    def _rows(self) -> tuple[tuple, ...]:
        with np.errstate(all="ignore"):  # padding saved nothing: whatever its memory holds
            rows = unit_derivatives(self.cell, self.before, self.after, self.saved, self.parameters)
            return tuple(zip(*rows, strict=True))

    @property
    def by_input(self) -> tuple[tuple, ...]:
        return self._rows[0]

    @property
    def by_recurrent(self) -> tuple[tuple, ...]:
        return self._rows[1]

    @property
    def by_state(self) -> tuple[tuple, ...]:
        return self._rows[2]

    @property
    def by_parameter(self) -> tuple[tuple, ...]:
        return self._rows[3] if self.parameters else ((),) * len(self.states)

    @once
    def _stage_rows(self) -> tuple[tuple, ...]:
        with np.errstate(all="ignore"):
            rows = stage_derivatives(self.cell, self.before, self.saved, self.parameters)
            return tuple(zip(*rows, strict=True)) or ((),) * 4

    @property
    def stage_by_input(self) -> tuple[tuple, ...]:
        return self._stage_rows[0]

    @property
    def stage_by_recurrent(self) -> tuple[tuple, ...]:
        return self._stage_rows[1]

    @property
    def stage_by_state(self) -> tuple[tuple, ...]:
        return self._stage_rows[2]

    @property
    def stage_by_parameter(self) -> tuple[tuple, ...]:
        return self._stage_rows[3] if self.parameters else ((),) * len(self._stage_rows[0])

    @once
    def signals_before(self) -> tuple[tuple, ...]:
        with np.errstate(all="ignore"):
            return signal_slopes(self.cell, self.before)

    @property
    def sent_before(self) -> tuple:
        return self.signals_before[0]

    @once
    def sent_after(self) -> tuple:
        with np.errstate(all="ignore"):
            return sent_slopes(self.cell, self.after)
