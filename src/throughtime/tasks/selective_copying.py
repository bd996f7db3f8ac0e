"""Selective copying: give the symbols of a noisy sequence again, without the noise between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..refuse import arguments, words
from .batch import Batch
from .task import Task


@words.explain
@dataclass(frozen=True)
class SelectiveCopying(Task):
    """Selective copying: `count` symbols at random steps among noise; then they are to be given in their order.

        x        noise s_1 noise noise s_2 … s_K noise (L)   signal … signal (K)
        targets                                              s_1 … s_K

    x (L+K, B) of tokens: the symbols 0 … S−1, the noise S, the signal S+1. targets (L+K, B) of classes 0 … S−1, of
    which those at the signals count (mask). The loss is a cross-entropy in nats. A sequence is right where all K
    symbols come back.

    length: L, time steps of symbols and noise.
    count: K, symbols to remember, at most L.
    symbols: S, the symbols there are; with the noise and the signal 16 tokens by default.

    baseline: ln S nats for each symbol, 2.63906 with 14. optimum: 0. Source: Gu & Dao 2023, arXiv:2312.00752, after
    Jing et al. 2019, arXiv:1706.02761; both with all sizes as they are here by default.

    TypeError and ValueError for what is no whole number of at least 1, and for more symbols than steps.

        >>> import throughtime as tt
        >>> task = tt.tasks.SelectiveCopying(length=6, count=2)
        >>> batch = task.batch(1, seed=0)
        >>> batch.x[:, 0], batch.targets[batch.mask]
        (array([14, 11,  8, 14, 14, 14, 15, 15]), array([11,  8]))
    """

    length: int = 4096
    count: int = 16
    symbols: int = 14

    tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("length", "count", "symbols"):
            object.__setattr__(self, name, arguments.size(name, getattr(self, name)))
        if self.count > self.length:
            raise ValueError(f"`count` is {self.count} symbols to remember, but `length` has {self.length} steps.")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(S + 2, S, L + K)"""
        return self.symbols + 2, self.symbols, self.length + self.count

    @property
    def baseline(self) -> float:
        """ln S nats."""
        return math.log(self.symbols)

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        data = rng.integers(0, self.symbols, (self.count, size))
        order = rng.random((self.length, size)).argpartition(self.count - 1, axis=0)
        x = np.full((self.steps, size), self.symbols)
        np.put_along_axis(x, np.sort(order[: self.count], axis=0), data, axis=0)
        x[self.length :] = self.symbols + 1
        targets, mask = np.zeros((self.steps, size), int), np.zeros((self.steps, size), bool)
        targets[self.length :], mask[self.length :] = data, True
        return Batch(x, targets, mask=mask)
