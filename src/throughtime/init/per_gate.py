"""A number of an initialiser for all gates, or one for each of them, in their order or by their names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..refuse import arguments
from ..refuse.called import told


class PerGate(NamedTuple):
    """`values`: one number, or a tuple of them in the order of the gates, or a tuple of (name, number); gates that are
    not named have `usual`."""

    name: str
    values: Any
    usual: float

    def of_all(self, gates: Sequence[Sequence[str]], cells: str) -> list[list[float]]:
        """The numbers of the gates of every layer; ValueError where they do not fit. cells: to tell of.

        >>> per_gate("gain", {"n": 2.0}, 1.0).of_all([("r", "z", "n"), ("0",)], "")
        [[1.0, 1.0, 2.0], [1.0]]
        """
        if not isinstance(self.values, tuple):
            return [[self.values] * len(own) for own in gates]
        known = f"{cells} has {', '.join(dict.fromkeys(name for own in gates for name in own)) or 'none'}"
        if not isinstance(self.values[0], tuple):
            if any(len(self.values) != len(own) for own in gates):
                raise ValueError(f"`{self.name}` has {len(self.values)} numbers, one for each gate; {known}.")
            return [list(self.values) for _ in gates]
        named = dict(self.values)
        if unknown := [name for name in named if not any(name in own for own in gates)]:
            raise ValueError(f"`{self.name}` names {', '.join(map(repr, unknown))}; {known}.")
        return [[named.get(name, self.usual) for name in own] for own in gates]


def per_gate(name: str, given: Any, usual: float, low: float = -math.inf) -> PerGate:
    """The argument `name` of an initialiser: a number, numbers in the order of the gates, or a dict by their names."""
    if isinstance(given, Mapping):
        if not given or not all(isinstance(gate, str) for gate in given):
            raise TypeError(f'`{name}` is {told(given)}; by gates it is a dict of their names, {{"n": 2.0}}.')
        own = tuple((gate, arguments.real(f"{name}[{gate!r}]", value, low)) for gate, value in given.items())
        return PerGate(name, own, usual)
    if isinstance(given, (list, tuple)) or (isinstance(given, np.ndarray) and given.ndim == 1):
        if not len(given):
            raise ValueError(f"`{name}` is empty; expected a number, or one for each gate.")
        return PerGate(name, tuple(arguments.real(f"{name}[{k}]", v, low) for k, v in enumerate(given)), usual)
    return PerGate(name, arguments.real(name, given, low), usual)
