"""The axes of an ensemble: names and values checked, and what an index means on them."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from itertools import islice
from math import prod
from typing import Any

import numpy as np

from ..refuse import arguments

MOST = 10_000_000  # points: beyond it, somebody has given an endless iterator


def checked(axes: Any) -> dict[str, list]:
    """`axes` as name -> list of values; numbers become Python's own, so that they print and compare as such."""
    if not isinstance(axes, Mapping):
        raise TypeError(
            f"`axes` is {arguments.kind(axes)}; expected a dict of the values along each axis, "
            'axes={"gain": [0.5, 1.5], "seed": range(10)}.'
        )
    found = {}
    for name, values in axes.items():
        if not isinstance(name, str) or not name.strip():
            raise TypeError(f"The name {name!r} of an axis is {type(name).__name__}; expected a str such as 'gain'.")
        if isinstance(values, (str, bytes, Mapping, set, frozenset)) or not np.iterable(values):
            raise TypeError(
                f'The values of the axis "{name}" are {arguments.kind(values)}; expected a list of them, in order: '
                f'axes={{"{name}": [{values!r}]}}.'
            )
        found[name] = np.asarray(values).tolist() if _plain(values) else listed(f'values of the axis "{name}"', values)
    if prod(len(values) for values in found.values()) > MOST:
        raise ValueError(f"`axes` have more than {MOST} points: make several ensembles, or shorter axes.")
    return found


def listed(what: str, values: Any) -> list:
    """The values as a list; ValueError if there are more than anybody could want."""
    found = list(islice(values, MOST + 1))
    if len(found) > MOST:
        raise ValueError(f"There are more than {MOST} {what}: pass a shorter list.")
    return found


def networks(given: Any) -> list:
    """The networks of an ensemble as a list, not yet looked at."""
    try:
        whole = not isinstance(given, (str, bytes, Mapping)) and iter(given) is not None
    except Exception:  # TypeError, or what an object of another library raises
        whole = False
    if not whole:
        raise TypeError(
            f"`networks` is {arguments.kind(given)}; expected a list of networks, Ensemble([net]), or a function "
            'that makes one: Ensemble(lambda seed: Network("gru", 2, 8, seed=seed), {"seed": range(10)}).'
        )
    return listed("networks", given)


def _plain(values: Any) -> bool:
    """Whether these are numbers, and nothing but numbers."""
    if not isinstance(values, (list, tuple, range, np.ndarray)) or len(values) > MOST:
        return False
    try:
        found = np.asarray(values)
    except ValueError:  # lists of different lengths
        return False
    whole = all(isinstance(value, (int, float, np.integer, np.floating)) for value in values)
    return found.ndim == 1 and found.dtype.kind in "fiu" and whole and not any(isinstance(v, bool) for v in values)


def fits(make: Callable, point: dict) -> None:
    """TypeError if a function of networks does not take the axes by name."""
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # some built-in functions do not tell
        return
    try:
        signature.bind(**point)
    except TypeError as error:
        named = ", ".join(f"{name}=…" for name in point)
        raise TypeError(
            f"`networks` is called with the axes by name, {getattr(make, '__name__', 'networks')}({named}), but it "
            f"takes {signature}: {error}."
        ) from error


def places(axes: dict[str, list], index: Any) -> tuple[dict[str, list], list[int]] | int:
    """The place of one network in the order of the points, or the axes of a part of them and the places in it.

    A whole number counts the points; one index for each axis, numbers and slices, picks along them.
    """
    lengths = [len(values) for values in axes.values()]
    if not isinstance(index, tuple):
        if not isinstance(index, slice):
            return _whole(index, prod(lengths), "network", axes)
        index = (index,)
    if len(index) != len(axes):
        raise TypeError(f"[{_shown(index)}] has {len(index)} of {len(axes)} indices; {_advice(axes)}.")
    picked: list[Any] = []
    for one, (name, values) in zip(index, axes.items(), strict=True):
        if isinstance(one, slice):
            try:
                picked.append(list(range(len(values)))[one])
            except TypeError as error:
                raise TypeError(f"The slice of the axis {name} is {one}; {_advice(axes)}.") from error
        else:
            picked.append(_whole(one, len(values), f"value of {name}", axes))
    at = np.arange(prod(lengths)).reshape(lengths)
    grid = at[np.ix_(*(one if isinstance(one, list) else [one] for one in picked))].ravel().tolist()
    if not any(isinstance(one, list) for one in picked):
        return grid[0]
    kept = {
        name: [values[k] for k in one] if isinstance(one, list) else [values[one]]
        for one, (name, values) in zip(picked, axes.items(), strict=True)
    }
    if not grid:
        raise ValueError(f"[{_shown(index)}] leaves no network; the axes have lengths {lengths}.")
    return kept, grid


def _whole(index: Any, length: int, what: str, axes: dict[str, list]) -> int:
    try:
        place = None if isinstance(index, (bool, np.bool_)) else operator.index(index)
    except TypeError:
        place = None
    if place is None:
        raise TypeError(f"The index {arguments.kind(index)} of a {what} is no whole number; {_advice(axes)}.")
    if not -length <= place < length:
        raise IndexError(f"The index {place} of a {what} is out of range; there are {length}.")
    return place % length


def _advice(axes: dict[str, list]) -> str:
    every = ", ".join("0" for _ in axes)
    part = ", ".join(["0:2", *(":" for _ in list(axes)[1:])])
    return (
        f"the axes are ({', '.join(axes)}): write family[3] for a network by its place in `points`, family[{every}] "
        f"for one along the axes, family[{part}] for a part of the ensemble"
    )


def _shown(index: tuple) -> str:
    def one(part: Any) -> str:
        if not isinstance(part, slice):
            return repr(part)
        parts = (part.start, part.stop, *(() if part.step is None else (part.step,)))
        return ":".join("" if value is None else str(value) for value in parts)

    return ", ".join(map(one, index))
