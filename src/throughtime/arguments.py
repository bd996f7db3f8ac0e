"""Single values that a user hands in: sizes, flags, numbers, names, cells, seeds. Each comes back checked, or an error
says in words what arrived and what was expected: TypeError for the wrong kind of thing, ValueError for a wrong value.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np

from .cells import CELLS
from .cells.base import registered, spec


def size(name: str, value: Any) -> int:
    """A whole number of at least 1."""
    number = _whole(name, value)
    if number < 1:
        raise ValueError(f"`{name}` is {number}; expected a whole number of at least 1.")
    return number


def step(name: str, value: Any, low: int, high: int) -> int:
    """A whole number between `low` and `high`, both included (a time step, a window)."""
    number = _whole(name, value)
    if not low <= number <= high:
        raise ValueError(f"`{name}` is {number}; expected a whole number from {low} to {high}.")
    return number


def flag(name: str, value: Any) -> bool:
    """True or False, and nothing that merely counts as one: bias=0.1 is a mistake, not True."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"`{name}` is {kind(value)}; expected True or False.")
    return bool(value)


def real(name: str, value: Any, low: float = -math.inf) -> float:
    """A finite real number, at least `low`."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise TypeError(f"`{name}` is {kind(value)}; expected a real number.")
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` is {kind(value)}; expected a real number.") from error
    if not (math.isfinite(number) and number >= low):
        wanted = "a finite number" if low == -math.inf else f"a finite number of at least {low:g}"
        raise ValueError(f"`{name}` is {number:g}; expected {wanted}.")
    return number


def known(what: str, name: str, names: Iterable[str]) -> str:
    """`name` if it is one of `names`; otherwise the error tells the nearest of them and lists all."""
    listed = list(names)
    if name in listed:
        return name
    near = difflib.get_close_matches(name.lower(), listed, n=1, cutoff=0.4)
    guess = f' Did you mean "{near[0]}"?' if near else ""
    raise ValueError(f'There is no {what} "{name}".{guess} Known: {", ".join(listed)}.')


def float_type(value: Any) -> np.dtype[Any]:
    """numpy's float32 or float64."""
    try:
        found = None if value is None else np.dtype(value)
    except TypeError:
        found = None
    if found is None or found not in (np.dtype("float32"), np.dtype("float64")):
        raise ValueError(f'`dtype` is {value!r}; networks compute in "float32" or "float64".')
    return found


def cell(value: Any) -> Any:
    """A cell: an instance of a registered cell class as it is, a name of CELLS as that cell with its default fields."""
    if isinstance(value, str):
        if value in registered() and value not in CELLS:
            own = next((f'write "{name}"' for name, cls in CELLS.items() if cls.__name__ == value), "")
            raise TypeError(f'`cell` is "{value}", the name of a class; {own or f"pass an instance of it: {value}()"}.')
        return CELLS[known("cell", value, CELLS)]()
    if isinstance(value, type):
        raise TypeError(f"`cell` is the class {value.__name__}; pass an instance: {value.__name__}().")
    try:
        name = spec(value).name
    except TypeError as error:
        raise TypeError(
            f"`cell` is {kind(value)}; expected a name ({', '.join(CELLS)}) or an instance of a cell. Your own cell "
            "is a NamedTuple class with `forward` and `backward`, registered with the decorator "
            "@throughtime.cell(gates=…, states=…)."
        ) from error
    for field, number in value._asdict().items():
        if isinstance(number, bool) or not isinstance(number, Real):
            raise TypeError(f"The field `{field}` of the cell {name} is {kind(number)}; expected a real number.")
    return value


def generator(seed: Any) -> np.random.Generator:
    """numpy's default generator from None, a whole number of at least 0, or a Generator, which is returned as it is."""
    try:
        if not isinstance(seed, (bool, np.bool_)):
            return np.random.default_rng(seed)
    except (TypeError, ValueError):
        pass
    raise TypeError(f"`seed` is {kind(seed)}; expected None, a whole number of at least 0, or a numpy Generator.")


def kind(value: Any) -> str:
    """What arrived, short enough for a sentence: its type, and its value where that is short."""
    shown = repr(value)
    return f"{shown} ({type(value).__name__})" if len(shown) <= 40 else f"an object of type {type(value).__name__}"


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, (bool, np.bool_)):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise TypeError(f"`{name}` is {kind(value)}; expected a whole number.")
