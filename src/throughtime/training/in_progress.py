"""Training in progress: what `fit` holds while it goes on, and what callbacks and checkpoints see of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..refuse.called import called
from ..results.record import Array, Result
from .history import History


class Diverged(ArithmeticError):
    """The loss or the gradient of a step is not finite; the parameters are the last for which they were.

    Attributes:
        step: the number of that step, from 0.
        history: the `History` up to there, that step included.

    >>> import numpy as np, throughtime as tt
    >>> model = tt.models.Readout(1, 1, seed=0)
    >>> batches = [(np.full((5, 1, 1), 1e200), np.ones((5, 1, 1)))] * 2
    >>> try:
    ...     tt.training.fit(model, batches, tt.training.mean_squared_error, tt.training.SGD(0.1), steps=2)
    ... except tt.training.Diverged as error:
    ...     print(error.step, error.history["loss"])
    0 [inf]
    """

    def __init__(self, step: int, history: History, where: str = "") -> None:
        """where: which part of the batch is not finite itself, if one is."""
        loss, norms = history["loss"][-1], history["norm"]
        recent = ", ".join(f"{norm:.3g}" for norm in norms[-6:])
        what = f"The loss is {loss:g}" if not math.isfinite(loss) else f"The gradient's norm is {norms[-1]:g}"
        advice = "Take a lower rate, or clip the gradient: `transforms=(tt.training.ClipNorm(1.0),)`."
        if where:
            out = "a mask" if where == "`targets`" else "lengths"
            advice = f"{where} of this batch holds NaN or infinity: mend the data, or leave such steps out by {out}."
        elif len(norms) < 2:
            advice = "It is so from the start: look for NaN or huge numbers in inputs, targets and parameters."
        super().__init__(
            f"{what} at step {step}; norms of the gradient up to there: {recent}. The parameters are the last with "
            f"which both were finite. {advice}"
        )
        self.step, self.history, self._where = step, history, where

    def __reduce__(self) -> tuple[Any, ...]:
        """It comes whole out of another process: of itself an exception would be made again from its message alone."""
        return type(self), (self.step, self.history, self._where)


@dataclass(frozen=True, repr=False)
class Trained(Result):
    """What `fit` did. The model's parameters themselves have changed.

    Fields:
        history: `History`, a row for each step.
        steps: updates made in all, those before a checkpoint included.
        reason: why it ended: "steps", "batches" where they came to an end, "validation" where it got no better any
            more, "callback"; of a model of a family also "diverged".
        state: the final state of the last piece, to go on from; of a stream.
        best_step: steps after which the loss of the validation was least, −1 without one. The parameters are those.
        best_loss: that loss; NaN without one.

        >>> import throughtime as tt
        >>> task = tt.tasks.Adding(length=10)
        >>> net = tt.Network("tanh", task.inputs, 8, seed=0)
        >>> model = tt.models.Chain([net, tt.models.last, tt.models.Readout(8, task.outputs, seed=1)])
        >>> trained = tt.training.fit(model, task.batches(16, seed=0), task.loss, tt.training.Adam(0.01), steps=3)
        >>> trained.steps, trained.reason
        (3, 'steps')
    """

    history: History
    steps: int
    reason: str
    state: Any = None
    best_step: int = -1
    best_loss: float = math.nan

    picture: ClassVar = {"loss": "training_loss", "norm": "training_norm", "measured": "training_measured"}

    def __repr__(self) -> str:
        best = f"; best validation {self.best_loss:.4g} after {self.best_step} steps" if self.best_step >= 0 else ""
        return f"Trained for {self.steps} steps, to the end of {_REASONS[self.reason]}{best}\n{self.history!r}"


_REASONS = {
    "steps": "the steps",
    "batches": "the batches",
    "validation": "what validation got better",
    "callback": "what a callback wanted",
    "diverged": "what is finite",
}


@called("training in progress")
@dataclass
class Training:
    """Training in progress, as callbacks see it.

    Fields:
        model, optimiser: those given to `fit`.
        history: `History` so far.
        step: updates made.
        pieces: what was gone through, those without a target that counts included.
        loss, norm: of the last update, the norm before any clip.
        state: the carried state, with which the next piece begins if it `continues`.
        run: the last run of the model, whose `.networks` every analysis takes.
        best, best_step, best_loss: parameters with the least loss of validation so far, the steps before it, the loss.
        waited: validations since then.
        point: of a family, the values of its axes, dict name -> value.

        >>> import throughtime as tt
        >>> def stop_early(training):
        ...     return "stop" if training.step == 2 else None
        >>> task = tt.tasks.Adding(length=10)
        >>> net = tt.Network("tanh", task.inputs, 8, seed=0)
        >>> model = tt.models.Chain([net, tt.models.last, tt.models.Readout(8, task.outputs, seed=1)])
        >>> batches, loss = task.batches(16, seed=0), tt.training.mean_squared_error
        >>> tt.training.fit(model, batches, loss, tt.training.Adam(0.01), steps=99, callbacks=[stop_early]).steps
        2
    """

    model: Any
    optimiser: Any
    history: History
    step: int = 0
    pieces: int = 0
    loss: float = math.nan
    norm: float = math.nan
    state: Any = None
    run: Any = field(default=None, repr=False)
    best: Array | None = field(default=None, repr=False)  # parameters
    best_step: int = -1
    best_loss: float = math.inf
    waited: int = 0  # validations without a better one
    point: dict[str, Any] = field(default_factory=dict)

    def judge(self, loss: float) -> None:
        """Keep the parameters if this loss of a validation is the least so far; NaN never is."""
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.waited = loss, self.step, 0
            self.best = self.model.engine.arrays.copy(self.model.flat)
        else:
            self.waited += 1
