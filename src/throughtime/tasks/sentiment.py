"""Sentiment of small English sentences, where "not" turns a judgement round and what follows "but" decides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from ..refuse import words
from .batch import Array, Batch
from .task import Task, entropy, probability

NOUNS = ("film", "plot", "cast", "music", "ending")
GOOD, BAD = ("good", "moving", "clever", "funny"), ("bad", "dull", "clumsy", "boring")
VOCABULARY = ("", "the", "was", "not", "very", "but", *NOUNS, *GOOD, *BAD)  # "" is padding
THE, WAS, NOT, VERY, BUT = range(1, 6)
FIRST_NOUN, FIRST_GOOD = VOCABULARY.index(NOUNS[0]), VOCABULARY.index(GOOD[0])
LONGEST = 13  # the film was not very good but the plot was not very dull


@words.explain
@dataclass(frozen=True)
class NegationSentiment(Task):
    """Sentiment of small sentences: is the judgement good, where "not" turns it round and what follows "but" decides?

        sentence = clause, or clause "but" clause;   clause = "the" noun "was" ["not"] ["very"] adjective

    x (T, B) of tokens, numbers into `vocabulary`; targets (B,) of classes, 1 where the last clause is good; lengths
    from 4 to 13 words. Loss: cross-entropy in nats. A sentence is right where the larger output is its class.

    negation: the probability of "not", in each clause.
    but: the probability of a second clause.

    baseline: ln 2 nats, as every adjective is as often good as bad; with negation = ½ also for a model that knows the
    adjectives and misses "not". `bag_of_words`: the least loss of a model that has counted all words and forgotten
    their order; .25993 nats = ⅜ ln 2 by default, with 3/16 of the sentences wrong. optimum: 0. A grammar of this
    library, after the observation of Socher et al. 2013 (the Stanford sentiment treebank) on "not" and "but".

    TypeError and ValueError for what is no probability.

        >>> import throughtime as tt
        >>> task = tt.tasks.NegationSentiment()
        >>> batch = task.batch(3, seed=3)
        >>> for sentence, label in zip(task.text(batch), batch.targets):
        ...     print(label, sentence)
        1 the ending was very moving
        0 the film was very dull but the film was not clever
        0 the film was not very dull but the cast was very dull
    """

    negation: float = 0.5
    but: float = 0.5

    tokens: ClassVar[bool] = True
    vocabulary: ClassVar[tuple[str, ...]] = VOCABULARY

    def __post_init__(self) -> None:
        for name in ("negation", "but"):
            object.__setattr__(self, name, probability(name, getattr(self, name)))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(words, 2, 13)"""
        return len(VOCABULARY), 2, LONGEST

    @property
    def baseline(self) -> float:
        """ln 2 nats."""
        return math.log(2)

    @property
    def bag_of_words(self) -> float:
        """The entropy of the class given the counts of all words, nats: by all sentences of two clauses, in which nouns
        and "very" do not matter, and of the adjectives only whether they are good."""
        share: dict[tuple, list[float]] = {}
        for not_1, good_1, not_2, good_2 in product((0, 1), repeat=4):
            weight = 1 / 4
            for negated in (not_1, not_2):
                weight *= self.negation if negated else 1 - self.negation
            share.setdefault((not_1 + not_2, good_1 + good_2), [0.0, 0.0])[good_2 ^ not_2] += weight
        return self.but * sum(sum(w) * entropy(np.array(w) / sum(w)) for w in share.values() if sum(w) > 0)

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        clauses = [self._clause(size, rng) for _ in range(2)]
        two = rng.random(size) < self.but
        first, second = (found[0] for found in clauses)
        joined = np.concatenate([first, np.full((1, size), BUT), second])
        joined[len(first) :, ~two] = 0
        order = np.argsort(joined == 0, axis=0, kind="stable")  # words first, in their order
        lengths = (joined > 0).sum(axis=0)
        x = np.take_along_axis(joined, order, axis=0)[: lengths.max()]
        return Batch(x, np.where(two, clauses[1][1], clauses[0][1]), lengths)

    def text(self, batch: Batch) -> list[str]:
        """The sentences of `batch` in English."""
        self._own(batch)
        return [" ".join(VOCABULARY[token] for token in column if token) for column in batch.x.T]

    def _clause(self, size: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """(6, size) words, 0 where one is left out, and whether each clause is good."""
        noun = FIRST_NOUN + rng.integers(0, len(NOUNS), size)
        negated, very = rng.random(size) < self.negation, rng.random(size) < 0.5
        adjective = rng.integers(0, len(GOOD) + len(BAD), size)
        good = (adjective < len(GOOD)) ^ negated
        parts: list[Any] = [np.full(size, THE), noun, np.full(size, WAS), NOT * negated, VERY * very]
        return np.stack([*parts, FIRST_GOOD + adjective]), good.astype(int)
