"""Adam and AdamW: running means of the gradient and of its square, without the bias of their start at 0."""

from __future__ import annotations

import math
from typing import Any

from ..refuse import arguments, words
from .optimiser import Array, Optimiser, on_both, reads_only, share


@words.explain
class Adam(Optimiser):
    """Adam, as PyTorch has it.

        m ← β₁ m + (1 − β₁) g,    v ← β₂ v + (1 − β₂) g²,    θ ← θ − rate · m̂/(√v̂ + epsilon)

    with m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ) at step t from 1. amsgrad: the largest v so far in place of v.

    rate: a number of at least 0, or a function of the step. betas: (β₁, β₂), each from 0 up to 1. epsilon: at least 0.
    transforms: done to the gradient before, in order; `WeightDecay` there is `weight_decay` of torch.optim.Adam.
    `state`: "steps", "mean", "square" and with amsgrad "largest", (P,). `step(flat, gradient)` changes `flat` in place
    and returns the gradient's norm as it came. Source: Kingma & Ba 2015, arXiv:1412.6980; amsgrad: Reddi, Kale & Kumar
    2018, arXiv:1904.09237. TypeError or ValueError for arguments that mean nothing.

        >>> import numpy as np, throughtime as tt
        >>> flat = np.array([1.0, 2.0])
        >>> tt.training.Adam(0.1).step(flat, np.array([3.0, -4.0])), flat
        (5.0, array([0.9, 2.1]))
    """

    def __init__(
        self,
        rate: Any,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        amsgrad: bool = False,
        transforms: Any = (),
    ) -> None:
        super().__init__(rate, transforms)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"`betas` is {arguments.kind(betas)}; expected two numbers, (0.9, 0.999).")
        self.betas = (share("betas[0]", betas[0]), share("betas[1]", betas[1]))
        self.epsilon, self.amsgrad = arguments.real("epsilon", epsilon, low=0.0), arguments.flag("amsgrad", amsgrad)
        self.vectors = ("mean", "square", *["largest"] * self.amsgrad)

    @on_both
    @reads_only
    def _update(self, flat: Array, gradient: Array, rate: float) -> None:
        kind, (one, two) = flat.dtype.type, self.betas
        size = rate / (1.0 - one**self.steps)
        root = math.sqrt(1.0 - two**self.steps)
        self._loop("adam", flat)(
            flat, gradient, *(self._vector(name, flat) for name in ("mean", "square", "largest")),
            kind(size), kind(1.0 - one), kind(two), kind(1.0 - two), kind(root), kind(self.epsilon),
        )  # fmt: skip


@words.explain
class AdamW(Adam):
    """Adam with decay of the parameters apart from the gradient, as PyTorch has it.

        θ ← θ − rate·decay·θ,    then as `Adam`

    decay: at least 0, of every parameter but those that are `Frozen`. rate, betas, epsilon, amsgrad, transforms,
    `state` and `step(flat, gradient)` are those of Adam. Source: Loshchilov & Hutter 2019, arXiv:1711.05101, where the
    decay is not multiplied by the rate. TypeError or ValueError for arguments that mean nothing.

        >>> import numpy as np, throughtime as tt
        >>> flat = np.array([1.0, 2.0])
        >>> tt.training.AdamW(0.1, decay=0.5).step(flat, np.array([3.0, -4.0])), flat
        (5.0, array([0.85, 2.  ]))
    """

    def __init__(
        self,
        rate: Any,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        decay: float = 0.01,
        amsgrad: bool = False,
        transforms: Any = (),
    ) -> None:
        super().__init__(rate, betas, epsilon, amsgrad, transforms)
        self.decay = arguments.real("decay", decay, low=0.0)

    @on_both
    @reads_only
    def _update(self, flat: Array, gradient: Array, rate: float) -> None:
        self._loop("shrink", flat)(flat, flat.dtype.type(1.0 - rate * self.decay))
        super()._update(flat, gradient, rate)
