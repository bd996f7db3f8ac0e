"""What every task has: batches, baselines, and whether a sequence was got right."""

from __future__ import annotations

from functools import partial
from inspect import isfunction
from typing import Any, ClassVar

import numpy as np

from ..refuse import arguments, numeric, room
from ..refuse.expected import KINDS, checking
from ..training.losses import cross_entropy
from .batch import Array, Batch, counted, for_task, one_each
from .epochs import Batches


class Task:
    """Base of the tasks: settings in, batches of fresh sequences out.

    `inputs`, `outputs`: sizes of the first and the last layer of a model; `tokens`: whether x holds whole numbers below
    `inputs`, (T, B), instead of floats (T, B, inputs); `loss`: the function of `tt.training` in which `baseline` and
    `optimum` are measured.

    A task of your own gives `sizes`, `baseline` and `_draw(size, rng)`, which makes the `Batch`.

        >>> import throughtime as tt
        >>> for name, task in tt.tasks.TASKS.items():
        ...     assert next(task().batches(2, seed=0)).x.shape[1] == 2, name
    """

    tokens: ClassVar[bool] = False
    loss = staticmethod(cross_entropy)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(inputs, outputs, steps): those of a model at a step, and the most time steps of a sequence."""
        raise NotImplementedError

    @property
    def inputs(self) -> int:
        """Inputs of a step, or the number of tokens."""
        return self.sizes[0]

    @property
    def outputs(self) -> int:
        """Outputs that a model of this task has, at a step."""
        return self.sizes[1]

    @property
    def steps(self) -> int:
        """The most time steps T that a sequence has."""
        return self.sizes[2]

    @property
    def baseline(self) -> float:
        """The loss of a model that remembers nothing: what must be beaten."""
        raise NotImplementedError

    @property
    def optimum(self) -> float:
        """The least loss that any model can have."""
        return 0.0

    @property
    def allowed(self) -> float:
        """The share of wrong sequences with which the task counts as solved."""
        return 0.0

    def __init_subclass__(cls, **options: Any) -> None:
        """Every public method says in words which arguments it cannot take, by their annotations."""
        super().__init_subclass__(**options)
        explain_methods(cls)

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        """`size` fresh sequences; what `batch` calls once it has checked both."""
        raise NotImplementedError

    def batch(self, size: int, seed: Any = None) -> Batch:
        """A `Batch` of `size` fresh sequences.

        seed: None, a whole number, or a numpy Generator, which goes on. TypeError and ValueError for what is none, and
        for a batch that this machine cannot hold.
        """
        size = arguments.size("size", size)
        room.check(f"A batch of {size} sequences of {self.steps} steps", size * self.steps * (self._width() + 2))
        return self._draw(size, arguments.generator(seed))

    def batches(self, size: int, seed: Any = None) -> Batches:
        """`Batches`: endless, each of `size` fresh sequences; `.state` can be taken and put back.

        seed: as of `batch`.
        """
        size = arguments.size("size", size)
        return Batches(partial(_fresh, self, size), _itself, seed)

    def wrong(self, output: Any, batch: Batch) -> Array:
        """(B,) of True where a sequence counts as wrong, as the paper counts it.

        output: of a model for this `batch`, (B, outputs) or (T, B, outputs); where a sequence has one target and the
        output is that of every step, the last real one is taken. Of a pair, `batch.teacher_forced(start)`, what its
        decoder says is looked at. ValueError for other shapes.
        """
        given = self.given(output, batch)
        with np.errstate(all="ignore"):
            return self._wrong(given, batch)

    def share_wrong(self, output: Any, batch: Batch) -> float:
        """The share of sequences that are wrong; output, batch: as of `wrong`."""
        return float(self.wrong(output, batch).mean())

    def solved(self, output: Any, batch: Batch) -> bool:
        """Whether the share of wrong sequences is at most `allowed`; output, batch: as of `wrong`."""
        return self.share_wrong(output, batch) <= self.allowed

    def _wrong(self, output: Array, batch: Batch) -> Array:
        """By default: the largest output is not the class, at a step that counts."""
        found = output.argmax(axis=-1) != batch.targets
        return found if one_each(batch) else (found & counted(batch)).any(axis=0)

    def given(self, output: Any, batch: Batch) -> Array:
        """`output` as an array with one row for each target of `batch`, or an error in words."""
        self._own(batch)
        found = numeric.numbers("output", output)
        classes = self.loss is cross_entropy
        wanted = (*batch.targets.shape, self.outputs) if classes else batch.targets.shape
        if one_each(batch) and found.shape == (*batch.x.shape[:2], self.outputs):
            last = -1 if batch.lengths is None else batch.lengths - 1
            found = found[last, np.arange(batch.x.shape[1])]
        if found.shape != wanted or wanted[-1] != self.outputs:
            raise ValueError(
                f"`output` has shape {found.shape}; for this batch of {type(self).__name__} expected {wanted}"
                f"{', or that of every step' if one_each(batch) else ''}."
            )
        return found

    def _own(self, batch: Batch) -> None:
        """ValueError if this is no batch of this task."""
        x, axes = batch.x, (2, "iu") if self.tokens else (3, "f")
        fits = x.ndim == axes[0] and x.dtype.kind in axes[1] and x.size > 0
        if not fits or (x.min() < 0 or x.max() >= self.inputs if self.tokens else x.shape[-1] != self.inputs):
            raise ValueError(
                f"`batch` holds x of shape {x.shape} and dtype {x.dtype}, which is not one of "
                f"{type(self).__name__}; make it with `task.batch(size)`."
            )
        classes = self.loss is cross_entropy
        rows = batch.targets.shape[: 1 if one_each(batch) else 2]
        wanted = rows if classes else (*rows, self.outputs)
        alike = batch.targets.shape == wanted and (not classes or batch.targets.dtype.kind in "iu")
        if not alike or (one_each(batch) and not one_each(self._draw(1, np.random.default_rng(0)))):
            raise ValueError(
                f"`batch` holds targets of shape {batch.targets.shape} and dtype {batch.targets.dtype}, which are not "
                f"those of {type(self).__name__}; make it with `task.batch(size)`."
            )

    def _width(self) -> int:
        """Numbers of one step of a sequence."""
        return 1 if self.tokens else self.inputs + self.outputs


def explain_methods(cls: type) -> None:
    """Every public method of the class itself says in words which arguments it cannot take; its batches are arrays."""
    for name, member in list(vars(cls).items()):
        if isfunction(member) and not name.startswith("_"):
            setattr(cls, name, checking(member, KINDS | {"batch": for_task}))


explain_methods(Task)


def ranked_wrong(output: Array, legal: Array, batch: Batch) -> Array:
    """(B,) of True where, at a step that counts, an illegal symbol is rated at least as high as a legal one; `legal`
    (T, B, O) says which symbols may follow."""
    lowest = np.where(legal, output, np.inf).min(axis=-1)
    highest = np.where(legal, -np.inf, output).max(axis=-1)
    return (~(lowest > highest) & counted(batch)).any(axis=0)


def entropy(probabilities: Any) -> float:
    """−Σ p ln p, in nats.

    >>> round(entropy([0.5, 0.5]), 5)
    0.69315
    """
    p = np.asarray(probabilities, float)
    p = p[p > 0]
    return float(-(p * np.log(p)).sum()) + 0.0  # no −0


def probability(name: str, value: Any) -> float:
    """A number from 0 to 1, or an error in words."""
    number = arguments.real(name, value, low=0.0)
    if number > 1.0:
        raise ValueError(f"`{name}` is {number:g}; expected a probability, from 0 to 1.")
    return number


def _fresh(task: Task, size: int, rng: np.random.Generator) -> list[Batch]:
    """One epoch of a task, a function of the module so that its batches can be pickled."""
    return [task.batch(size, rng)]


def _itself(batch: Batch) -> Batch:
    return batch
