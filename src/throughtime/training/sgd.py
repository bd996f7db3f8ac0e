"""Gradient descent, with momentum."""

from __future__ import annotations

from typing import Any

from ..refuse import arguments, words
from .optimiser import Array, Optimiser, on_both, share


@words.explain
class SGD(Optimiser):
    """Stochastic gradient descent, with momentum as PyTorch has it.

        b ← momentum·b + g,    θ ← θ − rate·b           nesterov: θ ← θ − rate (g + momentum·b)

    rate: a number of at least 0, or a function of the step. momentum: from 0 up to 1. nesterov: needs momentum.
    transforms: done to the gradient before, in order. `state`: "steps", and "momentum" (P,), the b, where there is one.
    `step(flat, gradient)` changes `flat` in place and returns the gradient's norm as it came.

    The rate is outside of b, which a schedule changes (torch.optim.SGD); Sutskever et al. 2013 have it inside.
    TypeError or ValueError for arguments that mean nothing.

        >>> import numpy as np, throughtime as tt
        >>> flat = np.array([1.0, 2.0])
        >>> optimiser = tt.training.SGD(0.1, momentum=0.9)
        >>> optimiser.step(flat, np.array([3.0, 4.0])), flat
        (5.0, array([0.7, 1.6]))
    """

    def __init__(self, rate: Any, momentum: float = 0.0, nesterov: bool = False, transforms: Any = ()) -> None:
        super().__init__(rate, transforms)
        self.momentum, self.nesterov = share("momentum", momentum), arguments.flag("nesterov", nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError("`nesterov=True` looks ahead along the momentum, which is 0; pass `momentum=0.9`, say.")
        self.vectors = ("momentum",) if self.momentum else ()

    @on_both
    def _update(self, flat: Array, gradient: Array, rate: float) -> None:
        kind = flat.dtype.type
        if self.momentum:
            self._loop("momentum", flat)(
                flat, gradient, self._vector("momentum", flat), kind(rate), kind(self.momentum), self.nesterov
            )
        else:
            self._loop("plain", flat)(flat, gradient, kind(rate))
