"""Temporal order: which symbols came, and in which order, among many others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..refuse import arguments, words
from .batch import Batch
from .task import Task

PLACES = {2: (0.1, 0.5), 3: (0.1, 0.33, 0.66)}  # of the marks, in lengths; each may be up to a tenth later
VARIANTS = ("hochreiter", "pascanu")


@words.explain
@dataclass(frozen=True)
class TemporalOrder(Task):
    """Temporal order: two or three symbols X or Y stand far apart among others; the class is what they were, in order.

        class = 2·[first is Y] + [second is Y]     (three: 4·[first] + 2·[second] + [third])

    x (T, B) of tokens, targets (B,) of classes at the end, loss cross-entropy in nats. A sequence is right where the
    largest output is its class.

    length: T, time steps; the least of them where lengths vary.
    marks: 2 or 3 symbols, 4 or 8 classes. They stand in [.1, .2] and [.5, .6] of the length, or in [.1, .2], [.33, .43]
        and [.66, .76].
    variant: which paper's
        "hochreiter"  8 tokens X Y a b c d E B, E first and B last, lengths T … 1.1 T; Hochreiter & Schmidhuber 1997,
                      experiments 6a and 6b. Solved: 2000 sequences in a row are right.
        "pascanu"     6 tokens X Y a b c d (A B c d e f there), all of length T; Pascanu, Mikolov & Bengio 2013,
                      arXiv:1211.5063. Solved: at most 1 % of 10 000 sequences are wrong.

    baseline: ln 4 or ln 8 nats, with 75 % or 87.5 % of the sequences wrong. optimum: 0. Deviation: the first paper
    counts a sequence as right where each output is within .3 of its target.

    ValueError for a length below 10, for other marks and variants.

        >>> import throughtime as tt
        >>> task = tt.tasks.TemporalOrder(length=20, variant="pascanu")
        >>> batch = task.batch(1, seed=0)
        >>> "".join("XYabcd"[token] for token in batch.x[:, 0]), int(batch.targets[0])
        ('dccXbaaaadYdccdccccd', 1)
    """

    length: int = 100
    marks: int = 2
    variant: str = "hochreiter"

    tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        arguments.known("variant", self.variant, VARIANTS)
        object.__setattr__(self, "length", arguments.size("length", self.length))
        object.__setattr__(self, "marks", arguments.step("marks", self.marks, 2, 3))
        if self.length < 10:
            raise ValueError(f"`length` is {self.length}; expected at least 10, so that there is room for the marks.")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(8 or 6, 4 or 8, T)"""
        varies = self.variant == "hochreiter"
        return 8 if varies else 6, 2**self.marks, self.length + (self.length // 10 if varies else 0)

    @property
    def baseline(self) -> float:
        """ln 4 or ln 8 nats."""
        return math.log(self.outputs)

    @property
    def allowed(self) -> float:
        """None, or 1 % in the variant "pascanu"."""
        return 0.01 if self.variant == "pascanu" else 0.0

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        columns, lengths = np.arange(size), None
        x = rng.integers(2, 6, (self.steps, size))
        if self.variant == "hochreiter":
            lengths = rng.integers(self.length, self.steps + 1, size)
            x[0] = 6
            x[lengths - 1, columns] = 7
            x[np.arange(self.steps)[:, None] >= lengths] = 0
        targets = np.zeros(size, int)
        for place in PLACES[self.marks]:
            first = int(place * self.length)
            after = self.length // 10 + (
                self.variant == "hochreiter"
            )  # "between 10 and 20" holds 20, [.1, .2) does not
            mark = rng.integers(0, 2, size)
            x[first + rng.integers(0, after, size), columns] = mark
            targets = 2 * targets + mark
        return Batch(x, targets, lengths)
