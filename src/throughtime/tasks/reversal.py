"""Sequence reversal: read symbols, then give them in the opposite order."""

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
class Reversal(Task):
    """Sequence reversal: symbols in, the same symbols in the opposite order out, and an end.

        aligned      x        s_1 … s_n  signal … signal (n+1)     targets   … s_n … s_1 end, at the signals
        in pairs     source   s_1 … s_n                            target    s_n … s_1 end

    Aligned, for one network: x (2N+1, B) of tokens, the symbols 0 … S−1, and S the signal; targets (2N+1, B) of
    classes, the symbols and S the end; those at the signals count (mask). In pairs, for an encoder and a decoder:
    x (N, B) of symbols, lengths n of the sources, targets (N+1, B), mask (N+1, B). N is `longest`; n uniform on
    `shortest` … `longest`. Loss: cross-entropy in nats. A sequence is right where all its symbols and the end are.

    shortest, longest: of the sources, symbols.
    symbols: S, the symbols there are.
    aligned: one network, or pairs for an encoder and a decoder.

    The first to come out was the last to go in: lags of 1, 3, 5, … steps, where copy memory has one for all. baseline:
    n̄ ln S/(n̄ + 1) nats per counted step, with the mean length n̄: any symbol, and the end in its place; of n = `longest`
    always, ln S·N/(N+1) = 1.89039 for N = 10, S = 8. optimum: 0. There is no paper of the one variant: Grefenstette
    et al. 2015, arXiv:1506.02516, have 128 symbols and lengths 8 … 64; Sutskever, Vinyals & Le 2014 reverse the source.

    TypeError and ValueError for what is no whole number, and `shortest` above `longest`.

        >>> import throughtime as tt
        >>> batch = tt.tasks.Reversal(shortest=3, longest=3).batch(1, seed=0)
        >>> batch.x[:, 0], batch.targets[batch.mask]
        (array([6, 5, 4, 8, 8, 8, 8]), array([4, 5, 6, 8]))
    """

    shortest: int = 10
    longest: int = 10
    symbols: int = 8
    aligned: bool = True

    tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("shortest", "longest", "symbols"):
            object.__setattr__(self, name, arguments.size(name, getattr(self, name)))
        arguments.flag("aligned", self.aligned)
        if self.shortest > self.longest:
            raise ValueError(f"`shortest` is {self.shortest}, above `longest`, which is {self.longest}.")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(S + 1, S + 1, 2N + 1); in pairs (S, S + 1, N + 1)"""
        n = self.longest
        return self.symbols + self.aligned, self.symbols + 1, 2 * n + 1 if self.aligned else n + 1

    @property
    def baseline(self) -> float:
        """n̄ ln S/(n̄ + 1) nats."""
        mean = (self.shortest + self.longest) / 2
        return math.log(self.symbols) * mean / (mean + 1)

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        n = rng.integers(self.shortest, self.longest + 1, size)
        place = np.arange(self.longest + 1)[:, None]
        source = np.where(place < n, rng.integers(0, self.symbols, (self.longest + 1, size)), self.symbols)
        back = np.take_along_axis(source, np.maximum(n - 1 - place, 0), axis=0)
        back, mask = np.where(place < n, back, self.symbols), place <= n
        if not self.aligned:
            return Batch(np.where(place < n, source, 0)[:-1], back, n, mask)
        steps = np.arange(2 * self.longest + 1)[:, None]
        x = np.where(steps < n, source[np.minimum(steps[:, 0], self.longest)], self.symbols)
        answered = (steps >= n) & (steps <= 2 * n)
        targets = np.where(answered, np.take_along_axis(back, np.clip(steps - n, 0, self.longest), axis=0), 0)
        return Batch(x, targets, 2 * n + 1, answered)
