"""The flip-flop: several bits of memory, each set and reset by pulses of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..refuse import arguments, words
from ..training.losses import mean_squared_error
from .batch import Array, Batch
from .task import Task, probability


@words.explain
@dataclass(frozen=True)
class FlipFlop(Task):
    """The flip-flop: each output is to be the sign of the last pulse of its own input.

        x_t,i = ±1 with probability `pulses`, else 0,   target_t,i = the last x_s,i ≠ 0 with s ≤ t

    x (T, B, bits) and targets (T, B, bits) of ±1; the first step has a pulse everywhere. Loss: mean squared error. A
    sequence is wrong where an output is further than ½ from its target, at any step.

    bits: inputs and outputs; 3 in the paper, whose trained network has a stable fixed point at each of the 8 corners of
        a cube and saddles between them.
    length: T, time steps.
    pulses: the probability of a pulse, for each input and step.

    baseline: 1, the mean square of the target. optimum: 0. Source: Sussillo & Barak 2013, doi 10.1162/NECO_a_00409, in
    continuous time; length and probability are those of the FixedPointFinder package, Golub & Sussillo 2018, doi
    10.21105/joss.01003.

    TypeError and ValueError for what is no whole number, and no probability.

        >>> import throughtime as tt
        >>> batch = tt.tasks.FlipFlop(bits=1, length=8, pulses=0.5).batch(1, seed=2)
        >>> batch.x[:, 0, 0].astype(int), batch.targets[:, 0, 0].astype(int)
        (array([ 1, -1,  0,  1,  0,  0, -1, -1]), array([ 1, -1, -1,  1,  1,  1, -1, -1]))
    """

    bits: int = 3
    length: int = 64
    pulses: float = 0.5

    loss = staticmethod(mean_squared_error)

    def __post_init__(self) -> None:
        for name in ("bits", "length"):
            object.__setattr__(self, name, arguments.size(name, getattr(self, name)))
        object.__setattr__(self, "pulses", probability("pulses", self.pulses))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(bits, bits, T)"""
        return self.bits, self.bits, self.length

    @property
    def baseline(self) -> float:
        """1, the mean square of the target."""
        return 1.0

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        shape = (self.length, size, self.bits)
        fires = rng.random(shape) < self.pulses
        fires[0] = True
        x = np.where(fires, 2.0 * rng.integers(0, 2, shape) - 1.0, 0.0)
        last = np.maximum.accumulate(np.where(fires, np.arange(self.length)[:, None, None], 0), axis=0)
        return Batch(x, np.take_along_axis(x, last, axis=0))

    def _wrong(self, output: Array, batch: Batch) -> Array:
        return ~(np.abs(output - batch.targets) < 0.5).all(axis=(0, 2))
