"""A number that was computed on the device and is fetched when somebody reads it."""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any

from . import device
from .streams import on


class Number:
    """One float64 on the device, `array` (1,). It serves as a float, which waits for the device the first time."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self._fetched: float | None = None

    def __float__(self) -> float:
        if self._fetched is None:
            with on(getattr(self.array, "stream", 0)):
                self._fetched = float(device.to_host(self.array)[0])
        return self._fetched

    def __repr__(self) -> str:
        return repr(float(self))

    def __format__(self, form: str) -> str:
        return format(float(self), form)

    def __hash__(self) -> int:
        return hash(float(self))

    def __bool__(self) -> bool:
        return bool(float(self))

    def __reduce__(self) -> Any:
        return float, (float(self),)


def _as_float(function: Any, count: int, backwards: bool = False) -> Any:
    """A method of a float."""
    if count == 1:
        return lambda self: function(float(self))
    if backwards:
        return lambda self, other: function(other, float(self))
    return lambda self, other: function(float(self), float(other) if isinstance(other, Number) else other)


for _name in ("neg", "pos", "abs", "trunc", "floor", "ceil"):
    _found = getattr(operator, _name, None) or getattr(math, _name)
    setattr(Number, f"__{_name}__", _as_float(_found, 1))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(Number, f"__{_name}__", _as_float(getattr(operator, _name), 2))
    setattr(Number, f"__r{_name}__", _as_float(getattr(operator, _name), 2, backwards=True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Number, f"__{_name}__", _as_float(getattr(operator, _name), 2))
Real.register(Number)
