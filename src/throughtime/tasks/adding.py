"""The adding problem: remember two marked numbers and give their sum at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..refuse import words
from . import marked_pairs
from .batch import Batch


@words.explain
@dataclass(frozen=True)
class Adding(marked_pairs.MarkedPairs):
    """The adding problem: of a sequence of random numbers two are marked; the target is their sum.

        x_t = (value, mark),   target = a + b at the last step,   loss mean squared error

    x (T, B, 2), targets (B, 1). A sequence is right where the error is below .04.

    length: T, the steps of a sequence; the least of them where lengths vary.
    variant: which paper's
        "le"          values U(0, 1), marks 0 and 1 at any two steps; Le, Jaitly & Hinton 2015, arXiv:1504.00941
        "arjovsky"    one mark in each half; Arjovsky, Shah & Bengio 2016, arXiv:1511.06464
        "pascanu"     lengths T … 1.1 T, marks in the first tenth and from there to the middle, target (a + b)/2;
                      Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063
        "hochreiter"  lengths T … 1.1 T, values U(−1, 1), marks in the first ten steps and the first half, −1 at both
                      ends, target ½ + (a + b)/4; Hochreiter & Schmidhuber 1997, experiment 4. The first value counts
                      as 0 where it is marked, since the −1 hides it. Solved: 2000 sequences in a row are right.

    baseline: the variance of the target, the loss of always giving its mean: 1/6 = .1667 for "le" and "arjovsky"
    (printed as .1767 in some papers), 1/24 for "pascanu", (2 − p)/48 = .0392 for "hochreiter" at T = 100, where
    p = .1 + .9/(T/2 − 1) is the probability that the first value is marked. optimum: 0.

    ValueError for a length without room for two marks, TypeError for what is no whole number.

        >>> import throughtime as tt
        >>> task = tt.tasks.Adding(length=100)
        >>> batch = task.batch(32, seed=0)
        >>> batch.x.shape, batch.targets.shape, round(task.baseline, 5)
        ((100, 32, 2), (32, 1), 0.16667)
        >>> bool((batch.targets == (batch.x[..., :1] * batch.x[..., 1:]).sum(axis=0)).all())
        True
    """

    @property
    def baseline(self) -> float:
        """The variance of the target."""
        p = marked_pairs.first_is_marked(self.variant, self.length)
        return {"pascanu": 1 / 24, "hochreiter": (2 - p) / 48}.get(self.variant, 1 / 6)

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        low = -1.0 if self.variant == "hochreiter" else 0.0
        x, values, lengths = marked_pairs.draw(self.variant, self.length, low, 0.0, size, rng)
        total = values.sum(axis=0)[:, None]
        targets = {"pascanu": total / 2, "hochreiter": 0.5 + total / 4}.get(self.variant, total)
        return Batch(x, targets, lengths)
