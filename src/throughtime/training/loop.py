"""The loop of training: piece after piece an update, and what comes after one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..models.fitting_pieces import is_bidirectional
from ..refuse import arguments
from ..refuse.called import told
from .gradient_norm import norm as norm_of
from .in_progress import Diverged, Training
from .monitor import Monitor
from .queued import Queued
from .update_pieces import Piece, Pieces, counted, not_finite

IDLE = 10_000  # pieces without a target that counts, after which no more are awaited
MASKS = "look at the masks, which are True or above 0 where a step counts, and at the lengths"


@dataclass
class Loop:
    """What a training goes by. `save` writes a checkpoint; `validate` gives the loss of a model on held-out batches."""

    training: Training
    pieces: Pieces
    loss: Callable
    steps: int
    monitor: Monitor
    bar: Any
    validate: Callable[[Any], float] | None = None
    validate_every: int = 1
    patience: int | None = None
    callbacks: Sequence[Callable] = ()
    save: Callable[[], None] | None = None
    save_every: int = 1
    clip_state: float | None = None
    penalties: Sequence[tuple[str, Callable]] = ()
    queued: Queued | None = None  # of a model on the GPU

    def run(self) -> str:
        """Train to an end, and say which: "steps", "batches", "validation" or "callback"."""
        if self.training.model.device != "cpu":
            self.queued = Queued(self.training, self.monitor, self.bar, self.loss, alone=bool(self.callbacks))
        try:
            return self._run()
        except BaseException:
            with contextlib.suppress(Diverged):  # what was queued before is history too
                self._report()
            raise

    def _run(self) -> str:
        training = self.training
        good = None if self.queued else np.array(training.model.flat)  # of the last step at which all was finite
        reason, idle = self._ended(), 0
        while not reason:
            piece = next(self.pieces, None)
            if piece is None:
                _something(training)
                reason = "batches"
                break
            if piece.continues and training.state is not None and is_bidirectional(training.model):
                raise ValueError(
                    "The model reads in both directions, and its batches go on from each other: the reverse direction "
                    "would begin with what lies behind it. Take whole sequences, without `truncate` and `continues`."
                )
            if not piece.continues and training.pieces:
                training.state = None
            training.pieces += 1
            if not counted(piece):
                training.state = training.model.unroll(piece.x, training.state, piece.lengths).final_state
                idle += 1
                if idle == IDLE:
                    raise ValueError(f"Of {idle} pieces one after another none has a target that counts; {MASKS}.")
                continue
            idle = 0
            self._update(piece, good)
            if self.save is not None and training.step % self.save_every == 0:
                self._report()
            if self.validate is not None and training.step % self.validate_every == 0:
                self._report()
                found = _one_number(self.validate(training.model))
                training.history.measure("validation", int(training.history.rows["step"][-1]), found)
                training.judge(found)
            stop = self._call_back()
            reason = stop or self._ended()
            if self.save is not None and not reason and training.step % self.save_every == 0:
                self.save()
        self._report()
        if self.save is not None:
            self.save()
        return reason

    def _report(self) -> None:
        if self.queued:
            self.queued.report()

    def _ended(self) -> str:
        if self.patience is not None and self.training.waited >= self.patience:
            return "validation"
        return "steps" if self.training.step >= self.steps else ""

    def _update(self, piece: Piece, good: Any) -> None:
        if self.queued:
            self.queued.update(piece)
            return
        training, model, optimiser = self.training, self.training.model, self.training.optimiser
        before = training.state
        found = model.forward_backward(
            piece.x, piece.targets, self.loss, piece.lengths, before, piece.weights, clip_state=self.clip_state,
            states=bool(self.penalties),
        )  # fmt: skip
        norm, added = norm_of(found.gradient), dict[str, float]()
        if self.penalties and math.isfinite(found.value) and math.isfinite(norm):
            added = self._added(found)
            norm = norm_of(found.gradient)
        if not all(map(math.isfinite, (found.value, norm, *added.values()))):
            self.monitor(loss=found.value, norm=norm, **added)
            model.flat[...] = good
            raise Diverged(int(training.history["step"][-1]), training.history, not_finite(piece))
        training.state = found.final_state
        if piece.carry is not None:  # the next piece begins inside of this one
            lengths = None if piece.lengths is None else np.minimum(piece.lengths, piece.carry)
            training.state = model.unroll(piece.x[: piece.carry], before, lengths).final_state
        good[...] = model.flat
        optimiser.step(model.flat, found.gradient)
        training.step, training.loss, training.norm, training.run = training.step + 1, found.value, norm, found.run
        self.monitor(
            model, loss=found.value, norm=norm, clipped_norm=optimiser.clipped_norm, clipped=float(optimiser.clipped),
            rate=optimiser.last_rate, **added,
        )  # fmt: skip
        self.bar.update()
        self.bar.set_postfix_str(f"loss {found.value:.4g}, norm {norm:.3g}", refresh=False)

    def _added(self, found: Any) -> dict[str, float]:
        """The values of the penalties, whose gradients are added to that of the loss."""
        values = {}
        for name, penalty in self.penalties:
            answer = penalty(self.training.model, found.run, found.gradients, self.training.step)
            if not isinstance(answer, tuple) or len(answer) != 2 or np.shape(answer[1]) != found.gradient.shape:
                raise ValueError(
                    f"The penalty {name} returned {told(answer)}; expected (value, gradient), the latter a vector of "
                    f"{found.gradient.size} numbers, as model.flat."
                )
            values[name] = float(answer[0])
            found.gradient[...] += answer[1]
        return values

    def _call_back(self) -> str:
        answers = [callback(self.training) for callback in self.callbacks]
        if any(answer is not None and not (isinstance(answer, str) and answer == "stop") for answer in answers):
            raise ValueError(f'A callback returned {answers}; expected None, or "stop" to end the training.')
        return "callback" if "stop" in answers else ""


def _something(training: Training) -> None:
    """ValueError where the batches have come to an end and nothing was learned from any of them."""
    if not training.pieces:
        raise ValueError(
            "`batches` gives not one batch. An iterator that has been gone through is at its end: pass a list, or make "
            "another."
        )
    if not training.step:
        raise ValueError(f"None of the {training.pieces} pieces of `batches` has a target that counts; {MASKS}.")


def _one_number(found: Any) -> float:
    if not arguments.is_real(found) and not (isinstance(found, np.ndarray) and found.ndim == 0):
        raise TypeError(f"`validation` returned {told(found)}; expected the loss, one real number.")
    return float(found)
