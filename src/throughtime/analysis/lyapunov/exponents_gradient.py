"""Lyapunov exponents of a run and their gradient by its parameters, through every QR and the trajectory itself.

Dimensions: T steps, B sequences, S state size, k tangent vectors, n steps of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...refuse import arguments, direction, finite, numeric
from ...refuse.called import called
from ...results import Array, short
from ..jacobians.products_gradient import gradient_of_products, through_time
from ..public import of_networks
from .frame_adjoint import Frames


@called("the gradient of exponents")
@dataclass(frozen=True, repr=False)
class LyapunovGradient:
    """Exponents of a run, and the gradient of L by everything that they depend on, given dL/dλ.

    Fields:
        exponents: (k,), or (B, k) of several sequences: nats per step, in the order of the frame's columns.
        parameters: dict as run.network.parameters, dL/dθ.
        states: (T+1, B, S) dL/ds_t, by every later step; states[0] is that of the initial state.

    >>> import throughtime as tt
    >>> run = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 3, 2)))
    >>> found = tt.analysis.lyapunov_gradient(run, k=2)
    >>> found.exponents.shape, found.parameters["weight_hh_l0"].shape, found.states.shape
    ((3, 2), (24, 8), (21, 3, 8))
    """

    exponents: Array
    parameters: dict[str, Array]
    states: Array
    dimensions: ClassVar = {"sequence exponent": "exponents", "time sequence state": "states"}

    def arrays(self) -> dict[str, Array]:
        """Exponents and states, ready for `np.savez(path, **found.arrays())`; the gradients are in `parameters`."""
        return {"exponents": self.exponents, "states": self.states}

    def __repr__(self) -> str:
        each = np.atleast_2d(self.exponents)
        norm = np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in self.parameters.values()))
        several = f" of the first of {len(each)} sequences" if len(each) > 1 else ""
        return f"Lyapunov exponents {short(each[0])} nats per step{several}; gradient of norm {norm:.4g}"


@of_networks
def lyapunov_gradient(
    run: Any,
    grad_exponents: Any = None,
    *,
    k: int = 1,
    warmup: int = 0,
    discard: int | None = None,
    interval: int = 1,
    seed: Any = 0,
) -> LyapunovGradient:
    """Lyapunov exponents along a run, nats per step, and the exact gradient of a loss of them by the parameters.

        λ_i = 1/n Σ_t ln R_ii(t),   Q_t R_t = J_t Q_{t−1}

        Ā_t = R_t⁻¹ (Q̄_t + sym(diag(c_t) − Q̄_tᵀ Q_t) Q_t),   Q̄_{t−1} = J_tᵀ Ā_t                        the way back

    Vectors lie in rows; c_t = dL/dλ / n for the steps that count, and sym(M) is symmetric with the lower triangle of M.
    The second derivatives of the cell give the gradients of Σ_t Ā_t · J_t Q_{t−1} by θ and by the states, and those by
    the states go on through time, back to states[0].

    run: of any cell, of one direction, on the CPU, from `net.unroll(x)`. grad_exponents: dL/dλ, (k,) or (B, k), or a
    function of the exponents that gives it, `lambda e: 2 * e` for L = Σ λ²; default ones, for L = Σ λ. k: leading
    exponents, 1 to S.
    warmup: steps of the run before the frame starts; the gradient goes through them too. discard: first steps of the
    frame that do not count, default a tenth. interval: steps from one QR to the next. seed: of the first frame. With
    interval=1 these are the exponents of `lyapunov_spectrum(net, x, warmup=…, discard=…, interval=1, seed=…)`, before
    it sorts them.

    Of a chaotic trajectory the gradient itself grows as e^(λ_1 T): that of the exponents of these T steps says little
    about those of longer ones, so take short runs, as flossing does (55 steps).

    Returns a `LyapunovGradient`: .exponents, .parameters, .states. A sequence without steps that count has NaN, and no
    part in the gradient. ValueError for a bidirectional network, k > S, NaN in the run, a grad_exponents that does not
    fit, and where the Jacobians have lost rank, so that an exponent is −inf and has no gradient: ask for fewer.

    Source: Engelken, Gradient flossing, NeurIPS 2023, arXiv:2312.17306.

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 1, bias=False, seed=0)
    >>> net.parameters["weight_hh_l0"][...] = 0.5
    >>> found = lyapunov_gradient(net.unroll(np.zeros((100, 1))))                    # λ = ln w, dλ/dw = 1/w
    >>> found.exponents.round(6), found.parameters["weight_hh_l0"].round(6)
    (array([-0.693147]), array([[2.]]))
    """
    frames = frames_along(run, k, warmup, discard, interval, seed)
    shape = frames.exponents.shape
    if grad_exponents is None:
        given: Any = np.ones(shape)
    else:
        given = grad_exponents(_outside(frames.exponents)) if callable(grad_exponents) else grad_exponents
        given = numeric.numbers("grad_exponents", given)
        if given.shape not in (shape, shape[1:]) or given.dtype.kind not in "biuf":
            raise ValueError(
                f"`grad_exponents` has shape {given.shape}; expected dL/dλ of k = {shape[1]} exponents of {shape[0]} "
                f"sequence(s), {shape[1:]} or {shape}."
            )
    states, parameters = gradient_through(run, frames, np.broadcast_to(given, shape).astype(np.float64))
    return LyapunovGradient(_outside(frames.exponents), parameters, states)


def frames_along(run: Any, k: int, warmup: int, discard: int | None, interval: int, seed: Any) -> Frames:
    """The frame at every step of a run after its `warmup`; arguments checked."""
    direction.one_way(run.network, "A Lyapunov exponent")
    if run.device != "cpu":
        raise ValueError('`run` is on the GPU; this gradient takes one of `network.to("cpu")`.')
    size = run.states.shape[2]
    k = arguments.step("k", k, 1, size, f"the state has {size} numbers and so {size} exponents")
    warmup = arguments.step("warmup", warmup, 0, run.steps - 1, f"the run has {run.steps} steps")
    steps = run.steps - warmup
    meaning = f"the frame runs for {steps} steps, of which at least one must count"
    discard = steps // 10 if discard is None else arguments.step("discard", discard, 0, steps - 1, meaning)
    interval = arguments.step("interval", interval, 1, meaning="steps from one QR to the next")
    for b in range(run.states.shape[1]):
        finite.run(run, "The gradient of a Lyapunov exponent", sequence=b)
    return Frames(run, k, warmup, discard, interval, seed)


def gradient_through(run: Any, frames: Frames, grad_exponents: Array) -> tuple[Array, dict[str, Array]]:
    """dL/ds_t (T+1, B, S) and dL/dθ from dL/dλ (B, k)."""
    cotangents = frames.back(grad_exponents)
    direct_states, direct = gradient_of_products(run, cotangents, frames.columns[:-1], frames.start)
    enters = np.zeros(run.states.shape)
    enters[frames.start : -1] = direct_states
    states, through = through_time(run, enters)
    return states, {name: direct[name] + through[name] for name in direct}


def _outside(exponents: Array) -> Array:
    return exponents[0] if len(exponents) == 1 else exponents
