"""Learning rates that change: functions of the number of the step, from 0, checked when made.

Each is a small record whose call gives the rate of a step; any function of a step will do as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from ..refuse import arguments, words

COUNTS = ("steps", "every", "up", "down")


class Schedule:
    """Base: fields that are numbers are at least 0, counts of steps at least 1; a field `schedule` is a function."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.name in COUNTS:
                checked: Any = value if value is None and field.default is None else arguments.size(field.name, value)
            elif field.type == "Callable":
                checked = value
                if not callable(value) or isinstance(value, type):
                    raise TypeError(
                        f"`{field.name}` is {arguments.kind(value)}; expected a schedule, a function of the step: a "
                        "number alone is `tt.training.Constant(…)`."
                    )
            elif field.type == "str":
                checked = arguments.known("shape", value, ("cosine", "linear"))
            else:
                checked = arguments.real(field.name, value, low=0.0)
            object.__setattr__(self, field.name, checked)


@words.explain
@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate at every step.

    rate: at least 0. TypeError or ValueError for what is no such number.

        >>> import throughtime as tt
        >>> tt.training.Constant(0.1)(1000)
        0.1
    """

    rate: float

    def __call__(self, step: int) -> float:
        return self.rate


@words.explain
@dataclass(frozen=True)
class StepDecay(Schedule):
    """rate · factor^⌊step/every⌋: a lower rate after every so many steps (torch's StepLR).

    rate: at least 0.
    every: steps.
    factor: at least 0.
    TypeError or ValueError for other arguments.

        >>> import throughtime as tt
        >>> schedule = tt.training.StepDecay(0.1, every=100, factor=0.5)
        >>> schedule(99), schedule(100)
        (0.1, 0.05)
    """

    rate: float
    every: int
    factor: float = 0.1

    def __call__(self, step: int) -> float:
        return self.rate * self.factor ** (step // self.every)


@words.explain
@dataclass(frozen=True)
class Exponential(Schedule):
    """rate · factor^step (torch's ExponentialLR).

    rate, factor: at least 0. TypeError or ValueError for other arguments.

        >>> import throughtime as tt
        >>> tt.training.Exponential(0.1, factor=0.5)(2)
        0.025
    """

    rate: float
    factor: float

    def __call__(self, step: int) -> float:
        return self.rate * self.factor**step


@words.explain
@dataclass(frozen=True)
class Cosine(Schedule):
    """From rate to end along half a cosine in so many steps, and `end` after them.

        end + (rate − end)(1 + cos(π step/steps))/2

    rate, end: at least 0.
    steps: until the end. As torch's CosineAnnealingLR up to there, which rises again. Source:
    Loshchilov & Hutter 2017, arXiv:1608.03983. TypeError or ValueError for other arguments.

        >>> import throughtime as tt
        >>> schedule = tt.training.Cosine(0.1, steps=100)
        >>> schedule(0), round(schedule(50), 12), schedule(500)
        (0.1, 0.05, 0.0)
    """

    rate: float
    steps: int
    end: float = 0.0

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.end
        return self.end + (self.rate - self.end) * (1.0 + math.cos(math.pi * step / self.steps)) / 2.0
