"""What an analysis of an ensemble gives: one result per network, on labelled axes."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from textwrap import wrap
from typing import Any, ClassVar

import numpy as np

from .labels import coordinate, derived, dimensions, free
from .record import Array, Result, short


@dataclass(frozen=True, repr=False)
class EnsembleResult(Result):
    """The results of all networks of an ensemble.

    result["exponents"] is that attribute of every result, in one array with the ensemble's axes in front; result[()]
    the results themselves, where they are numbers or arrays. KeyError for what the results do not have, ValueError
    where they differ in shape.

    Units are those of the results: exponents in nats per time step.

    Fields:
        axes: dict name -> values.
        results: tuple of the results, in the order of the axes' product, the last fastest.
    """

    axes: dict[str, list]
    results: tuple
    picture: ClassVar = "ensemble"

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        return tuple(len(values) for values in self.axes.values())

    def at(self, /, **values: Any) -> Any:
        """The result of one network, by one value of every axis: result.at(gain=1.5, seed=0)."""
        if set(values) != set(self.axes):
            raise ValueError(f"at({', '.join(values)}) has to name every axis once: {', '.join(self.axes)}")
        index = 0
        for name, known in self.axes.items():
            place = next((k for k, one in enumerate(known) if one is values[name] or _same(one, values[name])), None)
            if place is None:
                raise ValueError(f"{name}={values[name]!r} is not on that axis: {short_list(known)}")
            index = index * len(known) + place
        return self.results[index]

    def __getitem__(self, name: Any) -> Array:
        if not isinstance(name, str) and not (isinstance(name, tuple) and not name):
            raise TypeError(
                f"result[{name!r}]: expected the name of a field, as in result[{(self.fields or ['…'])[0]!r}], or "
                "result[()] for results that are numbers; .at(…) gives the result of one network."
            )
        if not isinstance(name, str):
            what = "the results"
            try:
                found = [np.asarray(result) for result in self.results]
            except ValueError:  # nested lists of different lengths
                found = [np.empty((), object)]
        else:
            try:
                found = [np.asarray(self._value(result, name)) for result in self.results]
            except AttributeError:
                have = ", ".join(self.fields) or "nothing but themselves: result[()]"
                raise KeyError(f"the results have no {name!r}; they have {have}") from None
            what = f"{name!r}"
        shapes = {value.shape for value in found}
        if len(shapes) > 1:
            raise ValueError(
                f"{what} of these networks have different shapes, "
                f"{short_list(sorted(shapes))}: take them one by one from .results"
            )
        stacked = np.stack(found)
        if stacked.dtype == object:
            raise ValueError(f"{what} of these networks are no numbers: take them one by one from .results")
        return stacked.reshape(*self.shape, *found[0].shape)

    @staticmethod
    def _value(result: Any, name: str) -> Any:
        """A field of one result; AttributeError where it has none."""
        return getattr(result, name)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self.fields:
            raise AttributeError(
                f'Results of several networks have no attribute `{name}`; write result["{name}"] for that of all '
                f"networks, and .at(…).{name} for that of one."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @cached_property
    def fields(self) -> list[str]:
        """The names of the numeric attributes that .arrays() holds."""
        first = self.results[0]
        return list(first.arrays()) if hasattr(first, "arrays") else []

    def arrays(self) -> dict[str, Array]:
        """Every numeric field with the axes in front (those that differ in shape left out), and the axes' values."""
        found = {name: value for name, value in self._numbers().items() if name in self.fields or not self.fields}
        return found | {f"axis_{name}": coordinate(values) for name, values in self.axes.items()}

    def to_xarray(self) -> Any:
        """An xarray.Dataset with the ensemble's axes as coordinates. ImportError with a sentence without xarray.

        It holds the numeric fields and the derived numbers (such as the Kaplan–Yorke dimension) that have one shape in
        all results; axes that mean the same have one name ("exponent", "sequence", "time", …). Where an axis of the
        ensemble has the name of a field or of such an axis, it keeps it, and the other is called NAME_of_result.
        """
        try:
            import xarray
        except ImportError as error:
            raise ImportError("to_xarray() needs the package xarray: pip install xarray, or use .arrays()") from error
        kind, arrays = type(self.results[0]), self._numbers()
        own = {name: dimensions(kind, name, value.ndim - len(self.axes)) for name, value in arrays.items()}
        renamed = {name: free(name, self.axes) for names in own.values() for name in names}
        taken = {*self.axes, *renamed.values()}
        data: dict[str, Any] = {}
        for name, value in arrays.items():
            data[free(name, [*taken, *data])] = ([*self.axes, *(renamed[part] for part in own[name])], value)
        return xarray.Dataset(data, coords={name: coordinate(values) for name, values in self.axes.items()})

    def _numbers(self) -> dict[str, Array]:
        """The fields and derived numbers that have one shape in all results."""
        if not self.fields:
            return {"values": self[()]}
        found = {}
        for name in [*self.fields, *derived(self.results[0])]:
            with suppress(KeyError, ValueError):
                found[name] = self[name]
        return found

    def plot(self, name: Any = (), ax: Any = None, **options: Any) -> Any:
        """Draw one field over one or two axes, a curve or a map: `throughtime.plots.ensemble`."""
        return super().plot(ax, name=name, **options)

    def __repr__(self) -> str:
        lines = [f"Results of {len(self.results)} networks, each {type(self.results[0]).__name__}"]
        lines += [f"  axis {name} ({len(values)}): {short_list(values)}" for name, values in self.axes.items()]
        if self.fields:
            lines += wrap(f"fields: {', '.join(self.fields)}", 110, initial_indent="  ", subsequent_indent="    ")
        numbers = self.results[0]
        if self.fields:
            numbers = self._value(numbers, self.fields[0])
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


def _same(one: Any, other: Any) -> bool:
    """Whether two values of an axis are equal, arrays included."""
    with suppress(TypeError, ValueError):
        return bool(np.all(np.asarray(one == other))) and np.shape(one) == np.shape(other)
    return False


def _numeric(value: Any) -> bool:
    return isinstance(value, (int, float, np.generic, np.ndarray))
