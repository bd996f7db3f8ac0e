"""Mean-field theory of the random relu network h' = max(W h + b + ξ, 0): everything in closed form.

W_ij ~ N(0, g²/N), biases b_i ~ N(0, bias²) fixed in time, noise ξ_i(t) ~ N(0, noise²) drawn anew; the slope d is 0 or
1, each for half of the units. Nats per step.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...results import Array
from ..public import public
from .growth import IndependentSlopes
from .quadrature import deviation, fractions

CRITICAL_GAIN = float(np.sqrt(2.0))


@public
def relu(gain: float, noise: float = 0.0, bias: float = 0.0) -> "ReluMeanField":
    """Mean-field theory of the relu network h' = max(W h + b + ξ, 0).

        v = g²q + noise² + bias²,   q = v/2 = (noise² + bias²)/(2 − g²),   χ = g²/2,   λ_1 = ½ ln χ

    gain : g ≥ 0, the standard deviation of W_ij times √N; noise, bias : standard deviations ≥ 0.
    Returns `ReluMeanField`: .q (mean square activity; inf where it grows without bound, g ≥ √2 with noise or biases, g
    > √2 without), .chi, .lyapunov, .spectrum(x), .critical_gain √2 whatever noise and biases. At g = √2 without either,
    every q keeps itself: .q is 0. TypeError for what is no number, ValueError for a negative, non-finite or huge one.
    Source: He et al., ICCV 2015 (the gain √2); Poole et al., NeurIPS 2016.

    >>> theory = relu(1.0, noise=0.5)
    >>> theory.q, theory.chi, round(theory.lyapunov, 6)
    (0.25, 0.5, -0.346574)
    """
    return ReluMeanField(deviation("gain", gain), deviation("noise", noise), deviation("bias", bias))


@dataclass(frozen=True, repr=False)
class ReluMeanField(IndependentSlopes):
    """The mean field of a relu network; made by `relu`.

    Fields:
        gain, noise, bias: what was asked for.
        q: E h²; inf where it grows without bound.
        chi, lyapunov: χ = g²/2, and λ_1 = ½ ln χ in nats per time step.
        kappa: E d⁴/(E d²)² = 2.
        correlation_length, timescale: 1/|ln χ| and −1/ln χ, time steps; inf at χ = 1, and timescale for χ ≥ 1.
        critical_gain: √2.
    """

    gain: float
    noise: float
    bias: float
    kappa = 2.0  # E d⁴ / (E d²)²
    critical_gain = CRITICAL_GAIN
    picture: ClassVar = "theory_curve"

    @property
    def q(self) -> float:
        """E h², (noise² + bias²)/(2 − g²); inf if it grows without bound."""
        offset = self.noise**2 + self.bias**2
        if offset == 0.0:
            return float("inf") if self.gain > CRITICAL_GAIN else 0.0
        return offset / (2.0 - self.gain**2) if self.gain < CRITICAL_GAIN else float("inf")

    @property
    def chi(self) -> float:
        """χ = g²/2: the factor by which the mean square of a perturbation grows per step."""
        return 0.5 * self.gain**2

    def spectrum(self, x: Any) -> Any:
        """λ at the fraction x of exponents from the top, ½ ln(g²(½ − x)), nats per step; −inf for x ≥ ½, the silent
        units.

        ValueError for x outside [0, 1].

        >>> relu(2.0, noise=1.0).spectrum([0.0, 0.25, 0.75])
        array([0.34657359, 0.        ,       -inf])
        """
        rank = fractions(x)
        with np.errstate(divide="ignore"):
            value = 0.5 * np.log(self.gain**2 * np.maximum(0.5 - rank, 0.0))
        return value if rank.ndim else float(value)

    def arrays(self) -> dict[str, Array]:
        """Parameters and predictions as arrays."""
        names = ("gain", "noise", "bias", "q", "chi", "lyapunov", "correlation_length", "critical_gain")
        return {name: np.asarray(getattr(self, name)) for name in names}

    def plot(self, ax: Any = None, kind: str | None = None, **options: Any) -> Any:
        """Draw the spectrum against the fraction of exponents: `throughtime.plots.theory_curve`."""
        return super().plot(ax, kind, **{"upto": 0.5, **options})

    def __repr__(self) -> str:
        return (
            f"Mean field of h' = max(W h + b + ξ, 0): gain {self.gain:g}, noise {self.noise:g}, bias {self.bias:g}\n"
            f"  q {self.q:.6g}   χ {self.chi:.6g}   λ_1 = ½ ln χ {self.lyapunov:.6g} nats per step   "
            f"correlation length {self.correlation_length:.4g} steps   critical gain √2"
        )
