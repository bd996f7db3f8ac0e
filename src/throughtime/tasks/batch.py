"""What a task, a stream or a data set hands out: inputs, targets, and which steps of them count."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ..refuse import arguments, room
from ..refuse.expected import checking

Array = NDArray[Any]


class Batch(NamedTuple):
    """B sequences and what is wanted of them; unpacks as (x, targets, lengths, mask, continues).

    Fields:
        x: inputs (T, B, I) of floats, or tokens (T, B) of whole numbers; of an encoder and a decoder a tuple of both.
        targets: (T, B, O) or, of classes, (T, B) where every step has one; (B, O) or (B,) where a sequence has one.
        lengths: (B,) real steps of each sequence, the rest of it is padding; None where all have T.
        mask: (T, B), True at the steps whose targets count, in targets of every step; None where all real steps do.
        continues: whether the sequences go on from those of the batch before, so that its final state is their first.

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

        TypeError where x holds no whole numbers, ValueError where one of them is not below `tokens`.

        >>> import throughtime as tt
        >>> task = tt.tasks.CopyMemory(delay=20)
        >>> task.batch(4, seed=0).one_hot(task.inputs).x.shape
        (40, 4, 10)
        """
        count = arguments.size("tokens", tokens)
        if not np.issubdtype(self.x.dtype, np.integer):
            raise TypeError("`x` of this batch holds floats, not tokens; pass it to the network as it is.")
        if self.x.size and not 0 <= int(self.x.min()) <= int(self.x.max()) < count:
            raise ValueError(f"`tokens` is {count}, but the tokens of this batch go up to {int(self.x.max())}.")
        room.check(f"A batch of {self.x.size} tokens, each one of {count} numbers,", self.x.size * count)
        spread = np.zeros((*self.x.shape, count))
        np.put_along_axis(spread, self.x[..., None], 1.0, axis=-1)
        return self._replace(x=spread)

    def aligned(self) -> Batch:
        """The same with a target at every step: one that a sequence has goes to its last real step, alone in the mask.

        For models that give an output at every step; targets of every step stay what they are.

        >>> import throughtime as tt
        >>> batch = tt.tasks.Adding(length=50).batch(8, seed=0).aligned()
        >>> batch.targets.shape, batch.mask.sum(axis=0)
        ((50, 8, 1), array([1, 1, 1, 1, 1, 1, 1, 1]))
        """
        if not one_each(self):
            return self
        steps, size = self.x.shape[:2]
        last = np.full(size, steps) if self.lengths is None else self.lengths
        mask = np.arange(1, steps + 1)[:, None] == last
        targets = np.zeros((steps, *self.targets.shape), self.targets.dtype)
        targets[last - 1, np.arange(size)] = self.targets
        return self._replace(targets=targets, mask=mask)

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
        start, x, mask = arguments.step("start", start, 0), cast(Any, self.x), cast(Any, self.mask)
        if isinstance(x, tuple):
            raise ValueError("This batch has a source and inputs already; leave `teacher_forced` out.")
        if one_each(self) or not np.issubdtype(self.targets.dtype, np.integer):
            raise ValueError("The targets of this batch are no class for each step; those of a decoder are.")
        inputs = np.concatenate([np.full_like(self.targets[:1], start), self.targets[:-1]])
        ends = None if mask is None else mask.sum(axis=0)
        if ends is not None and not np.array_equal(mask, np.arange(len(inputs))[:, None] < ends):
            ends = None
        lengths: Any = None if self.lengths is None and ends is None else (self.lengths, ends)
        pair: Any = (x, inputs)
        return self._replace(x=pair, lengths=lengths)

    def pieces(self, length: int) -> list[Batch]:
        """Consecutive pieces of at most `length` steps, for truncated BPTT: each continues the one before.

        ValueError for targets of a whole sequence: `batch.aligned().pieces(length)`.

        >>> import throughtime as tt
        >>> batch = tt.tasks.DelayedXor(length=250).batch(8, seed=0)
        >>> [(piece.x.shape, piece.continues) for piece in batch.pieces(100)]
        [((100, 8, 1), False), ((100, 8, 1), True), ((50, 8, 1), True)]
        """
        length = arguments.size("length", length)
        if one_each(self):
            raise ValueError(
                "The targets of this batch are those of whole sequences; write `batch.aligned().pieces(length)`."
            )
        found = []
        for start in range(0, len(self.x), length):
            part = slice(start, start + length)
            x = self.x[part]
            lengths = None if self.lengths is None else np.clip(self.lengths - start, 0, len(x))
            mask = None if self.mask is None else self.mask[part]
            found.append(Batch(x, self.targets[part], lengths, mask, self.continues or start > 0))
        return found


for _name in ("one_hot", "pieces", "aligned", "teacher_forced"):
    setattr(Batch, _name, checking(getattr(Batch, _name)))


def one_each(batch: Batch) -> bool:
    """Whether there is one target for each sequence, (B,) of classes or (B, O), and not one for each step."""
    classes = np.issubdtype(batch.targets.dtype, np.integer)
    return batch.targets.ndim == (1 if classes else 2)


def counted(batch: Batch) -> Array:
    """(T, B), True where the target of a step counts: in the mask, and not padding. For targets of every step."""
    steps = np.arange(len(batch.targets))[:, None]
    found = np.ones(batch.targets.shape[:2], bool) if batch.mask is None else batch.mask
    return found if batch.lengths is None or batch.mask is not None else found & (steps < batch.lengths)
