"""The add task of Marschall, Cho & Savin: coins whose bias depends on two past bits, with exactly known entropies."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from ..refuse import arguments, words
from ..training.losses import cross_entropy
from .batch import Array, Batch, counted, same_steps
from .task import Task, entropy


@words.explain
@dataclass(frozen=True)
class BernoulliAdd(Task):
    """The add task: each target is a coin whose bias is set by two earlier bits of the input.

        x_t fair bits,   P(y_t = 1) = ½ + ½ x_{t−t1} − ¼ x_{t−t2}

    x (T, B, 2), the bit and its opposite; targets (T, B) of classes y, of which those from step max(t1, t2) on count
    (mask). Loss: cross-entropy in nats. What a model has found, its loss says, since the entropies are known exactly:

        .66156  nothing          `baseline`, `entropy()`
        .51917  x_{t−t1} alone   `entropy(first=True)`
        .62774  x_{t−t2} alone   `entropy(second=True)`
        .45445  both             `optimum`, `entropy(first=True, second=True)`

    first, second: t1 and t2, time steps.
    length: T, time steps, more than both.

    A sequence is wrong where the predicted P(y = 1), exp(o_1)/(exp(o_0) + exp(o_1)), is further than 1/16 from the true
    one on average over its steps. Source: Marschall, Cho & Savin 2020, arXiv:1907.02649; (6, 10) are among their lags.

    TypeError and ValueError for what is no whole number, equal lags, and a length without a step that counts.

        >>> import throughtime as tt
        >>> task = tt.tasks.BernoulliAdd()
        >>> [round(task.entropy(*known), 5) for known in ((False, False), (True, False), (False, True), (True, True))]
        [0.66156, 0.51917, 0.62774, 0.45445]
        >>> task.batch(4, seed=0).x.shape
        (100, 4, 2)
    """

    first: int = 6
    second: int = 10
    length: int = 100

    loss = staticmethod(cross_entropy)

    def __post_init__(self) -> None:
        for name in ("first", "second", "length"):
            object.__setattr__(self, name, arguments.size(name, getattr(self, name)))
        if self.first == self.second:
            raise ValueError(f"`first` and `second` are both {self.first}; expected two different lags.")
        if self.length <= (longest := max(self.first, self.second)):
            raise ValueError(f"`length` is {self.length}; with a lag of {longest} expected more than {longest} steps.")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(2, 2, T)"""
        return 2, 2, self.length

    def entropy(self, first: bool = False, second: bool = False) -> float:
        """The least loss, nats per step, of a model that knows the bit at the first lag, the second, both or none."""
        arguments.flag("first", first), arguments.flag("second", second)
        rates: dict[tuple, list[float]] = {}
        for bits in product((0, 1), (0, 1)):
            seen = (bits[0] if first else None, bits[1] if second else None)
            rates.setdefault(seen, []).append(0.5 + 0.5 * bits[0] - 0.25 * bits[1])
        return sum(len(p) / 4 * entropy([np.mean(p), 1 - np.mean(p)]) for p in rates.values())

    @property
    def baseline(self) -> float:
        """.66156 nats: only how often 1 comes is known, 5/8."""
        return self.entropy()

    @property
    def optimum(self) -> float:
        """.45445 nats: both bits are known."""
        return self.entropy(first=True, second=True)

    def rates(self, batch: Batch) -> Array:
        """P(y = 1), (T, B), at each step of `batch`; bits before the first count as 0."""
        self._own(batch)
        bits, found = batch.x[:, :, 0], np.full(batch.x.shape[:2], 0.5)
        found[self.first :] += 0.5 * bits[: -self.first]
        found[self.second :] -= 0.25 * bits[: -self.second]
        return found

    def _own(self, batch: Batch) -> None:
        super()._own(batch)
        same_steps(batch)

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        bits = rng.integers(0, 2, (self.length, size)).astype(float)
        batch = Batch(np.stack([bits, 1 - bits], axis=-1), bits.astype(int))
        mask = np.zeros(bits.shape, bool)
        mask[max(self.first, self.second) :] = True
        return Batch(batch.x, (rng.random(bits.shape) < self.rates(batch)).astype(int), mask=mask)

    def _wrong(self, output: Array, batch: Batch) -> Array:
        predicted = 0.5 + 0.5 * np.tanh((output[:, :, 1] - output[:, :, 0]) / 2)
        return ~(np.abs(predicted - self.rates(batch)).mean(axis=0, where=counted(batch)) < 1 / 16)
