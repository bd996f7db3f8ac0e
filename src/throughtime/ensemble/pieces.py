"""The pieces of work that a family of networks is mapped in: they can be pickled, to be done in another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..network.network import Network
from ..network.unrolled import Unrolled
from ..refuse.called import name_of


def label(point: dict) -> str:
    """What errors call one network of a family.

    >>> label({"gain": 1.5, "seed": 0})
    'gain=1.5, seed=0'
    """
    return ", ".join(f"{name}={value!r}" for name, value in point.items())


def is_model(value: Any) -> bool:
    """Whether this is a model of tt.models, which stands above this room."""
    return name_of(value) == "a model"


class NetworkToBe:
    """One network still to be made."""

    def __init__(self, make: Callable[..., Network], point: dict) -> None:
        self.make, self.point = make, point

    def __getitem__(self, _: int) -> Network:
        return self.make(**self.point)


def analysed(networks: Any, index: int, run: Any, way: tuple, function: Callable, args: tuple, options: dict) -> Any:
    """The function of one network of `networks`; of a run, if there is one or `way` says how to unroll it."""
    if run is None:
        run = networks[index]
        run = run.unroll(*way) if way else run
    return function(run, *args, **options)


def itself(run: Unrolled) -> Unrolled:
    return run
