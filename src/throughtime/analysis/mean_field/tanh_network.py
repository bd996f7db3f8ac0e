"""Mean-field theory of random tanh networks: what N → ∞ predicts for the measured spectra.

Notation: h' = tanh(W h + b + ξ), W_ij ~ N(0, g²/N), bias b_i ~ N(0, bias²) fixed in time, noise ξ_i(t) ~ N(0, noise²)
drawn anew at every unit and step; u = √v z the pre-activation, z a standard Gaussian, E its average; d = tanh'(u) =
sech²u. Nats per step.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import brentq

from ...results import Array
from ..public import public
from .growth import IndependentSlopes
from .quadrature import NODES, WEIGHTS, crossing, deviation, fractions, gaussian_rule


@public
def tanh(gain: float, noise: float = 0.0, bias: float = 0.0) -> "TanhMeanField":
    """Mean-field theory of the tanh network h' = tanh(W h + b + ξ).

        v = g²q + noise² + bias²,   q = E tanh²(√v z),   χ = g² E sech⁴(√v z),   λ_1 = ½ ln χ

    gain : g ≥ 0, the standard deviation of W_ij times √N (also the spectral radius of W). noise, bias : standard
    deviations ≥ 0.
    Returns `TanhMeanField`: .q (mean square activity, the larger solution), .chi (growth of the mean square of a
    perturbation per step), .lyapunov (λ_1, nats per step), .kappa, .spectrum(x), .finite_size(n) and more. TypeError
    for what is no number, ValueError for a negative, a non-finite or a huge one.

    Integrals by Gauss–Legendre panels no wider than the slope of tanh: 201-point Gauss–Hermite is off by 2 % at g = 5.
    Source: Molgedey, Schuchhardt & Schuster, PRL 69, 1992 (noise); Poole et al., NeurIPS 2016 and Schoenholz et al.,
    ICLR 2017 (bias); Engelken, Wolf & Abbott, Phys. Rev. Res. 5, 043044, 2023 (spectra).

    >>> theory = tanh(2.0)
    >>> round(theory.q, 6), round(theory.chi, 6), round(theory.lyapunov, 6)
    (0.530368, 1.362673, 0.154724)
    """
    gain, noise, bias = deviation("gain", gain), deviation("noise", noise), deviation("bias", bias)
    return TanhMeanField(gain=gain, noise=noise, bias=bias, q=_activity(gain, noise**2 + bias**2))


@public
def critical_gain(noise: float = 0.0, bias: float = 0.0) -> float:
    """The gain at the edge of chaos of the tanh network, where χ = 1: the critical line over noise and bias.

    noise, bias : standard deviations ≥ 0, as for `tanh`; only noise² + bias² matters. It grows with both: a fresh input
    suppresses chaos. TypeError for what is no number, ValueError for a negative, a non-finite or a huge one.
    Source: Molgedey, Schuchhardt & Schuster, PRL 69, 1992; Schoenholz et al., ICLR 2017 (σ_w² = 1.760955 at σ_b² =
    .05).

    >>> round(critical_gain(), 6), round(critical_gain(noise=0.5), 6), round(critical_gain(bias=0.05**0.5) ** 2, 6)
    (1.0, 1.549674, 1.760955)
    """
    noise, bias = deviation("noise", noise), deviation("bias", bias)
    if noise == bias == 0.0:
        return 1.0
    return crossing(lambda gain: tanh(gain, noise, bias).chi, 1.0)


@dataclass(frozen=True, repr=False)
class TanhMeanField(IndependentSlopes):
    """The mean field of a tanh network; made by `tanh`. Per-unit quantities are divided by N.

    Fields:
        gain, noise, bias: what was asked for.
        q: E h², the mean square activity, the larger solution; 0 in the quiet phase without noise and biases.
        rule: (slopes d at the nodes z ≥ 0, weights), for averages E f(d).
        chi, lyapunov: χ = g² E d², and λ_1 = ½ ln χ in nats per time step.
        kappa: E d⁴/(E d²)².
        correlation_length, timescale: 1/|ln χ| and −1/ln χ, time steps; inf at χ = 1, and timescale for χ ≥ 1.
        overlap, overlap_length: the correlation c* that two states settle at, and the time steps of its approach.
        mean_exponent: the mean of all exponents, nats per time step.
        fraction_positive: the fraction of positive exponents.
        entropy_rate: the sum of the positive exponents per unit, nats per time step.
        kaplan_yorke_dimension: D/N.
    """

    gain: float
    noise: float
    bias: float
    q: float
    rule: tuple[Array, Array] = field(init=False, compare=False)
    picture: ClassVar = "theory_curve"

    def __post_init__(self) -> None:
        std = np.sqrt(self.gain**2 * self.q + self.noise**2 + self.bias**2)
        z, weights = gaussian_rule(std)
        e = np.exp(-2.0 * np.abs(std * z))
        object.__setattr__(self, "rule", (4.0 * e / (1.0 + e) ** 2, weights))

    def _mean_slope(self, power: int) -> float:
        d, weights = self.rule
        return float(weights @ d**power)

    @cached_property
    def chi(self) -> float:
        """χ = g² E d²: the factor by which the mean square of a perturbation, or of a gradient, grows per step."""
        return self.gain**2 * self._mean_slope(2)

    @cached_property
    def overlap(self) -> float:
        """c*: the correlation that two states with different beginnings and the same noise, biases and weights settle
        at; 1 in the quiet phase, where they meet."""
        offset = self.noise**2 + self.bias**2
        if self.chi <= 1.0:
            return 1.0
        if offset == 0.0:
            return 0.0
        variance = self.gain**2 * self.q + offset

        def excess(c: float) -> float:  # the root c = 1 is divided out
            return ((self.gain**2 * self._pair(c, np.tanh) + offset) / variance - c) / (1.0 - c)

        high = 1.0 - 1e-6
        return high if excess(high) > 0.0 else float(brentq(excess, 0.0, high, xtol=1e-13))

    @property
    def overlap_length(self) -> float:
        """ξ_c = −1 / ln(g² E d(u₁) d(u₂)) at the overlap c*: steps over which the overlap of two states comes nearer to
        c* by a factor e, Schoenholz et al.'s correlation length; `correlation_length` in the quiet phase."""
        if self.chi <= 1.0:
            return self.correlation_length
        rate = -np.log(
            self.gain**2 * self._pair(self.overlap, lambda u: 1.0 / np.cosh(np.minimum(np.abs(u), 300.0)) ** 2)
        )
        return float(1.0 / rate) if rate > 0.0 else float("inf")

    def _pair(self, c: float, f: Any) -> float:
        """E f(u₁) f(u₂) for two pre-activations with correlation c ≥ 0; f odd or even, so that half of z₀ is enough."""
        std = np.sqrt(self.gain**2 * self.q + self.noise**2 + self.bias**2)
        z, weights = gaussian_rule(std)
        shared, own = std * np.sqrt(c) * z[:, None], std * np.sqrt(1.0 - c) * z
        inner = 0.5 * (f(shared + own) + f(shared - own)) @ weights
        return float(weights @ inner**2)

    @cached_property
    def kappa(self) -> float:
        """κ = E d⁴ / (E d²)²: how unequal the slopes are; ⟨σ⁴⟩/⟨σ²⟩² of the Jacobian's singular values is 1 + κ."""
        return self._mean_slope(4) / self._mean_slope(2) ** 2

    def spectrum(self, x: Any) -> Any:
        """The whole spectrum in closed form: λ at the fraction x of exponents counted from the top, nats per step.

            r = e^λ(x) solves  1 = E[g²d² / (r² + x g²d²)]

        x : numbers in [0, 1], any shape. x → 0 gives ½ ln χ, x = 1 gives −inf. For exponent i of N take x = (i − ½)/N.
        The same law is that of the moduli of the eigenvalues of one Jacobian. ValueError for x outside [0, 1].

        >>> tanh(2.0).spectrum([0.25, 0.5, 0.75]).round(4)
        array([-0.1667, -0.6893, -1.7001])
        """
        rank = fractions(x)
        flat = rank.ravel()
        d, weights = self.rule
        square = (self.gain * d) ** 2
        square, weights = square[square > 0.0], weights[square > 0.0]  # slopes beyond the numbers add nothing
        high = np.full(flat.shape, 2.0 * self.lyapunov)  # ln r²: the root lies below ln χ
        if not np.isfinite(high).all():
            return np.full(rank.shape, -np.inf) if rank.ndim else -np.inf
        low = high - 1.0

        def excess(log_square: Array) -> Array:
            return (square / (np.exp(log_square)[:, None] + flat[:, None] * square)) @ weights - 1.0

        for _ in range(12):  # down to ln χ − 4095, where x = 1 to rounding
            low = np.where(excess(low) < 0.0, high - 2.0 * (high - low), low)
        bottom = excess(low) < 0.0
        for _ in range(64):
            middle = 0.5 * (low + high)
            above = excess(middle) > 0.0
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        value = np.where(bottom | (flat == 1.0), -np.inf, 0.25 * (low + high)).reshape(rank.shape)
        return value if rank.ndim else float(value)

    @cached_property
    def mean_exponent(self) -> float:
        """Mean of all exponents, ln g − ½ + E ln d = lim 1/N ln|det J|, nats per step."""
        std = np.sqrt(self.gain**2 * self.q + self.noise**2 + self.bias**2)
        z, weights = gaussian_rule(std)
        u = np.abs(std * z)
        with np.errstate(divide="ignore"):
            return float(np.log(self.gain) - 0.5 + weights @ (np.log(4.0) - 2.0 * u - 2.0 * np.log1p(np.exp(-2.0 * u))))

    @cached_property
    def fraction_positive(self) -> float:
        """Fraction of positive exponents."""
        if self.chi <= 1.0:
            return 0.0
        d, weights = self.rule
        square = (self.gain * d) ** 2
        return float(brentq(lambda x: weights @ (square / (1.0 + x * square)) - 1.0, 0.0, 1.0, xtol=1e-14))

    def _sum_to(self, x: float) -> float:
        """∫_0^x λ dx, per unit."""
        return float(0.5 * x * WEIGHTS @ self.spectrum(0.5 * x * (NODES + 1.0)))

    @cached_property
    def entropy_rate(self) -> float:
        """Sum of the positive exponents per unit, nats per step."""
        if self.chi <= 1.0:
            return 0.0
        return self._sum_to(self.fraction_positive)

    @cached_property
    def kaplan_yorke_dimension(self) -> float:
        """Kaplan–Yorke dimension per unit, D/N."""
        if self.chi <= 1.0:
            return 0.0
        return float(brentq(self._sum_to, self.fraction_positive, 1.0 - 1e-9, xtol=1e-10))

    def arrays(self) -> dict[str, Array]:
        """Parameters and predictions as arrays."""
        names = (
            "q",
            "chi",
            "lyapunov",
            "kappa",
            "mean_exponent",
            "fraction_positive",
            "entropy_rate",
            "kaplan_yorke_dimension",
        )
        return {name: np.asarray(getattr(self, name)) for name in ("gain", "noise", "bias", *names)}

    def __repr__(self) -> str:
        return "\n".join(
            [
                f"Mean field of h' = tanh(W h + b + ξ): gain {self.gain:g}, noise {self.noise:g}, bias {self.bias:g}",
                f"  q {self.q:.6g}   χ {self.chi:.6g}   λ_1 = ½ ln χ "
                f"{self.lyapunov:.6g} nats per step   κ {self.kappa:.6g}",
                f"  per unit: positive exponents {self.fraction_positive:.5g}, entropy {self.entropy_rate:.6g} "
                f"nats per step, Kaplan–Yorke dimension {self.kaplan_yorke_dimension:.5g}",
            ]
        )


def _activity(g: float, offset: float) -> float:
    """The larger solution of q = E tanh²(√(g²q + offset) z)."""

    def excess(q: float) -> float:
        std = np.sqrt(g * g * q + offset)
        z, weights = gaussian_rule(std)
        return float(weights @ np.tanh(std * z) ** 2) / q - 1.0

    if offset == 0.0:
        if g <= 1.0:
            return 0.0
        low = 0.1 * (g * g - 1.0) / g**4  # q ≈ (g²−1)/(2g⁴) just above g = 1
    else:
        low = 0.1 * min(offset, 1.0) / (1.0 + 2.0 * offset)
    if excess(low) <= 0.0:  # closer to the edge than rounding resolves
        return low
    return float(brentq(excess, low, 1.0, xtol=1e-16, rtol=1e-14))
