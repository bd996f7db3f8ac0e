"""ClosedLoop: a model that hears what it says, as a dynamical system."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any

import numpy as np

from ..network.network import Network
from ..refuse import arguments, numeric, room, words
from ..refuse.called import called, told
from . import loop_steps
from .closed_loop_run import ClosedLoopRun
from .loop_network import network_of

Array = np.ndarray


@called("a closed loop")
@words.explain
class ClosedLoop:
    """A model whose output is its next input, made by `model.closed_loop()`: a map of states onto states.

        x_{t+1} = y_t,    s_{t+1}, y_{t+1} = model(s_t, x_{t+1})        with y_t a function of s_t

    The state s, (B, S), is that of all networks of the model, one after another as they stand in it. Where a skip leads
    from the input of the model to its output, past all networks, y_t depends on x_t too, and the state is (s_t, y_t).
    A loop has copies of the parameters as they were: make another when they have changed. Dropout rests in it. It
    computes on the CPU, also where the model is on the GPU.

    model            a copy of the model
    state_size       S, the numbers that the loop carries
    carries_input    whether the last I of these are y
    network          the loop as a `Network`, which every analysis and kernel takes; None where it is none

    It is one where the model is a network of one layer, whose cell feels x and r by their sum (tanh, relu, linear,
    sigmoid, leaky_tanh, rate, lstm), between maps that are linear: with y = A h + a then W_hh + W_ih A in place of
    W_hh, and an input that is added to what the loop hears of itself. All states of the two are the same, to rounding.

    `tt.analysis.lyapunov_spectrum(loop, state=loop.unroll(100, x=x).final_state)` gives its exponents on the attractor
    that data x lead to; without `state` those of where a random state leads, which may be another. For what takes
    matrices there are `loop.unroll(steps).jacobians()`.

    >>> import numpy as np, throughtime as tt
    >>> model = tt.models.Chain([tt.Network("gru", 2, 8, seed=0), tt.models.Readout(8, 2, seed=1)])
    >>> loop = model.closed_loop()
    >>> loop
    ClosedLoop(Chain(Network, Readout; dtype="float64", 306 parameters), state_size=8)
    >>> run = loop.unroll(50, x=np.ones((20, 3, 2)))                        # after 20 steps in which it hears ones
    >>> run.states.shape, run.output.shape, run.jacobian(50).shape
    ((51, 3, 8), (51, 3, 2), (3, 8, 8))
    >>> tt.analysis.lyapunov_spectrum(loop, steps=200, seed=0).exponents.shape
    (8,)
    """

    def __init__(self, model: Any) -> None:
        loop_steps.can_close(model)
        self.model = copy.deepcopy(model.to("cpu"))
        self.input_size, self.dtype = int(model.sizes[0]), model.dtype
        self.carries_input = not loop_steps.blocks(self.model)
        self.state_size = loop_steps.size_of(self.model) + self.input_size * self.carries_input

    @cached_property
    def network(self) -> Network | None:
        """The loop as a `Network` with the same states, whose input is added to what the loop hears of itself; None
        where the loop is no such network.

        >>> import numpy as np, throughtime as tt
        >>> loop = tt.models.Chain([tt.Network("tanh", 2, 8, seed=0), tt.models.Readout(8, 2, seed=1)]).closed_loop()
        >>> run = loop.unroll(10, x=np.ones((5, 1, 2)))
        >>> same = loop.network.unroll(np.zeros((10, 1, 2)), state=run.states[0])
        >>> bool(np.allclose(run.states, same.states))
        True
        """
        return network_of(self.model)

    def unroll(self, steps: int, state: Any = None, x: Any = None) -> ClosedLoopRun:
        """`ClosedLoopRun`: the loop on its own for `steps` steps, all its states, what it says, and its Jacobians.

        x: (T, B, I), or (T, I) for one sequence, what the model hears before the loop is closed. state: without x that
        in which the loop starts, as `model.unroll` takes it or all of it (B, S); with x that in which the model hears
        it. Without both, zeros. TypeError or ValueError for what does not fit, and for more states than this machine
        holds.
        """
        steps = arguments.step("steps", steps, 0)
        first, said, one = self._started(state, x)
        B, I = said.shape
        room.check(f"{steps} steps of {B} sequences", (steps + 1) * B * (self.state_size + I), self.dtype.itemsize)
        return ClosedLoopRun(self, first, said, steps, one)

    def forecast(self, x: Any, steps: int, state: Any = None) -> Array:
        """(steps, B, I), or (steps, I) for one sequence: what the model says of the times after x, each heard again.

            forecast[k] is of the time T + k, and what is heard then

        x: (T, B, I) or (T, I), T ≥ 1. state: in which the model hears it. TypeError or ValueError as of `unroll`.

        >>> import numpy as np, throughtime as tt
        >>> model = tt.models.Chain([tt.Network("tanh", 1, 8, seed=0), tt.models.Readout(8, 1, seed=1)])
        >>> x = np.sin(np.arange(30.0))[:, None]
        >>> loop, y = model.closed_loop(), model.predict(x)
        >>> loop.forecast(x, 12).shape, bool(np.allclose(loop.forecast(x, 12)[0], y[-1]))
        ((12, 1), True)
        """
        steps = arguments.step("steps", steps, 1)
        return np.array(self.unroll(steps - 1, state, x).output)

    def flat_state(self, state: Any) -> Array:
        """(B, S): a state of the model in any form that `model.unroll` takes, as the loop has it.

        (B, S) and (S,) are copied; h (L, B, N) or (h, c) of one recurrent piece, and dicts by the names of several, are
        laid side by side. TypeError or ValueError for what does not fit.

        >>> import numpy as np, throughtime as tt
        >>> model = tt.models.Chain([tt.Network("lstm", 2, 8, seed=0), tt.models.Readout(8, 2, seed=1)])
        >>> model.closed_loop().flat_state(model.unroll(np.ones((20, 3, 2))).final_state).shape
        (3, 16)
        """
        if not isinstance(state, (dict, tuple, list)) or not len(state):
            found = numeric.numbers("state", state)
            if found.ndim in (1, 2) and found.shape[-1] == self.state_size:
                rows = np.atleast_2d(found)
                return numeric.array(
                    "state", rows, {"batch": None, "state_size": self.state_size}, self.dtype, copy=True
                )
        if self.carries_input:
            raise ValueError(
                f"`state` is {told(state)}; this loop carries what the model said beside its state: expected "
                f"(batch, {self.state_size}), as `run.states[t]`, or `x`, what it hears before."
            )
        *others, last = loop_steps.silence_for(state, self.input_size)
        for silence in others:
            try:
                return self._begun(state, silence, start=True)[0]
            except ValueError:  # the other form, or the sentence about it
                pass
        return self._begun(state, last, start=True)[0]

    def _started(self, state: Any, x: Any) -> tuple[Array, Array, bool]:
        """The first state (B, S), what the model says in it (B, I), and whether x came without a batch axis."""
        if x is None:
            first = np.zeros((1, self.state_size), self.dtype) if state is None else self.flat_state(state)
            return first, self.said(first), False
        found = numeric.numbers("x", x)
        if found.ndim not in (2, 3) or found.shape[-1] != self.input_size or not len(found):
            raise ValueError(
                f"`x` has shape {found.shape}; before the loop is closed the model hears (time, batch, "
                f"{self.input_size}), at least one step."
            )
        first, said = self._begun(state, found)
        if self.carries_input:
            first = np.concatenate([first, said], axis=1)
        return first, said, found.ndim == 2

    def _begun(self, state: Any, x: Array, start: bool = False) -> tuple[Array, Array]:
        """The states of all networks side by side, and the output, when the model has heard x; or before, at the
        `start`."""
        run = self.model.unroll(x, state)
        states = [part.states[0 if start else -1] for part in run.networks.values()]
        output = run.output if run.output.ndim == 3 else run.output[:, None]
        return np.concatenate(states, axis=1), np.array(output[-1])

    def said(self, states: Any) -> Array:
        """(…, I): y, what the model says in states (…, S), and hears next; a function of the state alone.

        >>> import numpy as np, throughtime as tt
        >>> model = tt.models.Chain([tt.Network("lstm", 2, 8, seed=0), tt.models.Readout(8, 2, seed=1)])
        >>> model.closed_loop().said(np.zeros((5, 16))).shape
        (5, 2)
        """
        found = numeric.numbers("states", states)
        if not found.ndim or found.shape[-1] != self.state_size:
            raise ValueError(
                f"`states` has shape {found.shape}; expected (…, {self.state_size}), the state of the loop."
            )
        rows = np.ascontiguousarray(found.reshape(-1, self.state_size), self.dtype)
        y = rows[:, -self.input_size :] if self.carries_input else loop_steps.shown(self.model, rows)[0]
        return np.array(y).reshape(*found.shape[:-1], self.input_size)

    def __repr__(self) -> str:
        return f"ClosedLoop({self.model!r}, state_size={self.state_size})"
