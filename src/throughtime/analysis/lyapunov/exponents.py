"""The Lyapunov spectrum as a result: exponents, their errors, their history, and what follows from them.

Dimensions: B sequences (axis absent for a single one), S state size, k exponents, n blocks of time.
"""

from dataclasses import dataclass
from textwrap import wrap
from typing import Any, ClassVar

import numpy as np

from ...results import Array, Result, short
from ..public import public

ROUNDING = 8.0 * float(np.finfo(np.float64).eps)  # of an exponent of 0, nats per step: one QR leaves as much


@public
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
        below = np.flatnonzero(sums < -ROUNDING * np.arange(1, row.size + 1))
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

    Shapes are for one sequence of n blocks of time; a batch of B > 1 sequences has B in front of k (in `history` and
    `block_rates` between n and k), and B values of `sum_rule_residual` and `mean_log_det`. With `lengths` also `steps`,
    `discarded`, `warmup` and `interval` are (B,), and `times` (n, B), with NaN behind the end of a sequence.

    exponents : (k,) descending; −inf for directions that a singular Jacobian has lost, NaN beyond NaN.
    standard_error : (k,) by 20 batch means, of the average over time along this trajectory. NaN where the run is too
        short to tell (8 blocks) and for −inf.
    history : (n, k) the estimate after each block: how the exponents settled.
    block_rates : (n, k) growth rate inside each block alone.
    times : (n,) counted steps at the end of each block.
    steps : steps that count.
    discarded : steps of the frame before these, in which it aligns.
    warmup : steps of the state before the frame started, in which it comes to its attractor.
    interval : steps from one orthonormalisation to the next; of the automatic ones the one used most.
    state_size : S, the number of exponents that there are.
    sum_rule_residual : |Σ λ − mean ln|det J||, nats per step, the determinants by another way; NaN unless k = S.
    mean_log_det : mean ln|det J| of the steps that count; NaN unless k = S.
    converged : True claims that the finite exponents are right to a few of their standard errors, and these known and
        small. It needs: all numbers finite; no more rounding than 1e-6 nats per step (float32: 1e-3), by the length of
        a given interval and, for k = S, by the residual per exponent; at least 100 steps in 20 blocks; no trend in 20
        batch means (analysis.statistics.trends; a false alarm in about one run of a hundred); every standard error
        below .03 nats per step or a tenth of its exponent; and, unless `state` was given, a trajectory that does not
        rest on an unstable fixed point. It cannot tell whether another start leads to another attractor.
    reason : why `converged` is what it is, in words.
    precision : of the frame's arithmetic, "float64" or "float32".

    How long to run: standard errors fall as 1/√steps, so a first run of 1000 steps tells how many are needed: four
    times as many for half the error. Count in time scales of the network: warmup and discard of several of its slowest
    (a rate unit's is 1/leak steps, an LSTM's 1/(1 − f)), and at least a hundred of them that count.
    """

    exponents: Array
    standard_error: Array
    history: Array
    block_rates: Array
    times: Array
    steps: int
    discarded: int
    warmup: int
    interval: int
    state_size: int
    sum_rule_residual: Array | float
    mean_log_det: Array | float
    converged: bool
    reason: str
    precision: str = "float64"
    picture: ClassVar = "lyapunov_spectrum"
    dimensions: ClassVar = {
        "sequence exponent": "exponents standard_error",
        "block sequence exponent": "history block_rates",
        "block sequence": "times",
        "sequence": "sum_rule_residual mean_log_det entropy_rate entropy_rate_saturated kaplan_yorke_dimension "
        "kaplan_yorke_saturated steps discarded warmup interval",
    }

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
        bound by Ruelle's. If `.entropy_rate_saturated` only a lower bound of that sum.
        """
        total = np.where(self.exponents > 0.0, self.exponents, np.where(np.isnan(self.exponents), np.nan, 0.0)).sum(
            axis=-1
        )
        return total if total.ndim else float(total)

    @property
    def entropy_rate_saturated(self) -> Any:
        """True where all of fewer than S exponents are positive, so that more may be."""
        found = (self.exponents[..., -1] > 0.0) & (self.exponents.shape[-1] < self.state_size)
        return found if np.ndim(found) else bool(found)

    def __repr__(self) -> str:
        shape = self.exponents.shape
        batch = f", {shape[0]} sequences (first one shown)" if len(shape) > 1 else ""
        first = (lambda values: np.asarray(values)[0]) if len(shape) > 1 else (lambda values: values)
        one = lambda number: np.ravel(number)[0]  # noqa: E731
        before = f"{one(self.warmup)} (state) and {one(self.discarded)} (frame)"
        dimension, flag = kaplan_yorke_dimension(first(self.exponents), return_saturated=True)
        more = first(self.entropy_rate_saturated)
        lines = [
            f"Lyapunov spectrum: {shape[-1]} of {self.state_size} exponents{batch}, nats per step",
            f"  exponents         {short(first(self.exponents))}",
            f"  standard error    {short(first(self.standard_error), digits=2)}",
            f"  steps             {one(self.steps)} counted, after {before}",
            f"  interval          {one(self.interval)} steps between orthonormalisations, in {self.precision}",
            f"  Kaplan–Yorke dim. {'≥ ' if flag else ''}{dimension:.5g}",
            f"  entropy rate      {'≥ ' if more else ''}{float(first(self.entropy_rate)):.5g} nats per step",
            f"  sum-rule residual {float(first(self.sum_rule_residual)):.2g}",
            *wrap(f"  converged         {self.converged}: {self.reason}", 112, subsequent_indent=" " * 20),
        ]
        return "\n".join(lines)
