"""Elman's letters in words: a stream of ba, dii and guuu, letters as six bits, of which the next ones are predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..refuse import arguments, words
from ..training.losses import binary_cross_entropy
from .batch import Array, Batch
from .task import Task, entropy

WORDS = ("ba", "dii", "guuu")
BITS = ("consonant", "vowel", "interrupted", "high", "back", "voiced")
LETTERS = {"b": "101001", "d": "101101", "g": "101011", "a": "010011", "i": "010101", "u": "010111"}
UNTIL = 1000  # steps after which how often a letter comes is that of an endless stream, beyond rounding


@words.explain
@dataclass(frozen=True)
class ElmanLetters(Task):
    """Letters in words: the next letter of a stream of ba, dii and guuu in random order is to be predicted, bit by bit.

               consonant  vowel  interrupted  high  back  voiced
        b          1        0         1         0     0      1
        d          1        0         1         1     0      1
        g          1        0         1         0     1      1
        a          0        1         0         0     1      1
        i          0        1         0         1     0      1
        u          0        1         0         1     1      1

    x (T, B, 6), the bits of a letter, and targets (T, B, 6), those of the next; loss binary cross-entropy in nats per
    bit, of logits. When a consonant comes can be known, and so its bits consonant, vowel, interrupted, voiced; which it
    is cannot: high and back are coins of 1/3.

    length: T, time steps; the paper has one stream of 1000 words, about 3000 letters.

    optimum: H(1/3)/9 = .07072 nats, a third of the steps with two such coins among six bits. baseline: .30579, the
    least loss of a model that sees the present letter alone and does not know how many i or u there were. Both are
    those of a long stream; of T steps the exact mean is given. A sequence is wrong where the logit of a bit that can be
    known has the wrong sign, at any step. Source: Elman 1990, doi 10.1207/s15516709cog1402_1.

    TypeError and ValueError for what is no whole number of at least 3.

        >>> import throughtime as tt
        >>> task = tt.tasks.ElmanLetters(length=20)
        >>> batch = task.batch(2, seed=0)
        >>> task.text(batch)
        ['guuudiidiibababababa', 'guuudiidiiguuuguuudi']
    """

    length: int = 2999

    loss = staticmethod(binary_cross_entropy)

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", arguments.step("length", self.length, 3, arguments.LARGEST))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(6, 6, T)"""
        return len(BITS), len(BITS), self.length

    @property
    def baseline(self) -> float:
        """Nats per bit that a model loses which sees the present letter alone; .30579 of a long stream."""
        often, total = self._often(), 0.0
        for letter in LETTERS:
            own = [k for k, place in enumerate(PLACES) if place[0] == letter]
            share = often[own].sum()
            total += float(share) * _bits_entropy(often[own] @ NEXT[own] / share)
        return total

    @property
    def optimum(self) -> float:
        """Nats per bit that the choice of the consonants costs; H(1/3)/9 of a long stream."""
        return sum(float(share) * _bits_entropy(chances) for share, chances in zip(self._often(), NEXT, strict=True))

    def _often(self) -> Array:
        """The expected share of the T steps that each of PLACES has."""
        now = np.array([place[1] == 0 for place in PLACES]) / len(WORDS)
        total = np.zeros(len(PLACES))
        for _ in range(min(self.length, UNTIL)):
            total, now = total + now, now @ FOLLOWS
        return (total + max(self.length - UNTIL, 0) * now) / self.length

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        count = self.length // len(WORDS[0]) + 1  # words that are enough, were all of them the shortest
        drawn = rng.integers(0, len(WORDS), (size, count))
        longest = len(WORDS[-1])
        spelt = np.array([[*word.ljust(longest)] for word in WORDS])[drawn].reshape(size, -1)
        letters = np.array([row[row != " "][: self.length + 1] for row in spelt]).T
        bits = CODES[np.searchsorted(ALPHABET, letters)]
        return Batch(bits[:-1], bits[1:])

    def text(self, batch: Batch) -> list[str]:
        """The letters that are read in `batch`, one string for each sequence; "?" for bits that are no letter."""
        self._own(batch)
        same = (batch.x[:, :, None] == CODES).all(axis=-1)
        letters = np.where(same.any(axis=-1), ALPHABET[same.argmax(axis=-1)], "?")
        return ["".join(column) for column in letters.T]

    def errors(self, output: Any, batch: Batch) -> Array:
        """Root mean square errors (2, 6) of the probabilities 1/(1 + exp(−output)): before a consonant and before a
        vowel, of each bit.

        output: logits (T, B, 6) for this `batch`. NaN where none comes. ValueError for another shape.
        """
        squares = (0.5 + 0.5 * np.tanh(self.given(output, batch) / 2) - batch.targets) ** 2
        consonant = batch.targets[:, :, 0] == 1
        with np.errstate(invalid="ignore"):
            return np.sqrt([squares[here].sum(axis=0) / here.sum() for here in (consonant, ~consonant)])

    def _own(self, batch: Batch) -> None:
        if batch.x.ndim == 3 and batch.targets.shape != batch.x.shape:
            raise ValueError(
                f"`batch` holds targets of shape {batch.targets.shape}; expected {batch.x.shape}, the bits of each "
                "next letter, as `task.batch(size)` makes them."
            )
        super()._own(batch)

    def _wrong(self, output: Array, batch: Batch) -> Array:
        known = np.ones(batch.targets.shape, bool)
        known[..., 3:5] = batch.targets[..., :1] == 0  # high and back of a vowel alone
        right = output * (2 * batch.targets - 1) > 0
        return (~right & known).any(axis=(0, 2))


def _bits_entropy(chances: Array) -> float:
    """The mean over bits of the entropy of coins, nats."""
    return float(np.mean([entropy([p, 1 - p]) for p in chances]))


ALPHABET = np.array(sorted(LETTERS))
CODES = np.array([[float(bit) for bit in LETTERS[letter]] for letter in ALPHABET])
PLACES = [(letter, k, word) for word in WORDS for k, letter in enumerate(word)]  # a letter, and where in which word
FOLLOWS = np.array(  # the chance of a place after another
    [
        [
            float(word == before and k == j + 1) if j + 1 < len(before) else float(k == 0) / len(WORDS)
            for _, k, word in PLACES
        ]
        for _, j, before in PLACES
    ]
)
NEXT = FOLLOWS @ CODES[np.searchsorted(ALPHABET, [place[0] for place in PLACES])]  # the chance of a 1 in each next bit
