"""The run of a chain: its pieces one after another, and back through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..network.network import Network
from ..network.unrolled import Unrolled
from ..refuse import arguments, checks
from ..refuse.called import called, told
from .directions import SummedRun
from .dropout import Dropout
from .embedding import no_state, output_gradient
from .fitting_pieces import FUNCTIONS, is_bare, is_recurrent
from .machines import engine_of
from .model import Model
from .model_run import ModelGradients, ModelRun, Wanted, directions_of, of_networks, sent_back
from .pooling import PooledRun

Array = np.ndarray


@called("a run of a model")
class ChainRun(ModelRun):
    """Pieces over one input; `backprop` goes back through them. runs: name of a piece, "" without, and its run; the
    names are numbers from `first` on. noise, checkpoint: of the networks, where it is for training."""

    def __init__(
        self,
        pieces: Sequence[Any],
        x: Any,
        state: Any,
        lengths: Any,
        training: bool,
        first: int = 0,
        noise: Sequence[Any] = (),
        checkpoint: Any = None,
    ) -> None:
        solid = [piece for piece in pieces if not is_bare(piece)]
        numbered = [(str(k), piece) for k, piece in enumerate(solid, first)]
        self.initial_names = [number for number, piece in numbered if is_recurrent(piece)]
        states = _split(state, self.initial_names, "state")
        self.runs: list[tuple[str, Any]] = []
        names = iter(numbered)
        for piece in pieces:
            if piece in FUNCTIONS:
                number, run = "", piece(self.runs[-1][1])
            else:
                number = "" if is_bare(piece) else next(names)[0]
                own = states.get(number)
                if training and isinstance(piece, (Model, Dropout)):
                    run = piece._run(x, own, lengths, training)
                elif training and isinstance(piece, Network):
                    run = piece.unroll(x, own, lengths, noise=list(noise) or None, checkpoint=checkpoint)
                else:
                    run = piece.unroll(x, own, lengths)
            lengths = run.lengths  # checked and copied; none once a sequence has one output
            self.runs.append((number, run))
            x = run.output
        last = self.runs[-1][1]
        self.output, self.lengths = last.output, lengths
        self.directions = directions_of(last)
        found = {n: run.final_state for n, run in self.runs if n in self.initial_names}
        self.final_state = _as_given(found)

    @property
    def networks(self) -> dict[str, Unrolled]:
        """The runs of the recurrent pieces, by the names of the pieces."""
        found: dict[str, Unrolled] = {}
        for number, run in self.runs:
            if isinstance(run, Unrolled):
                found[number] = run
            elif number:
                found |= {f"{number}.{name}": inner for name, inner in run.networks.items()}
        return found

    frugal = True

    def backprop(
        self,
        grad_output: Any = None,
        grad_final_state: Any = None,
        clip_state: float | None = None,
        *,
        input: bool = True,
        states: bool = True,
        out: Any = None,
    ) -> ModelGradients:
        checks.some_gradient(grad_output, grad_final_state)
        wanted = Wanted(arguments.flag("input", input), arguments.flag("states", states), out, clip_state)
        arrays = engine_of(self.output).arrays
        with arrays.on(arrays.stream_of(self.output)):
            return self._back(grad_output, grad_final_state, wanted)

    def _back(self, grad_output: Any, grad_final_state: Any, wanted: Wanted) -> ModelGradients:
        g: Any
        if grad_output is None:
            g = engine_of(self.output).arrays.zeros(tuple(self.output.shape), self.output.dtype)
        else:
            g = output_gradient(grad_output, self.output)
        at_end = _split(grad_final_state, self.initial_names, "grad_final_state")
        parameters, initial, networks = dict[str, dict[str, Array]](), dict[str, Any](), dict[str, Any]()
        for place in reversed(range(len(self.runs))):
            number, run = self.runs[place]
            # Whether somebody reads the gradient of its input.
            below = wanted.input or any(name for name, _ in self.runs[:place])
            if g is None and not number:
                continue
            if isinstance(run, (PooledRun, SummedRun)):
                g = run.to_run(g)
                continue
            found = sent_back(run, g, at_end.get(number), wanted.part(number, below))
            g = found.input if below else None
            if number:
                parameters[number] = found.parameters
                networks = of_networks(number, found) | networks
            if number in self.initial_names:
                initial[number] = found.initial_state
        named = {f"{n}.{name}": value for n in reversed(parameters) for name, value in parameters[n].items()}
        ordered = {n: initial[n] for n in self.initial_names}
        return ModelGradients(named, g, _as_given(ordered), networks)


def _split(state: Any, names: list[str], name: str) -> dict[str, Any]:
    """The states of the recurrent pieces by name."""
    if state is None:
        return {}
    if not names:
        no_state(state, "this model", name)
    if len(names) == 1:
        return {names[0]: state}
    if not isinstance(state, dict) or set(state) != set(names):
        raise ValueError(
            f"`{name}` is {told(state)}; this model has several recurrent pieces, and its state is a dict with the "
            f"names {', '.join(names)}, as `run.final_state` is."
        )
    return state


def _as_given(states: dict[str, Any]) -> Any:
    """The state of a model: that of the one recurrent piece, or a dict of several, or None."""
    return next(iter(states.values())) if len(states) == 1 else states or None
