"""How wrong is the gradient of truncated backpropagation through time? Measured, for every window.

Dimensions: T steps, B sequences, n windows.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...refuse import arguments
from ...results import Array, Result, short
from ..public import of_networks
from .lag_sweep import by_lag, checked, chosen, compare, flat, whole


@dataclass(frozen=True, repr=False)
class TruncationBias(Result):
    """The truncated gradient beside the full one, one entry per window.

    Fields:
        windows: (n,) k2, time steps of each way back.
        every: k1, time steps from one way back to the next; 1: every loss has its own window.
        relative_error: (n,) ‖truncated − full‖/‖full‖.
        cosine: (n,) of the angle between the two.
        norm_ratio: (n,) ‖truncated‖/‖full‖.
        parameters: those that the gradient is of.
    """

    windows: Array
    every: int
    relative_error: Array
    cosine: Array
    norm_ratio: Array
    parameters: tuple[str, ...]
    picture: ClassVar = "truncation_bias"
    dimensions: ClassVar = {
        "window": "windows relative_error cosine norm_ratio",
    }

    def window_for(self, error: float) -> float:
        """The shortest of the windows from which on the relative error stays below `error`; inf if there is none."""
        order = np.argsort(self.windows)
        above = np.flatnonzero(~(self.relative_error[order] < error))
        first = above[-1] + 1 if above.size else 0
        return float(self.windows[order[first]]) if first < order.size else np.inf

    def __repr__(self) -> str:
        how = "of each loss" if self.every == 1 else f"every {self.every} steps, the state carried on"
        return "\n".join(
            [
                f"Truncated gradient of {', '.join(self.parameters)} beside the full one: {how}",
                f"  window          {short(self.windows)} steps",
                f"  relative error  {short(self.relative_error)}",
                f"  cosine          {short(self.cosine)}",
                f"  norm ratio      {short(self.norm_ratio)}",
            ]
        )


@of_networks
def truncation_bias(
    run: Any, grad_output: Any, windows: Any, *, every: int = 1, parameters: Any = None
) -> TruncationBias:
    """How far the gradient of truncated BPTT is from the full gradient, for each window.

        every = 1:  G(w) = Σ_{k<w} G_k,  the loss of each time t flows back through the steps t, …, t−w+1
        every = k1: G(w) = Σ_e Σ_{e−k1 < t ≤ e} Σ_{k < w−(e−t)} G_{t,k},  e = k1, 2 k1, …, T: truncated BPTT(k1, k2 = w)
        relative_error = ‖G(w) − G‖/‖G‖,   cosine = ⟨G(w), G⟩/(‖G(w)‖ ‖G‖)

    run : from `net.unroll`. grad_output : dL/doutput, the shape of run.output. windows : time steps, from `every` to T
    each; `every` is counted from the start of the run, and the last stretch may be shorter. parameters : the names of
    those that G is of, by default weight_hh of all layers, or all where there is none; `list(run.network.parameters)`
    for all.

    With every = 1 these are the partial sums over lags of `gradient_by_lag`, the gradient of run.backprop(window=w),
    and one sweep over max(windows) lags serves all windows. With every = k1 it is what a trainer does who cuts the
    sequence into pieces of k1 steps, hands on the state, and sends the losses of the newest piece back through w steps:
    w = k1 is the usual cut, in which the loss next to a cut sees one step.

    Returns a `TruncationBias`: .windows, .relative_error, .cosine, .norm_ratio, each (n,). NaN where the full gradient
    is zero or beyond the numbers of its type, and no cosine where the truncated one is zero. ValueError for windows out
    of range, a bidirectional network, NaN in the run, gradients of the wrong shape.

    Source: Williams & Peng, Neural Comput. 2, 1990 (BPTT(h; h') with h = k2, h' = k1).

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 1, bias=False, seed=0)
    >>> net.parameters["weight_hh_l0"][...] = 1.0
    >>> last = np.eye(10)[:, -1:]
    >>> truncation_bias(net.unroll(np.zeros((10, 1)), state=[[1.0]]), last, [1, 5, 10]).relative_error.round(3)
    array([0.9, 0.5, 0. ])
    """
    g, _ = checked(run, grad_output, "A truncated gradient")
    names = chosen(run, parameters)
    meaning = f"it is a number of time steps, from 1 to the {run.steps} of the run"
    every = arguments.step("every", every, 1, run.steps, meaning)
    wanted = _windows(windows, every, run.steps)
    full = flat(whole(run, g), names)
    found = {}
    if every == 1:
        total = np.zeros_like(full)
        for k, (_, parts) in enumerate(by_lag(run, g, int(wanted.max()) - 1, names)):
            total += flat(parts, names)
            if k + 1 in wanted:
                found[k + 1] = _measure(total, full)
    else:
        for window in set(wanted.tolist()):
            found[window] = _measure(flat(_in_pieces(run, g, int(every), window), names), full)
    error, cosine, ratio = np.array([found[window] for window in wanted.tolist()]).T
    return TruncationBias(wanted, int(every), error, cosine, ratio, names)


def _windows(windows: Any, every: int, steps: int) -> Array:
    try:
        found = np.atleast_1d(np.asarray(windows))
    except Exception:  # whatever it is that NumPy cannot look into
        found = np.zeros(0)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "iu":
        raise ValueError(
            f"`windows` is {arguments.kind(windows)}; expected whole numbers of time steps, such as [1, 10, 100]."
        )
    wrong = (found < every) | (found > steps)
    if wrong.any():
        reason = "; a shorter one than `every` would leave out losses" if every > 1 else ""
        raise ValueError(
            f"`windows` holds {found[wrong][0]}; a window here is {every} to {steps} time steps, the whole run{reason}."
        )
    return found.astype(np.int64)


def _measure(part: Array, full: Array) -> tuple[float, float, float]:
    ratio, cosine = compare(part, full)
    return compare(part - full, full)[0], cosine, ratio


def _in_pieces(run: Any, g: Array, every: int, window: int) -> dict[str, Array]:
    """The parameters' gradients of truncated BPTT(every, window): the losses of each piece sent back from its end."""
    total: dict[str, Array] = {}
    nothing = np.zeros(run.states.shape[1:], g.dtype)
    for begin in range(0, run.steps, every):
        end = min(begin + every, run.steps)
        start = max(0, end - window)
        above = np.concatenate([np.zeros((begin - start, *g.shape[1:]), g.dtype), g[begin:end]])
        for name, part in run.pullback(nothing, start, end, above)[1].items():
            total[name] = total[name] + part if name in total else part
    return total
