"""What every mean field says of perturbations once it knows χ."""

from abc import abstractmethod

import numpy as np

from ...refuse import arguments
from ...results import Result


class Growth(Result):
    """The rate that belongs to χ, by which the mean square of a perturbation, or of a gradient, grows per step."""

    @property
    @abstractmethod
    def chi(self) -> float:
        """χ, the factor per step."""

    @property
    def lyapunov(self) -> float:
        """λ_1 = ½ ln χ of an infinite network, nats per step."""
        with np.errstate(divide="ignore"):
            return float(0.5 * np.log(self.chi))

    @property
    def correlation_length(self) -> float:
        """ξ = 1/|ln χ|: steps over which the mean square of a perturbation changes by a factor e; inf at χ = 1."""
        rate = abs(2.0 * self.lyapunov)
        return 1.0 / rate if rate > 1e-15 else float("inf")

    @property
    def timescale(self) -> float:
        """−1/ln χ, steps over which the mean square of a gradient falls by a factor e; inf for χ ≥ 1."""
        return self.correlation_length if self.lyapunov < 0.0 else float("inf")


class IndependentSlopes(Growth):
    """Finite networks whose slopes d are drawn anew at every step: by noise, or by chaos."""

    @property
    @abstractmethod
    def kappa(self) -> float:
        """κ = E d⁴/(E d²)², how unequal the slopes are."""

    def finite_size(self, n: int) -> float:
        """λ_1 of a network of n units, ½ ln χ − (3κ−1)/(4n), nats per step."""
        n = arguments.step("n", n, 1, 10**12)
        return self.lyapunov - (3.0 * self.kappa - 1.0) / (4.0 * n)

    def step_std(self, n: int) -> float:
        """Standard deviation of the growth in one step of a network of n units, ½ √((3κ−1)/n), nats."""
        n = arguments.step("n", n, 1, 10**12)
        return float(0.5 * np.sqrt((3.0 * self.kappa - 1.0) / n))
