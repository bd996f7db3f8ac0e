"""Skip connections: what goes into layers, added to what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..network.unrolled import Unrolled
from ..refuse import arguments
from .chain import Chain
from .embedding import output_gradient
from .layer_norm import steps_of
from .machines import engine_of, padded, steps_there
from .model_run import ModelGradients, ModelRun, Wanted, sent_back

Array = np.ndarray


class Residual(Chain):
    """Pieces with a skip around them: y_t = x_t + chain(x)_t, so a gradient passes by them as it is.

    It is a piece of a `Chain`, and its own pieces are named as in one: "1.0.weight_ih_l0".

    Args:
        pieces: as of `tt.models.Chain`; as many numbers come out at a step as go in.

    Raises:
        TypeError, ValueError: as `Chain` does, and for pieces of which another number comes out, or without time axis.

    >>> import numpy as np, throughtime as tt
    >>> block = lambda seed: tt.models.Residual([tt.models.LayerNorm(8), tt.Network("gru", 8, 8, seed=seed)])
    >>> model = tt.models.Chain([tt.models.Readout(3, 8, seed=0), block(1), block(2), tt.models.Readout(8, 2, seed=3)])
    >>> run = model.unroll(np.ones((20, 4, 3)))
    >>> run.output.shape, list(run.networks)
    ((20, 4, 2), ['1.1', '2.1'])
    """

    skips = True

    def __init__(self, pieces: Sequence[Any]) -> None:
        super().__init__(pieces)
        inputs, outputs = self.sizes
        if inputs != outputs:
            raise ValueError(
                f"`pieces` take {inputs or 'tokens and no'} numbers at a step and give {outputs}; what goes in is "
                "added to what comes out: make them as many, by a Readout behind or before."
            )
        if self.one_in or self.one_out:
            raise ValueError("`pieces` of a Residual keep the time axis; put last, mean and Repeat outside.")

    def _run(self, x: Any, state: Any, lengths: Any, training: bool) -> ModelRun:
        arrays, look = self.engine.arrays, steps_of if self.device == "cpu" else steps_there
        with arrays.on(arrays.stream_of(x)):
            own, held = look(x, self.sizes[0], "a residual of size", self.dtype, lengths)
            return _ResidualRun(own, super()._run(own, state, held, training))


class _ResidualRun(ModelRun):
    def __init__(self, x: Array, run: ModelRun) -> None:
        self.inner, self.lengths, self.final_state = run, run.lengths, run.final_state
        self.output = x + run.output if isinstance(x, np.ndarray) else _sum(x, run.output)

    @property
    def networks(self) -> dict[str, Unrolled]:
        """The runs of the recurrent pieces, by the names of the pieces."""
        return self.inner.networks

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
        if grad_output is None:
            g = engine_of(self.output).arrays.zeros(tuple(self.output.shape), self.output.dtype)
        else:
            g = output_gradient(grad_output, self.output)
        wanted = Wanted(arguments.flag("input", input), arguments.flag("states", states), out, clip_state)
        found = sent_back(self.inner, g, grad_final_state, wanted)
        if not input:
            return found
        assert found.input is not None  # a residual takes numbers
        if not isinstance(g, np.ndarray):
            own = g if self.lengths is None else padded(engine_of(g).arrays.copy(g), self.lengths)
            return replace(found, input=_sum(found.input, own))
        padding = 0 if self.lengths is None else np.arange(len(g))[:, None] >= self.lengths
        skipped = g if self.lengths is None else np.where(np.reshape(padding, (*g.shape[:-1], 1)), 0, g)
        return ModelGradients(found.parameters, found.input + skipped, found.initial_state, found.networks)


def _sum(x: Any, y: Any) -> Any:
    """x + y, a fresh array on the GPU."""
    arrays = engine_of(x).arrays
    return arrays.add(arrays.copy(x), arrays.dense(y))
