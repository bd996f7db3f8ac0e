"""Schedules made of others: a rise before one, and one after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..refuse import words
from .schedules import Schedule


@words.explain
@dataclass(frozen=True)
class WarmUp(Schedule):
    """Another schedule, multiplied in its first steps by what rises from start to 1.

        schedule(step) · (start + (1 − start) min(step/steps, 1))

    schedule: a function of the step.
    steps: of the rise.
    start: the share at step 0. As torch's LinearLR chained with
    another. TypeError or ValueError for other arguments.

        >>> import throughtime as tt
        >>> schedule = tt.training.WarmUp(tt.training.Constant(0.1), steps=4)
        >>> schedule(0), schedule(2), schedule(9)
        (0.0, 0.05, 0.1)
    """

    schedule: Callable
    steps: int
    start: float = 0.0

    def __call__(self, step: int) -> float:
        return self.schedule(step) * (self.start + (1.0 - self.start) * min(step / self.steps, 1.0))


@words.explain
@dataclass(frozen=True)
class Then(Schedule):
    """One schedule for so many steps, then another, which begins at its own step 0 (torch's SequentialLR).

    first, second: functions of the step.
    steps: of the first. TypeError or ValueError for other arguments.

        >>> import throughtime as tt
        >>> schedule = tt.training.Then(tt.training.Constant(0.1), 10, tt.training.Cosine(0.1, steps=5))
        >>> schedule(9), schedule(10), schedule(15)
        (0.1, 0.1, 0.0)
    """

    first: Callable
    steps: int
    second: Callable

    def __call__(self, step: int) -> float:
        return self.first(step) if step < self.steps else self.second(step - self.steps)
