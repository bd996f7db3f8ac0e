"""What was recorded while a family of models learned: the columns of every `History`, on the family's axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..refuse import arguments
from ..results.labels import coordinate, free
from ..results.of_ensemble import short_list
from ..results.record import Array, Result
from .history import History


@dataclass(frozen=True, repr=False)
class FamilyHistory(Result):
    """The histories of a family of models, column by column.

        history["loss"]              (*axes, n), n the steps of the model that made most; NaN where another had ended
        history["validation"]        (*axes, m, …) what was measured, each time; history.at("validation") the steps

    The columns are those of `History`. KeyError for a column that there is not; ValueError for what was measured in
    arrays of different shapes or at other steps: it is in the histories of the models.

    Fields:
        axes: dict name -> values.
        histories: tuple of the `History` of every model, in the order of the axes' product, the last fastest.

        >>> import throughtime as tt
        >>> task = tt.tasks.Adding(length=5)
        >>> def make(gain, seed):
        ...     net = tt.Network("tanh", task.inputs, 8, init=tt.init.gaussian(gain), seed=seed)
        ...     return tt.models.Chain([net, tt.models.last, tt.models.Readout(8, task.outputs, seed=seed)])
        >>> family = tt.Ensemble(make, {"gain": [0.5, 1.5], "seed": range(3)})
        >>> trained = tt.training.fit(
        ...     family, lambda seed: task.batches(8, seed=seed), task.loss, tt.training.Adam(0.01), steps=4)
        >>> trained.history["loss"].shape, trained.history.to_xarray()["norm"].dims
        ((2, 3, 4), ('gain', 'seed', 'step'))
    """

    axes: dict[str, list]
    histories: tuple[History, ...]

    picture: ClassVar = "learning_curves"

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of any of the models: those of every step, then what was measured."""
        rows = dict.fromkeys(name for history in self.histories for name in history.rows)
        return (*rows, *dict.fromkeys(name for history in self.histories for name in history.measured))

    def __len__(self) -> int:
        return max(map(len, self.histories))

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Array:
        self._known(name)
        columns = [history[name] if name in history else np.zeros(0) for history in self.histories]
        shapes = {column.shape[1:] for column in columns if len(column)} or {()}
        if len(shapes) > 1:
            raise ValueError(
                f"{name!r} of these models has different shapes, {short_list(sorted(shapes))}: take it model by model "
                f"from `.histories`."
            )
        (own,) = shapes
        found = np.full((len(columns), max(map(len, columns)), *own), np.nan)
        for row, column in zip(found, columns, strict=True):
            row[: len(column)] = column
        return found.reshape(*self.shape, *found.shape[1:])

    def at(self, name: str) -> Array:
        """The steps at which the column `name` has its values; KeyError where there is no such column."""
        self._known(name)
        steps = [history.at(name) for history in self.histories if name in history]
        longest = max(steps, key=len)
        if any(not np.array_equal(own, longest[: len(own)]) for own in steps):
            raise ValueError(
                f"{name!r} was measured at other steps in some of these models: take it from `.histories`, one by one."
            )
        return longest

    def arrays(self) -> dict[str, Array]:
        """All columns that stack, ready for `np.savez(path, **history.arrays())`, their steps as NAME_step, and the
        axes' values as axis_NAME."""
        found: dict[str, Array] = {}
        for name in self.names:
            try:
                own = {name: self[name], f"{name}_step": self.at(name)}
            except ValueError:  # shapes or steps of each its own
                continue
            found |= {name: own[name]} if name in self.histories[0].rows else own
        return found | {f"axis_{name}": coordinate(values) for name, values in self.axes.items()}

    def to_xarray(self) -> Any:
        """An xarray.Dataset with the family's axes and "step" as coordinates; a measure is along steps of its own.

        ImportError without xarray. An axis of the family keeps its name, a column of the same is NAME_of_result.
        """
        try:
            import xarray
        except ImportError as error:
            raise ImportError("to_xarray() needs the package xarray: pip install xarray, or use .arrays()") from error
        arrays, data = self.arrays(), dict[str, Any]()
        step = free("step", self.axes)
        coordinates = {name: coordinate(values) for name, values in self.axes.items()}
        coordinates[step] = np.arange(len(self)) if "step" not in self else self.at("step")
        for name in self.names:
            if name not in arrays or name == "step":
                continue
            along, values = step, arrays[name]
            if f"{name}_step" in arrays:
                along = free(f"{name}_step", self.axes)
                coordinates[along] = arrays[f"{name}_step"]
            own = [f"{name}_{k}" for k in range(1, values.ndim - len(self.axes))]
            data[free(name, [*self.axes, *coordinates])] = ([*self.axes, along, *own], values)
        return xarray.Dataset(data, coords=coordinates)

    def _known(self, name: str) -> None:
        if not isinstance(name, str) or name not in self.names:
            raise KeyError(f"There is no column {arguments.kind(name)}; there are {', '.join(self.names)}.")

    def __repr__(self) -> str:
        lines = [f"Histories of {len(self.histories)} models, of up to {len(self)} steps"]
        lines += [f"  axis {name} ({len(values)}): {short_list(values)}" for name, values in self.axes.items()]
        last = [history["loss"][-1] for history in self.histories if len(history)]
        if last:
            lines.append(f"  last loss       {_range(last)}")
        measured = [name for name in self.names if name not in self.histories[0].rows]
        if measured:
            lines.append(f"  measured: {', '.join(measured)}")
        return "\n".join(lines)


def _range(values: Sequence[float]) -> str:
    """Least, median and largest of the finite ones, and how many are not."""
    finite = np.asarray([value for value in values if np.isfinite(value)])
    without = len(values) - len(finite)
    said = f"{without} of {len(values)} not finite" if without else ""
    if not len(finite):
        return said
    return f"{finite.min():.4g} to {finite.max():.4g}, median {np.median(finite):.4g}{said and ', ' + said}"
