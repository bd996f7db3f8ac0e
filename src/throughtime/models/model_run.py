"""What a model gives: a run, the gradients of a run, and a loss with all that was computed for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ..network.gradients import Gradients
from ..network.unrolled import Unrolled
from ..refuse.called import called
from .machines import engine_of

Array = np.ndarray


@called("gradients of a model")
@dataclass(frozen=True)
class ModelGradients:
    """The gradient of a loss with respect to everything that a model's run depends on.

    parameters     dict, as model.parameters
    input          in the shape of x; None where x are tokens; of an encoder and a decoder a tuple of both
    initial_state  as final_state
    networks       dict name of a piece -> the `Gradients` of its network, as run.networks: .states are dL/ds_t, .cells
                   those by the fields of its cell

    >>> import numpy as np, throughtime as tt
    >>> readout = tt.models.Readout(3, 2, seed=0)
    >>> readout.unroll(np.ones((5, 4, 3))).backprop(np.ones((5, 4, 2))).parameters["bias"]
    array([20., 20.])
    """

    parameters: dict[str, Array]
    input: Any
    initial_state: Any = None
    networks: dict[str, Gradients] = field(default_factory=dict)


@called("a run of a model")
class ModelRun:
    """A model over one input, made by `model.unroll(x)`; it owns copies of the parameters.

    output       of the last piece, (T, B, O), 0 in the padding, or (B, O) where there is one for a sequence
    final_state  the state of every sequence at its own end, to go on from: that of the recurrent piece, or a dict of
                 them by the names of the pieces where there are several; None where there is none
    networks     dict name of a piece -> its run (`Unrolled`), which every analysis takes
    lengths      (B,) or None
    """

    output: Array
    directions = 1  # that the output has side by side
    final_state: Any = None
    lengths: Array | None = None
    frugal = False  # whether `backprop` takes input=, states= and out=

    @property
    def networks(self) -> dict[str, Unrolled]:
        """The runs of the recurrent pieces, by the names of the pieces."""
        return {}

    def backprop(self, grad_output: Any = None, grad_final_state: Any = None) -> ModelGradients:
        """`ModelGradients` from grad_output, in the shape of `output`, and grad_final_state, as `final_state`.

        Where there are networks in it, also with `clip_state=…`, with which they go back as their own runs do. Those
        of chains, residuals, readouts and embeddings take `input=False` and `states=False` for what nobody reads, which
        then is None and costs nothing, and `out`, a dict of arrays to which the gradients of the parameters are
        written: `model.named(vector)` has them all in one vector.
        """
        raise NotImplementedError


class Evaluation(NamedTuple):
    """A loss, its gradient, and the run that they come from; what `model.forward_backward` gives.

    value        the loss
    gradient     (P,), as model.flat
    final_state  of the run, to go on from: the state that truncated BPTT carries
    run          `ModelRun`: its output, and the runs of its networks
    gradients    `ModelGradients`, from which `gradient` was put together; its `.networks` have the dL/ds_t
    """

    value: float
    gradient: Array
    final_state: Any
    run: Any
    gradients: Any = None


class Wanted(NamedTuple):
    """What of the gradients of a piece is wanted, as its run's `backprop` is told.

    out: name -> array of the parameters' gradients, or None for fresh ones
    """

    input: bool = True
    states: bool = True
    out: dict[str, Array] | None = None
    clip_state: float | None = None

    def part(self, name: str, input: bool) -> Wanted:
        """The same of the piece `name` of a model of pieces."""
        own = self.out and {
            key[len(name) + 1 :]: value for key, value in self.out.items() if key.startswith(name + ".")
        }
        return self._replace(input=input, out=own)


def sent_back(run: Any, g: Any, at_end: Any, wanted: Wanted) -> Any:
    """The gradients of a piece's run, from those of its output and its final state, either None."""
    options: dict[str, Any] = clipping(run, wanted.clip_state)
    if isinstance(run, Unrolled) and run.device != "cpu":  # which writes to arrays of its own
        found = run.backprop(g, at_end, input=wanted.input, states=wanted.states, cells=wanted.states, **options)
        for name, array in (wanted.out or {}).items():
            run.engine.arrays.move(array, found.parameters[name])
        return found
    if isinstance(run, Unrolled):
        options["cells"] = wanted.states
        wanted = wanted._replace(states=wanted.states and run.checkpoint is None)
    if isinstance(run, Unrolled) or run.frugal:
        return run.backprop(g, at_end, input=wanted.input, states=wanted.states, out=wanted.out, **options)
    found = run.backprop(g, at_end, **options)
    for name, array in (wanted.out or {}).items():
        engine_of(array).arrays.move(array, found.parameters[name])
    return found if wanted.out is None else replace(found, parameters=wanted.out)


def clipping(run: Any, clip_state: float | None) -> dict[str, Any]:
    """The option of a run's way back; none for what has no network in it."""
    recurrent = isinstance(run, Unrolled) or bool(run.networks)
    return {} if clip_state is None or not recurrent else {"clip_state": clip_state}


def of_networks(name: str, found: Any) -> dict[str, Gradients]:
    """The gradients of the networks in the piece `name`, by the names of their pieces."""
    if isinstance(found, Gradients):
        return {name: found}
    return {f"{name}.{inner}".rstrip("."): own for inner, own in found.networks.items()}


def directions_of(run: Any) -> int:
    """Directions that a run's output has side by side: those of a network, or of what a model ends with."""
    return run.network.num_directions if isinstance(run, Unrolled) else run.directions


def beyond(rows: tuple[int, ...], lengths: Array) -> Array:
    """True in the padding, in the shape (T, B), or (T,) of one sequence, of `rows`."""
    return (np.arange(rows[0])[:, None] >= lengths).reshape(rows)
