"""Sequences of different lengths, batched with those of like length, so that little is padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..refuse import arguments, numeric
from ..refuse.expected import checking
from .batch import Array, Batch
from .epochs import Batches
from .task import explain_methods


@dataclass(frozen=True, repr=False)
class LengthBuckets:
    """Sequences of different lengths in batches of like length; made by `length_buckets`.

    Fields:
        sequences: a tuple of arrays (t, I), or (t,) of tokens.
        targets: a tuple of arrays: (), (O,), (t,) or (t, O).
        lengths: (n,) of the sequences.
        size: B, the sequences of a batch.
        aligned: whether a target is one of every step.
    """

    sequences: tuple[Array, ...]
    targets: tuple[Array, ...]
    lengths: Array
    size: int
    aligned: bool

    def __repr__(self) -> str:
        return (
            f"LengthBuckets of {len(self.sequences)} sequences of {self.lengths.min()} to {self.lengths.max()} steps, "
            f"{self.size} a batch, {self.padding:.1%} padding"
        )

    @property
    def padding(self) -> float:
        """The share of steps that are padding, in an epoch."""
        longest = [self.lengths[chosen].max() * len(chosen) for chosen in self._buckets(np.arange(len(self.lengths)))]
        return 1 - float(self.lengths.sum()) / float(sum(longest))

    def batches(self, seed: Any = None) -> Batches:
        """`Batches` without end: each epoch has every sequence once, those of like length together, the batches in
        random order. x (T, B, I) or (T, B), padded with 0, and lengths (B,). seed: as of a Network."""
        return Batches(self._shuffled, self._take, seed)

    def once(self) -> Batches:
        """`Batches` of all sequences once, from the shortest to the longest: for validation."""
        return Batches(self._in_order, self._take, 0, passes=1)

    def _shuffled(self, rng: np.random.Generator) -> list[Array]:
        buckets = self._buckets(rng.permutation(len(self.lengths)))
        return [buckets[i] for i in rng.permutation(len(buckets))]

    def _in_order(self, rng: np.random.Generator) -> list[Array]:
        return self._buckets(np.arange(len(self.lengths)))

    def _buckets(self, order: Array) -> list[Array]:
        """The numbers of the sequences of each batch; of equal lengths in the order given."""
        order = order[np.argsort(self.lengths[order], kind="stable")]
        return [order[i : i + self.size] for i in range(0, len(order), self.size)]

    def _take(self, chosen: Array) -> Batch:
        targets = [self.targets[i] for i in chosen]
        lengths = self.lengths[chosen]
        x = _padded([self.sequences[i] for i in chosen])
        return Batch(x, _padded(targets) if self.aligned else np.stack(targets), lengths)


@checking
def length_buckets(sequences: Any, batch: int, *, targets: Any = None) -> LengthBuckets:
    """Sequences of different lengths in batches of B of like length, padded with 0 and told by lengths.

    sequences: a list of n arrays (t, I), or (t,) of tokens, whole numbers. batch: B.
    targets: a list of n: a class (a whole number) or (O,) floats for a whole sequence, (t,) whole numbers or (t, O)
        floats for every step. None: the next step of the sequence itself, which then is one step shorter.
    Returns `LengthBuckets`: .batches(seed), endless and shuffled, .once() for validation, .padding.

    TypeError for what holds no numbers, ValueError for sequences without steps or of different widths, and targets that
    do not fit them.

    >>> import numpy as np, throughtime as tt
    >>> words = [np.array([1, 2]), np.array([3]), np.array([4, 5, 6]), np.array([7, 8])]
    >>> found = tt.tasks.length_buckets(words, batch=2, targets=[0, 1, 0, 1])
    >>> x, targets, lengths, *_ = next(found.once())
    >>> x, targets, lengths
    (array([[3, 1],
           [0, 2]]), array([1, 0]), array([1, 2]))
    """
    batch = arguments.size("batch", batch)
    found = _arrays("sequences", sequences)
    if not found:
        raise ValueError("`sequences` is empty; expected a list of arrays (t, I), or (t,) of tokens.")
    for i, one in enumerate(found):
        whole = one.ndim == 1 and one.dtype.kind in "iu"
        if not (whole or one.ndim == 2) or one.shape[1:] != found[0].shape[1:]:
            raise ValueError(
                f"`sequences[{i}]` has shape {one.shape} and dtype {one.dtype}; expected (t, I), all of one I, or (t,) "
                "of whole numbers."
            )
        if len(one) < (2 if targets is None else 1):
            raise ValueError(f"`sequences[{i}]` has {len(one)} steps{' and none to predict' if len(one) else ''}.")
    if targets is None:
        wanted, found = [one[1:] for one in found], [one[:-1] for one in found]
    else:
        wanted = _arrays("targets", targets)
    aligned = _check_targets(wanted, found)
    return LengthBuckets(tuple(found), tuple(wanted), np.array([len(one) for one in found]), batch, aligned)


def _arrays(name: str, values: Any) -> list[Array]:
    """Own arrays of int or float of each."""
    if not isinstance(values, (list, tuple, np.ndarray)) or (isinstance(values, np.ndarray) and not values.ndim):
        raise TypeError(f"`{name}` is {arguments.kind(values)}; expected a list of arrays.")
    found = []
    for i, value in enumerate(values):
        one = numeric.numbers(f"{name}[{i}]", value)
        found.append(one.astype(int if one.dtype.kind in "iu" and one.ndim < 2 else float))
    return found


def _check_targets(targets: list[Array], sequences: list[Array]) -> bool:
    """Whether they are those of every step; ValueError where they fit neither way."""
    if len(targets) != len(sequences):
        raise ValueError(f"`targets` has {len(targets)} entries for {len(sequences)} sequences.")
    first = targets[0]
    whole = first.dtype.kind == "i"
    aligned = first.ndim == (1 if whole else 2)
    for i, (target, sequence) in enumerate(zip(targets, sequences, strict=True)):
        same = target.ndim == first.ndim and (target.dtype.kind == "i") == whole
        fits = len(target) == len(sequence) and target.shape[1:] == first.shape[1:] if aligned and same else True
        if not same or not fits or (not aligned and (target.shape != first.shape or (not whole and target.ndim != 1))):
            raise ValueError(
                f"`targets[{i}]` has shape {target.shape} and dtype {target.dtype}; expected, as of the others, "
                f"a class or (O,) floats for a sequence, or ({len(sequence)},) whole numbers or ({len(sequence)}, O) "
                "floats for its steps."
            )
    return aligned


def _padded(parts: list[Array]) -> Array:
    out = np.zeros((max(map(len, parts)), len(parts), *parts[0].shape[1:]), parts[0].dtype)
    for b, part in enumerate(parts):
        out[: len(part), b] = part
    return out


explain_methods(LengthBuckets)
