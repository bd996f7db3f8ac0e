"""Strings aⁿbⁿ and aⁿbⁿcⁿ: languages that need a counter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..refuse import arguments, numeric, room, words
from .batch import Array, Batch, same_steps
from .task import Task, entropy, ranked_wrong


@words.explain
@dataclass(frozen=True)
class CountingGrammar(Task):
    """Strings aⁿbⁿ, or aⁿbⁿcⁿ: predict the next symbol, which after the last a is known all along.

        S a…a b…b T,   n of each letter,   n uniform on 1 … `most`

    x (T, B) of tokens and targets (T, B) of classes, the next symbol: the letters 0, 1, …, and S = T = `letters`;
    lengths n·letters + 1. Loss: cross-entropy in nats per step. A string is right where at every step all symbols that
    may follow are rated above all that may not: after S an a, after an a both a and b, later one alone. `strings(n)`
    are those of given n, to ask up to which n a trained model counts.

    most: the largest n, N below.
    letters: k ≥ 2 of them; 2 is aⁿbⁿ, 3 is aⁿbⁿcⁿ.

    optimum: ln N/(k(N+1)/2 + 1) nats per step: only n is to be guessed; .19188 for N = 10, k = 2. baseline:
    k(N+1)/2 · H(2/(N+1))/(k(N+1)/2 + 1), the least loss of a model that sees one symbol alone, with the entropy H of a
    coin: .43463. Both are ratios of means, of a loss averaged over all real steps. Source: Gers & Schmidhuber 2001, doi
    10.1109/72.963769; Rodriguez, Wiles & Elman 1999.

    TypeError and ValueError for what is no whole number of at least 1, or 2 letters.

        >>> import throughtime as tt
        >>> batch = tt.tasks.CountingGrammar().strings([2])
        >>> batch.x[:, 0], batch.targets[:, 0], batch.lengths
        (array([2, 0, 0, 1, 1]), array([0, 0, 1, 1, 2]), array([5]))
    """

    most: int = 10
    letters: int = 2

    tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "most", arguments.size("most", self.most))
        object.__setattr__(self, "letters", arguments.step("letters", self.letters, 2, 26))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(k + 1, k + 1, kN + 1)"""
        return self.letters + 1, self.letters + 1, self.letters * self.most + 1

    @property
    def baseline(self) -> float:
        """nats per step of a model that sees one symbol alone."""
        stays = self.letters * (self.most + 1) / 2
        leaves = 2 / (self.most + 1)
        return stays * entropy([leaves, 1 - leaves]) / (stays + 1)

    @property
    def optimum(self) -> float:
        """ln N nats for each string, per step."""
        return math.log(self.most) / (self.letters * (self.most + 1) / 2 + 1)

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        return self._strings(rng.integers(1, self.most + 1, size))

    def strings(self, n: Any) -> Batch:
        """The strings of given n, a list of whole numbers of at least 1; beyond `most` too. ValueError for others."""
        found = numeric.numbers("n", [*n] if isinstance(n, range) else n)
        if found.ndim != 1 or not found.size:
            raise ValueError(f"`n` has shape {found.shape}; expected a list of whole numbers of at least 1.")
        counts = [arguments.size(f"n[{i}]", value) for i, value in enumerate(found)]
        room.check("The longest string", max(counts) * self.letters * len(counts) * 2)
        return self._strings(np.array(counts))

    def legal(self, batch: Batch) -> Array:
        """(T, B, letters + 1), True for the symbols that may follow at each step of `batch`."""
        self._own(batch)
        found = np.arange(self.letters + 1) == batch.targets[:, :, None]
        found[:, :, :2] |= (batch.x == 0)[:, :, None]
        return found

    def _own(self, batch: Batch) -> None:
        super()._own(batch)
        same_steps(batch)

    def _strings(self, n: Array) -> Batch:
        steps = np.arange(self.letters * int(n.max()) + 1)[:, None]
        lengths = self.letters * n + 1
        x = np.where((steps > 0) & (steps < lengths), (steps - 1) // n, self.letters)
        targets = np.minimum(steps // n, self.letters)
        return Batch(x, targets, lengths)

    def _wrong(self, output: Array, batch: Batch) -> Array:
        return ranked_wrong(output, self.legal(batch), batch)
