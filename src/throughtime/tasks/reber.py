"""Embedded Reber strings: a small grammar whose last choice repeats the first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..refuse import words
from .batch import Array, Batch, same_steps
from .task import Task, ranked_wrong

SYMBOLS = "BTSXVPE"
INNER = {1: "T2 P3", 2: "S2 X4", 3: "T3 V5", 4: "X3 S6", 5: "P4 V6", 6: "E7"}  # place: a symbol and the place after it
LONGEST = 512  # the chance of a longer string is below 2^−200


@words.explain
@dataclass(frozen=True)
class EmbeddedReber(Task):
    """Embedded Reber strings: predict the next symbol; the last but one is the second, a Reber string earlier.

        B T <Reber string> T E   or   B P <Reber string> P E,   each choice with probability ½

    x (T, B) of tokens, numbers into "BTSXVPE"; targets (T, B) of classes, the next symbol; lengths from 8 steps on.
    Loss: cross-entropy in nats per step. A sequence is right where at every step all symbols that may follow are rated
    above all that may not. `legal(batch)` says which those are.

    optimum: 7 ln 2/11 = .44109 nats per step: 7 choices in 11 steps on average. baseline: 8 ln 2/11 = .50411, the least
    loss of a model that knows the place within the Reber string and has forgotten the second symbol. Both are ratios
    of means, of a loss averaged over all real steps of many sequences. Source: Hochreiter & Schmidhuber 1997,
    experiment 1; solved there where 256 training and 256 test strings are right. Grammar: Reber 1967; embedded: Smith &
    Zipser 1989, Cleeremans, Servan-Schreiber & McClelland 1989.

        >>> import throughtime as tt
        >>> task = tt.tasks.EmbeddedReber()
        >>> batch = task.batch(2, seed=0)
        >>> task.text(batch)
        ['BPBTSXSEPE', 'BTBTXSETE']
    """

    tokens: ClassVar[bool] = True

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(7, 7, 512): the seven symbols, and more steps than any string has."""
        return len(SYMBOLS), len(SYMBOLS), LONGEST

    @property
    def baseline(self) -> float:
        """8 ln 2/11 nats per step."""
        return 8 * math.log(2) / 11

    @property
    def optimum(self) -> float:
        """7 ln 2/11 nats per step."""
        return 7 * math.log(2) / 11

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        place, columns = np.zeros(size, int), []
        while (place != END).any():
            choice = rng.integers(0, 2, size)
            columns.append(EMITTED[place, choice])
            place = AFTER[place, choice]
        symbols = np.array(columns)
        lengths = (symbols >= 0).sum(axis=0) - 1
        real = np.arange(len(symbols) - 1)[:, None] < lengths
        return Batch(np.where(real, symbols[:-1], 0), np.where(real, symbols[1:], 0), lengths)

    def legal(self, batch: Batch) -> Array:
        """(T, B, 7), True for the symbols that may follow at each step of `batch`."""
        self._own(batch)
        x = batch.x
        place, found = np.zeros(x.shape[1], int), np.zeros((*x.shape, len(SYMBOLS)), bool)
        for t, symbols in enumerate(x):
            which = (EMITTED[place] == symbols[:, None]).argmax(axis=1)
            place = AFTER[place, which]
            for choice in (0, 1):
                np.put_along_axis(found[t], np.maximum(EMITTED[place, choice], 0)[:, None], True, axis=1)
        return found

    def text(self, batch: Batch) -> list[str]:
        """The strings of `batch`."""
        self._own(batch)
        lengths = np.full(batch.x.shape[1], len(batch.x)) if batch.lengths is None else batch.lengths
        return [
            "".join(SYMBOLS[token] for token in column[:n]) + "E" for column, n in zip(batch.x.T, lengths, strict=True)
        ]

    def _own(self, batch: Batch) -> None:
        super()._own(batch)
        same_steps(batch)

    def _wrong(self, output: Array, batch: Batch) -> Array:
        return ranked_wrong(output, self.legal(batch), batch)


def _automaton() -> tuple[Array, Array]:
    """(places, 2) the symbol of each of two choices, and the place after it. The Reber string is there twice, once for
    each second symbol; the last place has no symbol, −1, and stays."""
    arcs: dict[Any, list] = {"begin": [("B", "second")], "second": [("T", ("T", 0)), ("P", ("P", 0))]}
    for letter in "TP":
        arcs[letter, 0] = [("B", (letter, 1))]
        for place, both in INNER.items():
            arcs[letter, place] = [(arc[0], (letter, int(arc[1]))) for arc in both.split()]
        arcs[letter, 7] = [(letter, "last")]
    arcs |= {"last": [("E", "end")], "end": []}
    number = {place: i for i, place in enumerate(arcs)}
    emitted, after = np.full((len(arcs), 2), -1), np.full((len(arcs), 2), number["end"])
    for place, choices in arcs.items():
        for choice, (symbol, to) in enumerate(choices * (2 // max(len(choices), 1))):
            emitted[number[place], choice], after[number[place], choice] = SYMBOLS.index(symbol), number[to]
    return emitted, after


EMITTED, AFTER = _automaton()
END = len(AFTER) - 1
