"""The Lyapunov spectrum as a result: exponents, their errors, their history, and what follows from them.

Dimensions: B sequences (axis absent for a single one), S state size, k exponents, n blocks of time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays import Array, Result, short


def kaplan_yorke_dimension(exponents: Array, *, return_saturated: bool = False) -> Any:
    """Kaplan–Yorke (Lyapunov) dimension of a spectrum: where the running sum of the exponents crosses zero.

        D = j + (λ_1 + … + λ_j) / |λ_{j+1}|,   j the largest index with λ_1 + … + λ_j ≥ 0

    exponents : (k,) or (B, k), nats per step, in any order. Returns a float or (B,): 0 if all exponents are negative;
    k if the sum never falls below zero, which for a whole spectrum means a volume that does not shrink and for the
    leading exponents only that D ≥ k; `return_saturated=True` returns (D, flag) with the flag set in that case. NaN
    in, NaN out.
    ValueError for an empty spectrum. Source: Kaplan & Yorke 1979; Frederickson et al., J. Differ. Equ. 49, 1983.

    >>> round(kaplan_yorke_dimension([0.1, 0.0, -0.05, -0.2]), 12)
    3.25
    """
    spectrum = np.asarray(exponents, dtype=np.float64)
    if spectrum.ndim == 0 or spectrum.shape[-1] == 0:
        raise ValueError(
            f"`exponents` has shape {spectrum.shape}, but at least one exponent is needed: pass (k,) or (B, k)"
        )
    rows = np.sort(spectrum.reshape(-1, spectrum.shape[-1]), axis=1)[:, ::-1]
    dimension, saturated = np.empty(len(rows)), np.zeros(len(rows), dtype=bool)
    for b, row in enumerate(rows):
        if np.isnan(row).any():
            dimension[b] = np.nan
            continue
        sums = np.cumsum(row)
        below = np.flatnonzero(sums < 0.0)
        j = int(below[0]) if below.size else row.size
        saturated[b] = j == row.size
        dimension[b] = j if saturated[b] or j == 0 else j + sums[j - 1] / -row[j]
    shape = spectrum.shape[:-1]
    value, flag = dimension.reshape(shape), saturated.reshape(shape)
    if not shape:
        value, flag = float(value), bool(flag)  # type: ignore[assignment]
    return (value, flag) if return_saturated else value


@dataclass(frozen=True, repr=False)
class LyapunovSpectrum(Result):
    """Lyapunov exponents in nats per time step, with what is needed to judge them.

    Shapes are for one sequence; a batch of B > 1 sequences has B in front of k (in `history`: between n and k).
    """

    exponents: Array  # (k,) descending
    standard_error: Array  # (k,) batch means over blocks; NaN where the run is too short to tell
    history: Array  # (n, k) the estimate after each block: how the exponents settled
    block_rates: Array  # (n, k) growth rate inside each block alone
    times: Array  # (n,) counted steps at the end of each block
    steps: int  # steps that count
    discarded: int  # steps at the start of the frame that do not: its own transient
    warmup: int  # steps of the state before the frame started
    interval: int  # steps from one orthonormalisation to the next
    state_size: int  # S
    sum_rule_residual: Array | float  # |Σ λ − mean ln|det J||, nats per step; NaN unless k = S
    mean_log_det: Array | float  # mean ln|det J| of the steps that count; NaN unless k = S
    converged: bool
    reason: str  # why `converged` is what it is, in words
    precision: str = "float64"  # of the frame's arithmetic

    @property
    def kaplan_yorke_dimension(self) -> Any:
        """Kaplan–Yorke dimension, float or (B,); if `.kaplan_yorke_saturated`, only a lower bound or a volume that
        does not shrink."""
        return kaplan_yorke_dimension(self.exponents)

    @property
    def kaplan_yorke_saturated(self) -> Any:
        """True where the sum of the exponents found never falls below zero."""
        return kaplan_yorke_dimension(self.exponents, return_saturated=True)[1]

    @property
    def entropy_rate(self) -> Any:
        """Sum of the positive exponents, nats per step, float or (B,): the entropy rate by Pesin's formula, an upper
        bound by Ruelle's.

        With k < S it covers the exponents that were asked for.
        """
        total = np.where(self.exponents > 0.0, self.exponents, np.where(np.isnan(self.exponents), np.nan, 0.0)).sum(
            axis=-1
        )
        return total if total.ndim else float(total)

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draw the spectrum with its error bars: `throughtime.plots.lyapunov_spectrum`."""
        return self._draw("lyapunov_spectrum", ax, options)

    def __repr__(self) -> str:
        shape = self.exponents.shape
        batch = f", {shape[0]} sequences (first one shown)" if len(shape) > 1 else ""
        first = (lambda values: np.asarray(values)[0]) if len(shape) > 1 else (lambda values: values)
        dimension, flag = kaplan_yorke_dimension(first(self.exponents), return_saturated=True)
        lines = [
            f"Lyapunov spectrum: {shape[-1]} of {self.state_size} exponents{batch}, nats per step",
            f"  exponents         {short(first(self.exponents))}",
            f"  standard error    {short(first(self.standard_error), digits=2)}",
            f"  steps             {self.steps} counted, after {self.warmup} (state) and {self.discarded} (frame)",
            f"  interval          {self.interval} steps between orthonormalisations, in {self.precision}",
            f"  Kaplan–Yorke dim. {'≥ ' if flag else ''}{dimension:.5g}",
            f"  entropy rate      {float(first(self.entropy_rate)):.5g} nats per step",
            f"  sum-rule residual {float(first(self.sum_rule_residual)):.2g}",
            f"  converged         {self.converged}: {self.reason}",
        ]
        return "\n".join(lines)
