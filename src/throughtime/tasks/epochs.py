"""Batches one after another, from a generator whose state can be taken and put back at any batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from functools import partial
from typing import Any

import numpy as np

from ..refuse import arguments
from .batch import Batch


class Batches:
    """An endless iterator of `Batch`, epoch after epoch; of a held-out part, one pass.

    `state` is where it stands: put back, the same batches follow to the last bit, in another process too.

        >>> import throughtime as tt
        >>> batches = tt.tasks.Adding(length=50).batches(8, seed=0)
        >>> first = next(batches)
        >>> state = batches.state
        >>> second = next(batches)
        >>> again = tt.tasks.Adding(length=50).batches(8)
        >>> again.state = state
        >>> bool((next(again).x == second.x).all())
        True
    """

    def __init__(
        self,
        plan: Callable[[np.random.Generator], Sequence[Any]],
        take: Callable[[Any], Batch],
        seed: Any = None,
        passes: int | None = None,
    ) -> None:
        """`plan(rng)` gives the items of one epoch, at least one; `take(item)` makes a batch of one; `seed` as of a
        Network; `passes` epochs, or endless with None."""
        self._plan, self._take, self._passes = plan, take, passes
        self._rng = arguments.generator(seed)
        self._epoch, self._position = 0, 0
        self._items: Sequence[Any] | None = None  # of the epoch in progress; None between two epochs
        self._begun_with: Any = None  # the generator's state before that epoch was planned

    def __repr__(self) -> str:
        return f"<Batches: epoch {self._epoch}, batch {self._position}>"

    @property
    def endless(self) -> bool:
        """Whether they go on for ever, epoch after epoch."""
        return self._passes is None

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        if self._items is None and self._epoch == self._passes:
            raise StopIteration
        items = self._begin() if self._items is None else self._items
        item = items[self._position]
        self._position += 1
        if self._position == len(items):
            self._items, self._position, self._epoch = None, 0, self._epoch + 1
        return self._take(item)

    def _begin(self) -> Sequence[Any]:
        """The items of the next epoch."""
        self._begun_with = deepcopy(self._rng.bit_generator.state)
        self._items = self._plan(self._rng)
        return self._items

    def teacher_forced(self, start: int) -> Batches:
        """The batches from here on as pairs for an encoder and a decoder: `batch.teacher_forced(start)` of each.

        They take these batches over: both draw from one generator. TypeError or ValueError for what is no token.

        >>> import throughtime as tt
        >>> pairs = tt.tasks.Reversal(aligned=False).batches(8, seed=0).teacher_forced(start=8)
        >>> [part.shape for part in next(pairs).x]
        [(10, 8), (11, 8)]
        """
        start, found = arguments.step("start", start, 0), copy(self)
        found._take = partial(_forced, self._take, start)
        return found

    @property
    def epoch(self) -> int:
        """Epochs that are complete: passes over the data; of a task, which has no end, batches."""
        return self._epoch

    @property
    def state(self) -> dict[str, Any]:
        """{"epoch", "position", "generator"}: numbers and texts that JSON takes (with NumPy's default generator). Set
        it to go on from there: TypeError or ValueError for what is no state of these batches."""
        between = self._items is None
        generator = self._rng.bit_generator.state if between else self._begun_with
        return {"epoch": self._epoch, "position": self._position, "generator": deepcopy(generator)}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        if not isinstance(state, dict) or set(state) != {"epoch", "position", "generator"}:
            raise TypeError(f"`state` is {arguments.kind(state)}; expected what `batches.state` gave.")
        epoch = arguments.step("state['epoch']", state["epoch"], 0, arguments.LARGEST)
        position = arguments.step("state['position']", state["position"], 0, arguments.LARGEST)
        before = self._rng.bit_generator.state
        try:
            self._rng.bit_generator.state = deepcopy(state["generator"])
        except Exception as error:  # whatever NumPy raises for what is no state
            raise ValueError(
                f"The state belongs to another generator than {type(self._rng.bit_generator).__name__}, which these "
                "batches draw from; make them with the same kind of seed."
            ) from error
        self._items = None
        if position:
            count = len(self._begin())
            if position >= count:
                self._items, self._rng.bit_generator.state = None, before
                raise ValueError(
                    f"The state is at batch {position} of an epoch, but an epoch has {count} batches here."
                )
        self._epoch, self._position = epoch, position


def stretches(count: int, size: int, rng: np.random.Generator) -> range:
    """The beginnings of stretches of `size` of so many items, in their order: a plan that draws nothing."""
    return range(0, count, size)


def _forced(take: Callable[[Any], Batch], start: int, item: Any) -> Batch:
    return take(item).teacher_forced(start)
