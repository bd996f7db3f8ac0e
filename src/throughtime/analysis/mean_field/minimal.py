"""Mean-field theory of the minimal RNN, h' = u h + (1 − u) x with one gate u = σ(W h + V x + b), by quadrature.

Notation: W_ij ~ N(0, σ_w²/N), V_ij ~ N(0, σ_v²/N), b = μ_b; x_i ~ N(0, R) drawn anew at every step; E the average over
the pre-activation e ~ N(μ_b, σ_w²Q + σ_v²R). Gates of different steps are taken as independent, as if the weights were
drawn anew; `population` keeps the weights. Source: Chen, Pennington & Schoenholz, ICML 2018.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from ...results import Array
from ..public import public
from .growth import Growth
from .quadrature import crossing, deviation, gaussian_rule, number


@public
def minimal_rnn(gain: float, input_gain: float = 1.0, power: float = 1.0, bias: float = 0.0) -> "MinimalRnnMeanField":
    """Mean-field theory of the minimal RNN h' = u h + (1 − u) x, u = σ(W h + V x + b).

        Q = R E(1−u)² / (1 − E u²),   χ = E u² + σ_w² (Q + R) E σ'(e)²

    gain : σ_w ≥ 0; input_gain : σ_v ≥ 0; power : R > 0, the mean square of the inputs x_i; bias : μ_b, of the gate.
    Returns `MinimalRnnMeanField`: .q (Q), .chi, .lyapunov ½ ln χ, .timescale −1/ln χ in steps. TypeError for what
    is no number, ValueError for one out of range. Source: Chen, Pennington & Schoenholz, ICML 2018.

    >>> theory = minimal_rnn(6.8913, input_gain=1.39, power=0.46)
    >>> round(theory.q, 4), round(theory.chi, 5)
    (0.3181, 1.0)
    """
    power, bias = number("power", power, "the mean square of the inputs, > 0"), number("bias", bias)
    if not power > 0.0:
        raise ValueError(f"power={power!r}, but the mean square of the inputs is a finite number > 0")
    return MinimalRnnMeanField(deviation("gain", gain), deviation("input_gain", input_gain), power, bias)


@public
def minimal_rnn_critical_gain(input_gain: float = 1.0, power: float = 1.0, bias: float = 0.0) -> float:
    """The gain σ_w at which χ = 1.

    input_gain, power, bias : as of `minimal_rnn`. ValueError where there is none.

    >>> round(minimal_rnn_critical_gain(input_gain=1.39, power=0.46), 4)  # the paper prints 6.88
    6.8913
    """
    return crossing(lambda gain: minimal_rnn(gain, input_gain, power, bias).chi, 0.01)


@dataclass(frozen=True, repr=False)
class MinimalRnnMeanField(Growth):
    """The mean field of a minimal RNN; made by `minimal_rnn`.

    Fields:
        gain, input_gain, power, bias: what was asked for.
        q: Q = E h².
        chi, lyapunov: χ, and λ_1 = ½ ln χ in nats per time step.
        correlation_length, timescale: 1/|ln χ| and −1/ln χ, time steps; inf at χ = 1, and timescale for χ ≥ 1.
    """

    gain: float
    input_gain: float
    power: float
    bias: float
    picture: ClassVar = "critical_curve"

    def _gate(self, q: float) -> tuple[Array, Array, Array]:
        """e where u = σ(e) can be averaged, on both sides of its mean, and the weights."""
        std = float(np.sqrt(self.gain**2 * q + self.input_gain**2 * self.power))
        z, weights = gaussian_rule(std * (1.0 + abs(self.bias)))
        e = self.bias + std * np.concatenate([-z, z])
        return expit(e), expit(-e), 0.5 * np.concatenate([weights, weights])

    @cached_property
    def q(self) -> float:
        """Q = E h²."""

        def excess(q: float) -> float:
            u, closed, weights = self._gate(q)
            forgotten = weights @ (closed * (1.0 + u))  # 1 − E u²; 0 where every gate is open to rounding
            return (self.power * (weights @ closed**2) / forgotten if forgotten > 0.0 else 0.0) - q

        return float(brentq(excess, 0.0, self.power, xtol=1e-15))  # (1−u)² ≤ 1 − u², so Q ≤ R

    @cached_property
    def chi(self) -> float:
        """χ = E u² + σ_w² (Q + R) E σ'(e)²: growth of a mean square perturbation per step, ⟨σ²⟩ of the Jacobian."""
        u, closed, weights = self._gate(self.q)
        return float(weights @ u**2 + self.gain**2 * (self.q + self.power) * (weights @ (u * closed) ** 2))

    def arrays(self) -> dict[str, Array]:
        """Parameters and predictions as arrays."""
        names = ("gain", "input_gain", "power", "bias", "q", "chi", "lyapunov", "timescale")
        return {name: np.asarray(getattr(self, name)) for name in names}

    def plot(self, ax: Any = None, kind: str | None = None, **options: Any) -> Any:
        """Draw χ against the gain, with this network on it: `throughtime.plots.critical_curve`."""
        gains = np.linspace(0.0, max(2.0 * self.gain, 1.0), 60)
        curve = [minimal_rnn(g, self.input_gain, self.power, self.bias).chi for g in gains]
        return super().plot(ax, kind, **{"gains": gains, "chi": np.array(curve), **options})

    def __repr__(self) -> str:
        return (
            f"Mean field of the minimal RNN: gain {self.gain:g}, input gain {self.input_gain:g}, power {self.power:g}, "
            f"bias {self.bias:g}\n"
            f"  Q {self.q:.6g}   χ {self.chi:.6g}   λ_1 = ½ ln χ {self.lyapunov:.6g} nats per step   "
            f"timescale {self.timescale:.4g} steps"
        )
