"""What is done to a gradient before an optimiser takes it: clipped, decayed, masked; in the order in which they stand.

A transform is any function transform(gradient, flat) of a gradient, which it may change in place, and the parameters,
both (P,), that returns the gradient. `clips = True` on it says that norms are to be compared after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import numpy as np

from ..network import norms
from ..refuse import arguments, numeric, words
from .gradient_norm import norm

Array = numeric.Array


def _above_zero(name: str, value: Any) -> float:
    number = arguments.real(name, value)
    if not number > 0.0:
        raise ValueError(f"`{name}` is {number:g}; expected a number above 0.")
    return number


@words.explain
@dataclass(frozen=True)
class ClipNorm:
    """The gradient scaled down to norm `limit` where it has more.

        g ← g · min(1, limit/‖g‖)

    limit: above 0, in the unit of the gradient. A gradient that is not finite stays as it is. Source: Pascanu, Mikolov
    & Bengio 2013, arXiv:1211.5063. torch.nn.utils.clip_grad_norm_ divides by ‖g‖ + 1e-6 instead, a relative difference
    of 1e-6/‖g‖. TypeError or ValueError for what is no number above 0.

        >>> import numpy as np, throughtime as tt
        >>> tt.training.ClipNorm(1.0)(np.array([3.0, 4.0]), np.zeros(2))
        array([0.6, 0.8])
    """

    limit: float
    clips: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", _above_zero("limit", self.limit))

    def __call__(self, gradient: Array, flat: Array) -> Array:
        length = norm(gradient)
        if not length > self.limit:
            return gradient
        if self.limit > 1e-30 and length < 1e30:  # their quotient is a number in float32 too
            gradient *= gradient.dtype.type(self.limit / length)
            return gradient
        m, e = norms.split(gradient[None])
        return norms.brought_to(gradient, self.limit, m[0], e[0]) if np.isfinite(m[0]) else gradient


@words.explain
@dataclass(frozen=True)
class ClipValue:
    """Every entry of the gradient brought to between −limit and limit.

    limit: above 0, in the unit of the gradient. NaN stays NaN. As torch.nn.utils.clip_grad_value_. TypeError or
    ValueError for what is no number above 0.

        >>> import numpy as np, throughtime as tt
        >>> tt.training.ClipValue(1.0)(np.array([0.5, -4.0]), np.zeros(2))
        array([ 0.5, -1. ])
    """

    limit: float
    clips: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", _above_zero("limit", self.limit))

    def __call__(self, gradient: Array, flat: Array) -> Array:
        return np.clip(gradient, -self.limit, self.limit, out=gradient)


@words.explain
@dataclass(frozen=True)
class WeightDecay:
    """The gradient of ½ rate ‖θ‖² added: g ← g + rate·θ.

    rate: at least 0. This is `weight_decay` of torch.optim.SGD, RMSprop and Adam; that of AdamW is another, its own
    `decay`. TypeError or ValueError for what is no number of at least 0.

        >>> import numpy as np, throughtime as tt
        >>> tt.training.WeightDecay(0.1)(np.array([1.0]), np.array([5.0]))
        array([1.5])
    """

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", arguments.real("rate", self.rate, low=0.0))

    def __call__(self, gradient: Array, flat: Array) -> Array:
        gradient += flat * flat.dtype.type(self.rate)
        return gradient


@words.explain
@dataclass(frozen=True, eq=False)
class Frozen:
    """Parameters that stay what they are, to the last bit, whatever optimiser and decay.

    mask: (P,), True where a parameter is frozen; of a sparse network where a weight stays 0. Of whole arrays write
    `Frozen.named(model, "0.*", "1.bias_hh_l0")`. TypeError for what is no mask; ValueError where its length is not that
    of the parameters.

        >>> import numpy as np, throughtime as tt
        >>> flat = np.ones(3)
        >>> optimiser = tt.training.SGD(0.5, transforms=(tt.training.Frozen([True, False, False]),))
        >>> optimiser.step(flat, np.ones(3)), flat
        (1.7320508075688772, array([1. , 0.5, 0.5]))
    """

    mask: Any

    def __post_init__(self) -> None:
        found = numeric.numbers("mask", self.mask)
        if found.dtype.kind != "b" or found.ndim != 1:
            raise TypeError(
                f"`mask` has shape {found.shape} and dtype {found.dtype}; expected a vector of True and False."
            )
        object.__setattr__(self, "mask", found.copy())

    @classmethod
    def named(cls, model: Any, *names: str) -> Frozen:
        """Those of a `model` whose names match one of `names`: "0.weight", "1.*". ValueError where none does."""
        mask = np.zeros_like(model.flat)
        views = model.named(mask)
        for name in names:
            found = [own for own in views if own == name or fnmatchcase(own, name)]
            if not found:
                arguments.known("parameter", name, views)
            for own in found:
                views[own][...] = 1
        return cls(mask != 0)

    def __repr__(self) -> str:
        return f"Frozen({int(self.mask.sum())} of {self.mask.size} parameters)"

    def __call__(self, gradient: Array, flat: Array) -> Array:
        if self.mask.shape != gradient.shape:
            raise ValueError(f"The mask of Frozen has {self.mask.size} entries; there are {gradient.size} parameters.")
        gradient[self.mask] = 0
        return gradient
