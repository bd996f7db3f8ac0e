"""Upper bounds on gradients through time: Pascanu's, for every cell whose slopes are bounded, and what runs really do.

Dimensions: T steps, B sequences, S state size, P states of a unit, G gates, N units. Logarithms are natural.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from ...cells.base import spec
from ...network import norms
from ...refuse import arguments, direction, finite
from ...results import Array, Result, short
from ..jacobians.jacobians_in_order import in_order
from ..public import of_networks
from .slopes import SlopeBounds, slope_bounds


@dataclass(frozen=True, repr=False)
class GradientBound(Result):
    """‖∂s_t/∂s_k‖ ≤ ‖M^(t−k)‖ for every input and every time, M the norms of the blocks of the one-step Jacobian.

    Fields:
        block_norms: (P, P) bounds on ‖∂s'_i/∂s_j‖; (1, 1) for a cell with one state.
        gamma: (P, G) largest |∂s'_i/∂r_g| of any unit, for each part g of r, (P, 0) where units hear no others.
        sigma: (G,) σ₁ of the block of W_hh of each gate.
        input_bound: what was assumed of |x|.
        state_bound: what was assumed of the initial state.
        cell: the name of the cell.
    """

    block_norms: Array
    gamma: Array
    sigma: Array
    input_bound: float
    state_bound: float
    cell: str
    picture: ClassVar = "gradient_bound"
    dimensions: ClassVar = {
        "to_part from_part": "block_norms",
        "part gate": "gamma",
        "gate": "sigma",
    }

    @property
    def factor(self) -> float:
        """Upper bound on ‖∂s_t/∂s_{t−1}‖: γσ₁ for a cell without states carried past its non-linearity."""
        return float(np.linalg.norm(self.block_norms, 2))

    @property
    def rate(self) -> float:
        """ln ρ(M), nats per step: no Lyapunov exponent is larger. Below 0 every gradient vanishes."""
        with np.errstate(divide="ignore"):
            return float(np.log(np.abs(np.linalg.eigvals(self.block_norms)).max()))

    @property
    def must_vanish(self) -> bool:
        """Whether the bound proves that gradients vanish; where it does not, they may explode, vanish or neither."""
        return self.rate < 0.0

    def log_bound(self, lag: Any) -> Array:
        """ln of the bound on ‖∂s_t/∂s_{t−lag}‖, in the shape of `lag` (whole numbers of at least 0), nats."""
        lag = np.asarray(lag)
        if lag.dtype.kind not in "iu" or (lag < 0).any():
            raise ValueError("`lag` is a number of time steps back, or an array of them: whole numbers of at least 0")
        arguments.step("lag", lag.max(initial=0), 0, 10**7)
        logs, power, scale = [0.0], np.eye(len(self.block_norms)), 0.0
        for _ in range(int(lag.max(initial=0))):
            power = self.block_norms @ power
            largest = power.max()
            power, scale = (power / largest, scale + np.log(largest)) if largest > 0.0 else (power, -np.inf)
            logs.append(scale + np.log(np.linalg.norm(power, 2)) if largest > 0.0 else -np.inf)
        return np.asarray(np.array(logs)[lag])

    def __repr__(self) -> str:
        verdict = "every gradient vanishes" if self.must_vanish else "proves nothing about vanishing or exploding"
        assumed = f"|input| ≤ {self.input_bound:g}, |initial state| ≤ {self.state_bound:g}"
        weights = [
            f"  γ       {short(self.gamma)} (largest slope; states × gates)",
            f"  σ₁      {short(self.sigma)} (of W_hh, by gate)",
        ]
        return "\n".join(
            [
                f"Gradient bound of a {self.cell} network, {assumed}",
                *(weights if self.sigma.size else ["  no W_hh: the units hear no others"]),
                f"  factor  {self.factor:.6g} per step at most",
                f"  rate    {self.rate:.4g} nats per step at most: {verdict}",
            ]
        )


@of_networks
def pascanu_bound(
    net: Any, *, input_bound: float = np.inf, state_bound: float = 1.0, slopes: SlopeBounds | tuple | None = None
) -> GradientBound:
    """Upper bound on the gradient between any two times, from the largest singular value of W_hh and the cell's slopes.

        ‖∂s_t/∂s_k‖ ≤ (γ σ₁)^(t−k)                                           tanh, relu, linear: γ = 1; sigmoid: γ = 1/4
        ‖∂s_t/∂s_k‖ ≤ (|1−δ| + |δ| σ₁)^(t−k)                                 leaky_tanh, rate
        ‖∂s_t/∂s_k‖ ≤ ‖M^(t−k)‖,   M_ij = max|∂s'_i/∂s_j| + ‖∂s'_i/∂r W‖ |∂e/∂s_j|  gru, lstm, slopes=

    where the middle norm is at most Σ_g γ_ig σ₁(W_g) and at most √(Σ_g γ_ig²) σ₁(W_hh); the smaller is taken. Spectral
    norms of the full state (h and c), so σ₁ < 1/γ suffices for gradients to vanish, σ₁ > 1/γ is necessary to explode;
    both are far from tight.

    net : a network of one layer and one direction, whose units send one signal, or hear no others. input_bound : the
    largest |x| of any input; used by gates only. state_bound : the largest |s| of any initial state. slopes : of your
    own cell, if its class has no `slope_bounds`.
    For a GRU γ is known without an input bound, but the bound then exceeds 1 always, as the update gate may come to 1
    and keep everything. For an LSTM there is none without an input bound: c may grow for ever; ValueError says so.
    With one, the ranges of all gates are worked out unit by unit. Returns a `GradientBound`, true up to rounding;
    .rate in nats per time step.
    ValueError too for several layers, two directions, several signals and stages, weights that are not finite, and a
    cell whose γ is unknown.

    Source: Pascanu, Mikolov & Bengio, ICML 2013, section 2.1; for gates the same argument with the blocks' norms.

    >>> import throughtime as tt
    >>> net = tt.Network("sigmoid", 1, 2, bias=False)
    >>> net.parameters["weight_hh_l0"][...] = [[0.0, 3.0], [2.0, 0.0]]
    >>> bound = pascanu_bound(net)  # σ₁ = 3, γ = 1/4
    >>> round(bound.factor, 12), bound.log_bound([0, 10]).round(3) + 0.0
    (0.75, array([ 0.   , -2.877]))
    """
    direction.one_way(net, "A bound of the gradient from one state to another")
    if net.num_layers > 1:
        raise ValueError(
            f"the network has {net.num_layers} layers, but the bound is that of one recurrent layer: build one network "
            "for each layer from its weights, or measure the stack with gradient_products(run)"
        )
    for name, value in (("input_bound", input_bound), ("state_bound", state_bound)):
        if not isinstance(value, (int, float, np.integer, np.floating)) or not value >= 0:
            raise ValueError(
                f"`{name}` is {arguments.kind(value)}, but it must be a number of at least 0: a largest modulus"
            )
    if not np.isfinite(state_bound):
        raise ValueError("`state_bound` must be finite: the largest modulus of any entry of the initial state")
    record, w_hh = spec(net.cell), net.layer(0)[1].astype(np.float64)
    if record.stage or record.signals > 1:
        what = "send in a stage of the step" if record.stage else f"send {record.signals} signals"
        raise ValueError(
            f"the units of the cell {record.name} {what}, and the bound is that of one product with W_hh: compare "
            "along one run with gradient_products(run)"
        )
    finite.trajectory(net, None, None, "A bound on gradients")
    found = slope_bounds(net, float(input_bound), float(state_bound)) if slopes is None else SlopeBounds(*slopes)
    P, R, N = record.states, record.parts, net.hidden_size
    gamma, carried, sent = (
        _bound(name, value, shape, N)
        for name, value, shape in zip(found._fields, found, [(P, R), (P, P), (P,)], strict=True)
    )
    sigma = np.array([np.linalg.norm(block, 2) for block in w_hh.reshape(R, N, N)])
    through = gamma.max(axis=2) @ sigma
    if R:
        together = norms.of_rows(np.moveaxis(gamma, 1, 2)).max(axis=1) * np.linalg.norm(w_hh, 2)
        through = np.minimum(through, together)
    return GradientBound(
        block_norms=carried.max(axis=2) + through[:, None] * sent.max(axis=1),
        gamma=gamma.max(axis=2),
        sigma=sigma,
        input_bound=float(input_bound),
        state_bound=float(state_bound),
        cell=record.name,
    )


def _bound(name: str, value: Any, shape: tuple[int, ...], units: int) -> Array:
    found = np.asarray(value, dtype=np.float64)
    if found.shape == shape:
        found = found[..., None]
    if found.shape not in ((*shape, 1), (*shape, units)) or not (found >= 0.0).all():
        raise ValueError(
            f"`slopes.{name}` has shape {np.shape(value)}, but for this cell it is {shape}, or {(*shape, units)} "
            "unit by unit: upper bounds on moduli, none of them negative or NaN"
        )
    return found


@dataclass(frozen=True, repr=False)
class GradientProducts(Result):
    """‖∂s_stop/∂s_{stop−lag}‖ along one run, and the two bounds above it.

    Fields:
        log_norm: (K+1, B) ln‖J_stop … J_{stop−lag+1}‖, lag 0 … K, nats.
        log_step_bound: (K+1, B) Σ ln‖J_t‖ of the same steps: a bound for any cell, along this run.
        log_bound: (K+1,) ln of Pascanu's bound; NaN where none was asked for.
        stop: the state that the products end at.
    """

    log_norm: Array
    log_step_bound: Array
    log_bound: Array
    stop: int
    picture: ClassVar = "gradient_products"
    dimensions: ClassVar = {
        "lag sequence": "log_norm log_step_bound",
        "lag": "log_bound",
    }

    @property
    def holds(self) -> bool:
        """Whether measured ≤ product of the steps' norms ≤ Pascanu's, up to rounding (1e-9 nats a step); NaN passes."""
        slack = 1e-9 * np.arange(1, len(self.log_norm) + 1)[:, None]
        chain = (self.log_norm, self.log_step_bound, self.log_bound[:, None])
        return not any((low > high + slack).any() for low, high in pairwise(chain))

    def __repr__(self) -> str:
        K, B = len(self.log_norm) - 1, self.log_norm.shape[1]
        curves = (self.log_norm[:, :1], self.log_step_bound[:, :1], self.log_bound)
        rows = zip(("measured", "steps' norms", "Pascanu"), curves, strict=True)
        lines = [f"  {name:<13}{short(value)} nats" for name, value in rows if not np.isnan(value).all()]
        head = f"Gradient products back from state {self.stop}: lags 0 to {K}, {B} sequence(s), the first:"
        return "\n".join([head, *lines])


@of_networks
def gradient_products(
    run: Any, *, stop: int | None = None, max_lag: int | None = None, bound: GradientBound | None = None
) -> GradientProducts:
    """The norm of the Jacobian between two states of a run, for every lag, beside its upper bounds.

        ln‖J_stop … J_{k+1}‖ ≤ Σ_t ln‖J_t‖ ≤ ln‖M^(stop−k)‖

    The first inequality holds for any cell, layers and input: it is the bound to use where γ is not known. run : from
    `net.unroll`. stop : the later state, T by default, of a shorter sequence its own end, from which its lags count;
    NaN beyond its start. max_lag : all by default. bound : from `pascanu_bound`, if any.
    Returns a `GradientProducts`; no window over- or underflows. Cost: one S×S product and two norms for each step.
    ValueError for times outside the run and bidirectional networks. NaN in the run gives NaN for that sequence.

    >>> import throughtime as tt
    >>> net = tt.Network("tanh", 2, 8, seed=0)
    >>> run = net.unroll(np.ones((30, 2)))
    >>> gradient_products(run, bound=pascanu_bound(net)).holds
    True
    """
    direction.one_way(run.network, "A product of Jacobians")
    last = len(run.states) - 1
    stop = last if stop is None else arguments.step("stop", stop, 0, last)
    lags = stop if max_lag is None else arguments.step("max_lag", max_lag, 0, stop)
    batch, size = run.states.shape[1:]
    ends = np.full(batch, stop) if run.lengths is None else np.minimum(np.asarray(run.lengths), stop)
    log_norm, log_steps = np.full((lags + 1, batch), np.nan), np.full((lags + 1, batch), np.nan)
    log_norm[0], log_steps[0] = 0.0, 0.0
    product, scale, total = np.tile(np.eye(size), (batch, 1, 1)), np.zeros(batch), np.zeros(batch)
    first = max(0, int(ends.min(initial=stop)) - lags)
    with np.errstate(divide="ignore", invalid="ignore"):
        for t, jacobian in zip(range(stop, first, -1), in_order(run, first, stop, back=True), strict=True):
            jacobian = jacobian.astype(np.float64)
            here = np.flatnonzero((t <= ends) & (ends - t < lags))  # a sequence's lags count from its own end
            jacobian, lag = jacobian[here], ends[here] - t + 1
            total[here] += np.log(_norms(jacobian))
            log_steps[lag, here] = total[here]
            moved = product[here] @ jacobian
            largest = np.abs(moved).max(axis=(1, 2), initial=0.0)
            product[here] = moved / np.where(largest > 0.0, largest, 1.0)[:, None, None]
            scale[here] += np.log(largest)
            log_norm[lag, here] = np.where(
                np.isneginf(scale[here]), -np.inf, scale[here] + np.log(_norms(product[here]))
            )
    given = np.full(lags + 1, np.nan) if bound is None else bound.log_bound(np.arange(lags + 1))
    return GradientProducts(log_norm=log_norm, log_step_bound=log_steps, log_bound=given, stop=stop)


def _norms(matrices: Array) -> Array:
    """Spectral norms; NaN for a matrix that is not finite, which an SVD would refuse for the whole batch."""
    usable = np.isfinite(matrices).all(axis=(1, 2))
    norms = np.full(len(matrices), np.nan)
    norms[usable] = np.linalg.norm(matrices[usable], 2, axis=(1, 2))
    return norms
