"""Mean-field theory of any cell by a self-consistent population: units that feel Gaussian fields instead of each other.

With independent W_k ~ N(0, g_k²/N) per gate k, the recurrent part r_k(t) = W_k e(t) of N → ∞ units is a Gaussian
process, the same for every unit, whose covariance is that of what the units send:

    ⟨r_k(t) r_k(t')⟩ = g_k² C(t, t'),   C(t, t') = E e(t) e(t'),   and for perturbations   ⟨W_k δe(t) · W_k δe(t')⟩
    likewise

M units stand for E. The fields are products with random matrices that have the singular values of M → ∞ and cost
M log M (see `fields`); what M units leave of a finite size is that of a network of M units. Nothing in this asks for
one signal, or for units that are alike: several signals, and those of a stage, bring independent fields that add up,
and what is fixed in a unit and independent of the weights, its parameters and its own values of fields, is averaged
over with the rest, E being over units.

Dimensions: M units, G gates, S states of a unit, T steps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...cells.base import spec
from ...cells.by_name import cell_of
from ...cells.versions import in_force
from ...init.per_gate import per_gate
from ...progress import progress_bar
from ...refuse import arguments
from ...refuse.called import name_of
from ...results import Array
from ..public import public
from ..statistics import batch_means_error
from .population_result import PopulationMeanField
from .population_units import Units
from .quadrature import deviations, finite_numbers
from .stationarity import ENOUGH, autocovariance, correlation_time, drift

FIRST, LONGEST = 200, 25_600  # counted steps that are tried first, and at most, where the number is left open
LARGEST = 1e36  # mean squares up to which a trajectory can be kept in float32
KEPT = 20_000_000  # numbers of the trajectory that are kept for correlations


@public
def population(
    cell: Any,
    gain: Any = 1.0,
    *,
    bias_mean: Any = 0.0,
    bias: Any = 0.0,
    noise: Any = 0.0,
    tied: bool = True,
    units: int = 2000,
    steps: int | None = None,
    warmup: int | None = None,
    seed: Any = 0,
    progress: bool = False,
) -> PopulationMeanField:
    """Mean-field theory of a random network of any cell: stationary variance, χ of the state Jacobian, timescale.

        s' = forward(x, r, s),   δs' = ∂s'/∂s δs + Σ_k ∂s'/∂r_k W_k δe,   χ = lim (E|δs(T)|² / E|δs(0)|²)^(1/T)

    cell : a name or an instance of a cell, also one of your own. The rest but the last six: one number, or one per
    gate in the order of the gates, or a dict by their names. gain : g_k ≥ 0 of W_hh; of a cell with signals of its own
    one per part of r that they feed. bias_mean, bias : mean and standard deviation ≥ 0 of the biases of the input part
    (fixed in time). noise : standard deviation ≥ 0 of the input part W_ih x, drawn anew at every step. tied : True: the
    weights are the same at all steps, as in a network. False: drawn anew at every step, the approximation of Chen et
    al. 2018 and Gilboa et al. 2019.
    units : M. steps, warmup : the steps that count, and those before. Left open, the run goes on from 200 counted
    steps, doubled up to 25,600, until it counts 20 correlation times of the slowest of what the units send and their
    states, and no mean drifts any more; a third of all steps is warm-up. Given, they are taken as they are (warmup:
    half of the steps), and `stationary` says whether they were enough. seed : of the population. progress : show a
    bar.

    Cost: G·M·log M per step, for a time that grows with the cell's own: 2000 tanh units take 1 s, `Rate(leak=.02)`,
    which goes on for 10,000 steps, 10 s.

    Returns a `PopulationMeanField`: .q (E e², what the units send), .state_variance (one per state), .chi, .chi_error
    (from M units and T steps; standard error), .timescale −1/ln χ, .jacobian_moment ⟨σ²⟩ = tr J Jᵀ / S,
    .autocorrelation, .stationary with its .reason. For cells whose state is forgotten at once (tanh) and for untied
    weights of one state, ⟨σ²⟩ and χ agree. λ_1 of M units is that of a network of M (see `lyapunov_error`).

    It covers one layer of any cell whose units hear each other: also with a stage, with several signals, with
    parameters of its units, which start as `Network` starts them, and with fields that are arrays, whose values are
    dealt out evenly to the M units. TypeError or ValueError for what has no meaning, for a network or several layers,
    and for units that hear no others: there is no field that they make.

    Source: Sompolinsky, Crisanti & Sommers, PRL 61, 1988 (dynamic mean field); Can, Krishnamurthy & Schwab, MSML 2020
    (gates).

    >>> theory = population("tanh", 2.0, units=1000, steps=60)
    >>> bool(abs(theory.lyapunov - 0.1547) < 0.05)
    True
    """
    cell = _covered(cell)
    gates, parts = spec(cell).gate_names, spec(cell).part_names
    gains = deviations("gain", _by_name("gain", gain, parts, 1.0, cell), len(parts))
    spreads, drives = (
        deviations(n, _by_name(n, v, gates, 0.0, cell), len(gates)) for n, v in (("bias", bias), ("noise", noise))
    )
    means = finite_numbers("bias_mean", _by_name("bias_mean", bias_mean, gates, 0.0, cell), len(gates))
    tied, progress = arguments.flag("tied", tied), arguments.flag("progress", progress)
    units = arguments.step("units", units, 1, 10**7)
    counted = FIRST if steps is None else arguments.step("steps", steps, 1, 10**7)
    if warmup is not None:
        warmup = arguments.step("warmup", warmup, 0, 10**7)
    before = counted // 2 if warmup is None else warmup
    run = _Population(cell, gains, means, spreads, drives, tied, units, arguments.generator(seed))
    with progress_bar(progress, before + counted, "mean field") as bar:
        run.go_on(before + counted, bar)
        time = _slowest(run, before)
        while steps is None and _unsettled(run, before, time) and counted < LONGEST and not run.overflown:
            counted *= 2
            before = counted // 2 if warmup is None else warmup
            run.go_on(before + counted, bar)
            time = _slowest(run, before)
    reason = _unsettled(run, before, time)
    return PopulationMeanField(
        cell=repr(cell), gain=gains, bias_mean=means, bias=spreads, noise=drives, tied=tied, units=units,
        **_summary(run, before, time), stationary=not reason, reason=reason,
    )  # fmt: skip


@public
def lstm(gain: Any = 1.0, *, forget_bias: float = 0.0, **options: Any) -> PopulationMeanField:
    """`population` of the LSTM with one gain for its four gates and a bias `forget_bias` of the forget gate.

    gain : one number. forget_bias : of the mean of its bias. options, result and errors (TypeError, ValueError) : as of
    `population`.

    >>> bool(lstm(0.5, forget_bias=3.0, units=200, steps=60).timescale > lstm(0.5, units=200, steps=60).timescale)
    True
    """
    return population("lstm", gain, bias_mean=(0.0, forget_bias, 0.0, 0.0), **options)


@public
def gru(gain: Any = 1.0, *, update_bias: float = 0.0, **options: Any) -> PopulationMeanField:
    """`population` of the GRU with one gain for its three gates and a bias `update_bias` of the update gate z.

    gain : one number. update_bias : of the mean of z's bias. options, result and errors (TypeError, ValueError) : as of
    `population`.

    >>> bool(gru(0.5, update_bias=3.0, units=200, steps=60).timescale > gru(0.5, units=200, steps=60).timescale)
    True
    """
    return population("gru", gain, bias_mean=(0.0, update_bias, 0.0), **options)


def _covered(cell: Any) -> Any:
    """The cell in the version now in force; TypeError or ValueError for what no equation here is about."""
    if hasattr(cell, "unroll") and name_of(cell):
        raise TypeError(
            f"`cell` is {name_of(cell)}; the theory is of all networks with random weights: pass a cell, `net.cell`, "
            "and the gain of its weights. The exponents of this one are `lyapunov_spectrum(net, x)`."
        )
    if isinstance(cell, list):
        raise TypeError(
            "`cell` is a list; the theory is of one layer: pass one cell. The exponents of several layers are "
            "`lyapunov_spectrum(tt.Network([…], …), x)`."
        )
    found = in_force(cell_of(cell))
    if not spec(found).recurrent:
        raise ValueError(
            f"The units of the `cell` {found!r} hear no others, so that there is no field that they make: each has "
            "exponents of its own, `lyapunov_spectrum(tt.Network(cell, …), x)`."
        )
    return found


def _by_name(name: str, given: Any, gates: Sequence[str], usual: float, cell: Any) -> Any:
    """Numbers by names of gates in the order of the gates; anything else as it is."""
    return per_gate(name, given, usual).of_all([gates], repr(cell))[0] if isinstance(given, Mapping) else given


class _Population:
    """M units, a perturbation of them, and what is measured on the way."""

    def __init__(
        self, cell: Any, gains: Array, means: Array, spreads: Array, drives: Array, tied: bool, units: int, rng: Any
    ) -> None:
        gates, states = spec(cell).gates, spec(cell).states
        self.drives, self.rng = drives, rng
        self.offsets = means[:, None] + spreads[:, None] * rng.standard_normal((gates, units))
        self.units = Units(cell, gains, units, tied, rng)
        self.s = tuple(rng.uniform(-1.0, 1.0, units) for _ in range(states))
        self.v = rng.standard_normal((states, units))
        self.v /= np.sqrt((self.v**2).mean())
        self.power = float(np.mean(self.s[0] ** 2))  # of the start: what has fallen far below it is quiet
        self.rates: list[float] = []  # growth of the perturbation, nats
        self.means: list[list[float]] = []  # E e², one-step moment, and the variance of every state
        self.trajectory: list[Array] = []  # e and the states (1 + S, units kept), float32
        self.kept, self.overflown = units, False
        self.units.begin(rng)

    def go_on(self, steps: int, bar: Any) -> None:
        """Up to `steps` steps since the beginning; less if the numbers overflow."""
        bar.total = steps
        bar.refresh()
        with np.errstate(all="ignore"):  # what grows beyond its numbers is noticed below
            while len(self.rates) < steps and not self.overflown:
                self._step()
                bar.update()

    def _step(self) -> None:
        e, after, v, moment = self.units.step(self._input, self.s, self.v)
        size = np.sqrt((v**2).mean())
        means = [(e**2).mean(), moment, *(part.var() for part in after)]
        if not (np.isfinite(size) and max(means) < LARGEST):
            self.overflown = True
            return
        self.rates.append(float(np.log(size)))
        self.means.append(means)
        self.trajectory.append(np.stack([e, *after])[:, : self.kept].astype(np.float32))
        if len(self.trajectory) * self.trajectory[0].size > KEPT and self.kept > 1:
            self.kept //= 2
            self.trajectory = [part[:, : self.kept].copy() for part in self.trajectory]
        self.s, self.v = after, v / size if size > 0.0 else v

    def _input(self) -> Array:
        """The input part (G, M) of a step."""
        return self.offsets + self.drives[:, None] * self.rng.standard_normal(self.offsets.shape)


def _summary(run: _Population, warmup: int, time: float) -> dict[str, Any]:
    """What is measured after the warm-up; after two thirds of all steps that there were, if numbers overflowed."""
    warmup = min(warmup, 2 * len(run.rates) // 3)
    rates, means = np.array(run.rates[warmup:]), np.array(run.means[warmup:])
    if not len(rates):
        means, rates = np.full((1, 2 + len(run.s)), np.nan), np.full(1, np.nan)
    steps = len(run.rates) - warmup
    lags = min(steps // 2, max(100, int(5.0 * time)) if time > 0.0 else 100)
    sent = np.stack([part[0] for part in run.trajectory[warmup:]]) if steps else np.full((1, 1), np.nan)
    return {
        "steps": steps,
        "warmup": warmup,
        "q": float(means[:, 0].mean()),
        "state_variance": means[:, 2:].mean(axis=0),
        "lyapunov": float(rates.mean()),
        "lyapunov_error": float(batch_means_error(rates)),
        "jacobian_moment": float(means[:, 1].mean()),
        "autocorrelation": autocovariance(sent, lags),
        "correlation_time": time,
    }


def _slowest(run: _Population, warmup: int) -> float:
    """The longest correlation time of what the units send and of their states."""
    series = run.trajectory[warmup:]
    if len(series) < 4:
        return float("nan")
    each = [np.stack([part[i] for part in series]) for i in range(len(series[0]))]
    return max(correlation_time(part, run.power) for part in each)


def _unsettled(run: _Population, warmup: int, time: float) -> str:
    """Why the averages after the warm-up are none of a stationary state; empty if they are."""
    if run.overflown:
        return f"the population grew without bound, beyond 1e18 after {len(run.rates)} steps"
    steps = len(run.rates) - warmup
    if np.isnan(time):
        return f"{steps} counted steps are too few to tell; pass a larger `steps`"
    if not steps >= ENOUGH * time:
        return (
            f"{steps} counted steps are {steps / time:.2g} correlation times of {time:.3g} steps or more, and "
            f"{ENOUGH:g} are needed; pass a larger `steps`"
        )
    if warmup < 0.25 * ENOUGH * time:
        return f"a warm-up of {warmup} steps is short beside a correlation time of {time:.3g} steps; pass a larger one"
    rates, means = np.array(run.rates[warmup:]), np.array(run.means[warmup:])
    named = [("q", means[:, 0]), *((f"the variance of state {j}", means[:, 2 + j]) for j in range(len(run.s)))]
    for what, series in named:
        if drift(series, 2e-3 * series.mean() + 1e-6 * run.power):
            return f"{what} still drifts over the {steps} counted steps; pass a larger `warmup` and `steps`"
    finite = np.isfinite(rates).all()
    if finite and drift(rates, 1e-3 * abs(rates.mean()) + 1e-7):
        return f"the growth rate still drifts over the {steps} counted steps; pass a larger `warmup` and `steps`"
    return ""
