"""The Hénon map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..refuse import words
from .batch import Array
from .flow import Flow


@words.explain
@dataclass(frozen=True)
class Henon(Flow):
    """The Hénon map: two variables that stretch and fold, forecast one step ahead.

        x' = 1 − a x² + y,   y' = b x

    x (T, B, 2) and targets (T, B, 2), iterates; `trajectory` gives iterates alone. Lyapunov exponents (.41922,
    −1.62319) nats per step, whose sum is ln b (Sprott, Chaos and Time-Series Analysis, 2003). Source: Hénon 1976, doi
    10.1007/BF01608556.

    length: T, steps.
    standardised: whether each variable has mean 0 and standard deviation 1 (those of `mean` and `std`).
    a, b: numbers without unit.

    baseline: 1, the variance of the target; `persistence` is the loss of forecasting no change. optimum: 0. ValueError
    for parameters without an attractor.

        >>> import throughtime as tt
        >>> tt.tasks.Henon().exponents
        (0.41922, -1.62319)
    """

    length: int = 100
    standardised: bool = True
    a: float = 1.4
    b: float = 0.3

    dimensions: ClassVar[int] = 2
    transient = 200.0
    settle = 100.0
    dt = 1.0

    def _known(self) -> tuple[float, ...]:
        return 0.41922, -1.62319

    def _start(self, size: int, rng: np.random.Generator) -> Array:
        return rng.uniform(-0.1, 0.1, (size, 2))

    def _advance(self, state: Array, steps: int) -> tuple[Array, Array]:
        x, y = state.T
        kept = np.empty((steps, len(state), 2))
        for t in range(steps):
            x, y = 1 - self.a * x**2 + y, self.b * x
            kept[t, :, 0], kept[t, :, 1] = x, y
        return kept, kept[-1]
