"""How the gradient of a loss shrinks or grows on its way back through time.

Dimensions: T steps, B sequences, S state size. Gradients are with respect to the full state (an LSTM's h and c).
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...network import norms
from ...network.gradients import Gradients
from ...refuse import checks, direction, states
from ...results import Array, Result, short
from ..public import of_networks
from ..statistics import slope_with_error
from .costates import logarithms_of_norms


@dataclass(frozen=True, repr=False)
class GradientNorms(Result):
    """Norms of dL/ds_t and what they say about memory. Lag k counts back from the last state that the loss acts on.

    Fields:
        log_norm: (T+1, B) ln‖dL/ds_t‖, −inf where the gradient is exactly zero.
        last: (B,) index of the last state that the loss acts on (lag 0); −1 if none.
        rate: (B,) least-squares slope of ln‖dL/ds_{last−k}‖ against lag k, nats per step; negative = vanishing.
        rate_standard_error: (B,) its standard error, nats per step.
        horizon: (B,) steps back until the norm has fallen or grown by `factor`; inf if it never does.
        factor: by which the norm has to fall or grow for the horizon.
    """

    log_norm: Array
    last: Array
    rate: Array
    rate_standard_error: Array
    horizon: Array
    factor: float
    along_batch: ClassVar = {"log_norm": 1, "last": 0, "rate": 0, "rate_standard_error": 0, "horizon": 0}
    picture: ClassVar = "gradient_norms"
    dimensions: ClassVar = {
        "time sequence": "log_norm",
        "sequence": "last rate rate_standard_error horizon",
    }

    def horizon_for(self, factor: float) -> Array:
        """Smallest lag k with |ln‖dL/ds_{last−k}‖ − ln‖dL/ds_last‖| ≥ |ln factor|, per sequence (B,), in steps.

        inf where that never happens within the run, NaN where there is no gradient at all. factor > 0 and not 1: 1e-3
        and 1e3 ask the same.
        """
        return _horizon(self.log_norm, self.last, factor)

    def __repr__(self) -> str:
        steps, batch = self.log_norm.shape
        return "\n".join(
            [
                f"Gradient norms: {steps - 1} steps, {batch} sequence(s)",
                f"  rate            {short(self.rate)} nats per step of lag (negative = vanishing)",
                f"  standard error  {short(self.rate_standard_error, digits=2)}",
                f"  horizon         {short(self.horizon)} steps for a factor {self.factor:.4g} either way",
                f"  ln‖dL/ds_t‖     {short(self.log_norm[::-1, 0] if batch else self.log_norm)} (first "
                "sequence, backwards in time)",
            ]
        )


@of_networks(on_gpu=True)
def gradient_norms(
    run: Any, grad_output: Any = None, grad_final_state: Any = None, *, factor: float = math.e
) -> GradientNorms:
    """Natural logarithm of the norm of the gradient with respect to the full state, at every time step.

        g_t = dL/ds_t = J_{t+1}ᵀ g_{t+1} + (∂output_t/∂s_t)ᵀ dL/doutput_t,   log_norm[t] = ln‖g_t‖

    run : from `net.unroll`. grad_output : dL/doutput, the shape of run.output. grad_final_state : dL/dfinal_state, as
    run.final_state. At least one of them. In place of both, as the former, what `run.backprop(…)` gave, which then is
    not made again: its norms are those of plain numbers, −inf where they underflowed. factor : of the horizon (e: one
    nat).

    Returns a `GradientNorms`: .log_norm (T+1, B), free of under- and overflow (each sequence carries its own
    logarithmic scale), −inf where the gradient is exactly zero; of stacked layers s_t is one point of state space
    whose coordinates are held apart, as in run.jacobian; .rate (B,) and .rate_standard_error, nats per step of lag,
    fitted over all lags from the last state that the loss acts on back to the first state or the first zero; the
    error treats ln‖g‖ as a sum of correlated increments (batch means), and is NaN below 8 increments; .horizon (B,)
    steps. With a loss at every step log_norm is that of the sum over all later losses, and the rate that of this sum;
    for the decay itself put the loss at the last step. After a sequence's end the gradient is that at its end.
    ValueError for gradients of the wrong shape, for none at all, and for bidirectional networks. NaN gives NaN.

    Source: Bengio, Simard & Frasconi, IEEE Trans. Neural Netw. 5, 1994; Pascanu, Mikolov & Bengio, ICML 2013.

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 1, bias=False, seed=0)
    >>> net.parameters["weight_hh_l0"][...] = 0.5
    >>> run = net.unroll(np.zeros((5000, 1)))
    >>> decay = gradient_norms(run, grad_final_state=np.ones((1, 1)))
    >>> decay.rate.round(6), decay.log_norm[0].round(3)
    (array([-0.693147]), array([-3465.736]))
    """
    network = run.network
    direction.one_way(network, "The norm of a gradient at one time")
    if grad_output is None and grad_final_state is None:
        raise ValueError(
            "there is no gradient to follow: pass grad_output (dL/doutput, the shape of run.output) or grad_final_state"
        )
    if isinstance(grad_output, Gradients):
        return _from_states(run, grad_output, grad_final_state, factor)
    output, at_end = checks.output_gradient(grad_output, run), states.state_gradient(grad_final_state, run)
    steps, batch = len(run.states) - 1, run.states.shape[1]
    end = np.full(batch, steps) if run.lengths is None else np.asarray(run.lengths)
    if output is not None:  # what lies beyond a sequence's end acts on nothing
        output = np.where((np.arange(steps)[:, None] < end)[:, :, None], output, output.dtype.type(0))
    with np.errstate(all="ignore"):  # inf and NaN in the run end as NaN in the result
        log_norm = logarithms_of_norms(run, output, at_end)
    return _described(log_norm, end, factor)


def _from_states(run: Any, gradients: Gradients, grad_final_state: Any, factor: float) -> GradientNorms:
    """The same from all dL/ds_t of a finished backprop."""
    steps, batch = run.steps, run.states.shape[1]
    if grad_final_state is not None:
        raise ValueError("`grad_final_state` is in the finished backprop already; leave it out.")
    if gradients.states is None or gradients.states.shape != run.states.shape:
        shape = None if gradients.states is None else gradients.states.shape
        raise ValueError(
            f"`grad_output` has dL/ds of shape {shape}; this run has states {run.states.shape}: pass what "
            "`run.backprop(grad_output)` of this run gave."
        )
    m, e = norms.split(gradients.states)
    with np.errstate(divide="ignore"):
        log_norm = np.where(np.isinf(m), np.nan, np.log(m) + e * math.log(2.0))
    return _described(log_norm, np.full(batch, steps) if run.lengths is None else np.asarray(run.lengths), factor)


def _described(log_norm: Array, end: Array, factor: float) -> GradientNorms:
    steps, batch = len(log_norm) - 1, log_norm.shape[1]
    reached = log_norm != -np.inf
    last = np.where(reached.any(axis=0), np.minimum(steps - np.argmax(reached[::-1], axis=0), end), -1)
    fits = [_fit(log_norm[: last[b] + 1, b][::-1]) for b in range(batch)]
    rate, error = np.array(fits).reshape(batch, 2).T
    return GradientNorms(
        log_norm=log_norm,
        last=last,
        rate=rate,
        rate_standard_error=error,
        horizon=_horizon(log_norm, last, factor),
        factor=float(factor),
    )


def _fit(backwards: Array) -> tuple[float, float]:
    """Slope and error of ln‖g‖ against lag, up to the first zero of the gradient."""
    zero = np.flatnonzero(np.isneginf(backwards))
    used = backwards[: zero[0]] if zero.size else backwards
    return slope_with_error(np.arange(used.size, dtype=np.float64), used)


def _horizon(log_norm: Array, last: Array, factor: float) -> Array:
    if not (np.isfinite(factor) and factor > 0.0 and factor != 1.0):
        raise ValueError(
            f"factor={factor!r}, but it must be a positive number other than 1, such as 1e-3 (a fall to a thousandth)"
        )
    steps = np.full(last.size, np.nan)
    for b, end in enumerate(last):
        if end < 0 or np.isnan(log_norm[: end + 1, b]).any():
            continue
        moved = np.flatnonzero(np.abs(log_norm[end::-1, b] - log_norm[end, b]) >= abs(np.log(factor)))
        steps[b] = moved[0] if moved.size else np.inf
    return steps
