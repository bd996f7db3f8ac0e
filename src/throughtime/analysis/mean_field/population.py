"""Mean-field theory of any cell by a self-consistent population: units that feel Gaussian fields instead of each other.

With independent W_k ~ N(0, g_k²/N) per gate k, the recurrent part r_k(t) = W_k e(t) of N → ∞ units is a Gaussian
process, the same for every unit, whose covariance is that of what the units send:

    ⟨r_k(t) r_k(t')⟩ = g_k² C(t, t'),   C(t, t') = E e(t) e(t'),   and for perturbations   ⟨W_k δe(t) · W_k δe(t')⟩
    likewise

M units stand for E. Each field is drawn given the earlier ones: e(t)/√M is written in an orthonormal basis of all that
was sent before, e = √M Σ_j a_j q_j, and r_k = g_k Σ_j a_j ξ_kj with one Gaussian ξ_kj per unit, gate and basis vector.
(These are the laws of a network of M units, at the cost M·T² instead of M²·T, without its matrix.)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import arguments
from ...cells.base import on_arrays, spec, unit_derivatives
from ...cells.versions import in_force
from ..arrays import Array, Result, short
from ..statistics import batch_means_error
from .quadrature import deviation

RANK = 1e-7  # a new direction shorter than this part of its vector is rounding


def population(
    cell: Any,
    gain: Any = 1.0,
    *,
    bias_mean: Any = 0.0,
    bias: Any = 0.0,
    noise: Any = 0.0,
    tied: bool = True,
    units: int = 2000,
    steps: int = 200,
    warmup: int | None = None,
    seed: Any = 0,
) -> "PopulationMeanField":
    """Mean-field theory of a random network of any cell: stationary variance, χ of the state Jacobian, timescale.

        s' = forward(x, r, s),   δs' = ∂s'/∂s δs + Σ_k ∂s'/∂r_k W_k δe,   χ = lim (E|δs(T)|² / E|δs(0)|²)^(1/T)

    cell : a name or an instance of a cell, also one of your own. The rest but the last five: one number, or one per
    gate in the order of the gates. gain : g_k ≥ 0 of W_hh. bias_mean, bias : mean and standard deviation ≥ 0 of the
    biases of the input part (fixed in time). noise : standard deviation ≥ 0 of the input part W_ih x, drawn anew at
    every step. tied : True: the weights are the same at all steps, as in a network. False: drawn anew at every step,
    the approximation of Chen et al. 2018 and Gilboa et al. 2019.
    units, steps, warmup : M, the steps that count, those before (default steps // 2). seed : of the population.

    Returns a `PopulationMeanField`: .q (E e², what the units send), .state_variance (one per state), .chi, .chi_error
    (from M units and T steps; standard error), .timescale −1/ln χ, .jacobian_moment ⟨σ²⟩ = tr J Jᵀ / S,
    .autocorrelation. For cells whose state is forgotten at once (tanh) and for untied weights of one state, ⟨σ²⟩ and χ
    agree. TypeError or ValueError for what has no meaning.

    Source: Sompolinsky, Crisanti & Sommers, PRL 61, 1988 (dynamic mean field); Can, Krishnamurthy & Schwab, MSML 2020
    (gates).

    >>> theory = population("tanh", 2.0, units=1000, steps=60)
    >>> bool(abs(theory.lyapunov - 0.1547) < 0.05)
    True
    """
    cell = in_force(arguments.cell(cell))
    gates = spec(cell).gates
    gains, spreads, drives = (
        _per_gate(n, v, gates, True) for n, v in (("gain", gain), ("bias", bias), ("noise", noise))
    )
    means = _per_gate("bias_mean", bias_mean, gates, False)
    units, steps = arguments.size("units", units), arguments.size("steps", steps)
    warmup = steps // 2 if warmup is None else arguments.step("warmup", warmup, 0, 10**9)
    rng = arguments.generator(seed)
    fields = _Fields(rng, gains, units, steps + warmup if tied else 1)
    offsets = means[:, None] + spreads[:, None] * rng.standard_normal((gates, units))
    s = tuple(rng.uniform(-1.0, 1.0, units) for _ in range(spec(cell).states))
    v = rng.standard_normal((len(s), units))
    v /= np.sqrt((v**2).mean())
    growth, moments, sent, variances = [], [], [], []
    for t in range(warmup + steps):
        if not tied:
            fields.forget()
        e, slope = _emitted(cell, s)
        r, w = fields.of(e), fields.of((slope * v).sum(axis=0))
        x = offsets + drives[:, None] * rng.standard_normal((gates, units))
        s_next, saved = on_arrays(cell.forward, (tuple(x), tuple(r), s))
        own, through = _local(cell, s, s_next, saved)
        v = (own * v).sum(axis=1) + (through * w).sum(axis=1)
        size = np.sqrt((v**2).mean())
        v = v / size if size > 0.0 else v
        if t >= warmup:
            with np.errstate(divide="ignore"):
                growth.append(np.log(size))
            coupled = (gains**2 * (through**2).sum(axis=0).mean(axis=1)).sum() * (slope**2).sum(axis=0).mean()
            moments.append(((own**2).sum(axis=(0, 1)).mean() + coupled) / len(s))
            sent.append(e)
            variances.append([part.var() for part in s_next])
        s = s_next
    rates = np.array(growth)
    error = batch_means_error(rates)
    activity = np.array(sent)
    lags = min(steps // 2, 100)
    correlation = [(activity[: steps - lag] * activity[lag:]).mean() for lag in range(lags + 1)]
    return PopulationMeanField(
        cell=repr(cell), gain=gains, bias_mean=means, bias=spreads, noise=drives,
        tied=bool(tied), units=units, steps=steps,
        q=float((activity**2).mean()), state_variance=np.mean(variances, axis=0), lyapunov=float(rates.mean()),
        lyapunov_error=float(error), jacobian_moment=float(np.mean(moments)), autocorrelation=np.array(correlation),
    )  # fmt: skip


def lstm(gain: float = 1.0, *, forget_bias: float = 0.0, **options: Any) -> "PopulationMeanField":
    """`population` of the LSTM with one gain for its four gates and a bias `forget_bias` of the forget gate.

    >>> bool(lstm(0.5, forget_bias=3.0, units=200, steps=60).timescale > lstm(0.5, units=200, steps=60).timescale)
    True
    """
    return population("lstm", gain, bias_mean=(0.0, forget_bias, 0.0, 0.0), **options)


def gru(gain: float = 1.0, *, update_bias: float = 0.0, **options: Any) -> "PopulationMeanField":
    """`population` of the GRU with one gain for its three gates and a bias `update_bias` of the update gate z.

    >>> bool(gru(0.5, update_bias=3.0, units=200, steps=60).timescale > gru(0.5, units=200, steps=60).timescale)
    True
    """
    return population("gru", gain, bias_mean=(0.0, update_bias, 0.0), **options)


@dataclass(frozen=True, repr=False)
class PopulationMeanField(Result):
    """The mean field of a random network of any cell; made by `population`, `lstm` and `gru`."""

    cell: str
    gain: Array  # (G,)
    bias_mean: Array  # (G,)
    bias: Array  # (G,)
    noise: Array  # (G,)
    tied: bool
    units: int
    steps: int
    q: float  # E e²
    state_variance: Array  # (states,) variance over the units, of h, c
    lyapunov: float  # λ_1 = ½ ln χ, nats per step
    lyapunov_error: float  # standard error, of the finite population and time
    jacobian_moment: float  # ⟨σ²⟩ = tr J Jᵀ / S of one step
    autocorrelation: Array  # (lags,) E e(t) e(t+lag)

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

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draw the autocorrelation of what the units send: `throughtime.plots.autocorrelation`."""
        return self._draw("autocorrelation", ax, options)

    def __repr__(self) -> str:
        weights = "the same weights at all steps" if self.tied else "weights drawn anew at every step"
        return "\n".join(
            [
                f"Mean field of {self.cell}: gain {short(self.gain)}, {weights}; "
                f"{self.units} units, {self.steps} steps",
                f"  bias mean {short(self.bias_mean)}   spread {short(self.bias)}   noise {short(self.noise)}",
                f"  q {self.q:.5g}   variance of the state {short(self.state_variance)}   ⟨σ²⟩ of one step "
                f"{self.jacobian_moment:.5g}",
                f"  χ {self.chi:.5g} ± {self.chi_error:.2g}   λ_1 = ½ ln χ {self.lyapunov:.5g}"
                f" ± {self.lyapunov_error:.2g} "
                f"nats per step   timescale {self.timescale:.4g} steps",
            ]
        )


class _Fields:
    """W_k e for M units and all gates, drawn given all earlier products."""

    def __init__(self, rng: np.random.Generator, gains: Array, units: int, steps: int) -> None:
        self.rng, self.gains, self.units = rng, gains, units
        self.basis = np.empty((2 * steps, units))  # rows: orthonormal directions of what was sent
        self.drawn = np.empty((len(gains), 2 * steps, units))
        self.count = 0

    def forget(self) -> None:
        self.count = 0

    def of(self, e: Array) -> Array:
        """(G, M): g_k W_k e."""
        rest, known = e.copy(), self.basis[: self.count]
        parts = np.zeros(self.count)
        for _ in range(2):  # Gram–Schmidt, twice: orthogonal to rounding
            part = known @ rest
            rest -= part @ known
            parts += part
        length = np.linalg.norm(rest)
        if length > RANK * np.linalg.norm(e) and self.count < len(self.basis):
            self.basis[self.count] = rest / length
            self.drawn[:, self.count] = self.rng.standard_normal((len(self.gains), self.units))
            self.count += 1
            parts = np.append(parts, length)
        scaled = self.gains[:, None] * (parts / np.sqrt(self.units))
        return np.stack([row @ drawn[: self.count] for row, drawn in zip(scaled, self.drawn, strict=True)])


def _emitted(cell: Any, s: tuple) -> tuple[Array, Array]:
    """What the units send (M,), and its slope in each state (S, M)."""
    if spec(cell).emits:
        (e,), slopes = on_arrays(lambda s: ((cell.emit(s),), cell.emit_slope(s)), (s,))
        return np.asarray(e), np.stack([np.broadcast_to(part, s[0].shape) for part in slopes])
    return s[0], np.stack([np.full(s[0].shape, float(j == 0)) for j in range(len(s))])


def _local(cell: Any, s: tuple, s_next: tuple, saved: tuple) -> tuple[Array, Array]:
    """∂s'_i/∂s_j (S, S, M) and ∂s'_i/∂r_k (S, G, M) of every unit."""
    found = list(unit_derivatives(cell, s, s_next, saved))
    own, through = ([[np.broadcast_to(v, s[0].shape) for v in parts[k]] for parts in found] for k in (2, 1))
    return np.array(own), np.array(through)


def _per_gate(name: str, value: Any, gates: int, positive: bool) -> Array:
    given = np.atleast_1d(np.asarray(value, dtype=np.float64)) if not isinstance(value, str) else np.array([np.nan])
    if given.ndim != 1 or given.size not in (1, gates):
        raise ValueError(
            f"`{name}` has shape {given.shape}, but this cell has {gates} gate(s): pass one number, or {gates}"
        )
    for number in given:
        if positive:
            deviation(name, number)
        elif not np.isfinite(number):
            raise ValueError(f"{name}={value!r}, but finite numbers are needed")
    return np.broadcast_to(given, gates).copy()
