"""What `population` gives: the stationary state of a random network of any cell, and how perturbations of it grow."""

from dataclasses import dataclass
from textwrap import wrap
from typing import ClassVar

import numpy as np

from ...results import Array, Result, short


@dataclass(frozen=True, repr=False)
class PopulationMeanField(Result):
    """The mean field of a random network of any cell; made by `population`, `lstm` and `gru`.

    Fields:
        cell: the cell, as it prints itself.
        gain, bias_mean, bias, noise: (G,) what was asked for, one number per gate; the gain of a cell with signals of
            its own one per part of r that they feed.
        tied: whether the weights are the same at all steps.
        units, steps, warmup: M, the steps that were counted, and those before.
        q: E e², the mean square of what the units send.
        state_variance: (S,) the variance over the units of every state of the unit (h; h and c of an LSTM).
        lyapunov: λ_1 = ½ ln χ, nats per time step.
        lyapunov_error: its standard error, by batch means over the counted steps; NaN for fewer than eight. It knows
            of the fluctuations in time, and not of how far M units are from infinitely many: of order 1/M where the
            slopes change from step to step (chaos, noise), and about .3/√M, .01 at M = 1000, where they do not (fixed
            points, linear units): there λ_1 is the edge of the spectrum of one matrix, and the scatter over seeds is
            the error to take.
        jacobian_moment: ⟨σ²⟩ = tr J Jᵀ / S of the Jacobian of one step.
        autocorrelation: (lags + 1,) E e(t) e(t + lag) for lag = 0, 1, …, time steps.
        correlation_time: of the slowest of what the units send and their states, integrated, time steps; NaN for fewer
            than four steps.
        stationary: whether the averages are those of a stationary state: at least 20 correlation times were counted,
            after a warm-up of at least 5, and neither q, nor a variance, nor the growth rate drifts.
        reason: why not, in words; empty if it is.
        chi, chi_error, timescale: χ = exp(2 λ_1), its standard error, and −1/ln χ in time steps.
    """

    cell: str
    gain: Array
    bias_mean: Array
    bias: Array
    noise: Array
    tied: bool
    units: int
    steps: int
    warmup: int
    q: float
    state_variance: Array
    lyapunov: float
    lyapunov_error: float
    jacobian_moment: float
    autocorrelation: Array
    correlation_time: float
    stationary: bool
    reason: str
    picture: ClassVar = "autocorrelation"

    @property
    def chi(self) -> float:
        """χ: growth of the mean square of a perturbation, or of a gradient, per step."""
        return float(np.exp(2.0 * self.lyapunov))

    @property
    def chi_error(self) -> float:
        """Standard error of χ."""
        return 2.0 * self.chi * self.lyapunov_error

    @property
    def timescale(self) -> float:
        """−1/ln χ, steps over which the mean square of a gradient falls by a factor e; inf for χ ≥ 1."""
        return -0.5 / self.lyapunov if self.lyapunov < 0.0 else float("inf")

    def arrays(self) -> dict[str, Array]:
        """Parameters and predictions as arrays."""
        more = ("chi", "chi_error", "timescale")
        return super().arrays() | {name: np.asarray(getattr(self, name)) for name in more}

    def __repr__(self) -> str:
        weights = "the same weights at all steps" if self.tied else "weights drawn anew at every step"
        lines = [
            f"Mean field of {self.cell}: gain {short(self.gain)}, {weights}; {self.units} units, {self.steps} steps",
            f"  bias mean {short(self.bias_mean)}   spread {short(self.bias)}   noise {short(self.noise)}",
            f"  q {self.q:.5g}   variance of the state {short(self.state_variance)}   ⟨σ²⟩ of one step "
            f"{self.jacobian_moment:.5g}   correlation time {self.correlation_time:.3g} steps",
            f"  χ {self.chi:.5g} ± {self.chi_error:.2g}   λ_1 = ½ ln χ {self.lyapunov:.5g} ± {self.lyapunov_error:.2g} "
            f"nats per step   timescale {self.timescale:.4g} steps",
        ]
        if not self.stationary:
            lines += wrap(f"not stationary: {self.reason}", 116, initial_indent="  ", subsequent_indent="    ")
        return "\n".join(lines)
