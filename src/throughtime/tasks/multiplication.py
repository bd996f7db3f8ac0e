"""The multiplication problem: remember two marked numbers and give their product at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..refuse import words
from . import marked_pairs
from .batch import Batch


@words.explain
@dataclass(frozen=True)
class Multiplication(marked_pairs.MarkedPairs):
    """The multiplication problem: of a sequence of random numbers two are marked; the target is their product.

        x_t = (value, mark),   values U(0, 1),   target = a·b at the last step,   loss mean squared error

    x (T, B, 2), targets (B, 1). Harder than adding, since no sum kept in one unit solves it. A sequence is right where
    the error is below .04; solved: at most 140 of 2000 are wrong.

    length: T, the least number of steps of a sequence.
    variant: where the marks are, "hochreiter" (Hochreiter & Schmidhuber 1997, experiment 5), "le", "arjovsky" or
        "pascanu", as `Adding` explains them. With the first the first value counts as 1 where it is marked.

    baseline: the variance of the target, E(ab)² − (E ab)²: 1/9 − 1/16 = 7/144 = .0486; for "hochreiter"
    1/9 + 2p/9 − (1 + p)²/16, with the probability p = .1 + .9/(T/2 − 1) that the first value is marked: .0592 at
    T = 100. optimum: 0.

    ValueError for a length without room for two marks, TypeError for what is no whole number.

        >>> import throughtime as tt
        >>> task = tt.tasks.Multiplication(length=100, variant="le")
        >>> task.batch(32, seed=0).targets.shape, round(task.baseline, 5)
        ((32, 1), 0.04861)
    """

    variant: str = "hochreiter"

    @property
    def baseline(self) -> float:
        """The variance of the target."""
        p = marked_pairs.first_is_marked(self.variant, self.length)
        return (1 + 2 * p) / 9 - (1 + p) ** 2 / 16

    @property
    def allowed(self) -> float:
        """140 of 2000 sequences."""
        return 0.07

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        x, values, lengths = marked_pairs.draw(self.variant, self.length, 0.0, 1.0, size, rng)
        return Batch(x, values.prod(axis=0)[:, None], lengths)
