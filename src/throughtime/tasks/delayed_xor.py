"""Delayed XOR: of a stream of bits, the XOR of two of them at fixed delays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..refuse import arguments, words
from ..training.losses import binary_cross_entropy
from .batch import Array, Batch, counted
from .task import Task


@words.explain
@dataclass(frozen=True)
class DelayedXor(Task):
    """Delayed XOR: of a stream of fair bits, the XOR of those d and 2d steps back.

        target_t = x_{t−d} XOR x_{t−2d},   t ≥ 2d

    x (T, B, 1) and targets (T, B, 1) of 0 and 1, of which those from step 2d on count (mask). Loss: binary
    cross-entropy in nats, of logits. A sequence is wrong where the sign of a logit is, at a step that counts.

    delay: d, time steps.
    length: T, time steps, more than 2d.

    baseline: ln 2 = .6931 nats; neither bit alone says anything. optimum: 0. Source: Engelken 2023, arXiv:2312.17306,
    gradient flossing, with 300 steps and one fresh batch of 16 an epoch.

    TypeError and ValueError for what is no whole number, and for a length without a step that counts.

        >>> import throughtime as tt
        >>> batch = tt.tasks.DelayedXor(delay=1, length=7).batch(1, seed=1)
        >>> batch.x[:, 0, 0].astype(int), batch.targets[:, 0, 0].astype(int), batch.mask[:, 0].astype(int)
        (array([0, 1, 1, 1, 0, 0, 1]), array([0, 0, 1, 0, 0, 1, 0]), array([0, 0, 1, 1, 1, 1, 1]))
    """

    delay: int = 10
    length: int = 300

    loss = staticmethod(binary_cross_entropy)

    def __post_init__(self) -> None:
        for name in ("delay", "length"):
            object.__setattr__(self, name, arguments.size(name, getattr(self, name)))
        if self.length <= 2 * self.delay:
            raise ValueError(f"`length` is {self.length}; with delay={self.delay} expected more than {2 * self.delay}.")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(1, 1, T)"""
        return 1, 1, self.length

    @property
    def baseline(self) -> float:
        """ln 2 nats."""
        return math.log(2)

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        bits = rng.integers(0, 2, (self.length, size, 1))
        targets, mask = np.zeros_like(bits), np.zeros((self.length, size), bool)
        far = 2 * self.delay
        targets[far:] = bits[self.delay : -self.delay] ^ bits[:-far]
        mask[far:] = True
        return Batch(bits.astype(float), targets.astype(float), mask=mask)

    def _wrong(self, output: Array, batch: Batch) -> Array:
        right = np.where(batch.targets > 0, output > 0, output < 0).all(axis=-1)
        return np.any(~right & counted(batch), axis=0)
