"""The Mackey–Glass equation: a delay makes one variable chaotic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..refuse import words
from .batch import Array
from .flow import Flow


@words.explain
@dataclass(frozen=True)
class MackeyGlass(Flow):
    """The Mackey–Glass equation: one variable with a delay, forecast one sample ahead.

        x'(t) = β x(t−τ)/(1 + x(t−τ)ⁿ) − γ x(t)

    x (T, B, 1) and targets (T, B, 1), values dt apart; `trajectory` gives values alone. The state is all of x over a
    time τ, so a network has to remember. Lyapunov exponent .0052 nats per unit of time (.00517 ± .00002, measured here
    by twins over 3 million units at two steps; .0056 and .007 are in print). Source: Mackey & Glass 1977, doi
    10.1126/science.267326; spectra: Farmer 1982, doi 10.1016/0167-2789(82)90042-2.

    dt: between two samples, units of time.
    length: T, samples.
    standardised: whether x has mean 0 and standard deviation 1 (those of `mean` and `std`).
    tau, power: τ, units of time, and n.
    production, decay: β and γ, per unit of time.
    substeps: steps h = dt/substeps of the integration, of which a whole number is τ: the decay exactly, the delayed
        term by Simpson's rule, between steps by the cubic through four of them; of fourth order. Ten of .1 are wrong by
        2e-9 standard deviations after a sample.

    baseline: 1, the variance of the target; `persistence` is the loss of forecasting no change. optimum: 0. ValueError
    for dt ≤ 0 or τ that is no whole number of steps.

        >>> import throughtime as tt
        >>> tt.tasks.MackeyGlass().batch(8, seed=0).x.shape
        (100, 8, 1)
    """

    dt: float = 1.0
    length: int = 100
    standardised: bool = True
    tau: float = 17.0
    power: float = 10.0
    production: float = 0.2
    decay: float = 0.1
    substeps: int = 10

    dimensions: ClassVar[int] = 1
    transient = 1000.0
    settle = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        count = self.tau * self.substeps / self.dt
        if not (round(min(count, 1e6)) >= 2 and abs(count - round(min(count, 1e6))) < 1e-9 * count and count < 1e5):
            raise ValueError(
                f"`tau`={self.tau:g} is {count:g} steps of dt/substeps = {self.dt / self.substeps:g}; expected a whole "
                "number of them, at least 2 and fewer than 100 000."
            )

    @property
    def _delay(self) -> int:
        return round(self.tau * self.substeps / self.dt)

    def _known(self) -> tuple[float, ...]:
        return (0.0052,)

    def _start(self, size: int, rng: np.random.Generator) -> Array:
        return np.repeat(rng.uniform(0.6, 1.2, (size, 1)), self._delay + 2, axis=1)

    def _numbers(self) -> int:
        return self.substeps + self._delay

    def _advance(self, state: Array, steps: int) -> tuple[Array, Array]:
        """A whole state holds x from t − τ − h to t. What the delay brings in is known τ ahead: so many steps at once,
        of which only the decay is left to do one by one."""
        n, total, h = self._delay, steps * self.substeps, self.dt / self.substeps
        stays, half = math.exp(-self.decay * h), math.exp(-self.decay * h / 2)
        x = np.empty((n + 2 + total, len(state)))
        x[: n + 2] = state.T
        for done in range(0, total, n - 1):
            count = min(n - 1, total - done)
            late = x[done : done + count + 3]
            between = (9 * (late[1:-2] + late[2:-1]) - late[:-3] - late[3:]) / 16
            at, mid = self._produced(late[1:-1]), self._produced(between)
            gained = (h / 6) * (stays * at[:-1] + 4 * half * mid + at[1:])
            for j in range(done + n + 2, done + n + 2 + count):
                np.multiply(x[j - 1], stays, out=x[j])
                x[j] += gained[j - done - n - 2]
        return x[n + 1 + self.substeps :: self.substeps, :, None].copy(), x[-(n + 2) :].T.copy()

    def _produced(self, late: Array) -> Array:
        return self.production * late / (1 + late**self.power)
