"""Copy memory: read symbols, wait, and give them again when told to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..refuse import arguments, words
from .batch import Array, Batch
from .task import Task


@words.explain
@dataclass(frozen=True)
class CopyMemory(Task):
    """Copy memory: `count` symbols, a delay of blanks, a signal; then the symbols are to be given again.

        x        s_1 … s_K  blank … blank (T−1)  signal  blank … blank (K)
        targets  blank … blank (T+K)                     s_1 … s_K

    x (T+2K, B) of tokens: the symbols 0 … S−1, the blank S, the signal S+1. targets (T+2K, B) of classes: the symbols
    and the blank S. Every step counts in the loss, a cross-entropy in nats. A sequence is right where all its K symbols
    come back.

    delay: T, time steps from the end of the symbols to the first that is asked for.
    count: K, symbols to remember.
    symbols: S, the symbols there are.
    variable: whether each sequence has a delay of its own, from 1 … T, with blanks at the end; the "variable copy" of
        Tallec & Ollivier 2018, arXiv:1804.11188.

    baseline: K ln S/(T + 2K), blanks until the signal and then any symbol: .17329 at T = 100, .02039 at T = 1000.
    optimum: 0. Source: Arjovsky, Shah & Bengio 2016, arXiv:1511.06464, after Hochreiter & Schmidhuber 1997.

    TypeError and ValueError for what is no whole number of at least 1.

        >>> import throughtime as tt
        >>> task = tt.tasks.CopyMemory(delay=3, count=2)
        >>> batch = task.batch(1, seed=0)
        >>> batch.x[:, 0], batch.targets[:, 0]
        (array([6, 5, 8, 8, 9, 8, 8]), array([8, 8, 8, 8, 8, 6, 5]))
        >>> round(tt.tasks.CopyMemory(delay=100).baseline, 5)
        0.17329
    """

    delay: int = 100
    count: int = 10
    symbols: int = 8
    variable: bool = False

    tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("delay", "count", "symbols"):
            object.__setattr__(self, name, arguments.size(name, getattr(self, name)))
        arguments.flag("variable", self.variable)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(S + 2, S + 1, T + 2K)"""
        return self.symbols + 2, self.symbols + 1, self.delay + 2 * self.count

    @property
    def baseline(self) -> float:
        """K ln S/(T + 2K) nats."""
        return self.count * math.log(self.symbols) / self.steps

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        data = rng.integers(0, self.symbols, (self.count, size))
        delay = rng.integers(1, self.delay + 1, size) if self.variable else np.full(size, self.delay)
        x = np.full((self.steps, size), self.symbols)
        targets, columns = x.copy(), np.arange(size)
        x[: self.count] = data
        x[self.count + delay - 1, columns] = self.symbols + 1
        targets[self.count + delay + np.arange(self.count)[:, None], columns] = data
        return Batch(x, targets)

    def _wrong(self, output: Array, batch: Batch) -> Array:
        asked = batch.targets != self.symbols
        return ((output.argmax(axis=-1) != batch.targets) & asked).any(axis=0)
