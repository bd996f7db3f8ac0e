"""How much of the gradient comes from how far back: every loss time apart from every lag, in one sweep.

Dimensions: T steps, B sequences, K+1 lags.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...refuse import arguments
from ...results import Array, Result, short
from ..public import of_networks
from .lag_sweep import by_lag, checked, chosen, compare, flat, whole


@dataclass(frozen=True, repr=False)
class GradientByLag(Result):
    """The gradient of the loss of each time t at each lag k, and what each lag brings to that of the weights.

    Fields:
        log_norm: (T, K+1, B) ln‖∂L_t/∂s_{t−k}‖, s_t the state after input t; −inf where zero or k > t.
        share: (K+1,) ‖G_k‖/‖G‖: the part of the parameters' gradient through lag k relative to the full one.
        cosine: (K+1,) of the angle between G_k and the full gradient G; NaN where G_k is zero.
        remainder: ‖G − Σ_k G_k‖/‖G‖: rounding if all lags are here, what they leave out otherwise.
        parameters: those that G is about.
    """

    log_norm: Array
    share: Array
    cosine: Array
    remainder: float
    parameters: tuple[str, ...]
    picture: ClassVar = {"heat_map": "gradient_by_lag", "share": "lag_shares"}
    dimensions: ClassVar = {
        "time lag sequence": "log_norm",
        "lag": "share cosine profile",
    }

    @property
    def max_lag(self) -> int:
        """K, the longest lag."""
        return self.log_norm.shape[1] - 1

    @property
    def profile(self) -> Array:
        """(K+1,) median over loss times and sequences of ln‖∂L_t/∂s_{t−k}‖ − ln‖∂L_t/∂s_t‖; NaN where there is none."""
        found = np.full(self.max_lag + 1, np.nan)
        for k in range(self.max_lag + 1):
            here, start = self.log_norm[k:, k], self.log_norm[k:, 0]
            used = np.isfinite(start)
            if used.any():
                found[k] = np.median(here[used] - start[used])
        return found

    def __repr__(self) -> str:
        steps, _, batch = self.log_norm.shape
        return "\n".join(
            [
                f"Gradient by lag: {steps} loss times, lags 0 to {self.max_lag}, {batch} sequence(s)",
                f"  of {', '.join(self.parameters)}, lag by lag:",
                f"  share ‖G_k‖/‖G‖  {short(self.share)}",
                f"  cosine with G    {short(self.cosine)}",
                f"  not in these lags: {self.remainder:.2g} of ‖G‖",
                f"  ln‖∂L_t/∂s_t-k‖ − ln‖∂L_t/∂s_t‖, median: {short(self.profile)} nats",
            ]
        )


@of_networks(on_gpu=True)
def gradient_by_lag(run: Any, grad_output: Any, max_lag: int | None = None, *, parameters: Any = None) -> GradientByLag:
    """The gradient of every single loss time at every lag, and the share of each lag in the gradient of the weights.

        L = Σ_t L_t,   u_{t,0} = ∂L_t/∂s_t,   u_{t,k+1} = J_{t−k}ᵀ u_{t,k},   log_norm[t, k] = ln‖u_{t,k}‖
        G_k = Σ_t (∂s_{t−k}/∂W)ᵀ u_{t,k},   Σ_k G_k = dL/dW,   share[k] = ‖G_k‖/‖dL/dW‖,   Σ_k share[k] cosine[k] = 1

    run : from `net.unroll`. grad_output : dL/doutput, the shape of run.output, entry t for L_t. max_lag : K, from
    0 to T−1, the default. parameters : the names of those that W stands for, by default weight_hh of all layers,
    or all parameters where there is none.

    s_t is the full state after input t, states[t+1], all layers together (an LSTM's h and c), as in run.vjp; ∂s/∂W
    varies W in the step from s_{t−k−1} to s_{t−k} alone, so G_0 + … + G_{w−1} is the gradient truncated to a window of
    w steps, run.backprop(window=w). Norms are natural logs, free of under- and overflow at any lag. Share and cosine
    are of the whole batch, and NaN where dL/dW is zero or beyond the numbers of its type; where G_k is zero, as at lag
    T−1 from a zero initial state, there is no cosine either. All loss times go back side by side: the work is that of
    (K+1)(T−K/2)·B rows one step back.

    Returns a `GradientByLag`: .log_norm (T, K+1, B), .share (K+1,), .cosine (K+1,), .remainder, .profile (K+1,).
    ValueError for a lag out of range, a bidirectional network, NaN in the run, gradients of the wrong shape.

    Source: Bengio, Simard & Frasconi, IEEE Trans. Neural Netw. 5, 1994 (the sum over lags).

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 1, bias=False, seed=0)
    >>> net.parameters["weight_hh_l0"][...] = 0.5
    >>> lags = gradient_by_lag(net.unroll(np.ones((50, 1))), np.ones((50, 1)), max_lag=2)
    >>> np.exp(lags.log_norm[10, :, 0]).round(3)
    array([1.  , 0.5 , 0.25])
    """
    if getattr(run.network, "stacked", False):
        raise ValueError(
            "`gradient_by_lag` takes one network at a time on the GPU, since it divides the gradient of its weights: "
            'pass the run of `network.to("cuda")` for each `network` of the ensemble.'
        )
    g, scale = checked(run, grad_output, "A gradient by lag")
    names = chosen(run, parameters)
    longest = run.steps - 1
    if max_lag is None:
        max_lag = longest
    meaning = f"lags go from 0 to {longest} in a run of {run.steps} time steps"
    max_lag = arguments.step("max_lag", max_lag, 0, longest, meaning)
    full = flat(whole(run, g), names)
    log_norm = np.full((run.steps, max_lag + 1, run.states.shape[1]), -np.inf)
    shares, rest = [], full.copy()
    for k, (norms, parts) in enumerate(by_lag(run, g, max_lag, names)):
        log_norm[k:, k] = norms + scale
        part = flat(parts, names)
        with np.errstate(invalid="ignore"):
            rest -= part
        shares.append(compare(part, full))
    share, cosine = np.array(shares).T
    return GradientByLag(log_norm, share, cosine, compare(rest, full)[0], names)
