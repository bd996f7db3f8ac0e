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

    parameters     dict, as network.parameters
    input          in the shape of x
    initial_state  as final_state: h, or (h, c)
    states         (T+1, B, S): dL/ds_t, with the states of all layers at time t taken as independent, as in
                   run.jacobian and run.vjp: dL/ds_t = J_{t+1}^T dL/ds_{t+1} + what the output at t brings in

    >>> import numpy as np, throughtime as tt
    >>> g = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 2))).backprop(np.ones((20, 8)))
    >>> g.input.shape, g.initial_state.shape, g.states.shape
    ((20, 2), (1, 8), (21, 1, 8))
    """

    parameters: dict[str, Array]
    input: Array
    initial_state: Array | tuple[Array, ...]
    states: Array

    def __repr__(self) -> str:
        norm = norms.norm([norms.norm(np.asarray(g)) for g in self.parameters.values()])
        return f"Gradients of {', '.join(self.parameters)}: norm {norm:.6g}; also .input, .initial_state, .states"
