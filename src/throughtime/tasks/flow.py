"""Dynamical systems to forecast: trajectories on their attractor, their units, and their known exponents."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self, cast

import numpy as np

from ..refuse import arguments, numeric, room
from ..training.losses import mean_squared_error
from .batch import Array, Batch
from .task import Task, explain_methods

REFERENCE = (64, 2000)  # trajectories, and samples of each, whose moments are those of the attractor


class Flow(Task):
    """Base of the dynamical systems: forecast the state one sample later.

    x (T, B, D) and targets (T, B, D), the states and those that follow, standardised or as they are; loss mean squared
    error. A sequence is wrong where the root mean square of its errors is over a tenth of the standard deviation.

    A system of your own, a frozen dataclass, has the fields `dt`, `length` and `standardised`, and gives `dimensions`,
    `transient`, `settle`, `_start` and `_advance`.
    """

    loss = staticmethod(mean_squared_error)
    dimensions: ClassVar[int] = 3
    transient: ClassVar[float]  # time after which a start is on the attractor
    settle: ClassVar[float]  # time after which a state of it, moved by a thousandth, is there again
    dt: float
    length: int
    standardised: bool

    def __post_init__(self) -> None:
        for field in fields(cast(Any, self)):
            value, name = getattr(self, field.name), field.name
            if name == "substeps":
                value = arguments.step(name, value, 1, 1000)
            elif field.type == "int":
                value = arguments.size(name, value)
            elif field.type == "float":
                value = arguments.real(name, value)
            else:
                value = arguments.flag(name, value)
            object.__setattr__(self, name, value)
        if self.dt <= 0:
            raise ValueError(f"`dt` is {self.dt:g}; expected a time above 0.")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(D, D, T)"""
        return self.dimensions, self.dimensions, self.length

    @property
    def exponents(self) -> tuple[float, ...] | None:
        """The known Lyapunov exponents, nats per unit of time, or the largest alone; None for other parameters."""
        return self._known() if self == replace(_default(cast(Any, type(self))), **self._sampling()) else None

    @property
    def exponent_per_step(self) -> float:
        """The largest known exponent in nats per sample, λ₁ dt: that of a network that has learnt the system. NaN for
        parameters of which it is not known."""
        return math.nan if self.exponents is None else self.exponents[0] * self.dt

    @property
    def doubling_steps(self) -> float:
        """Samples in which an error doubles, ln 2/(λ₁ dt): the forcing interval of Mikhaeil, Monfared & Durstewitz."""
        return math.log(2) / self.exponent_per_step

    @property
    def mean(self) -> Array:
        """(D,) mean state of 64 reference trajectories of 2000 samples, which are always the same."""
        return _reference(self._unlabelled()).mean

    @property
    def std(self) -> Array:
        """(D,) standard deviations of the reference trajectories."""
        return _reference(self._unlabelled()).std

    @property
    def baseline(self) -> float:
        """The mean square of the target about its mean, over the reference trajectories: 1 where it is standardised."""
        return 1.0 if self.standardised else float((self.std**2).mean())

    @property
    def persistence(self) -> float:
        """The loss of giving each state as its own forecast, over the reference trajectories."""
        found = _reference(self._unlabelled())
        return float((found.change / found.std**2 if self.standardised else found.change).mean())

    def trajectory(self, steps: int, size: int = 1, seed: Any = None) -> Array:
        """States (steps, size, D) of `size` trajectories on the attractor, dt apart, in the units of the equation.

        One long trajectory in `windows` makes batches a hundred times faster than fresh ones. seed: as of a Network.
        ValueError for a number of states that this machine cannot hold, and where dt is too large for the integration.

        >>> import throughtime as tt
        >>> tt.tasks.Lorenz().trajectory(1000, size=2, seed=0).shape
        (1000, 2, 3)
        """
        steps, size = arguments.size("steps", steps), arguments.size("size", size)
        room.check(f"A trajectory of {steps} steps of {size} systems", 2 * steps * size * self._numbers())
        rng = arguments.generator(seed)
        found = _reference(self._unlabelled())
        state = found.starts[rng.integers(0, len(found.starts), size)]
        state = state * (1 + 1e-3 * rng.standard_normal(len(state)))[:, None]
        return self._run(self._run(state, int(self.settle / self.dt) + 1)[1], steps)[0]

    def standardise(self, states: Any) -> Array:
        """`states` (…, D) less `mean`, over `std`; back: `states * flow.std + flow.mean`. ValueError for others."""
        found = numeric.numbers("states", states)
        if not found.ndim or found.shape[-1] != self.dimensions:
            raise ValueError(f"`states` has shape {found.shape}; expected (…, {self.dimensions}).")
        return (found - self.mean) / self.std

    def _draw(self, size: int, rng: np.random.Generator) -> Batch:
        states = self.trajectory(self.length + 1, size, rng)
        states = self.standardise(states) if self.standardised else states
        return Batch(states[:-1], states[1:])

    def _wrong(self, output: Array, batch: Batch) -> Array:
        scale = 1.0 if self.standardised else self.std
        squares = ((output - batch.targets) / scale) ** 2
        return ~(squares.mean(axis=(0, 2)) < 0.1**2)

    def _run(self, state: Array, steps: int) -> tuple[Array, Array]:
        """(steps, B, D) samples after `state`, and the last whole state; ValueError where they are no numbers."""
        with np.errstate(all="ignore"):
            states, last = self._advance(state, steps)
        if not (np.isfinite(states).all() and np.isfinite(last).all()):
            raise ValueError(f"{self!r} leaves all bounds; take a smaller `dt`, or the parameters of an attractor.")
        return states, last

    def _advance(self, state: Array, steps: int) -> tuple[Array, Array]:
        """(steps, B, D) samples after the whole states (B, …), and the last whole state."""
        raise NotImplementedError

    def _start(self, size: int, rng: np.random.Generator) -> Array:
        """Whole states (B, …) that come to the attractor."""
        raise NotImplementedError

    def _known(self) -> tuple[float, ...]:
        """The exponents at the default parameters."""
        raise NotImplementedError

    def _numbers(self) -> int:
        """Numbers that one sample of one system takes while it is integrated."""
        return self.dimensions

    def _sampling(self) -> dict[str, Any]:
        """The fields that change no exponent."""
        names = {field.name for field in fields(cast(Any, self))}
        return {name: getattr(self, name) for name in names & {"dt", "length", "standardised", "substeps"}}

    def _unlabelled(self) -> Self:
        """The same system, for all lengths and units."""
        return replace(cast(Any, self), length=1, standardised=True)


@dataclass(frozen=True)
class _Reference:
    mean: Array
    std: Array
    change: Array  # (D,) mean square of what a sample changes
    starts: Array  # whole states on the attractor


@functools.lru_cache(maxsize=32)
def _reference(flow: Flow) -> _Reference:
    """What is known of an attractor from trajectories that are always the same."""
    size, samples = REFERENCE
    wait = flow.transient / flow.dt
    if not wait < 1e6:
        raise ValueError(f"`dt` is {flow.dt:g}, so small that the attractor is more than a million samples away.")
    _, state = flow._run(flow._start(size, np.random.default_rng(0)), int(wait) + 1)
    parts, starts = [], [state]
    for _ in range(20):
        states, state = flow._run(state, samples // 20)
        parts.append(states)
        starts.append(state)
    states = np.concatenate(parts)
    std, change = states.std(axis=(0, 1)), (np.diff(states, axis=0) ** 2).mean(axis=(0, 1))
    if not (change > 1e-20 * std**2).all():
        raise ValueError(f"{flow!r} comes to rest: with these parameters there is no attractor to move on.")
    return _Reference(states.mean(axis=(0, 1)), std, change, np.concatenate(starts))


@functools.cache
def _default(cls: Any) -> Any:
    return cls()


def runge_kutta(derivative: Any, state: Array, h: float, steps: int, every: int) -> tuple[Array, Array]:
    """The classical method of fourth order for x' = derivative(x), x (D, B): every so many of the steps of length h.
    Returns (steps, B, D) and the last state (B, D)."""
    x = np.ascontiguousarray(state.T)
    kept = np.empty((steps, *x.shape))
    for t in range(steps):
        for _ in range(every):
            k1 = derivative(x)
            k2 = derivative(x + (h / 2) * k1)
            k3 = derivative(x + (h / 2) * k2)
            k4 = derivative(x + h * k3)
            x = x + (h / 6) * (k1 + 2 * (k2 + k3) + k4)
        kept[t] = x
    return kept.transpose(0, 2, 1).copy(), x.T


explain_methods(Flow)
