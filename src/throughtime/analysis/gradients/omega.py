"""Pascanu's Ω: whether every step of the way back keeps the norm of the gradient, and how to change the weights so that
it does.

Dimensions: T steps, B sequences, S state size, C the counted steps of all sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...cells.base import spec
from ...cells.second_derivatives import change_of_slopes
from ...network.gradients import Gradients
from ...network.norms import of_rows
from ...refuse import arguments, checks
from ...refuse.called import called
from ...results import Array, short
from ..jacobians.products_gradient import gradient_of_products, through_time
from ..public import of_networks
from .lag_sweep import checked


@called("an Ω")
@dataclass(frozen=True, repr=False)
class PascanuOmega:
    """Ω of a run and its gradient.

    Fields:
        value: Ω, without unit.
        parameters: dict as run.network.parameters, ∂Ω/∂θ.
        ratio: (T, B) ‖J_tᵀ g_t‖/‖g_t‖ of the steps t = 1 … T, NaN where a step does not count.

    >>> import throughtime as tt
    >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((20, 3, 2)))
    >>> found = tt.analysis.pascanu_omega(run, np.ones((20, 3, 8)))
    >>> found.ratio.shape, found.parameters["weight_hh_l0"].shape
    ((20, 3), (8, 8))
    """

    value: float
    parameters: dict[str, Array]
    ratio: Array
    dimensions: ClassVar = {"step sequence": "ratio"}

    def arrays(self) -> dict[str, Array]:
        """Value and ratio, ready for `np.savez(path, **found.arrays())`; the gradients are in `parameters`."""
        return {"value": np.asarray(self.value), "ratio": self.ratio}

    def __repr__(self) -> str:
        counted = self.ratio[np.isfinite(self.ratio)]
        return f"Ω = {self.value:.4g}; norm after a step back / before: {short(counted)} ({counted.size} steps)"


@of_networks
def pascanu_omega(run: Any, grad_output: Any, *, full: bool = False, smallest: float = 1e-10) -> PascanuOmega:
    """Pascanu's regulariser of vanishing gradients: how far each step back is from keeping the gradient's norm.

        Ω = 1/C Σ_{t,b} (‖J_tᵀ g_t‖/‖g_t‖ − 1)²,   g_t = dL/ds_t,   J_t = ∂s_t/∂s_{t−1}

    over the C steps and sequences with ‖g_t‖ ≥ smallest. Its gradient is that of the paper: by the weights in J_t
    alone, all g_t, states and slopes of units held fixed; of one layer by W_hh, of several by the W_ih between them
    too. It costs little, and is no gradient of anything. With full=True it is the exact one with nothing but dL/doutput
    held fixed: through the slopes, the states before them, and all g_t. Then Ω falls along it.

    run: of any cell, of one direction, on the CPU, from `net.unroll(x)`. grad_output: dL/doutput, the shape of
    run.output; or what `run.backprop(…)` gave, so that it is not made again (for full=True of units that send their
    state). smallest: norm of a gradient below which it counts as none.

    Deviations: the paper sums over t, its code takes this mean, and there the squares of the norms; both are about
    the pre-activations of a tanh network, here about the full state of any. Ω is 0 where nothing counts. ValueError for
    a bidirectional network, NaN in the run, a gradient that does not fit.

    Returns a `PascanuOmega`: .value, .parameters, .ratio.

    Source: Pascanu, Mikolov & Bengio, ICML 2013, arXiv:1211.5063, equation 9.

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 1, bias=False, seed=0)
    >>> net.parameters["weight_hh_l0"][...] = 0.5
    >>> found = pascanu_omega(net.unroll(np.zeros((9, 1))), np.ones((9, 1)))              # Ω = (w − 1)²
    >>> round(found.value, 12), found.parameters["weight_hh_l0"].round(12)
    (0.25, array([[-1.]]))
    """
    smallest, full = arguments.real("smallest", smallest, low=0.0), arguments.flag("full", full)
    given = None
    if isinstance(grad_output, Gradients):
        checked(run, np.zeros_like(run.output), "Ω")
        if grad_output.states is None:
            raise ValueError("`grad_output` has no dL/ds_t; ask for them, `run.backprop(grad_output)` without options.")
        g = np.asarray(grad_output.states)
        if g.shape != run.states.shape:
            raise ValueError(f"`grad_output` has dL/ds of shape {g.shape}; this run has states {run.states.shape}.")
    else:
        checked(run, grad_output, "Ω")
        given = checks.output_gradient(grad_output, run)
        g = run.backprop(grad_output).states
    if full and given is None and spec(run.cells[-1]).emits:
        raise ValueError("`full` needs dL/doutput, for units that send something else than their state.")
    return omega_of(run, g, smallest, given if full else None, full)


def omega_of(run: Any, g: Array, smallest: float, given: Array | None, full: bool) -> PascanuOmega:
    """Ω from all dL/ds_t, g (T+1, B, S), and dL/doutput (T, B, N) if the full gradient is asked for."""
    T, (B, S), dtype = run.steps, run.states.shape[1:], run.network.dtype
    lengths = np.full(B, T) if run.lengths is None else np.asarray(run.lengths)
    v = g[1:].astype(np.float64, copy=False)
    single = run.single_steps()
    y = single.vjp(g[1:].reshape(T * B, S), 0, 1).reshape(T, B, S).astype(np.float64, copy=False)
    size, left = of_rows(v), of_rows(y)
    counts = (np.arange(T)[:, None] < lengths) & (size >= smallest) & (size > 0.0)
    count = int(counts.sum())
    ratio = np.divide(left, size, out=np.full((T, B), np.nan), where=counts)
    off = np.where(counts, np.nan_to_num(ratio) - 1.0, 0.0)
    value = float((off * off).sum() / max(count, 1))
    pull = np.where(counts & (left > 0.0), 2.0 * off / max(count, 1), 0.0)  # 0 where the gradient is lost altogether
    z = y * np.divide(pull, size * left, out=np.zeros((T, B)), where=pull != 0.0)[:, :, None]  # dΩ/dy
    if not full:
        _, parameters = gradient_of_products(run, v[:, :, None], z[:, :, None], 0, slopes_held=True)
        return PascanuOmega(value, parameters, ratio)
    direct = -v * np.divide(2.0 * off * left, count * size**3, out=np.zeros((T, B)), where=counts)[:, :, None]  # dΩ/dv
    gamma, tangents = np.zeros((B, S)), np.empty((T, B, S))
    enters = np.zeros((T + 1, B, S))
    for t in range(T):
        tangents[t] = z[t] + gamma
        gamma = direct[t] + run.jvp(tangents[t].astype(dtype), t, t + 1)
        if given is not None:
            enters[t + 1] = _by_what_is_sent(run, t + 1, gamma, np.where((t < lengths)[:, None], given[t], 0.0))
    states, own = gradient_of_products(run, v[:, :, None], tangents[:, :, None], 0)
    enters[:-1] += states
    _, through = through_time(run, enters)
    return PascanuOmega(value, {name: own[name] + through[name] for name in own}, ratio)


def _by_what_is_sent(run: Any, t: int, gamma: Array, given: Array) -> Array:
    """The gradient by states[t] of γ · (∂output/∂s)ᵀ dL/doutput, (B, S): 0 where units send their state."""
    found, own = np.zeros(gamma.shape), run.columns(run.network.num_layers - 1)
    N = run.network.hidden_sizes[-1]
    places = [slice(at, at + N) for at in range(own.start, own.stop, N)]
    s = tuple(run.states[t][:, at].astype(np.float64) for at in places)
    change = change_of_slopes(run.cells[-1], s, tuple(gamma[:, at] * given for at in places))
    for at, value in zip(places, change, strict=True):
        found[:, at] = value
    return found
