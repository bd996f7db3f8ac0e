"""What a task, a stream or a data set hands out: inputs, targets, and which steps of them count."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..refuse import arguments, batches, room
from ..refuse.called import told
from ..refuse.expected import checking

Array = NDArray[Any]


class Batch(NamedTuple):
    """B sequences and what is wanted of them; unpacks as (x, targets, lengths, mask, continues).

    Fields:
        x: inputs (T, B, I) of floats, or tokens (T, B) of whole numbers; of an encoder and a decoder a tuple of both.
        targets: (T, B, O) or, of classes, (T, B) where every step has one; (B, O) or (B,) where a sequence has one.
        lengths: (B,) real steps of each sequence, the rest of it is padding; None where all have T. Of a pair two.
        mask: (T, B), True at the steps whose targets count, in targets of every step; None where all real steps do.
        continues: whether the sequences go on from those of the batch before, so that its final state is their first.

    Lists will do in place of arrays. The methods raise TypeError and ValueError for parts that are no numbers, or that
    do not fit together.

        >>> import throughtime as tt
        >>> x, targets, lengths, mask, continues = tt.tasks.Adding(length=50).batch(8, seed=0)
        >>> x.shape, targets.shape, lengths, mask, continues
        ((50, 8, 2), (8, 1), None, None, False)
    """

    x: Array
    targets: Array
    lengths: Array | None = None
    mask: Array | None = None
    continues: bool = False

    def one_hot(self, tokens: int) -> Batch:
        """The same with the tokens of x as floats (T, B, tokens), one of them 1: for a network without an embedding.

        TypeError where x holds no tokens, ValueError where one of them is not below `tokens`, and for a pair of a
        source and inputs: `batch.one_hot(tokens).teacher_forced(start)`.

        >>> import throughtime as tt
        >>> task = tt.tasks.CopyMemory(delay=20)
        >>> task.batch(4, seed=0).one_hot(task.inputs).x.shape
        (40, 4, 10)
        """
        count, x = arguments.size("tokens", tokens), batches.inputs(self.x)
        if isinstance(x, tuple):
            raise ValueError(
                "This batch has a source and inputs; make floats of the source first, "
                "`batch.one_hot(tokens).teacher_forced(start)`."
            )
        if x.ndim != 2:
            raise TypeError("`x` of this batch holds floats, not tokens; pass it to the network as it is.")
        if x.size and not 0 <= int(x.min()) <= int(x.max()) < count:
            wrong = f"go down to {int(x.min())}" if x.min() < 0 else f"go up to {int(x.max())}"
            raise ValueError(f"`tokens` is {count}, but the tokens of this batch {wrong}.")
        room.check(f"A batch of {x.size} tokens, each one of {count} numbers,", x.size * count)
        spread = np.zeros((*x.shape, count))
        np.put_along_axis(spread, x[..., None], 1.0, axis=-1)
        return self._replace(x=spread)

    def aligned(self) -> Batch:
        """The same with a target at every step: one that a sequence has goes to its last real step, alone in the mask.

        For models that give an output at every step; targets of every step stay what they are. A sequence of length 0
        counts nowhere. ValueError where no sequence has a step.

        >>> import throughtime as tt
        >>> batch = tt.tasks.Adding(length=50).batch(8, seed=0).aligned()
        >>> batch.targets.shape, batch.mask.sum(axis=0)
        ((50, 8, 1), array([1, 1, 1, 1, 1, 1, 1, 1]))
        """
        x, targets, lengths, weights, _ = as_arrays(self)
        if not batches.one_each(targets):
            return self
        if isinstance(x, tuple):  # the targets are those of what the decoder says
            x, lengths = x[1], None if lengths is None else lengths[1]
        steps, size = x.shape[:2]
        if not steps:
            raise ValueError(f"`x` of this batch has shape {x.shape}: there is no step to which a target could go.")
        last = np.full(size, steps) if lengths is None else lengths
        mask = np.arange(1, steps + 1)[:, None] == last
        spread = np.zeros((steps, *targets.shape), targets.dtype)
        spread[last - 1, np.arange(size)] = targets
        return self._replace(targets=spread, mask=mask if weights is None else mask * weights)

    def teacher_forced(self, start: int) -> Batch:
        """The same for an encoder and a decoder: x = (source, inputs), the inputs the targets one step before.

        start: the token that the decoder reads first, mostly that of the end. lengths = (of the sources, of what is
        said), the latter from the mask where the steps that count come first; the mask stays. Of pairs with a class at
        every step; TypeError and ValueError for others.

        >>> import throughtime as tt
        >>> batch = tt.tasks.Reversal(3, 3, aligned=False).batch(1, seed=0)
        >>> pair = batch.teacher_forced(start=8)
        >>> batch.x[:, 0], batch.targets[:, 0], pair.x[1][:, 0], pair.lengths
        (array([6, 5, 4]), array([4, 5, 6, 8]), array([8, 4, 5, 6]), (array([3]), array([4])))
        """
        start = arguments.step("start", start, 0)
        x, targets, own, mask, _ = as_arrays(self)
        if isinstance(x, tuple):
            raise ValueError("This batch has a source and inputs already; leave `teacher_forced` out.")
        if targets.ndim != 2 or targets.dtype.kind not in "iu":
            raise ValueError("The targets of this batch are no class for each step; those of a decoder are.")
        targets = targets.astype(np.int64, copy=False)
        inputs = np.concatenate([np.full_like(targets[:1], start), targets[:-1]])
        ends = None if mask is None else (mask != 0).sum(axis=0)
        if ends is not None and not np.array_equal(mask != 0, np.arange(len(inputs))[:, None] < ends):
            ends = None
        lengths: Any = None if own is None and ends is None else (own, ends)
        pair: Any = (x, inputs)
        return Batch(pair, targets, lengths, mask, self.continues)

    def pieces(self, length: int) -> list[Batch]:
        """Consecutive pieces of at most `length` steps, for truncated BPTT: each continues the one before.

        ValueError for targets of a whole sequence, `batch.aligned().pieces(length)`, for a source and inputs, which
        are taken whole, and where x and targets differ in steps.

        >>> import throughtime as tt
        >>> batch = tt.tasks.DelayedXor(length=250).batch(8, seed=0)
        >>> [(piece.x.shape, piece.continues) for piece in batch.pieces(100)]
        [((100, 8, 1), False), ((100, 8, 1), True), ((50, 8, 1), True)]
        """
        length, continues = arguments.size("length", length), arguments.flag("continues", self.continues)
        x, targets, lengths, mask, _ = as_arrays(self)
        if isinstance(x, tuple):
            raise ValueError(
                "This batch has a source and inputs, which are taken whole; `pieces` cuts one sequence: leave it out."
            )
        if batches.one_each(targets):
            raise ValueError(
                "The targets of this batch are those of whole sequences; write `batch.aligned().pieces(length)`."
            )
        if len(targets) != len(x):
            raise ValueError(
                f"`pieces` cuts `x` and `targets` at the same steps, but they have {len(x)} and {len(targets)}; a task "
                "of sequences that differ has no pieces, take its batches whole."
            )
        found = []
        for start in range(0, len(x), length):
            part = slice(start, start + length)
            own = None if lengths is None else np.clip(lengths - start, 0, len(x[part]))
            weights = None if mask is None else mask[part]
            found.append(Batch(x[part], targets[part], own, weights, continues or start > 0))
        return found


for _name in ("one_hot", "pieces", "aligned", "teacher_forced"):
    setattr(Batch, _name, checking(getattr(Batch, _name)))


def as_arrays(batch: Batch) -> tuple[Any, Array, Any, Any, Any]:
    """(x, targets, lengths, mask, continues) as arrays, of a pair x and lengths as tuples of two; TypeError and
    ValueError where they are none, or do not fit together."""
    return (*batches.fitting(*batch[:4]), batch.continues)


def for_task(name: str, value: Any, function: str) -> Batch:
    """A batch as the methods of a task look at it: in arrays, and a pair as what `teacher_forced` made it from."""
    if not isinstance(value, Batch):
        raise TypeError(f"`{name}` is {told(value)}; expected a Batch, as `task.batch(size)` makes it.")
    x, targets, lengths, mask, continues = as_arrays(value)
    if isinstance(x, tuple):
        own, said = (None, None) if lengths is None else lengths
        if mask is None and said is not None and not one_each(value):
            mask = np.arange(len(targets))[:, None] < said
        x, lengths = x[0], own
    return Batch(x, targets, lengths, mask, continues)


def one_each(batch: Batch) -> bool:
    """Whether there is one target for each sequence, (B,) of classes or (B, O), and not one for each step."""
    return batches.one_each(np.asarray(batch.targets))


def counted(batch: Batch) -> Array:
    """(T, B), True where the target of a step counts: in the mask, and not padding. For targets of every step."""
    steps = np.arange(len(batch.targets))[:, None]
    found = np.ones(batch.targets.shape[:2], bool) if batch.mask is None else batch.mask != 0
    return found if batch.lengths is None or batch.mask is not None else found & (steps < batch.lengths)


def same_steps(batch: Batch) -> None:
    """ValueError unless there is a target for every step of x."""
    if batch.targets.shape[:2] != batch.x.shape[:2]:
        raise ValueError(
            f"`batch` holds x of shape {batch.x.shape} and targets of shape {batch.targets.shape}; expected a target "
            "for every step, as `task.batch(size)` makes them."
        )
