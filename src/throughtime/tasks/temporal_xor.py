"""Elman's temporal XOR: a stream of bits of which every third is the XOR of the two before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..refuse import arguments, words
from ..training.losses import binary_cross_entropy
from .batch import Array, Batch
from .task import Task


@words.explain
@dataclass(frozen=True)
class TemporalXor(Task):
    """Temporal XOR: of a stream of bits every third is the XOR of the two before; the next bit is to be predicted.

        b_{3k}, b_{3k+1} fair coins,   b_{3k+2} = b_{3k} XOR b_{3k+1},   target of step t = b_{t+1}

    x (T, B, 1) and targets (T, B, 1) of 0 and 1; loss binary cross-entropy in nats, of logits.

    length: T, time steps; of the paper's one stream of 3000 bits the last has nothing to predict.

    baseline: ln 2 = .6931 nats at every step. optimum: ln 2 times the share of steps whose next bit is a coin, two
    thirds where T is a multiple of 3 (as a mean square error: 1/4 and 1/6). Solved as the paper shows it, by the root
    mean square error at the three positions of a triple: over .48 at the two coins, below .42 at their XOR; after 600
    passes it tends to (.5, .5, 0). A sequence is wrong where its own XORs are: over .42. Source: Elman 1990, doi
    10.1207/s15516709cog1402_1.

    TypeError and ValueError for what is no whole number of at least 3.

        >>> import throughtime as tt
        >>> batch = tt.tasks.TemporalXor(length=9).batch(1, seed=4)
        >>> batch.x[:, 0, 0].astype(int), batch.targets[:, 0, 0].astype(int)
        (array([1, 1, 0, 1, 1, 0, 1, 0, 1]), array([1, 0, 1, 1, 0, 1, 0, 1, 1]))
    """

    length: int = 2999

    loss = staticmethod(binary_cross_entropy)

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", arguments.step("length", self.length, 3, arguments.LARGEST))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(1, 1, T)"""
        return 1, 1, self.length

    @property
    def baseline(self) -> float:
        """ln 2 nats."""
        return math.log(2)

    @property
    def optimum(self) -> float:
        """ln 2 nats at the steps before a coin, 0 before an XOR."""
        return math.log(2) * (1 - ((self.length + 1) // 3) / self.length)

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        triples = rng.integers(0, 2, ((self.length + 3) // 3, 3, size))
        triples[:, 2] = triples[:, 0] ^ triples[:, 1]
        bits = triples.reshape(-1, size)[: self.length + 1, :, None].astype(float)
        return Batch(bits[:-1], bits[1:])

    def errors(self, output: Any, batch: Batch) -> Array:
        """Root mean square errors (3,) of the probabilities 1/(1 + exp(−output)) of a 1 at the positions of a triple:
        coin, coin, XOR.

        output: logits (T, B, 1) for this `batch`. ValueError for another shape.
        """
        squares = _squares(self.given(output, batch), batch)
        return np.sqrt([squares[(place - 1) % 3 :: 3].mean() for place in range(3)])

    def solved(self, output: Any, batch: Batch) -> bool:
        """Whether the errors of the logits `output` for this `batch` are over .48, over .48, below .42."""
        first, second, xor = self.errors(output, batch)
        return bool(first > 0.48 and second > 0.48 and xor < 0.42)

    def _wrong(self, output: Array, batch: Batch) -> Array:
        return ~(_squares(output, batch)[1::3].mean(axis=(0, 2)) < 0.42**2)


def _squares(output: Array, batch: Batch) -> Array:
    """(T, B, 1) squared errors of the probabilities."""
    if len(output) < 3:
        raise ValueError(f"`batch` has {len(output)} steps; expected the three of a triple at least.")
    return (0.5 + 0.5 * np.tanh(output / 2) - batch.targets) ** 2
