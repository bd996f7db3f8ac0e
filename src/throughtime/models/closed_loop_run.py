"""The run of a closed loop: its states, what it says, and the Jacobians of the whole loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..refuse import arguments, room, words
from ..refuse.called import called
from . import loop_steps

Array = np.ndarray
AT_ONCE = 1 << 22  # numbers of the Jacobians that are worked out together


@called("a run of a closed loop")
@words.explain
class ClosedLoopRun:
    """A closed loop on its own for T steps, made by `loop.unroll(T)`.

    loop         that it is of
    steps        T
    states       (T+1, B, S): states[0] is that in which it started
    output       (T+1, B, I), or (T+1, I) where x was one sequence without a batch axis: output[t] is what the model
                 says in states[t], and hears on the way to states[t+1]; output[0] is the first forecast after x

    >>> import numpy as np, throughtime as tt
    >>> model = tt.models.Chain([tt.Network("gru", 2, 8, seed=0), tt.models.Readout(8, 2, seed=1)])
    >>> run = model.closed_loop().unroll(50, state=np.full(8, 0.5))
    >>> run.output.shape, run.jacobians().shape
    ((51, 1, 2), (50, 1, 8, 8))
    """

    def __init__(self, loop: Any, first: Array, said: Array, steps: int, one: bool) -> None:
        self.loop, self.steps = loop, steps
        self._run: Any = None
        if loop.network is not None:
            x = np.broadcast_to(np.zeros((), loop.dtype), (steps, len(first), loop.input_size))
            self._run = loop.network.unroll(x, state=first)
            self.states = self._run.states
            output = loop.said(self.states)
            output[0] = said
        else:
            self.states, output = _stepped(loop, first, said, steps)
        self.output = output[:, 0] if one else output
        self.states.flags.writeable = self.output.flags.writeable = False

    @property
    def final_state(self) -> Array:
        """(B, S): states[T], to go on from: `loop.unroll(steps, state=run.final_state)`."""
        return np.array(self.states[-1])

    def jacobian(self, t: int) -> Array:
        """(B, S, S): ds_t/ds_{t-1} of the whole loop for t = 1 … T, rows outputs; what it says and hears is in it.

        ValueError if t is out of range.

        >>> import numpy as np, throughtime as tt
        >>> loop = tt.models.Chain([tt.Network("linear", 2, 2, seed=0), tt.models.Readout(2, 2, seed=1)]).closed_loop()
        >>> w_ih, w_hh = loop.model.parameters["0.weight_ih_l0"], loop.model.parameters["0.weight_hh_l0"]
        >>> bool(np.allclose(loop.unroll(3).jacobian(2)[0], w_hh + w_ih @ loop.model.parameters["1.weight"]))
        True
        """
        t = arguments.step(
            "t", t, 1, self.steps, f"jacobian(t) is d states[t]/d states[t-1], for t = 1 to {self.steps}"
        )
        return self._jacobians(t - 1, t)[0]

    def jacobians(self, start: int = 0, stop: int | None = None) -> Array:
        """(stop-start, B, S, S): the Jacobians of all steps from states[start] to states[stop], by default T, at once.

        What takes matrices takes those of one sequence, `run.jacobians()[:, 0]`: products, exponents, covariant
        vectors. ValueError if not 0 <= start <= stop <= T, or if this machine cannot hold them.

        >>> import numpy as np, throughtime as tt
        >>> model = tt.models.Chain([tt.Network("gru", 2, 8, seed=0), tt.models.Readout(8, 2, seed=1)])
        >>> run = model.closed_loop().unroll(60)
        >>> tt.analysis.product_from_jacobians(run.jacobians(10, 60)[:, 0]).log_singular_values.shape
        (8,)
        """
        meaning = f"times of states go from 0 to T = {self.steps}"
        start = arguments.step("start", start, 0, self.steps, meaning)
        stop = self.steps if stop is None else arguments.step("stop", stop, 0, self.steps, meaning)
        if start > stop:
            raise ValueError(
                f"`start` is {start} and `stop` is {stop}; a window goes from start to stop, start <= stop."
            )
        return self._jacobians(start, stop)

    def _jacobians(self, start: int, stop: int) -> Array:
        if self._run is not None:
            return np.asarray(self._run.jacobians(start, stop))
        n, (B, S) = stop - start, self.states.shape[1:]
        advice = "Take them for fewer steps at once, by `start` and `stop`."
        room.check(f"{n} Jacobians ({B}, {S}, {S})", n * B * S * S, self.states.itemsize, advice)
        rows = self.states[start:stop].reshape(n * B, S)
        found, piece = np.empty((n * B, S, S), rows.dtype), max(1, AT_ONCE // (S * S))
        for at in range(0, n * B, piece):
            part = slice(at, at + piece)
            found[part] = loop_steps.step_jacobians(self.loop.model, rows[part], self.loop.carries_input)
        return found.reshape(n, B, S, S)

    def __repr__(self) -> str:
        return f"{self.loop!r} on its own for {self.steps} steps of {self.states.shape[1]} sequences"


def _stepped(loop: Any, first: Array, said: Array, steps: int) -> tuple[Array, Array]:
    """The states (T+1, B, S) and what the model says in them (T+1, B, I), one step after another."""
    states = np.empty((steps + 1, *first.shape), loop.dtype)
    output = np.empty((steps + 1, *said.shape), loop.dtype)
    states[0], output[0] = first, said
    carried = loop_steps.size_of(loop.model)
    state = loop_steps.state_of(loop.model, np.ascontiguousarray(first[:, :carried]))
    for t in range(steps):
        run = loop.model.unroll(output[t : t + 1], state)
        state, output[t + 1] = run.final_state, run.output[0]
        own = [part.states[1] for part in run.networks.values()]
        states[t + 1] = np.concatenate([*own, output[t + 1]] if loop.carries_input else own, axis=1)
    return states, output
