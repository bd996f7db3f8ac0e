"""The Lorenz system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..refuse import words
from .batch import Array
from .flow import Flow, runge_kutta


@words.explain
@dataclass(frozen=True)
class Lorenz(Flow):
    """The Lorenz system: convection in three variables, forecast one sample ahead.

        x' = σ(y − x),   y' = x(ρ − z) − y,   z' = xy − βz

    x (T, B, 3) and targets (T, B, 3), states dt apart; `trajectory` gives states alone. Lyapunov exponents (.9056, 0,
    −14.5723) nats per unit of time (Sprott, Chaos and Time-Series Analysis, 2003), so an error doubles every 76.5
    samples of .01. Source: Lorenz 1963, doi 10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2; as a task for recurrent
    networks Mikhaeil, Monfared & Durstewitz 2022, arXiv:2110.07238.

    dt: between two samples, units of time.
    length: T, samples.
    standardised: whether each variable has mean 0 and standard deviation 1 (those of `mean` and `std`).
    sigma, rho, beta: σ, ρ, β, numbers without unit.
    substeps: steps of the fourth-order Runge–Kutta method for each sample. One of .01 is wrong by 2e-7 standard
        deviations after a sample in the mean, by 1e-5 after a unit of time.

    baseline: 1, the variance of the target; `persistence` is the loss of forecasting no change. optimum: 0. ValueError
    for dt ≤ 0, parameters without an attractor, and steps too large to integrate.

        >>> import throughtime as tt
        >>> flow = tt.tasks.Lorenz()
        >>> round(flow.exponent_per_step, 6), round(flow.doubling_steps, 1)
        (0.009056, 76.5)
        >>> flow.batch(32, seed=0).x.shape
        (100, 32, 3)
    """

    dt: float = 0.01
    length: int = 100
    standardised: bool = True
    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8 / 3
    substeps: int = 1

    transient = 30.0
    settle = 1.0

    def _known(self) -> tuple[float, ...]:
        return 0.9056, 0.0, -14.5723

    def _start(self, size: int, rng: np.random.Generator) -> Array:
        return rng.uniform(-10, 10, (size, 3)) + [0, 0, 25]

    def _advance(self, state: Array, steps: int) -> tuple[Array, Array]:
        sigma, rho, beta = self.sigma, self.rho, self.beta

        def derivative(s: Array) -> Array:
            x, y, z = s
            out = np.empty_like(s)
            out[0] = sigma * (y - x)
            out[1] = x * (rho - z) - y
            out[2] = x * y - beta * z
            return out

        return runge_kutta(derivative, state, self.dt / self.substeps, steps, self.substeps)
