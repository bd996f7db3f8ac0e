"""Repeat: from one to many, the same vector at every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..refuse import arguments, checks, numeric, room
from ..refuse.called import called
from .embedding import no_state, output_gradient
from .kinds import kind
from .model_run import ModelGradients, ModelRun, beyond

Array = np.ndarray


@kind
@called("a repeat")
class Repeat:
    """The same vector at every step: x (B, I) becomes (T, B, I), x_t = x.

    It has no parameters, and so no number in the names of a `Chain`, where it stands first (one to many, from a
    vector), or behind `tt.models.last` (a sequence through the eye of a needle, and out again).

    steps: T. TypeError and ValueError for what is no number of steps.

    >>> import numpy as np, throughtime as tt
    >>> net, readout = tt.Network("gru", 3, 8, seed=0), tt.models.Readout(8, 2, seed=1)
    >>> model = tt.models.Chain([tt.models.Repeat(20), net, readout])
    >>> model.predict(np.ones((4, 3))).shape
    (20, 4, 2)
    """

    def __init__(self, steps: int) -> None:
        self.steps = arguments.size("steps", steps)

    def unroll(self, x: Any, state: Any = None, lengths: Any = None) -> ModelRun:
        """`ModelRun` with x (B, I), or (I,), at every step. lengths: (B,) the steps that each sequence is to have, at
        most T, 0 behind them. state: None, for there is none. ValueError for an x with a time axis of its own."""
        no_state(state, "a repeat")
        found = numeric.numbers("x", x)
        if found.ndim not in (1, 2):
            raise ValueError(
                f"`x` has shape {found.shape}; one vector for each sequence is (batch, inputs), which Repeat lays out "
                "in time."
            )
        held = checks.lengths(lengths, self.steps, len(found) if found.ndim == 2 else 1)
        room.check(f"An input of {self.steps} steps of `x`, of shape {found.shape},", self.steps * found.size)
        return _Repeated(found, self.steps, held)

    def __repr__(self) -> str:
        return f"Repeat({self.steps})"


class _Repeated(ModelRun):
    def __init__(self, x: Array, steps: int, lengths: Array | None) -> None:
        self.lengths = lengths
        floats = x if x.dtype.kind == "f" else x.astype(np.float64)
        self.output = np.repeat(floats[None], steps, axis=0)
        self._padding = None if lengths is None else beyond(self.output.shape[:-1], lengths)
        if self._padding is not None:
            self.output[self._padding] = 0

    def backprop(self, grad_output: Any = None, grad_final_state: Any = None) -> ModelGradients:
        no_state(grad_final_state, "a repeat", "grad_final_state")
        g = output_gradient(grad_output, self.output)
        if self._padding is not None:
            g = np.where(self._padding[..., None], 0, g)
        return ModelGradients({}, g.sum(axis=0, dtype=g.dtype))
