"""The Rössler system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..refuse import words
from .batch import Array
from .flow import Flow, runge_kutta


@words.explain
@dataclass(frozen=True)
class Rossler(Flow):
    """The Rössler system: a spiral with one fold, forecast one sample ahead.

        x' = −y − z,   y' = x + ay,   z' = b + z(x − c)

    x (T, B, 3) and targets (T, B, 3), states dt apart; `trajectory` gives states alone. Lyapunov exponents (.0714, 0,
    −5.3943) nats per unit of time (Sprott, Chaos and Time-Series Analysis, 2003); one turn takes about 5.9. Source:
    Rössler 1976, doi 10.1016/0375-9601(76)90101-8.

    dt: between two samples, units of time.
    length: T, samples.
    standardised: whether each variable has mean 0 and standard deviation 1 (those of `mean` and `std`).
    a, b, c: numbers without unit.
    substeps: steps of the fourth-order Runge–Kutta method for each sample. Two of .05 are wrong by 1e-6 standard
        deviations after a sample in the mean, by 1e-5 after a unit of time.

    baseline: 1, the variance of the target; `persistence` is the loss of forecasting no change. optimum: 0. ValueError
    for dt ≤ 0, parameters without an attractor, and steps too large to integrate.

        >>> import throughtime as tt
        >>> tt.tasks.Rossler().exponents
        (0.0714, 0.0, -5.3943)
    """

    dt: float = 0.1
    length: int = 100
    standardised: bool = True
    a: float = 0.2
    b: float = 0.2
    c: float = 5.7
    substeps: int = 2

    transient = 200.0
    settle = 2.0

    def _known(self) -> tuple[float, ...]:
        return 0.0714, 0.0, -5.3943

    def _start(self, size: int, rng: np.random.Generator) -> Array:
        return rng.uniform(-5, 5, (size, 3)) * [1, 1, 0]

    def _advance(self, state: Array, steps: int) -> tuple[Array, Array]:
        def derivative(s: Array) -> Array:
            x, y, z = s
            out = np.empty_like(s)
            out[0] = -y - z
            out[1] = x + self.a * y
            out[2] = self.b + z * (x - self.c)
            return out

        return runge_kutta(derivative, state, self.dt / self.substeps, steps, self.substeps)
