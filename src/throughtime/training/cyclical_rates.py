"""Learning rates that rise and fall: again and again, or once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..refuse import words
from .schedules import Schedule


@words.explain
@dataclass(frozen=True)
class Cyclical(Schedule):
    """Up from low to high and down again, in straight lines, over and over; each time `factor` as high above low.

    low, high: rates of at least 0.
    up, down: steps of each way, down by default as many as up.
    factor: by which the height is multiplied with every cycle: 1 is "triangular", ½ "triangular2" of torch's
    CyclicLR. Source: Smith 2017, arXiv:1506.01186. TypeError or ValueError for other arguments.

        >>> import throughtime as tt
        >>> schedule = tt.training.Cyclical(0.1, 0.5, up=2)
        >>> [round(schedule(step), 12) for step in range(6)]
        [0.1, 0.3, 0.5, 0.3, 0.1, 0.3]
    """

    low: float
    high: float
    up: int
    down: int | None = None
    factor: float = 1.0

    def __call__(self, step: int) -> float:
        down = self.up if self.down is None else self.down
        cycle, place = divmod(step, self.up + down)
        height = place / self.up if place <= self.up else (self.up + down - place) / down
        return self.low + (self.high - self.low) * height * self.factor**cycle


@words.explain
@dataclass(frozen=True)
class OneCycle(Schedule):
    """One rise from rate/start to rate, in the first share of the steps, and one fall to rate/(start·end) at the last.

    rate: the highest.
    steps: of the whole, the last of them included; after it the rate stays.
    share: of the steps in which it rises, from 0 to 1.
    start, end: by what the rate is divided.
    shape: "cosine" or "linear". As torch's
    OneCycleLR with two phases. Source: Smith & Topin 2019, arXiv:1708.07120. TypeError or ValueError for others.

        >>> import throughtime as tt
        >>> schedule = tt.training.OneCycle(0.1, steps=11, share=0.5, shape="linear")
        >>> round(schedule(0), 6), round(schedule(4), 6), schedule(20) < 1e-6
        (0.004, 0.089333, True)
    """

    rate: float
    steps: int
    share: float = 0.3
    start: float = 25.0
    end: float = 1e4
    shape: str = "cosine"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.share <= 1.0 or not self.start > 0.0 or not self.end > 0.0:
            raise ValueError(f"{self} has no meaning: `share` is from 0 to 1, `start` and `end` are above 0.")

    def __call__(self, step: int) -> float:
        last, top = self.steps - 1.0, self.share * self.steps - 1.0
        low, least = self.rate / self.start, self.rate / (self.start * self.end)
        if step >= last:
            return least
        if step <= top:
            return self._between(low, self.rate, step / top if top > 0.0 else 1.0)
        return self._between(self.rate, least, (step - top) / (last - top))

    def _between(self, first: float, second: float, place: float) -> float:
        if self.shape == "cosine":
            return second + (first - second) * (1.0 + math.cos(math.pi * place)) / 2.0
        return first + (second - first) * place
