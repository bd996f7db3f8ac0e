"""RMSprop: each entry of the gradient beside the root of its mean square."""

from __future__ import annotations

from typing import Any

from ..refuse import arguments, words
from .optimiser import Array, Optimiser, on_both, reads_only, share


@words.explain
class RMSprop(Optimiser):
    """RMSprop, as PyTorch has it.

        v ← smoothing·v + (1 − smoothing) g²,    θ ← θ − rate·g/(√v + epsilon)

    With momentum b ← momentum·b + g/(√v + epsilon), θ ← θ − rate·b. centred: √(v − m²), the standard deviation, in
    place of √v, with m the running mean of g.

    rate: a number of at least 0, or a function of the step. smoothing: from 0 up to 1. epsilon: at least 0, outside the
    root (Graves 2013, arXiv:1308.0850, has it inside). transforms: done to the gradient before, in order. `state`:
    "steps", "square" (P,), and "momentum" and "mean" where they are used. `step(flat, gradient)` changes `flat` in
    place and returns the gradient's norm as it came. Source: Tieleman & Hinton 2012, lecture 6.5. TypeError or
    ValueError for arguments that mean nothing.

        >>> import numpy as np, throughtime as tt
        >>> flat = np.array([1.0, 2.0])
        >>> tt.training.RMSprop(0.01).step(flat, np.array([3.0, 4.0])), flat
        (5.0, array([0.9, 1.9]))
    """

    def __init__(
        self,
        rate: Any,
        smoothing: float = 0.99,
        epsilon: float = 1e-8,
        momentum: float = 0.0,
        centred: bool = False,
        transforms: Any = (),
    ) -> None:
        super().__init__(rate, transforms)
        self.smoothing, self.epsilon = share("smoothing", smoothing), arguments.real("epsilon", epsilon, low=0.0)
        self.momentum, self.centred = share("momentum", momentum), arguments.flag("centred", centred)
        self.vectors = ("square", *["momentum"] * bool(self.momentum), *["mean"] * self.centred)

    @on_both
    @reads_only
    def _update(self, flat: Array, gradient: Array, rate: float) -> None:
        kind = flat.dtype.type
        self._loop("rmsprop", flat)(
            flat, gradient, *(self._vector(name, flat) for name in ("square", "momentum", "mean")),
            kind(rate), kind(self.smoothing), kind(1.0 - self.smoothing), kind(self.epsilon), kind(self.momentum),
        )  # fmt: skip
