"""Updates on a GPU: queued one after another, and their numbers fetched for many of them at once.

The first update whose loss or norm is not finite stops all that were queued behind it, there, so the parameters come
back to the last with which both were finite, as on the CPU, however late that is seen here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .in_progress import Diverged, Training
from .monitor import Monitor
from .steps_on_device import rows
from .update_pieces import Piece, not_finite

EVERY = 100  # updates after which their numbers are fetched
MOST_BYTES = 1 << 26  # of their data, which is kept so long to say what was wrong with it


class Queued:
    """The updates of a training that were queued and not yet written down. every: updates that are fetched at once."""

    def __init__(self, training: Training, monitor: Monitor, bar: Any, loss: Callable, alone: bool = False) -> None:
        """alone: whether every update is waited for."""
        self.training, self.monitor, self.bar, self.loss = training, monitor, bar, loss
        self.every = 1 if alone else EVERY
        self.room = rows(self.every, watched=training.model.flat)
        self.waiting: list[tuple[Piece, float]] = []  # and the rate
        self.bytes = 0

    def update(self, piece: Piece) -> None:
        """An update from a piece; it is waited for where it is time to look."""
        training = self.training
        model, optimiser, before = training.model, training.optimiser, training.state
        found = model.forward_backward(
            piece.x, piece.targets, self.loss, piece.lengths, before, piece.weights, states=False
        )
        training.state, training.run = found.final_state, found.run
        if piece.carry is not None:  # the next piece begins inside of this one
            lengths = None if piece.lengths is None else np.minimum(piece.lengths, piece.carry)
            training.state = model.unroll(piece.x[: piece.carry], before, lengths).final_state
        loss = getattr(found.value, "array", None)
        if loss is None:
            loss = model.engine.arrays.from_host(np.array([float(found.value)]))
        optimiser._queue(model.flat, found.gradient, self.room, len(self.waiting), loss)
        training.step += 1
        self.waiting.append((piece, optimiser.last_rate))
        self.bytes += sum(getattr(part, "nbytes", 0) for part in (piece.x, piece.targets, piece.weights))
        if len(self.waiting) >= self.every or self.bytes > MOST_BYTES or self._measured():
            self.report()

    def _measured(self) -> bool:
        """Whether the monitor measures after this update, while the model is as it is now."""
        steps = self.training.history.rows["step"]
        last = (int(steps[-1]) if steps else -1) + len(self.waiting)
        return bool(self.monitor.measure) and last % self.monitor.every == 0

    def report(self) -> None:
        """Write down what was queued; `Diverged` where one was not finite."""
        if not self.waiting:
            return
        training, optimiser = self.training, self.training.optimiser
        waiting, self.waiting, self.bytes = self.waiting, [], 0
        for k, ((piece, rate), numbers) in enumerate(zip(waiting, self.room.fetch(len(waiting)), strict=True)):
            loss, norm, clipped = map(float, numbers)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                training.model.write(self.room.good)
                training.step -= len(waiting) - k
                optimiser.steps -= len(waiting) - k
                self.monitor(loss=loss, norm=norm)
                raise Diverged(int(training.history["step"][-1]), training.history, not_finite(piece))
            training.loss, training.norm = loss, norm
            optimiser._tell(norm, clipped)
            self.monitor(
                training.model, loss=loss, norm=norm, clipped_norm=clipped, clipped=float(optimiser.clipped), rate=rate
            )
            self.bar.update()
            self.bar.set_postfix_str(f"loss {loss:.4g}, norm {norm:.3g}", refresh=False)
