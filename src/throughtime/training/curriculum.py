"""A curriculum on length: batches of sequences that grow with the number of the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..refuse import arguments, words
from ..refuse.called import told


@words.explain
class Curriculum:
    """Batches whose length is a function of how many there were: short sequences first, then longer ones.

    make: a function of a length that gives batches, `lambda length: tt.tasks.Adding(length).batches(32, seed=0)`; it is
        called once for each length, when it first comes, and its batches go on where they were when it comes again.
    length: a function of the number of the batch, from 0, that gives a whole number of at least 1.

    `state` is where it stands, for a checkpoint, where the batches of `make` have one: put back, the same batches
    follow. `number`, `lengths`: batches so far, and the lengths met. Source: Zaremba & Sutskever 2014, arXiv:1410.4615
    (the naive curriculum). TypeError for what are no functions; ValueError where `length` gives no whole number.

        >>> import throughtime as tt
        >>> growing = tt.training.Curriculum(
        ...     lambda length: tt.tasks.Adding(length).batches(8, seed=0), lambda number: min(5 + number // 2, 7))
        >>> [next(growing).x.shape[0] for _ in range(8)]
        [5, 5, 6, 6, 7, 7, 7, 7]
    """

    def __init__(self, make: Callable[[int], Any], length: Callable[[int], int]) -> None:
        for name, value in (("make", make), ("length", length)):
            if not callable(value) or isinstance(value, type):
                raise TypeError(f"`{name}` is {told(value)}; expected a function.")
        self._make, self._length = make, length
        self._batches: dict[int, Any] = {}
        self._iterators: dict[int, Iterator[Any]] = {}
        self.number = 0

    @property
    def lengths(self) -> list[int]:
        """The lengths that were met, in their order."""
        return list(self._batches)

    def __iter__(self) -> Curriculum:
        return self

    def __next__(self) -> Any:
        length = self._length(self.number)
        if not arguments.within(length, 1):
            raise ValueError(
                f"`length` gives {arguments.shown(length)} for batch {self.number}; expected a whole number of at "
                "least 1."
            )
        batch = next(self._of(int(length)))
        self.number += 1
        return batch

    @property
    def state(self) -> dict[str, Any]:
        """{"number", "batches": state of those of every length}. Set it to go on from there; ValueError where the
        batches of `make` have none."""
        if without := [length for length, batches in self._batches.items() if not hasattr(batches, "state")]:
            raise ValueError(
                f"The batches of length {without[0]} have no `state`; those of tt.tasks have: "
                "`task.batches(size, seed=0)`."
            )
        return {
            "number": self.number,
            "batches": {str(length): batches.state for length, batches in self._batches.items()},
        }

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        if not isinstance(state, dict) or set(state) != {"number", "batches"}:
            raise TypeError(f"`state` is {arguments.kind(state)}; expected what `.state` of a Curriculum gave.")
        self._batches, self._iterators = {}, {}
        for length, own in state["batches"].items():
            self._of(int(length))
            self._batches[int(length)].state = own
        self.number = arguments.step("state['number']", state["number"], 0)

    def _of(self, length: int) -> Iterator[Any]:
        if length not in self._batches:
            batches = self._make(length)
            try:
                self._iterators[length] = iter(batches)
            except TypeError:
                raise TypeError(f"`make` gives {told(batches)} for length {length}; expected batches.") from None
            self._batches[length] = batches
        return self._iterators[length]

    def __repr__(self) -> str:
        return f"<Curriculum: batch {self.number}, lengths {', '.join(map(str, self._batches)) or 'none yet'}>"
