"""What `fit` gives of a family: every model trained, and what was recorded of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..results.of_ensemble import EnsembleResult, short_list
from ..results.record import Array
from .family_history import FamilyHistory


@dataclass(frozen=True, repr=False)
class TrainedFamily(EnsembleResult):
    """What `fit` did to a family of models.

    trained["steps"], trained["best_loss"] or another number of `Trained` is that of every model, with the family's
    axes in front; trained.at(gain=1.5, seed=0) the `Trained` of one.

    Fields:
        axes: dict name -> values.
        results: tuple of the `Trained` of every model, in the order of the axes' product, the last fastest.
        models: `Ensemble` of the models as they are now, to measure: `trained.models.map(…)`, `evaluate(…)`.

        >>> import throughtime as tt
        >>> task = tt.tasks.Adding(length=5)
        >>> def make(units, seed):
        ...     net = tt.Network("lstm", task.inputs, units, seed=seed)
        ...     return tt.models.Chain([net, tt.models.last, tt.models.Readout(units, task.outputs, seed=seed)])
        >>> family = tt.Ensemble(make, {"units": [1, 16], "seed": [0, 1]})
        >>> trained = tt.training.fit(
        ...     family, lambda seed: task.batches(32, seed=seed), task.loss, tt.training.Adam(0.02), steps=300)
        >>> loss = tt.training.evaluate(trained.models, task.batch(500, seed=9), task.loss)
        >>> loss[()].shape, bool((loss[()][1] < task.baseline / 5).all())           # 16 units learn it with every seed
        ((2, 2), True)
    """

    models: Any

    @cached_property
    def history(self) -> FamilyHistory:
        """`FamilyHistory`: history["loss"] is (*axes, steps), NaN where a model had ended."""
        return FamilyHistory(self.axes, tuple(result.history for result in self.results))

    @property
    def diverged(self) -> Array:
        """(*axes), True where the loss or a gradient was not finite: that model holds its last good parameters."""
        return np.array([result.reason == "diverged" for result in self.results]).reshape(self.shape)

    def plot(self, name: Any = "loss", ax: Any = None, **options: Any) -> Any:
        """Draw a column of the histories step by step, `throughtime.plots.learning_curves`; or, of the name of a field
        such as "best_loss", that over the axes, `throughtime.plots.ensemble`. options: theirs."""
        if isinstance(name, str) and name in self.history and name not in self.fields:
            return self.history.plot(ax, name=name, **options)
        return super().plot(name, ax, **options)

    def __repr__(self) -> str:
        lines = [f"{len(self.results)} models trained for up to {max(r.steps for r in self.results)} steps"]
        lines += [f"  axis {name} ({len(values)}): {short_list(values)}" for name, values in self.axes.items()]
        lines += repr(self.history).splitlines()[1 + len(self.axes) :]
        ended: dict[str, int] = {}
        for result in self.results:
            ended[result.reason] = ended.get(result.reason, 0) + 1
        lines.append(f"  ended by: {', '.join(f'{reason} ({count})' for reason, count in ended.items())}")
        return "\n".join(lines)
