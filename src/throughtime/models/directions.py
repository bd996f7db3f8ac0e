"""Two directions added up, in place of side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..refuse.called import called, name_of, told
from .embedding import output_gradient
from .kinds import kind
from .model_run import ModelRun, clipping, directions_of

Array = np.ndarray


@called("a run of two directions")
class SummedRun(ModelRun):
    """A run whose two directions are added up: what `tt.models.sum_directions(run)` gives.

    output       (T, B, N), or (B, N) of a pooled run
    final_state  that of the run
    lengths      that of the run

    >>> import numpy as np, throughtime as tt
    >>> run = tt.Network("gru", 2, 8, bidirectional=True, seed=0).unroll(np.ones((20, 3, 2)))
    >>> both = tt.models.sum_directions(run)
    >>> both.to_run(np.ones((20, 3, 8))).shape
    (20, 3, 16)
    """

    def __init__(self, run: Any) -> None:
        self.run, self.lengths, self.final_state = run, run.lengths, run.final_state
        half = run.output.shape[-1] // 2
        self.output = run.output[..., :half] + run.output[..., half:]

    def to_run(self, grad_output: Any) -> Array:
        """dL/d(output of the run), in its shape, from `grad_output`, that of this one."""
        g = output_gradient(grad_output, self.output)
        return np.concatenate([g, g], axis=-1)

    def backprop(self, grad_output: Any = None, grad_final_state: Any = None, clip_state: float | None = None) -> Any:
        """The gradients of the run, as `run.backprop` gives them, from `grad_output` and `grad_final_state`; with
        `clip_state` as there."""
        return self.run.backprop(self.to_run(grad_output), grad_final_state, **clipping(self.run, clip_state))


@kind
def sum_directions(run: Any) -> SummedRun:
    """The two directions of a bidirectional run added up: `SummedRun`, its output (T, B, N), and the way back.

        y_t = forward_t + reverse_t

    run: of a bidirectional network, or what `last` and `mean` make of it. In a `Chain` it stands behind the network:
    `Chain([net, tt.models.sum_directions, readout])`; for what both end with, `last` stands before it.

    TypeError for what is no run, ValueError for one of one direction, with the batch first, or on the GPU.

    >>> import numpy as np, throughtime as tt
    >>> run = tt.Network("gru", 2, 8, bidirectional=True, seed=0).unroll(np.ones((20, 3, 2)))
    >>> tt.models.sum_directions(run).output.shape
    (20, 3, 8)
    """
    if not hasattr(run, "backprop") or not hasattr(run, "output") or name_of(run) == "the run of an Ensemble":
        raise TypeError(f"`run` is {told(run)}; `sum_directions` takes a run: pass `net.unroll(x)`.")
    if getattr(run, "device", "cpu") != "cpu" or getattr(getattr(run, "network", None), "batch_first", False):
        raise ValueError("`run` is on the GPU or has the batch first; models have the time first, on the CPU.")
    if directions_of(run) != 2:
        raise ValueError("`run` has one direction; `sum_directions` takes one of `tt.Network(…, bidirectional=True)`.")
    return SummedRun(run)
