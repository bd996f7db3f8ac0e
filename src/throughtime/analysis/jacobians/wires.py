"""The product with W_hh: one square block of weights for each signal and part of r that it feeds.

Dimensions: N units, R parts of r, E signals of the state and A of the stage; what goes through has axes before (N,).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...cells.examined import Spec
from ...results import Array


class Wires:
    """The blocks of W_hh (W*N, N) of a cell, None of one without: those of a signal lie one below the other."""

    def __init__(self, record: Spec, w_hh: Array | None, units: int) -> None:
        self.units, self.counts = units, (record.signals, record.staged)
        self.of: list[tuple[int, list[int], Array]] = []  # (signal, parts, their blocks)
        for signal in dict.fromkeys(signal for signal, _ in record.blocks):
            assert w_hh is not None
            rows = [b for b, (own, _) in enumerate(record.blocks) if own == signal]
            parts = [record.blocks[b][1] for b in rows]
            self.of.append((signal, parts, w_hh[rows[0] * units : (rows[-1] + 1) * units]))

    def _side(self, stage: bool) -> list[tuple[int, list[int], Array]]:
        return [own for own in self.of if (own[0] >= self.counts[0]) == stage]

    def ahead(self, sent: list[Any], r: list[Any], stage: bool = False) -> None:
        """Add to the parts r what the state's signals bring them, or the stage's; sent: the signals, state's first."""
        for signal, parts, w in self._side(stage):
            product = sent[signal] @ w.T
            for j, part in enumerate(parts):
                r[part] = r[part] + product[..., j * self.units : (j + 1) * self.units]

    def back(self, on_r: list[Any], stage: bool = False) -> list[Any]:
        """What cotangents of the parts of r are for the state's signals, or the stage's; None: it feeds nothing."""
        first = self.counts[0] if stage else 0
        found: list[Any] = [None] * self.counts[stage]
        for signal, parts, w in self._side(stage):
            found[signal - first] = self._joined(on_r, parts) @ w
        return found

    def gradient(self, on_r: list[Any], sent: list[Any]) -> Array:
        """Of W_hh: Σ over all rows of what comes back to a part, times the signal that feeds it."""
        blocks = [
            self._joined(on_r, parts).reshape(-1, len(parts) * self.units).T @ sent[signal].reshape(-1, self.units)
            for signal, parts, _ in self.of
        ]
        return np.concatenate(blocks) if blocks else np.zeros((0, self.units))

    @staticmethod
    def _joined(on_r: list[Any], parts: list[int]) -> Array:
        return on_r[parts[0]] if len(parts) == 1 else np.concatenate([on_r[part] for part in parts], axis=-1)
