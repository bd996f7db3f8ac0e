"""Dropout between layers, while a model is trained and only then."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..refuse import arguments, checks, numeric
from ..refuse.called import called
from .embedding import no_state, output_gradient
from .kinds import kind
from .machines import engine_of
from .model_run import ModelGradients, ModelRun

Array = np.ndarray


@kind
@called("a dropout")
class Dropout:
    """Numbers between two pieces set to 0 at random, while a model is trained.

        y = m x/(1 − rate),    m = 1 with probability 1 − rate, otherwise 0

    A fresh m for each number of each step, so what flows along the recurrence is left alone (Zaremba, Sutskever &
    Vinyals 2014). Only `value_and_gradient`, `forward_backward` and `objective` draw; `unroll` and `predict` pass x on
    as it is. It has no parameters, and so no number in the names of a `Chain`.

    rate: the share of zeros, at least 0 and below 1. seed: None, a whole number, or a numpy Generator; `generator` is
    the one that is drawn from, which a checkpoint has to hold: `chain.generators` has all of a model.
    TypeError and ValueError for what means nothing.

    >>> import numpy as np, throughtime as tt
    >>> layers = [tt.Network("gru", 3, 8, seed=0), tt.models.Dropout(0.5, seed=1), tt.Network("gru", 8, 8, seed=2)]
    >>> model = tt.models.Chain(layers)
    >>> x, half = np.ones((20, 4, 3)), lambda y, t: (0.5 * (y**2).sum(), y)
    >>> np.array_equal(model.predict(x), model.predict(x)), np.array_equal(*(
    ...     model.value_and_gradient(x, None, half)[1] for _ in range(2)))
    (True, False)
    """

    on_gpu = True

    def __init__(self, rate: float, *, seed: Any = None) -> None:
        self.rate = arguments.real("rate", rate, 0.0)
        if self.rate >= 1:
            raise ValueError(f"`rate` is {self.rate:g}; a dropout of all numbers leaves nothing: expected less than 1.")
        self.generator = arguments.generator(seed)

    def unroll(self, x: Any, state: Any = None, lengths: Any = None) -> ModelRun:
        """`ModelRun` whose output is x; lengths are passed on. state: None, for there is none."""
        return self._run(x, state, lengths, training=False)

    def _run(self, x: Any, state: Any, lengths: Any, training: bool) -> ModelRun:
        no_state(state, "a dropout")
        arrays = engine_of(x).arrays
        x = arrays.wrap(x) if arrays.holds(x) else numeric.numbers("x", x)
        shape = tuple(int(n) for n in x.shape)
        if lengths is not None:
            lengths = checks.lengths(lengths, shape[0] if shape else 1, shape[1] if len(shape) == 3 else 1)
        if not training or not self.rate:
            return _Passed(x, lengths, None)
        kept = self.generator.random(shape) >= self.rate  # on the GPU too: the same as on the CPU
        return _Passed(x, lengths, arrays.from_host(np.where(kept, 1 / (1 - self.rate), 0).astype(x.dtype)))

    def __repr__(self) -> str:
        return f"Dropout({self.rate:g})"


class _Passed(ModelRun):
    def __init__(self, x: Array, lengths: Array | None, factors: Array | None) -> None:
        self.lengths, self._factors = lengths, factors
        self.output = x if factors is None else engine_of(x).arrays.multiplied(x, factors)

    def backprop(self, grad_output: Any = None, grad_final_state: Any = None) -> ModelGradients:
        no_state(grad_final_state, "a dropout", "grad_final_state")
        g = output_gradient(grad_output, self.output)
        return ModelGradients({}, g if self._factors is None else engine_of(g).arrays.multiplied(g, self._factors))
