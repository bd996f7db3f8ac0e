"""Gradients: what backpropagation through time gives."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..refuse.called import called
from . import norms
from .field_gradients import Deferred, FieldGradients

Array = np.ndarray  # or of the machine that the run is on


@called("gradients")
@dataclass(frozen=True, init=False)
class Gradients:
    """What backpropagation gives: the gradient of the loss with respect to everything it depends on.

    parameters     dict, as network.parameters, of those asked for; with per_sequence=True each has a first axis B
    input          in the shape of x; None where it was not asked for, as are the states
    initial_state  as final_state: h, or (h, c)
    states         (T+1, B, S): dL/ds_t, with the states of all layers at time t taken as independent, as in
                   run.jacobian and run.vjp: dL/ds_t = J_{t+1}^T dL/ds_{t+1} + what the output at t brings in
    cells          dL/df for each field f of the cell, such as leak, by layers and directions: see `cells`

    >>> import numpy as np, throughtime as tt
    >>> g = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 2))).backprop(np.ones((20, 8)))
    >>> g.input.shape, g.initial_state.shape, g.states.shape, g.cells
    ((20, 2), (1, 8), (21, 1, 8), ())
    """

    parameters: dict[str, Array]
    input: Array | None
    initial_state: Array | tuple[Array, ...]
    states: Array | None
    _fields: Deferred | None = field(default=None, repr=False, compare=False)

    def __init__(
        self,
        parameters: dict[str, Array],
        input: Array | None,
        initial_state: Array | tuple[Array, ...],
        states: Array | None,
        _fields: Deferred | None = None,
    ) -> None:
        own = self.__dict__  # at once: one by one, as of a frozen dataclass, they take three times as long
        own["parameters"], own["input"], own["initial_state"] = parameters, input, initial_state
        own["states"], own["_fields"] = states, _fields

    @property
    def cells(self) -> tuple[FieldGradients, ...] | None:
        """dL/df for each field f of the cell: a `FieldGradients` for each layer and direction, as the first axis of
        final_state; () where cells have no fields, None where they were not asked for.

            dL/df = Σ_t λ_{t+1} · ∂s_{t+1}/∂f + Σ_t dL/de_t · ∂e_t/∂f,   λ = dL/ds, e what the units send

        A number in Python, or an array (N,) in NumPy where the field has one value for each unit. Those of several
        layers are apart, also where they share a cell: their sum is the gradient by a field of all. They are worked out
        when somebody looks; until then the gradients of a cell with fields keep the run and grad_output in memory.
        ValueError if grad_output has been written over by then.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network(tt.Rate(leak=0.2), 2, 8, num_layers=2, seed=0).unroll(np.ones((20, 2)))
        >>> lower, upper = run.backprop(np.ones((20, 8))).cells
        >>> isinstance(lower.leak, float), vars(upper).keys()
        (True, dict_keys(['leak']))
        """
        return None if self._fields is None else self._fields.found()

    def __repr__(self) -> str:
        lengths = [norms.norm(np.asarray(g)) for g in self.parameters.values()]
        what = f"{', '.join(self.parameters)}: norm {norms.norm(lengths):.6g}" if lengths else "no parameter"
        also = [f".{name}" for name in ("input", "initial_state", "states") if getattr(self, name) is not None]
        return f"Gradients of {what}; also {', '.join(also)}"
