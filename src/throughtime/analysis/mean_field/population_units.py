"""One step of a population and of a perturbation of it: what M units feel, do and send.

    e, a               the signals of the units' states, and those of a stage of the step
    r_j = Σ W_jk e_k   over the signals k of the state that feed part j;   r_j = Σ W_jk a_k   over those of the stage
    s' = forward(x, r, s, p),   with W_jk ~ N(0, g_j²/N) independent of each other, p the numbers of the units

Dimensions: M units, G gates, S states of a unit, R parts of r, E signals of the state and A of the stage.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...cells import array_fields
from ...cells.base import spec
from ...cells.initial_values import initial_values
from ...cells.on_arrays import (
    Values,
    emitted,
    on_arrays,
    signal_slopes,
    stage_derivatives,
    staged,
    unit_derivatives,
)
from ...results import Array
from .fields import Fields

Wire = tuple[
    int, list[int], Fields
]  # a signal, numbered through, the parts of r that it feeds, and what brings it there


class Step(NamedTuple):
    """What a step gives."""

    sent: Array  # (M,): what the next layer would hear
    after: Values  # S arrays (M,)
    moved: Array  # (S, M): the perturbation
    moment: float  # tr J Jᵀ / S


class Units:
    """M units of a cell, each with its own numbers and fields, and the random matrices between them."""

    def __init__(self, cell: Any, gains: Array, units: int, tied: bool, rng: np.random.Generator) -> None:
        self.record, self.gains, self.M = spec(cell), gains, units
        given = array_fields.units_of(cell)
        self.cell = cell if given is None else array_fields.of_units(cell, np.arange(units) * given // units)
        self.wires: list[Wire] = []
        for signal in dict.fromkeys(signal for signal, _ in self.record.blocks):
            parts = [part for own, part in self.record.blocks if own == signal]
            self.wires.append((signal, parts, Fields(rng, gains[parts], units, tied)))

    def begin(self, rng: np.random.Generator) -> None:
        """The numbers of the units by themselves, as a network of M would have them."""
        self.p = initial_values(self.cell, self.M, rng)

    def step(self, drawn: Callable[[], Array], s: Values, v: Array) -> Step:
        """The states s and a perturbation v (S, M) one step on; `drawn()` is the input part x (G, M) of the step."""
        record, cell, own = self.record, self.cell, (self.p,) if self.p else ()
        e, slopes = emitted(cell, s), self._slopes(s)
        both = [np.stack([e[k], (slopes[k] * v).sum(axis=0)]) for k in range(record.signals)]
        r: list[Any] = [None] * record.parts
        w: list[Any] = [None] * record.parts
        self._bring(r, w, lambda signal: both[signal], stage=False)
        x, first = tuple(drawn()), tuple(r[: record.first])
        if record.stage:
            a = staged(cell, x, first, s, self.p)
            self._bring(r, [None] * record.parts, lambda k: a[k - record.signals][None], stage=True)
        after, saved = on_arrays(cell.forward, (x, tuple(r), s, *own))
        rows = list(unit_derivatives(cell, s, after, saved, self.p))
        by_s, by_r = self._wide(rows, 2), self._wide(rows, 1)
        through = list[Array]()
        if record.stage:
            through = self._stage(s, saved)
            known = np.stack(w[: record.first]) if record.first else np.zeros((0, self.M))
            da = [(own_s * v).sum(axis=0) + (own_r * known).sum(axis=0) for own_s, own_r in zip(*through, strict=True)]
            self._bring(w, [None] * record.parts, lambda k: da[k - record.signals][None], stage=True)
        moved = (by_s * v).sum(axis=1) + (by_r * np.stack(w)).sum(axis=1)
        return Step(e[0], after, moved, self._moment(by_s, by_r, slopes, through) / len(s))

    def _bring(self, r: list[Any], w: list[Any], vectors: Callable[[int], Array], stage: bool) -> None:
        """Add what the state's signals, or the stage's, bring to the parts of r; a second vector goes to those of w."""
        for signal, parts, fields in self.wires:
            if (signal >= self.record.signals) == stage:
                for part, found in zip(parts, fields.of(vectors(signal)), strict=True):
                    for to, value in zip((r, w), found, strict=False):
                        to[part] = value if to[part] is None else to[part] + value

    def _slopes(self, s: Values) -> Array:
        """∂e_k/∂s_j (E, S, M)."""
        return np.array([[np.broadcast_to(v, s[0].shape) for v in row] for row in signal_slopes(self.cell, s)])

    def _stage(self, s: Values, saved: Values) -> list[Array]:
        """∂a_k/∂s_j (A, S, M) and ∂a_k/∂r_j (A, R0, M)."""
        rows = list(stage_derivatives(self.cell, s, saved, self.p))
        return [self._wide(rows, 2), self._wide(rows, 1)]

    def _wide(self, rows: Sequence[tuple], which: int) -> Array:
        """Derivatives by what a unit has, (one for each row, one for each of these, M)."""
        found = [[np.broadcast_to(v, (self.M,)) for v in row[which]] for row in rows]
        return np.array(found).reshape(len(rows), -1, self.M)

    def _moment(self, by_s: Array, by_r: Array, slopes: Array, through: list[Array]) -> float:
        """tr J Jᵀ / M: squares of what the independent matrices mix add up."""
        power = [float((slopes[k] ** 2).sum(axis=0).mean()) for k in range(self.record.signals)]
        if through:
            fed = np.zeros(self.record.first)  # Σ over the signals of the state that feed a part
            for signal, parts, _ in self.wires:
                if signal < self.record.signals:
                    fed[parts] += self.gains[parts] ** 2 * power[signal]
            own, by_first = ((part**2).mean(axis=2) for part in through)
            power += list(own.sum(axis=1) + by_first @ fed)
        total = (by_s**2).sum(axis=(0, 1)).mean()
        for signal, parts, _ in self.wires:
            total += (self.gains[parts] ** 2 * (by_r[:, parts] ** 2).sum(axis=0).mean(axis=1)).sum() * power[signal]
        return float(total)
