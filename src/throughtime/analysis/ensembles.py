"""What an analysis of an ensemble gives: one result per network, on labelled axes."""

from dataclasses import dataclass
from functools import cached_property
from textwrap import wrap
from typing import Any

import numpy as np

from .arrays import Array, Result, short


@dataclass(frozen=True, repr=False)
class EnsembleResult(Result):
    """The results of all networks of an ensemble.

    result["exponents"] is that attribute of every result, in one array with the ensemble's axes in front; result[()]
    the results themselves, where they are numbers or arrays. KeyError for what the results do not have, ValueError
    where they differ in shape.
    """

    axes: dict[str, list]  # name -> values
    results: tuple  # in the order of the axes' product, the last fastest

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        return tuple(len(values) for values in self.axes.values())

    def at(self, **values: Any) -> Any:
        """The result of one network, by one value of every axis: result.at(gain=1.5, seed=0)."""
        if set(values) != set(self.axes):
            raise ValueError(f"at({', '.join(values)}) has to name every axis once: {', '.join(self.axes)}")
        index = 0
        for name, known in self.axes.items():
            if values[name] not in known:
                raise ValueError(f"{name}={values[name]!r} is not on that axis: {short_list(known)}")
            index = index * len(known) + known.index(values[name])
        return self.results[index]

    def __getitem__(self, name: Any) -> Array:
        if name == ():
            found = [np.asarray(result) for result in self.results]
            what = "the results"
        else:
            if not all(hasattr(result, name) for result in self.results):
                have = ", ".join(self.fields) or "nothing but themselves: result[()]"
                raise KeyError(f"the results have no {name!r}; they have {have}")
            found = [np.asarray(getattr(result, name)) for result in self.results]
            what = f"{name!r}"
        shapes = {value.shape for value in found}
        if len(shapes) > 1:
            raise ValueError(
                f"{what} of these networks have different shapes, {short_list(sorted(shapes))}: take them one by "
                "one from .results"
            )
        stacked = np.stack(found)
        if stacked.dtype == object:
            raise ValueError(f"{what} of these networks are no numbers: take them one by one from .results")
        return stacked.reshape(*self.shape, *found[0].shape)

    @cached_property
    def fields(self) -> list[str]:
        """The names of the numeric attributes that .arrays() holds."""
        first = self.results[0]
        return list(first.arrays()) if hasattr(first, "arrays") else []

    def arrays(self) -> dict[str, Array]:
        """Every numeric field with the axes in front (those that differ in shape left out), and the axes' values."""
        found: dict[str, Array] = {}
        for name in self.fields:
            try:
                found[name] = self[name]
            except (KeyError, ValueError):
                continue
        if not self.fields:
            found["values"] = self[()]
        return found | {f"axis_{name}": np.asarray(values) for name, values in self.axes.items()}

    def to_xarray(self) -> Any:
        """An xarray.Dataset with the ensemble's axes as coordinates. ImportError with a sentence without xarray."""
        try:
            import xarray
        except ImportError as error:
            raise ImportError("to_xarray() needs the package xarray: pip install xarray, or use .arrays()") from error
        data = {}
        for name, value in self.arrays().items():
            if not name.startswith("axis_"):
                own = [f"{name}_{i}" for i in range(value.ndim - len(self.axes))]
                data[name] = ([*self.axes, *own], value)
        return xarray.Dataset(data, coords={name: np.asarray(values) for name, values in self.axes.items()})

    def plot(self, name: Any = (), ax: Any = None, **options: Any) -> Any:
        """Draw one field over one or two axes, a curve or a map: `throughtime.plots.ensemble`."""
        return self._draw("ensemble", ax, {"name": name, **options})

    def __repr__(self) -> str:
        lines = [f"Results of {len(self.results)} networks, each {type(self.results[0]).__name__}"]
        lines += [f"  axis {name} ({len(values)}): {short_list(values)}" for name, values in self.axes.items()]
        if self.fields:
            lines += wrap(f"fields: {', '.join(self.fields)}", 110, initial_indent="  ", subsequent_indent="    ")
        numbers = self.results[0]
        if self.fields:
            numbers = getattr(numbers, self.fields[0])
            lines.append(f"  {self.fields[0]} of the first: {short(numbers)}")
        elif _numeric(numbers):
            lines.append(f"  first: {short(self[()])}")
        return "\n".join(lines)


def short_list(values: list) -> str:
    """The first and last entries of a list, for printing.

    >>> short_list(list(range(100)))
    '0, 1, 2, …, 98, 99'
    """
    text = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
    return ", ".join(text if len(text) <= 6 else [*text[:3], "…", *text[-2:]])


def _numeric(value: Any) -> bool:
    return isinstance(value, (int, float, np.generic, np.ndarray))
