"""What was recorded while a model learned: columns of numbers, one row a step, and what was measured now and then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..refuse import arguments
from ..results.record import Array, Result, short

COLUMNS = ("step", "loss", "norm", "clipped_norm", "clipped", "rate", "seconds")


@dataclass(frozen=True, repr=False)
class History(Result):
    """Columns of what happened at every step of training, and of what was measured every so many.

        history["loss"]              (n,) one number for each step that was made
        history["validation"]        (m, …) what was measured, each time; history.at("validation") the steps when it was

    Columns of every step: "step" (from 0), "loss", "norm" of the gradient before any clip, "clipped_norm" after the
    last clip, "clipped" (1 where a clip changed something), "rate", "seconds" since the start; NaN what was not told.

    Fields:
        rows: dict name -> list, what `history[name]` makes an array of.
        measured: dict name -> (list of steps, list of values), of what was measured now and then.

    `len(history)` are the steps. It goes on growing while training does, and is kept when training fails.
    KeyError for a column that there is not.

        >>> import throughtime as tt
        >>> monitor = tt.training.Monitor()
        >>> for step in range(3):
        ...     monitor(loss=1.0 / (1 + step), norm=2.0)
        >>> history = monitor.history
        >>> history["loss"]
        array([1.        , 0.5       , 0.33333333])
        >>> print(history)
        History of 3 steps
          loss            1 at step 0, 0.3333 at step 2, least 0.3333 at step 2
          norm            median 2, largest 2 at step 0
    """

    rows: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    measured: dict[str, tuple[list[int], list[Any]]] = field(default_factory=dict)

    picture: ClassVar = {"loss": "training_loss", "norm": "training_norm", "measured": "training_measured"}

    @property
    def names(self) -> tuple[str, ...]:
        """The columns: those of every step, then what was measured."""
        return (*self.rows, *self.measured)

    @property
    def clipped_share(self) -> float:
        """The share of the steps at which a clip changed the gradient; NaN without steps."""
        clipped = self["clipped"]
        return float(np.nanmean(clipped)) if np.isfinite(clipped).any() else float("nan")

    def __len__(self) -> int:
        return len(self.rows["step"])

    def __getitem__(self, name: str) -> Array:
        if isinstance(name, str) and name in self.rows:
            return np.asarray(self.rows[name], np.int64 if name == "step" else np.float64)
        if isinstance(name, str) and name in self.measured:
            return np.asarray(self.measured[name][1])
        raise KeyError(f"There is no column {arguments.kind(name)}; there are {', '.join(self.names)}.")

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def at(self, name: str) -> Array:
        """The steps at which the column `name` has its values; KeyError where there is no such column."""
        return np.asarray(self.measured[name][0], np.int64) if name in self.measured else (self[name], self["step"])[1]

    def arrays(self) -> dict[str, Array]:
        """All columns as arrays, ready for `np.savez(path, **history.arrays())`; steps of a measure as NAME_step."""
        found = {name: self[name] for name in self.rows}
        for name in self.measured:
            found |= {name: self[name], f"{name}_step": self.at(name)}
        return found

    def to_xarray(self) -> Any:
        """An xarray.Dataset along "step"; a measure is along steps of its own. ImportError without xarray."""
        try:
            import xarray
        except ImportError as error:
            raise ImportError("to_xarray() needs the package xarray: pip install xarray, or use .arrays()") from error
        data: dict[str, Any] = {name: ("step", self[name]) for name in self.rows if name != "step"}
        coordinates = {"step": self["step"]}
        for name in self.measured:
            values = self[name]
            own = [f"{name}_{k}" for k in range(1, values.ndim)]
            data[name] = ([f"{name}_step", *own], values)
            coordinates[f"{name}_step"] = self.at(name)
        return xarray.Dataset(data, coords=coordinates)

    def measure(self, name: str, step: int, value: Any) -> None:
        """Write into the column `name` what was measured, a `value`, at a `step`."""
        steps, values = self.measured.setdefault(name, ([], []))
        steps.append(step)
        values.append(value)

    def __repr__(self) -> str:
        if not len(self):
            return "History of 0 steps"
        lines, steps = [f"History of {len(self)} steps"], self["step"]
        loss, norm = self["loss"], self["norm"]
        if np.isfinite(loss).any():
            least = int(np.nanargmin(loss))
            ends = f"{loss[0]:.4g} at step {steps[0]}, {loss[-1]:.4g} at step {steps[-1]}"
            lines.append(f"  loss            {ends}, least {loss[least]:.4g} at step {steps[least]}")
        if np.isfinite(norm).any():
            most = int(np.nanargmax(norm))
            share = f"; {self.clipped_share:.0%} of the steps clipped" if self.clipped_share > 0 else ""
            median = float(np.nanmedian(norm))
            lines.append(
                f"  norm            median {median:.4g}, largest {norm[most]:.4g} at step {steps[most]}{share}"
            )
        for name in self.measured:
            value = self[name]
            shown = short(value) if value.ndim == 1 and value.dtype.kind in "biuf" else f"{value.shape}"
            lines.append(f"  {name:<15} {shown}")
        return "\n".join(lines)


def not_taken(argument: str, name: str) -> None:
    """ValueError for a name of one's own that is that of a column which every history has."""
    if name in COLUMNS:
        raise ValueError(
            f'`{argument}` has one by the name "{name}", a column that every history has ({", ".join(COLUMNS)}); give '
            "it another name."
        )


def add_row(history: History, row: dict[str, float]) -> None:
    """Write a row of a step; columns that it does not name get NaN, new ones have NaN before.

    No method: those of results are checked and hold the threads of BLAS, some 20 microseconds at every step.
    """
    rows, count = history.rows, len(history.rows["step"])
    for name in row:
        if name not in rows:
            rows[name] = [float("nan")] * count
    for name, column in rows.items():
        column.append(row.get(name, float("nan")))
