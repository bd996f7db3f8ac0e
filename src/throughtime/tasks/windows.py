"""Windows of a series, to forecast it: random ones to train on, and all of a held-out end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..refuse import arguments, numeric, room
from ..refuse.expected import checking
from .batch import Array, Batch
from .epochs import Batches, stretches
from .task import explain_methods, probability


@dataclass(frozen=True, repr=False)
class Windows:
    """A series cut into windows; made by `windows`.

    Fields:
        series: (n, S, I) training part of S series, standardised.
        held_out: (m, S, I) of the rest, standardised by the training part.
        mean, std: (I,) by which they were.
        length: T, the steps of a window.
        size: B, the windows of a batch.
        horizon: steps from an input to its target.
    """

    series: Array
    held_out: Array
    mean: Array
    std: Array
    length: int
    size: int
    horizon: int

    def __repr__(self) -> str:
        return (
            f"Windows of {self.length} steps of {self.series.shape[1]} series of {len(self.series)}, and "
            f"{len(self.held_out)} held out, {self.horizon} ahead"
        )

    @property
    def inputs(self) -> int:
        """I, the values of a step: inputs and outputs."""
        return self.series.shape[2]

    @property
    def outputs(self) -> int:
        """I."""
        return self.series.shape[2]

    @property
    def baseline(self) -> float:
        """Mean squared error of forecasting the mean of the training part, over the held-out targets; NaN for none."""
        return float((self.held_out[self.horizon :] ** 2).mean()) if self._held_out_steps() > 0 else float("nan")

    @property
    def persistence(self) -> float:
        """Mean squared error of forecasting no change, over the held-out targets: the naive forecast; NaN for none."""
        change = self.held_out[self.horizon :] - self.held_out[: -self.horizon]
        return float((change**2).mean()) if self._held_out_steps() > 0 else float("nan")

    def restore(self, values: Any) -> Array:
        """Outputs or inputs (…, I), the `values`, in the units of the series: values · std + mean."""
        found = numeric.numbers("values", values)
        if not found.ndim or found.shape[-1] != self.inputs:
            raise ValueError(f"`values` has shape {found.shape}; expected (…, {self.inputs}).")
        return found * self.std + self.mean

    def batches(self, seed: Any = None) -> Batches:
        """`Batches` without end: each epoch has every window of every series once, shuffled; the last is smaller.

        x (T, B, I), targets (T, B, I), the values `horizon` steps later. seed: as of a Network.
        """
        starts = len(self.series) - self.length - self.horizon + 1
        count = starts * self.series.shape[1]
        room.check(f"An order of {count} windows", count)
        return Batches(partial(self._shuffled, count), self._take, seed)

    def held_out_batches(self) -> Batches:
        """`Batches` of the held-out part, once: windows one after another, so that each target counts once (mask).

        ValueError where it is shorter than a window."""
        steps, several = self._held_out_steps(), self.series.shape[1]
        if steps < self.length:
            raise ValueError(f"{len(self.held_out)} held-out steps have no window of {self.length} and its targets.")
        starts = np.arange(0, steps, self.length)
        new = np.minimum(steps - starts, self.length)  # targets of each that no window before has
        starts = np.repeat(np.minimum(starts, steps - self.length), several)
        new, which = np.repeat(new, several), np.tile(np.arange(several), len(starts) // several)
        return Batches(
            partial(stretches, len(starts), self.size), partial(self._take_held_out, starts, new, which), 0, passes=1
        )

    def _shuffled(self, count: int, rng: np.random.Generator) -> list[Array]:
        order = rng.permutation(count)
        return [order[i : i + self.size] for i in range(0, count, self.size)]

    def _take(self, chosen: Array) -> Batch:
        return Batch(*self._cut(self.series, chosen // self.series.shape[1], chosen % self.series.shape[1]))

    def _take_held_out(self, starts: Array, new: Array, which: Array, first: int) -> Batch:
        part = slice(first, first + self.size)
        x, targets = self._cut(self.held_out, starts[part], which[part])
        return Batch(x, targets, mask=np.arange(self.length)[:, None] >= self.length - new[part])

    def _cut(self, series: Array, starts: Array, which: Array) -> tuple[Array, Array]:
        place = starts + np.arange(self.length)[:, None]
        return series[place, which], series[place + self.horizon, which]

    def _held_out_steps(self) -> int:
        return len(self.held_out) - self.horizon


@checking
def windows(
    array: Any,
    length: int,
    batch: int = 32,
    *,
    horizon: int = 1,
    held_out: float = 0.2,
    standardise: bool = True,
) -> Windows:
    """Windows of a series, to forecast each value some steps ahead.

    array: (n,) or (n, I), a series of n steps, or (n, S, I), S of them, as of `Lorenz().trajectory(n, S)`.
    length: T, the steps of a window. batch: B, the windows of a batch. horizon: steps from an input to its target.
    held_out: the share at the end that is kept for validation. standardise: whether each of the I values is taken less
    its mean, over its standard deviation, both of the training part alone.
    Returns `Windows`: .batches(seed), endless and shuffled; .held_out_batches(), one pass; .persistence, the naive
    forecast, .baseline, .restore.

    TypeError for what holds no numbers, ValueError for NaN, for a series shorter than a window and its targets, and one
    that never changes.

    >>> import numpy as np, throughtime as tt
    >>> found = tt.tasks.windows(np.sin(np.arange(1000) / 5), length=50)
    >>> found
    Windows of 50 steps of 1 series of 800, and 200 held out, 1 ahead
    >>> next(found.batches(seed=0)).x.shape, round(found.persistence, 3), round(2 - 2 * float(np.cos(1 / 5)), 3)
    ((50, 32, 1), 0.04, 0.04)
    """
    length, batch = arguments.size("length", length), arguments.size("batch", batch)
    horizon, held_out = arguments.size("horizon", horizon), probability("held_out", held_out)
    found = numeric.numbers("array", array)
    if found.ndim not in (1, 2, 3) or not found.size:
        raise ValueError(f"`array` has shape {found.shape}; expected a series (n,) or (n, I), or several (n, S, I).")
    room.check(f"`array`, of shape {found.shape},", 2 * found.size)
    series = found.astype(float).reshape(len(found), *((1, -1) if found.ndim < 3 else found.shape[1:]))
    if not np.isfinite(series).all():
        raise ValueError(f"`array` holds NaN or inf, first at step {int(np.argmin(np.isfinite(series).all((1, 2))))}.")
    split = len(series) - round(held_out * len(series))
    if split < length + horizon:
        raise ValueError(
            f"`array` has {len(series)} steps, {split} of them to train on; a window of {length} and its targets, "
            f"{horizon} ahead, need {length + horizon}."
        )
    mean, std = np.zeros(series.shape[2]), np.ones(series.shape[2])
    if standardise:
        with np.errstate(all="ignore"):
            mean, std = series[:split].mean((0, 1)), series[:split].std((0, 1))
        if not (np.isfinite(std) & (std > 0)).all():
            raise ValueError("`array` never changes in the training part, or overflows; write `standardise=False`.")
        series = (series - mean) / std
    return Windows(series[:split], series[split:], mean, std, length, batch, horizon)


explain_methods(Windows)
