"""Batches as pieces for one update each: whole sequences, or, for truncated BPTT, windows along them.

Dimensions: T time steps of a batch, B sequences, k1 steps from update to update, k2 steps that a gradient flows back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..refuse import arguments, checks
from ..refuse.called import told
from ..refuse.numeric import numbers

Array = np.ndarray


class Piece(NamedTuple):
    """What one update is made from."""

    x: Any
    targets: Any
    lengths: Array | None
    weights: Array | None
    continues: bool  # from the state that the piece before left
    carry: int | None  # the steps after which the next piece begins; None: where this one ends


def as_batch(item: Any) -> tuple[Any, Any, Any, Any, bool]:
    """(x, targets, lengths, mask, continues) of a Batch, or of a tuple that begins like one."""
    if not isinstance(item, (tuple, list)) or not 2 <= len(item) <= 5:
        raise TypeError(
            f"A batch is {told(item)}; expected a tt.tasks.Batch, or a tuple (x, targets), (x, targets, lengths), …"
        )
    x, targets, lengths, mask, continues = (*item, None, None, False)[:5] if len(item) < 5 else item
    return x, targets, lengths, mask, arguments.flag("continues", continues) if len(item) == 5 else False


def not_finite(piece: Piece) -> str:
    """Which of a piece's x and targets holds NaN or infinity in a step that counts; empty if neither does."""
    two = isinstance(piece.x, tuple)
    parts = dict(zip(("`x[0]`", "`x[1]`"), piece.x, strict=True)) if two else {"`x`": piece.x}
    for n, (name, part) in enumerate({**parts, "`targets`": piece.targets}.items()):
        values, lengths = np.asarray(part), piece.lengths
        if two and lengths is not None:
            lengths = lengths[min(n, 1)]
        counts = None if lengths is None else np.arange(len(values))[:, None] < np.asarray(lengths)
        if name == "`targets`" and piece.weights is not None:
            counts = np.asarray(piece.weights) > 0
        if counts is not None and counts.shape == values.shape[: counts.ndim]:
            values = values[counts]
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            return name
    return ""


def is_one_batch(batches: Any) -> bool:
    """Whether these are no batches one after another, but one: a Batch, or a tuple with an array in it."""
    named = getattr(type(batches), "_fields", ())[:2] == ("x", "targets")
    return named or (isinstance(batches, tuple) and any(isinstance(part, np.ndarray) for part in batches))


def windows(truncate: Any) -> tuple[int, int] | None:
    """(k1, k2) of the argument `truncate`: None, one number for both, or two."""
    if truncate is None:
        return None
    if not isinstance(truncate, (tuple, list)):
        k = arguments.size("truncate", truncate)
        return k, k
    if len(truncate) != 2:
        raise TypeError(f"`truncate` is {arguments.kind(truncate)}; expected k, or (k1, k2).")
    k1, k2 = arguments.size("truncate[0]", truncate[0]), arguments.size("truncate[1]", truncate[1])
    if k2 < k1:
        raise ValueError(
            f"`truncate` is ({k1}, {k2}): with an update every {k1} steps and gradients over {k2}, the losses of "
            f"{k1 - k2} steps would have no gradient; expected k1 ≤ k2."
        )
    return k1, k2


class Pieces:
    """The pieces of batches, one after another; `state` is the place of the next one, from which they go on."""

    def __init__(self, batches: Any, truncate: Any = None) -> None:
        self.batches, self.windows = batches, windows(truncate)
        if is_one_batch(batches):
            raise TypeError(
                "`batches` is one batch; expected batches one after another: pass `[batch]`, or more of them."
            )
        try:
            self._rest: Iterator[Any] = iter(batches)
        except Exception as error:  # TypeError, or what an object of another library raises
            task = "task" if hasattr(batches, "batches") else "task.batches" if callable(batches) else ""
            hint = f": write `{task}.batches(32, seed=0)`" if task == "task" else ": call it" if task else ""
            raise TypeError(f"`batches` is {told(batches)}; expected batches one after another{hint}.") from error
        self._before: Any = None
        self._cut: list[Piece] = []
        self._next = 0

    def __iter__(self) -> Pieces:
        return self

    def __next__(self) -> Piece:
        if self._next >= len(self._cut):
            self._before = self._place()
            self._cut, self._next = self._pieces(next(self._rest)), 0
        self._next += 1
        return self._cut[self._next - 1]

    @property
    def state(self) -> dict[str, Any]:
        """{"batches": where they stood, "piece": how many of the next batch are done}."""
        inside = self._next < len(self._cut)
        return {"batches": self._before if inside else self._place(), "piece": self._next if inside else 0}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        if not self.resumable:
            raise ValueError(
                "`batches` have no place to go back to; those of tt.tasks have: `task.batches(size, seed=0)`."
            )
        self.batches.state = state["batches"]
        self._rest, self._cut, self._next = iter(self.batches), [], 0
        if state["piece"]:
            self._before = self._place()
            self._cut, self._next = self._pieces(next(self._rest)), state["piece"]

    @property
    def resumable(self) -> bool:
        """Whether the batches say where they stand."""
        return hasattr(self.batches, "state")

    def _place(self) -> Any:
        return self.batches.state if self.resumable else None

    def _pieces(self, item: Any) -> list[Piece]:
        x, targets, lengths, mask, continues = as_batch(item)
        if self.windows is None:
            return [Piece(x, targets, lengths, mask, continues, None)]
        k1, k2 = self.windows
        if isinstance(x, tuple):
            raise ValueError(
                "`truncate` cuts one sequence; two, of an encoder and a decoder, are taken whole: leave it out."
            )
        x, targets = numbers("x", x), numbers("targets", targets)
        if x.ndim not in (2, 3):
            raise ValueError(f"`x` has shape {x.shape}; `truncate` cuts sequences, (time, batch, inputs).")
        steps = len(x)
        if targets.ndim == 0 or len(targets) != steps or (x.ndim == 3 and targets.shape[:2] != x.shape[:2]):
            raise ValueError(
                f"`truncate` cuts sequences of {steps} steps, but targets of shape {targets.shape} are those of whole "
                "sequences; pass `batch.aligned()`, or leave `truncate` out."
            )
        mask = None if mask is None else numbers("mask", mask)
        if mask is not None and mask.shape[:1] != (steps,):
            raise ValueError(f"`mask` has shape {mask.shape}; expected one of (time, batch), and time is {steps} here.")
        if lengths is not None:
            lengths = checks.lengths(lengths, steps, numbers("lengths", lengths).size)
        ends = [*range(k1, steps, k1), steps]
        starts = [max(0, end - (k2 - k1)) for end in [0, *ends[:-1]]]
        found = []
        for n, (start, end) in enumerate(zip(starts, ends, strict=True)):
            new = end - ends[n - 1] if n else end  # steps whose losses no piece before has counted
            part = slice(start, end)
            own = None if lengths is None else np.clip(lengths - start, 0, end - start)
            weights = None if mask is None else np.array(mask[part], float)
            if new < end - start:
                weights = np.ones((end - start, *x.shape[1:2])) if weights is None else weights
                weights[: end - start - new] = 0
            last = n + 1 == len(ends)
            carry = None if last or starts[n + 1] == end else starts[n + 1] - start
            found.append(Piece(x[part], targets[part], own, weights, bool(continues) or n > 0, carry))
        return found


def counted(piece: Piece) -> float:
    """How much counts in a piece: steps, or sequences where each has one target, by their weights.

    1 where the parts do not fit together, for the model and the loss say in words what is wrong with them.
    """
    try:
        rows = np.shape(piece.targets)[: 1 if _one_each(piece) else 2]
        ends = piece.lengths[1] if isinstance(piece.x, tuple) and piece.lengths is not None else piece.lengths
        if piece.weights is None and (ends is None or len(rows) == 1):
            return float(math.prod(rows))
        counts = np.ones(rows) if piece.weights is None else np.asarray(piece.weights, float)
        if ends is not None and len(rows) == 2:
            counts = counts * (np.arange(rows[0])[:, None] < np.asarray(ends))
        return float(counts.sum())
    except Exception:  # TypeError, ValueError, IndexError, or what an object of another library raises
        return 1.0


def _one_each(piece: Piece) -> bool:
    targets = np.asarray(piece.targets)
    return targets.ndim == (1 if targets.dtype.kind in "biu" else 2)
