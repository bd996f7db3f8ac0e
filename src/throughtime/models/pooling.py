"""From many to one: what a run ends with, or its mean over time, with the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..refuse.called import called, name_of, told
from .embedding import output_gradient
from .kinds import kind
from .machines import engine_of
from .model_run import ModelRun, clipping, directions_of

Array = np.ndarray


@called("a pooled run")
class PooledRun(ModelRun):
    """One output for each sequence of a run: what `tt.models.last(run)` and `tt.models.mean(run)` give.

    output       (B, N*D), or (N*D,) of a single sequence
    final_state  that of the run

    >>> import numpy as np, throughtime as tt
    >>> run = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 3, 2)), lengths=[20, 5, 1])
    >>> end = tt.models.last(run)
    >>> bool(np.array_equal(end.output, run.final_state[0])), end.to_run(np.ones((3, 8))).shape
    (True, (20, 3, 8))
    """

    def __init__(self, run: Any, pool: Callable[[Array], Array], spread: Callable[[Array], Array]) -> None:
        """pool: from (T, B, N*D) to (B, N*D); spread: its way back."""
        self.run, self._spread, self.final_state = run, spread, run.final_state
        self.directions = directions_of(run)
        arrays, shape = engine_of(run.output).arrays, tuple(run.output.shape)
        own = run.output if len(shape) == 3 else arrays.shaped(run.output, (shape[0], 1, shape[1]))
        with np.errstate(all="ignore"):  # NaN and infinity are for the result to show
            self.output = arrays.shaped(pool(own), shape[1:])

    def to_run(self, grad_output: Any) -> Array:
        """dL/d(output of the run), in its shape, from `grad_output`, that of this one."""
        g = output_gradient(grad_output, self.output)
        with np.errstate(all="ignore"):
            arrays = engine_of(g).arrays
            return arrays.shaped(self._spread(arrays.rows(g)), tuple(self.run.output.shape))

    def backprop(self, grad_output: Any = None, grad_final_state: Any = None, clip_state: float | None = None) -> Any:
        """The gradients of the run, as `run.backprop` gives them, from `grad_output` and `grad_final_state`; with
        `clip_state` as there."""
        return self.run.backprop(self.to_run(grad_output), grad_final_state, **clipping(self.run, clip_state))


@kind
def last(run: Any) -> PooledRun:
    """What each sequence of a run ends with: `PooledRun`, its output (B, N*D), and the way back.

        y_b = output[length_b − 1, b]

    run: of a network or a model. Of a bidirectional network the reverse direction ends at the first step, and its half
    is output[0, b]; so y is what the last layer's final state sends, of both directions side by side. 0 for a sequence
    of length 0. In a `Chain` it stands between a network and its readout: `Chain([net, tt.models.last, readout])`.

    TypeError for what is no run, ValueError for a run with the batch first.

    >>> import numpy as np, throughtime as tt
    >>> run = tt.Network("gru", 2, 8, bidirectional=True, seed=0).unroll(np.ones((20, 3, 2)))
    >>> h = run.final_state
    >>> bool(np.array_equal(tt.models.last(run).output, np.concatenate([h[0], h[1]], axis=1)))
    True
    """
    steps, lengths = _sequences(run, "last")
    over, half = engine_of(run.output).over_time, int(tuple(run.output.shape)[-1]) // directions_of(run)
    return PooledRun(run, lambda y: over.last(y, lengths, half), lambda g: over.from_last(g, lengths, half, steps))


@kind
def mean(run: Any) -> PooledRun:
    """The mean of each sequence's output over its real steps: `PooledRun`, its output (B, N*D), and the way back.

        y_b = 1/length_b Σ_{t < length_b} output[t, b]

    run: of a network or a model. 0 for a sequence of length 0. In a `Chain` it stands between a network and its
    readout: `Chain([net, tt.models.mean, readout])`.

    TypeError for what is no run, ValueError for a run with the batch first.

    >>> import numpy as np, throughtime as tt
    >>> run = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 3, 2)), lengths=[20, 5, 1])
    >>> pooled = tt.models.mean(run)
    >>> bool(np.allclose(pooled.output[1], run.output[:5, 1].mean(axis=0)))
    True
    """
    steps, lengths = _sequences(run, "mean")
    over = engine_of(run.output).over_time
    return PooledRun(run, lambda y: over.mean(y, lengths), lambda g: over.from_mean(g, lengths, steps))


last.on_gpu = mean.on_gpu = True  # type: ignore[attr-defined]
POOLINGS = (last, mean)


def _sequences(run: Any, name: str) -> tuple[int, Array]:
    """T and the lengths (B,) of a run's output, which has a time axis."""
    if not hasattr(run, "backprop") or not hasattr(run, "output") or name_of(run) == "the run of an Ensemble":
        raise TypeError(f"`run` is {told(run)}; `{name}` takes a run: pass `net.unroll(x)`.")
    if getattr(getattr(run, "network", None), "batch_first", False):
        raise ValueError(f"`run` has the batch first; `{name}` takes one of a network with the time first.")
    shape = tuple(int(n) for n in run.output.shape)
    if len(shape) not in (2, 3) or isinstance(run, PooledRun):
        raise ValueError(f"The output of `run` has shape {shape}; `{name}` takes one with a time axis, (T, B, N).")
    steps, batch = shape[0], shape[1] if len(shape) == 3 else 1
    return steps, np.full(batch, steps) if run.lengths is None else np.asarray(run.lengths)
