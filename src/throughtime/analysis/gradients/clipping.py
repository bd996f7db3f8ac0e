"""Clipping: what it does to a gradient, by norm, by value, and at every step of the way back.

Dimensions: T steps, B sequences, S state size, n thresholds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...network import norms
from ...refuse import arguments, checks
from ...results import Array, Result, short
from ..public import of_networks, public
from .lag_sweep import checked, chosen, compare, flat

EPSILON = 1e-6  # PyTorch's clip_grad_norm_
KINDS = ("by norm", "by value", "per step")


@public
def clip_by_norm(gradients: Any, max_norm: float) -> float:
    """Scale gradients, all together and in place, to a norm of at most `max_norm`; returns the norm before clipping.

        g ← g · min(1, max_norm/(‖g‖ + 1e-6))

    gradients : what run.backprop returns, or a mapping from names to arrays. As PyTorch's clip_grad_norm_, but right at
    any scale: a norm beyond the numbers is returned as inf, and the gradients are clipped all the same. ValueError
    for gradients that hold NaN or infinity, as no scale would make them finite, and nothing is changed then.

    Source: Pascanu, Mikolov & Bengio, ICML 2013.

    >>> gradients = {"weight": np.array([3.0, 4.0])}
    >>> clip_by_norm(gradients, 1.0), gradients["weight"].round(3)
    (5.0, array([0.6, 0.8]))
    """
    limit, arrays = _limit("max_norm", max_norm), _arrays(gradients)
    bad = [name for name, a in arrays.items() if not np.isfinite(a).all()]
    if bad:
        found = next(x for x in arrays[bad[0]].ravel() if not np.isfinite(x))
        raise ValueError(f"the gradient of {', '.join(bad)} is not finite (it holds {found}); no clipping makes it so")
    size = norms.together(arrays.values())
    norm, power, exponent = _beside(*size)
    with np.errstate(over="ignore"):
        scale = float(limit / np.ldexp(power, exponent)[0])
    if scale < 1.0:
        for a in arrays.values():
            if scale > np.finfo(a.dtype).tiny * 1e8:  # far enough from where factors of that type lose digits
                a *= a.dtype.type(scale)
            else:
                a[...] = norms.brought_to(a, limit, power, exponent)
    return float(norm[0])


def _beside(m: Array, e: Array) -> tuple[Array, Array, Array]:
    """The norm m · 2^e as a number, and m and e of what divides: norm + EPSILON, or m and e where it is no number."""
    with np.errstate(over="ignore"):
        norm = np.ldexp(m, e)
    own, power = np.frexp(np.where(np.isinf(norm), 0.0, norm) + EPSILON)
    return norm, np.where(np.isinf(norm), m, own), np.where(np.isinf(norm), e, power)


@public
def clip_by_value(gradients: Any, max_value: float) -> float:
    """Limit every entry of gradients, in place, to ±`max_value`; returns the fraction of entries that were beyond.

    gradients : what run.backprop returns, or a mapping from names to arrays. As PyTorch's clip_grad_value_.
    TypeError for what holds no gradients, ValueError for a limit that is not above 0 or gradients that are not finite.

    Source: Mikolov, Statistical language models based on neural networks, 2012.

    >>> gradients = {"weight": np.array([3.0, -0.5])}
    >>> clip_by_value(gradients, 1.0), gradients["weight"]
    (0.5, array([ 1. , -0.5]))
    """
    limit, arrays = _limit("max_value", max_value), _arrays(gradients)
    beyond = 0
    for a in arrays.values():
        if limit <= float(np.finfo(a.dtype).max):  # else no number of this type is beyond; infinity is not brought back
            beyond += int((np.abs(a) > limit).sum())
            np.clip(a, -limit, limit, out=a)
    return beyond / max(1, sum(a.size for a in arrays.values()))


@of_networks
def clip_per_step(run: Any, grad_output: Any, max_norm: float) -> tuple[dict[str, Array], float]:
    """BPTT with the gradient of every state clipped on its way: the gradients, and the fraction that was clipped.

        u_t = clip(J_{t+1}ᵀ u_{t+1} + (∂output_t/∂s_t)ᵀ dL/doutput_t),   dL/dW ← Σ_t (∂s_t/∂W)ᵀ u_t

    with clip(u) = u · min(1, max_norm/(‖u‖ + 1e-6)) for each sequence and time by itself, on the full state. The
    earlier the step, the more often it has been clipped, so unlike clipping by norm this turns the gradient.

    run : from `net.unroll`. grad_output : dL/doutput, the shape of run.output. max_norm : the limit, above 0.
    Returns a dict as run.backprop(…).parameters, and the clipped fraction of the gradients, one for each step that a
    sequence takes. ValueError for a bidirectional network, NaN in the run, gradients of the wrong shape.

    Source: Graves, arXiv:1308.0850, 2013 (the derivatives within the network, there by value).

    >>> import throughtime as tt
    >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((20, 2)))
    >>> clip_per_step(run, np.ones((20, 8)), 0.1)[1]
    1.0
    """
    limit = _limit("max_norm", max_norm)
    checked(run, grad_output, "Clipping at every step")
    g = checks.output_gradient(grad_output, run)
    assert g is not None
    B, S = run.states.shape[1:]
    own = np.full(B, run.steps) if run.lengths is None else np.asarray(run.lengths)
    living = np.where((np.arange(run.steps)[:, None] < own)[:, :, None], g, g.dtype.type(0))
    u, total, clipped = np.zeros((B, S), g.dtype), dict[str, Array](), 0
    for t in reversed(range(run.steps)):
        u = u + run.output_cotangent(t + 1, living[t])
        m, e = norms.split(u)
        _, power, exponent = _beside(m, e)
        with np.errstate(over="ignore", invalid="ignore"):
            over = ~(limit / np.ldexp(power, exponent) >= 1.0)
        u = np.where(over[:, None], norms.brought_to(u, limit, power[:, None], exponent[:, None]), u)
        clipped += int(over.sum())
        u, parts = run.pullback(u, t, t + 1)
        for name, part in parts.items():
            total[name] = total[name] + part if name in total else part
    return {name: total[name] for name in run.network.parameters}, clipped / max(1, int(own.sum()))


@dataclass(frozen=True, repr=False)
class ClippingEffect(Result):
    """The clipped gradient beside the unclipped; rows: by norm, by value, per step.

    Fields:
        thresholds: (n,) the limits tried: of the norm, of an entry, of the norm of each dL/ds_t.
        norm: of the gradient before clipping.
        cosine: (3, n) of the angle between clipped and unclipped gradient; 1: only shortened.
        norm_ratio: (3, n) norm after clipping / before.
        clipped: (3, n) fraction clipped: of the gradient (0 or 1), of its entries, of the gradients of states.
        parameters: names of the parameters whose gradient was clipped.
    """

    thresholds: Array
    norm: float
    cosine: Array
    norm_ratio: Array
    clipped: Array
    parameters: tuple[str, ...]
    picture: ClassVar = "clipping_effect"
    dimensions: ClassVar = {
        "threshold": "thresholds",
        "way threshold": "cosine norm_ratio clipped",
    }

    def __repr__(self) -> str:
        lines = [
            f"Clipping a gradient of norm {self.norm:.4g} ({', '.join(self.parameters)})",
            f"  thresholds           {short(self.thresholds)}",
        ]
        for kind, cosine, ratio in zip(KINDS, self.cosine, self.norm_ratio, strict=True):
            lines += [f"  {kind}: cosine     {short(cosine)}", f"    norm after / before {short(ratio)}"]
        return "\n".join(lines)


@of_networks
def clipping_effect(run: Any, grad_output: Any, thresholds: Any, *, parameters: Any = None) -> ClippingEffect:
    """How clipping by norm, by value, and at every step of the way back changes length and direction of the gradient.

    run : from `net.unroll`. grad_output : dL/doutput, the shape of run.output. thresholds : positive numbers, each used
    as max_norm of `clip_by_norm`, max_value of `clip_by_value` and max_norm of `clip_per_step`. parameters : the names
    of those that the gradient is of, by default all.

    Returns a `ClippingEffect`: .norm, and .cosine, .norm_ratio, .clipped (3, n), rows by norm, by value, per step. By
    norm the cosine is 1. NaN for a gradient that is zero, and per step for a bidirectional network, in which no single
    state carries the gradient. ValueError as for these three.

    >>> import throughtime as tt
    >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((20, 2)))
    >>> bool(clipping_effect(run, np.ones((20, 8)), [1e6]).cosine.min() > 1 - 1e-12)
    True
    """
    limits = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    if limits.ndim != 1 or not limits.size:
        raise ValueError(f"`thresholds` has shape {np.shape(thresholds)}; expected a list of positive numbers.")
    for limit in limits.tolist():
        _limit("thresholds", limit)
    checked(run, grad_output, "Clipping", one_way=False)
    names = chosen(run, tuple(run.network.parameters) if parameters is None else parameters)
    gradients = run.backprop(grad_output).parameters
    before = {name: gradients[name] for name in names}
    full, found = flat(before, names), np.full((3, 3, limits.size), np.nan)
    norm = norms.norm(full)
    for i, limit in enumerate(limits.tolist()):
        by_norm, by_value = ({name: a.copy() for name, a in before.items()} for _ in range(2))
        fractions = [float(clip_by_norm(by_norm, limit) + EPSILON > limit), clip_by_value(by_value, limit)]
        rows = [by_norm, by_value]
        if not run.network.bidirectional:
            per_step, fraction = clip_per_step(run, grad_output, limit)
            rows, fractions = [*rows, per_step], [*fractions, fraction]
        for row, (after, part) in enumerate(zip(rows, fractions, strict=True)):
            left, angle = compare(flat(after, names), full)
            found[:, row, i] = angle, left, part
    cosine, ratio, clipped = found
    return ClippingEffect(limits, norm, cosine, ratio, clipped, names)


def _limit(name: str, value: Any) -> float:
    if not arguments.is_real(value) or not 0.0 < value < np.inf:
        raise ValueError(f"`{name}` is {arguments.kind(value)}; it is a limit for a gradient, a positive number.")
    return float(value)


def _arrays(gradients: Any) -> dict[str, Array]:
    found = getattr(gradients, "parameters", gradients)
    if not isinstance(found, Mapping):
        raise TypeError(
            f"`gradients` is of type {type(gradients).__name__}; pass what run.backprop returned, or a dict of arrays."
        )
    for name, a in found.items():
        if not (isinstance(a, np.ndarray) and a.dtype.kind == "f" and a.flags.writeable):
            raise TypeError(f"`gradients[{name!r}]` is no writable array of floats, so it cannot be clipped in place.")
    return dict(found)
