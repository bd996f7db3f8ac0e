"""The trajectory of a closed loop, a model that hears what it says, as a source of Jacobians.

Dimensions: B sequences, S state size, K tangent vectors.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...refuse import arguments
from ...results import Array
from .interval import row_risk
from .step_jacobian import Dense
from .trajectory import Trajectory

CHUNK_NUMBERS = 1 << 20  # of the Jacobians that are held together
MOST_STEPS = 256


class LoopTrajectory:
    """Jacobians along the trajectory of a loop, as a `Source`: unrolled piece by piece, without end."""

    on_device, shift, longest = False, 0.0, 6  # as of given matrices: their rows do not tell what they hide

    def __init__(self, loop: Any, state: Array, placed: bool) -> None:
        self.loop, self.state, self.placed = loop, state, placed
        self.batch, self.state_size = state.shape
        self.dtype, self.parts = np.dtype(loop.dtype), [slice(None)]
        self.chunk = int(np.clip(CHUNK_NUMBERS // state.size // self.state_size, 1, MOST_STEPS))
        self.matrices = np.empty((0, self.batch, self.state_size, self.state_size))
        self.inside = 0  # of the matrices, already used
        self.still = np.ones(self.batch, bool)

    def skip(self, steps: int) -> None:
        """Move the state on without a frame."""
        while steps:
            taken = min(steps, MOST_STEPS)
            self.state = self.loop.unroll(taken, self.state).final_state
            steps -= taken

    def mark(self) -> Any:
        """This point of the trajectory, for `back`."""
        return self.state, self.matrices, self.inside

    def back(self, mark: Any) -> None:
        """Return to a marked point: the same steps follow once more."""
        self.state, self.matrices, self.inside = mark

    def advance(self, frame: Array, steps: int, with_det: bool) -> tuple[Array, int, Array]:
        """As that of `Trajectory`."""
        log_det = np.zeros(self.batch)
        for local in self.step_jacobians(steps):
            with np.errstate(all="ignore"):  # overflow ends as NaN exponents, and the result says so
                frame = local.dense(0) @ frame
            if with_det:
                log_det = log_det + local.log_det()
        return frame, steps, log_det

    def jacobians(self, steps: int) -> Array:
        """The Jacobians of up to `steps` further steps, fewer where a piece of the trajectory ends: (n, B, S, S)."""
        here = self._ahead()[:steps]
        self.inside += len(here)
        return here

    def step_jacobians(self, steps: int) -> Iterator[Dense]:
        """The Jacobians of `steps` further steps, one after another."""
        for _ in range(steps):
            yield Dense(self.jacobians(1)[0], self.state_size)

    def risks(self, steps: int, columns: int) -> Array:
        """As those of `Trajectory`."""
        return row_risk(np.abs(self._ahead()[:steps]).max(axis=3), columns).max(axis=1)

    def _ahead(self) -> Array:
        """What is left of the present piece, of the next where it is used up."""
        if self.inside == len(self.matrices):
            run = self.loop.unroll(self.chunk, self.state)
            self.matrices, self.inside, self.state = run.jacobians(), 0, run.final_state
            self._watch(run.states)
        return self.matrices[self.inside :]

    def _watch(self, states: Array) -> None:
        with np.errstate(invalid="ignore"):
            moved = np.abs(states[[1, -1]] - states[0]).max(axis=(0, 2))
            self.still &= moved <= 4.0 * float(np.finfo(self.dtype).eps) * np.abs(states[0]).max(axis=1)


def checked_loop(
    loop: Any, x: Any, lengths: Any, steps: int | None, warmup: int | None, seed: Any, state: Any
) -> tuple[LoopTrajectory | Trajectory, int, int]:
    """The trajectory of a closed loop before its warm-up, the steps after it and those of the warm-up; all checked.
    Where the loop is a network, that of the network, whose states are the same."""
    if x is not None or lengths is not None:
        raise ValueError(
            "A closed loop hears itself, and takes no `x` or `lengths`. To start it behind an input pass the state "
            "there, `state=loop.unroll(0, x=x).final_state`."
        )
    steps = 1000 if steps is None else arguments.step("steps", steps, 1)
    warmup = 200 if warmup is None else arguments.step("warmup", warmup, 0)
    if state is None:
        first = np.random.default_rng(seed).uniform(-1.0, 1.0, (1, loop.state_size)).astype(loop.dtype)
    else:
        first = loop.flat_state(state)
    if not len(first):
        raise ValueError("`state` holds no sequence: pass at least one.")
    parameters = loop.model.flat
    if not np.isfinite(parameters).all() or not np.isfinite(first).all(axis=1).any():
        where = "a parameter of the model" if not np.isfinite(parameters).all() else "the initial state"
        raise ValueError(f"A Lyapunov spectrum has no meaning beyond NaN or infinity: {where} is such a number.")
    placed = state is not None
    if loop.network is not None:
        return Trajectory(loop.network, None, len(first), first, placed), steps, warmup
    return LoopTrajectory(loop, first, placed), steps, warmup
