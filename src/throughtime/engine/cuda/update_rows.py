"""What training wants to know of its updates, written down on the device and fetched for many of them at once; and what
is done to a gradient before an optimiser takes it.

A row of `UpdateRows.numbers` is an update: the loss, the norm of the gradient as it came, that after the last clip, and
that of the gradient as it is now. `broken` is 1 from the first update on whose loss or norm is not finite: nothing is
changed after that.
"""

import math
from typing import Any

import numpy as np

from . import arrays, device, sums
from .sums import THREADS
from .toolkit import cuda

from .kernel_names import norm_of_parts  # isort: skip

COLUMNS = 4
LOSS, NORM, CLIPPED, NOW = range(COLUMNS)


class UpdateRows:
    """Room for so many updates. watched: the parameters, a flat array, where the first update that is not finite stops
    all that follow; `good` then are the last with which loss and norm were finite."""

    def __init__(self, count: int, watched: Any | None = None) -> None:
        self.count, self.watched = count, watched is not None
        self.good = None if watched is None else arrays.copy(watched)
        self.numbers = arrays.zeros((count * COLUMNS,), np.float64)
        self.broken = arrays.zeros((1,), np.float64)

    def begin(self, k: int, loss: Any, gradient: Any) -> None:
        """Update k, of a loss (1,) in float64 and a flat gradient."""
        parts = sums.squares(gradient)
        row = (parts, loss, self.numbers, COLUMNS * k, self.broken, int(self.watched))
        device.launch(sums.kernel_of(begin_row), (1, 1, 1), THREADS, row)

    def keep(self, flat: Any) -> None:
        """Parameters with which the update that has begun is finite, before it changes them."""
        if self.good is not None:
            device.for_each(keep_numbers, flat.size, (flat, self.good, self.broken))

    def measure(self, k: int, gradient: Any, clipped: bool) -> None:
        """The norm that the gradient has now; clipped: whether a clip has just been."""
        parts = sums.squares(gradient)
        row = (parts, self.numbers, COLUMNS * k, int(clipped))
        device.launch(sums.kernel_of(norm_now), (1, 1, 1), THREADS, row)

    def clip_norm(self, k: int, gradient: Any, limit: float) -> None:
        """The gradient scaled down to norm `limit` where it has more; it has been measured."""
        device.for_each(scale_down, gradient.size, (gradient, self.numbers, COLUMNS * k, float(limit)))
        device.for_each(note_clip, 1, (self.numbers, COLUMNS * k, float(limit)))

    def fetch(self, count: int) -> np.ndarray:
        """(count, 3): loss, norm and norm after the last clip of the first rows; waits for them."""
        found = device.to_host(self.numbers[: count * COLUMNS]).reshape(count, COLUMNS)
        return found[:, : CLIPPED + 1]


def clip_value(gradient: Any, limit: float) -> None:
    """Every entry between −limit and limit."""
    device.for_each(clip_numbers, gradient.size, (gradient, gradient.dtype.type(limit)))


def add_decay(gradient: Any, flat: Any, rate: float) -> None:
    """gradient += rate · flat"""
    device.for_each(add_scaled, gradient.size, (gradient, flat, gradient.dtype.type(rate)))


def put_back(target: Any, mask: Any, source: Any | None) -> None:
    """target = source where the mask is 1; 0 without a source."""
    device.for_each(put_numbers, target.size, (target, mask, target[:0] if source is None else source))


def begin_row(parts, loss, numbers, at, broken, watched):
    shared = cuda.shared.array(THREADS, parts.dtype)
    norm = norm_of_parts(parts, shared)
    if cuda.threadIdx.x == 0:
        numbers[at + LOSS] = loss[0]
        numbers[at + NORM] = norm
        numbers[at + CLIPPED] = norm
        numbers[at + NOW] = norm
        if watched and not (abs(loss[0]) < math.inf and norm < math.inf):
            broken[0] = 1


def keep_numbers(flat, good, broken):
    place = cuda.grid(1)
    if place < flat.size and broken[0] == 0:
        good[place] = flat[place]


def norm_now(parts, numbers, at, clipped):
    shared = cuda.shared.array(THREADS, parts.dtype)
    norm = norm_of_parts(parts, shared)
    if cuda.threadIdx.x == 0:
        numbers[at + NOW] = norm
        if clipped and norm < numbers[at + CLIPPED]:
            numbers[at + CLIPPED] = norm


def scale_down(gradient, numbers, at, limit):
    place = cuda.grid(1)
    if place < gradient.size:
        norm = numbers[at + NOW]
        if limit < norm < math.inf:
            gradient[place] = gradient.dtype.type(gradient[place] * (limit / norm))


def note_clip(numbers, at, limit):
    if cuda.grid(1) == 0:
        if limit < numbers[at + NOW] < math.inf:
            numbers[at + NOW] = limit
        if numbers[at + NOW] < numbers[at + CLIPPED]:
            numbers[at + CLIPPED] = numbers[at + NOW]


def clip_numbers(gradient, limit):
    place = cuda.grid(1)
    if place < gradient.size:
        if gradient[place] > limit:
            gradient[place] = limit
        elif gradient[place] < -limit:
            gradient[place] = -limit


def add_scaled(gradient, flat, rate):
    place = cuda.grid(1)
    if place < gradient.size:
        gradient[place] += flat[place] * rate


def put_numbers(target, mask, source):
    place = cuda.grid(1)
    if place < target.size and mask[place] != 0:
        target[place] = source[place] if source.size > 0 else target.dtype.type(0)
