"""The runs of a family of networks over one input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..network.unrolled import Unrolled
from ..refuse import words
from ..refuse.called import called
from . import sweep
from .pieces import analysed, itself, label


@called("the run of an Ensemble")
class EnsembleRun(words.Sealed):
    """An ensemble unfolded over one input; made by `ensemble.unroll(x)`. With the backend joblib the networks are
    unrolled where they are analysed, and `.runs` unrolls them here.

    output, states   those of every network, with the ensemble's axes in front
    """

    def __init__(self, ensemble: Any, way: tuple, mapped: Callable) -> None:
        self.ensemble, self._way, self._mapped, self._runs = ensemble, way, mapped, None
        self._key: str | None = None
        if ensemble.backend == "threads":
            self._key = None if ensemble.save is None else sweep.key(way)  # what is unrolled now: x may change later
            self._runs = self._unrolled()

    _sealed_by = "_key"

    def _unset(self, name: str) -> str:
        return f"`{name}` of an ensemble's run cannot be set; the run of each network is in `.runs`."

    def _unrolled(self) -> list[Unrolled]:
        pieces: list[sweep.Piece]
        pieces = [(analysed, (self.ensemble, i, None, self._way, itself, (), {})) for i in range(len(self.ensemble))]
        names = [f"the network of {label(point)}" for point in self.ensemble.points]
        return sweep.sweep(pieces, names, backend="threads", progress=self.ensemble.progress)

    @property
    def runs(self) -> list[Unrolled]:
        """The run of every network, in the order of `ensemble.points`."""
        if self._runs is None:
            self._runs = self._unrolled()
        return self._runs

    @property
    def output(self) -> np.ndarray:
        return self._stack([run.output for run in self.runs])

    @property
    def states(self) -> np.ndarray:
        return self._stack([run.states for run in self.runs])

    def map(self, function: Callable, *args: Any, **options: Any) -> Any:
        """`function(run, *args, **options)` for every network's run -> `EnsembleResult`."""
        runs: list[Any] = self._runs or [None] * len(self.ensemble)
        return self._mapped(self._way, runs, function, args, options, self._key)

    def _stack(self, arrays: list[np.ndarray]) -> np.ndarray:
        return np.stack(arrays).reshape(*self.ensemble.shape, *arrays[0].shape)

    def __repr__(self) -> str:
        return f"{self.ensemble!r}, unrolled over input of shape {np.shape(self._way[0])}"
