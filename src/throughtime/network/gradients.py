"""Gradients: what backpropagation through time gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..refuse.called import called
from . import norms

Array = np.ndarray  # or of the machine that the run is on


@called("gradients")
@dataclass(frozen=True)
class Gradients:
    """What backpropagation gives: the gradient of the loss with respect to everything it depends on.

    parameters     dict, as network.parameters, of those asked for; with per_sequence=True each has a first axis B
    input          in the shape of x; None where it was not asked for, as are the states
    initial_state  as final_state: h, or (h, c)
    states         (T+1, B, S): dL/ds_t, with the states of all layers at time t taken as independent, as in
                   run.jacobian and run.vjp: dL/ds_t = J_{t+1}^T dL/ds_{t+1} + what the output at t brings in

    >>> import numpy as np, throughtime as tt
    >>> g = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 2))).backprop(np.ones((20, 8)))
    >>> g.input.shape, g.initial_state.shape, g.states.shape
    ((20, 2), (1, 8), (21, 1, 8))
    """

    parameters: dict[str, Array]
    input: Array | None
    initial_state: Array | tuple[Array, ...]
    states: Array | None

    def __repr__(self) -> str:
        lengths = [norms.norm(np.asarray(g)) for g in self.parameters.values()]
        what = f"{', '.join(self.parameters)}: norm {norms.norm(lengths):.6g}" if lengths else "no parameter"
        also = [f".{name}" for name in ("input", "initial_state", "states") if getattr(self, name) is not None]
        return f"Gradients of {what}; also {', '.join(also)}"
