"""Numbers as they are said on the telephone, "double seven three", and the digits that are meant, 773."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..refuse import arguments, words
from .batch import Array, Batch
from .task import Task, probability

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
VOCABULARY = (*DIGITS, "double", "triple")
TEN = len(DIGITS)  # "double" among the words, the end among what is written


@words.explain
@dataclass(frozen=True)
class SpokenDigits(Task):
    """Telephone numbers, words to digits, for an encoder and a decoder: "double seven three" is 773 and an end.

        number = items;   item = digit, or "double" digit, or "triple" digit

    In pairs: x (L, B) of tokens, numbers into `vocabulary`, lengths of the sources; targets (T, B) of classes, the
    digits and 10 for the end, mask (T, B). n items, uniform on `shortest` … `longest`: n to 2n words, n to 3n digits.
    Loss: cross-entropy in nats. A number is right where all its digits and the end are.

    shortest, longest: of a number, items.
    repeats: the probability that an item is a double or a triple, each as often.
    reverse: whether the words come last to first, as Sutskever, Vinyals & Le (2014) give their sources.

    baseline: (d̄ ln 10 + h)/(d̄ + 1) nats per counted step, with the mean number of digits d̄ = n̄ (1 + 3/2 `repeats`) and
    h = (d̄ + 1) ln (d̄ + 1) − d̄ ln d̄: of a model that says the same at every step. optimum: 0. A grammar of this
    library; where each digit comes from is known, `alignment`.

    TypeError and ValueError for what means nothing, and `shortest` above `longest`.

        >>> import throughtime as tt
        >>> task = tt.tasks.SpokenDigits(shortest=2, longest=4)
        >>> batch = task.batch(3, seed=3)
        >>> for said, target in zip(task.text(batch), batch.targets.T):
        ...     print(said, "->", "".join(map(str, target[target < 10])))
        two eight zero six -> 2806
        triple one five -> 1115
        double eight zero -> 880
    """

    shortest: int = 2
    longest: int = 10
    repeats: float = 0.4
    reverse: bool = False

    tokens: ClassVar[bool] = True
    vocabulary: ClassVar[tuple[str, ...]] = VOCABULARY

    def __post_init__(self) -> None:
        for name in ("shortest", "longest"):
            object.__setattr__(self, name, arguments.size(name, getattr(self, name)))
        object.__setattr__(self, "repeats", probability("repeats", self.repeats))
        arguments.flag("reverse", self.reverse)
        if self.shortest > self.longest:
            raise ValueError(f"`shortest` is {self.shortest}, above `longest`, which is {self.longest}.")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(12 words, 10 digits and the end, 3 `longest` + 1)"""
        return len(VOCABULARY), TEN + 1, 3 * self.longest + 1

    @property
    def baseline(self) -> float:
        """(d̄ ln 10 + (d̄ + 1) ln (d̄ + 1) − d̄ ln d̄)/(d̄ + 1) nats."""
        mean = (self.shortest + self.longest) / 2 * (1 + 1.5 * self.repeats)
        return (mean * math.log(10 / mean) + (mean + 1) * math.log(mean + 1)) / (mean + 1)

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        items = np.arange(self.longest)[:, None] < rng.integers(self.shortest, self.longest + 1, size)
        digit = rng.integers(0, TEN, items.shape)
        times = np.where(rng.random(items.shape) < self.repeats, rng.integers(2, 4, items.shape), 1)
        said = np.stack([np.where(items & (times > 1), TEN - 2 + times, -1), np.where(items, digit, -1)], axis=1)
        source, lengths = _together(said.reshape(-1, size))
        copies = np.where(items[:, None] & (np.arange(3)[:, None] < times[:, None]), digit[:, None], -1)
        found, count = _together(copies.reshape(-1, size))
        targets = np.concatenate([found, np.full((1, size), -1)])
        targets[targets < 0] = TEN
        if self.reverse:
            back = lengths - 1 - np.arange(len(source))[:, None]
            source = np.where(back >= 0, np.take_along_axis(source, np.maximum(back, 0), axis=0), -1)
        return Batch(np.maximum(source, 0), targets, lengths, np.arange(len(targets))[:, None] <= count)

    def text(self, batch: Batch) -> list[str]:
        """The sources of `batch` in English, in the order in which they are read."""
        self._own(batch)
        return [" ".join(VOCABULARY[token] for token in column) for column in self._sources(batch)]

    def alignment(self, batch: Batch) -> Array:
        """(T, B): the place in the source of the word that says each digit, −1 for the end and behind it.

        >>> import throughtime as tt
        >>> task = tt.tasks.SpokenDigits(shortest=2, longest=4)
        >>> task.alignment(task.batch(3, seed=3))[:, 1]  # triple one five
        array([ 1,  1,  1,  2, -1])
        """
        self._own(batch)
        found = np.full(batch.targets.shape, -1)
        for b, source in enumerate(self._sources(batch)):
            step = -1 if self.reverse else 1
            in_order = source[::step]
            times = np.where(in_order >= TEN, in_order - TEN + 2, 1)
            places = np.flatnonzero(in_order < TEN)
            each = np.repeat(places, np.where(places > 0, times[places - 1], 1))
            if len(each) > len(found):
                raise ValueError(
                    f"`batch` has targets of {len(found)} steps, and sequence {b} says {len(each)} digits; make it "
                    "with `task.batch(size)`."
                )
            found[: len(each), b] = each if step > 0 else len(source) - 1 - each
        return found

    def _sources(self, batch: Batch) -> list[Array]:
        ends = [len(batch.x)] * batch.x.shape[1] if batch.lengths is None else batch.lengths
        return [column[:end] for column, end in zip(batch.x.T, ends, strict=True)]


def _together(given: Array) -> tuple[Array, Array]:
    """What is at least 0 in each column, moved together, −1 behind; and how many these are. As few rows as will do."""
    counts = (given >= 0).sum(axis=0)
    order = np.argsort(given < 0, axis=0, kind="stable")
    return np.take_along_axis(given, order, axis=0)[: counts.max()], counts
