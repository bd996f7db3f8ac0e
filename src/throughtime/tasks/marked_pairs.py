"""Sequences of random numbers of which two are marked: the inputs of the adding and the multiplication problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..refuse import arguments
from ..training.losses import mean_squared_error
from .batch import Array, Batch, counted, one_each
from .task import Task

VARIANTS = {"le": 2, "arjovsky": 2, "pascanu": 10, "hochreiter": 20}  # and the shortest length of each


@dataclass(frozen=True)
class MarkedPairs(Task):
    """Base of the two problems: their settings, and that one number at the end, off by less than .04, is right."""

    length: int = 100
    variant: str = "le"

    loss = staticmethod(mean_squared_error)

    def __post_init__(self) -> None:
        for name, value in zip(("variant", "length"), checked(self.variant, self.length), strict=True):
            object.__setattr__(self, name, value)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(2, 1, T): T the length, or the longest where lengths vary."""
        return 2, 1, longest(self.variant, self.length)

    def _wrong(self, output: Array, batch: Batch) -> Array:
        found = ~(np.abs(output - batch.targets) < 0.04)[..., 0]
        return found if one_each(batch) else (found & counted(batch)).any(axis=0)


def checked(variant: Any, length: Any) -> tuple[str, int]:
    """The variant and a length that it can have, or an error in words."""
    variant, length = arguments.known("variant", variant, VARIANTS), arguments.size("length", length)
    if length < VARIANTS[variant]:
        raise ValueError(
            f"`length` is {length}; with variant={variant!r} expected at "
            f"least {VARIANTS[variant]}, so that there is room for two marks."
        )
    return variant, length


def longest(variant: str, length: int) -> int:
    """The steps of the longest sequence."""
    return length + length // 10 if variant in ("pascanu", "hochreiter") else length


def first_is_marked(variant: str, length: int) -> float:
    """The probability that the first pair of Hochreiter & Schmidhuber's sequences is one of the two: of the first ten
    one is drawn, then another of the first T/2."""
    return 0.1 + 0.9 / (length // 2 - 1) if variant == "hochreiter" else 0.0


def draw(
    variant: str, length: int, low: float, neutral: float, size: int, rng: np.random.Generator
) -> tuple[Array, Array, Array | None]:
    """x (T, B, 2): values from U(low, 1) and marks; the two marked values (2, B); lengths, or None where all have T.
    `neutral` takes the place of the first value where that is marked, which Hochreiter & Schmidhuber's marks hide."""
    steps, rows = longest(variant, length), np.arange(size)
    lengths = None if variant in ("le", "arjovsky") else rng.integers(length, steps + 1, size)
    first, second = _places(variant, length, size, rng, lengths)
    x = np.zeros((steps, size, 2))
    x[:, :, 0] = rng.uniform(low, 1.0, (steps, size))
    x[first, rows, 1] = x[second, rows, 1] = 1.0
    if variant == "hochreiter":
        assert lengths is not None
        x[0, (first == 0) | (second == 0), 0] = neutral
        x[0, :, 1] = -1.0
        x[lengths - 1, rows, 1] = -1.0
    values = np.stack([x[first, rows, 0], x[second, rows, 0]])
    if lengths is not None:
        x[np.arange(steps)[:, None] >= lengths] = 0.0
    return x, values, lengths


def _places(
    variant: str, length: int, size: int, rng: np.random.Generator, lengths: Array | None
) -> tuple[Array, Array]:
    """The two marked steps (B,) each."""
    if variant == "arjovsky":
        return rng.integers(0, length // 2, size), rng.integers(length // 2, length, size)
    if variant == "pascanu":
        assert lengths is not None
        return rng.integers(0, lengths // 10), rng.integers(lengths // 10, lengths // 2)
    if variant == "hochreiter":
        first, second = rng.integers(0, 10, size), rng.integers(0, length // 2 - 1, size)
    else:
        first, second = rng.integers(0, length, size), rng.integers(0, length - 1, size)
    return first, second + (second >= first)  # the step that is taken is left out
