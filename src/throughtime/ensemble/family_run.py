"""The runs of a family of networks over one input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..refuse import words
from ..refuse.called import called
from . import sweep
from .family_gradients import EnsembleGradients, sent_back
from .pieces import analysed, itself, label


@called("the run of an Ensemble")
class EnsembleRun(words.Sealed):
    """An ensemble unfolded over one input; made by `ensemble.unroll(x)`. With the backend joblib the networks are
    unrolled where they are analysed, and `.runs` unrolls them here.

    output, states   those of every network, with the ensemble's axes in front
    networks         of models: dict name of a piece -> the run of this piece in every model, which every analysis takes
    """

    def __init__(self, ensemble: Any, way: tuple, mapped: Callable, runs: list[Any] | None = None) -> None:
        """`runs`: those of one piece of models that are unrolled already; by default the networks are unrolled."""
        self.ensemble, self._way, self._mapped, self._runs = ensemble, way, mapped, runs
        self._piece = runs is not None
        self._key: str | None = None
        if runs is None and ensemble.backend == "threads":
            self._key = None if ensemble.save is None else sweep.key(way)  # what is unrolled now: x may change later
            self._runs = self._unrolled()

    _sealed_by = "_key"

    @property
    def of_models(self) -> bool:
        """Whether these are runs of models, not of networks or of one piece of models."""
        return self.ensemble.of_models and not self._piece

    def _unset(self, name: str) -> str:
        return f"`{name}` of an ensemble's run cannot be set; the run of each network is in `.runs`."

    def _unrolled(self) -> list[Any]:
        pieces: list[sweep.Piece]
        pieces = [(analysed, (self.ensemble, i, None, self._way, itself, (), {})) for i in range(len(self.ensemble))]
        names = [f"the network of {label(point)}" for point in self.ensemble.points]
        return sweep.sweep(pieces, names, backend="threads", progress=self.ensemble.progress)

    @property
    def runs(self) -> list[Any]:
        """The run of every network, in the order of `ensemble.points`."""
        if self._runs is None:
            self._runs = self._unrolled()
        return self._runs

    @property
    def output(self) -> np.ndarray:
        return self._stack([run.output for run in self.runs])

    @property
    def states(self) -> np.ndarray:
        if self.of_models:
            raise ValueError("Models have no states of their own; those of a piece are `run.networks[name].states`.")
        return self._stack([run.states for run in self.runs])

    @property
    def networks(self) -> dict[str, EnsembleRun]:
        """Of models: by the name of a piece its run in every model; ValueError where not all have the same names.

        >>> import numpy as np, throughtime as tt
        >>> def make(seed):
        ...     return tt.models.Chain([tt.Network("gru", 2, 8, seed=seed), tt.models.Readout(8, 1, seed=seed)])
        >>> run = tt.Ensemble(make, {"seed": range(3)}).unroll(np.ones((20, 2))).networks["0"]
        >>> tt.analysis.gradient_norms(run, np.ones((20, 8)))["rate"].shape
        (3, 1)
        """
        if not self.of_models:
            raise ValueError("The run of an ensemble of networks has no `networks`; pass it to an analysis itself.")
        found = [run.networks for run in self.runs]
        names = [list(networks) for networks in found]
        if any(own != names[0] for own in names):
            point, own = next((p, o) for p, o in zip(self.ensemble.points, names, strict=True) if o != names[0])
            raise ValueError(
                f"The model of {label(point)} has networks at {', '.join(own)}, the first one at "
                f"{', '.join(names[0])}: take them one by one from `.runs`."
            )
        return {
            name: EnsembleRun(self.ensemble, self._way, self._mapped, [own[name] for own in found]) for name in names[0]
        }

    def backprop(self, grad_output: Any = None, grad_final_state: Any = None, **options: Any) -> EnsembleGradients:
        """Backpropagation through time in every network: `EnsembleGradients`, one network in each thread.

        grad_output, grad_final_state, options: as of `Unrolled.backprop`, of models of `ModelRun.backprop`. A gradient
        is the same for all networks; or each has its own, an array with the ensemble's axes in front; or it is a
        function of a network's run that gives it. TypeError or ValueError for what does not fit, and for `out`.

        >>> import numpy as np, throughtime as tt
        >>> family = tt.Ensemble([tt.Network("gru", 2, 8, seed=seed) for seed in range(3)])
        >>> run = family.unroll(np.ones((20, 2)))
        >>> grads = run.backprop(lambda own: own.output - 1.0)                 # of ½ Σ (output − 1)²
        >>> grads["weight_hh_l0"].shape, grads["states"].shape
        ((3, 24, 8), (3, 21, 1, 8))
        >>> bool((grads["input"] == run.backprop(run.output - 1.0)["input"]).all())
        True
        """
        if options.get("out") is not None:
            raise ValueError(
                "`out` is of one network, and all would write to it; leave it out, or go through `run.runs`."
            )
        shape = self.ensemble.shape
        runs: list[Any] = self._runs or [None] * len(self.ensemble)
        given, places = (shape, grad_output, grad_final_state, options), [(i,) for i in range(len(runs))]
        found = self._mapped(self._way, runs, sent_back, given, {}, self._key, places)
        return EnsembleGradients(found.axes, found.results)

    def map(self, function: Callable, *args: Any, **options: Any) -> Any:
        """`function(run, *args, **options)` for every network's run -> `EnsembleResult`."""
        runs: list[Any] = self._runs or [None] * len(self.ensemble)
        return self._mapped(self._way, runs, function, args, options, self._key)

    def _stack(self, arrays: list[np.ndarray]) -> np.ndarray:
        return np.stack(arrays).reshape(*self.ensemble.shape, *arrays[0].shape)

    def __repr__(self) -> str:
        return f"{self.ensemble!r}, unrolled over input of shape {np.shape(self._way[0])}"
