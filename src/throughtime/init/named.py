"""The initialiser that a user means by its name or by itself, and what it returns, checked."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from ..network.parameters import fitting
from ..refuse import arguments
from .draws import Initialiser, Layout, Values, gaussian, identity, irnn, orthogonal, uniform

NAMED: dict[str, Callable[[], Initialiser]] = {
    "uniform": uniform,
    "gaussian": gaussian,
    "orthogonal": orthogonal,
    "identity": identity,
    "irnn": irnn,
}


def initialiser(value: Any, name: str = "init") -> Initialiser:
    """The initialiser that a user means by its name or by itself."""
    if isinstance(value, str):
        return NAMED[arguments.known("initialiser", value, NAMED)]()
    if isinstance(value, FunctionType) and value.__module__.startswith(f"{__package__}."):
        raise TypeError(f"`{name}` is the function {value.__name__}; call it: throughtime.init.{value.__name__}(…).")
    if not callable(value):
        raise TypeError(
            f"`{name}` is {arguments.kind(value)}; expected a name ({', '.join(NAMED)}), an "
            "initialiser such as throughtime.init.gaussian(gain=1.5), or your own function of (network, rng)."
        )
    return value


def drawn(base: Initialiser, network: Layout, rng: np.random.Generator) -> Values:
    """Own arrays in float64 of what `base` returns for this network."""
    return fitting(base(network, rng), network.shapes, np.dtype(float), "What `base` returned")
