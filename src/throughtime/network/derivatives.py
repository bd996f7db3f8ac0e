"""The local derivatives of one layer's units along a run, unit by unit: what the weights then mix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..cells.base import sent_slopes, unit_derivatives

Array = np.ndarray


@dataclass(frozen=True)
class LayerDerivatives:
    """What `run.derivatives(k, start, stop)` gives: derivatives of a layer's units over n steps, in NumPy.

        ds_{t+1}[i] = Σ_g by_input[i][g] dx[g] + Σ_g by_recurrent[i][g] dr[g] + Σ_j by_state[i][j] ds_t[j]
        de_t = Σ_j sent_before[j] ds_t[j],   de_{t+1} = Σ_j sent_after[j] ds_{t+1}[j]

    with dx = W_ih dinput and dr = W_hh de_t. Each entry is an array (n, B, N), or a number where the cell says so.
    They are worked out when first asked for. In the padding of a short sequence they mean nothing.

    cell    the version of the cell that the run was made with
    states  a tuple with an array (n+1, B, N) for each state of a unit, states[start] to states[stop]
    saved   a tuple of arrays (n, B, N): what the steps kept for the way back

    >>> import numpy as np, throughtime as tt
    >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((20, 3, 2)))
    >>> local = run.derivatives(0)
    >>> local.by_recurrent[0][0].shape, local.by_state, local.sent_before
    ((20, 3, 8), ((0.0,),), (1.0,))
    """

    cell: Any
    states: tuple[Array, ...]
    saved: tuple[Array, ...]

    @cached_property
    def _rows(self) -> tuple[tuple, ...]:
        before, after = tuple(s[:-1] for s in self.states), tuple(s[1:] for s in self.states)
        with np.errstate(all="ignore"):  # padding saved nothing: whatever its memory holds
            return tuple(zip(*unit_derivatives(self.cell, before, after, self.saved), strict=True))

    @property
    def by_input(self) -> tuple[tuple, ...]:
        return self._rows[0]

    @property
    def by_recurrent(self) -> tuple[tuple, ...]:
        return self._rows[1]

    @property
    def by_state(self) -> tuple[tuple, ...]:
        return self._rows[2]

    @cached_property
    def sent_before(self) -> tuple:
        with np.errstate(all="ignore"):
            return sent_slopes(self.cell, tuple(s[:-1] for s in self.states))

    @cached_property
    def sent_after(self) -> tuple:
        with np.errstate(all="ignore"):
            return sent_slopes(self.cell, tuple(s[1:] for s in self.states))
