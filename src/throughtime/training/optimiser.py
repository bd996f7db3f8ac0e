"""What every optimiser has: a rate, transforms of the gradient, a state of arrays, and the step in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..refuse import arguments, numeric, own_function
from ..refuse.called import called, told
from .gradient_norm import norm as norm_of

Array = numeric.Array


@called("an optimiser")
class Optimiser:
    """Base of the optimisers: parameters, one vector (P,), are changed in place by their gradient.

    `rate`: a number, or a schedule: a function of the number of the step, from 0. `transforms`: what is done to the
    gradient before, in their order. `state`: dict name -> array, "steps" (the steps made) and what the method keeps of
    every parameter; set it to go on from there. After a step `norm` is the gradient's norm as it came, `clipped_norm`
    that after the last clip, `clipped` whether a clip changed anything, `last_rate` the rate.

    One of your own gives `vectors`, the names of what it keeps, zeros at first, and `_update(flat, gradient, rate)`,
    which may overwrite the gradient; `self.state[name]` are its vectors, `self.steps` counts this step already.

        >>> import numpy as np, throughtime as tt
        >>> class Signs(tt.training.Optimiser):
        ...     def _update(self, flat, gradient, rate):
        ...         flat -= rate * np.sign(gradient)
        >>> flat = np.ones(2)
        >>> Signs(0.25).step(flat, np.array([3.0, -4.0])), flat
        (5.0, array([0.75, 1.25]))
    """

    vectors: tuple[str, ...] = ()
    norm = clipped_norm = last_rate = math.nan
    clipped = False

    def __init__(self, rate: Any, transforms: Any = ()) -> None:
        """rate: a number of at least 0, or a function of the step. transforms: a tuple of functions. TypeError for what
        is neither."""
        self.rate = rate if callable(rate) else arguments.real("rate", rate, low=0.0)
        if isinstance(rate, type):
            raise TypeError(f"`rate` is {arguments.kind(rate)}; expected a number or a schedule, an instance of it.")
        if callable(transforms):
            transforms = (transforms,)
        if not isinstance(transforms, (tuple, list)) or not all(map(callable, transforms)):
            raise TypeError(
                f"`transforms` is {arguments.kind(transforms)}; expected functions (gradient, flat) -> gradient, such "
                "as `(tt.training.ClipNorm(1.0),)`."
            )
        self.transforms = tuple(transforms)
        self.steps = 0
        self._kept: dict[str, Array] = {}

    def step(self, flat: Array, gradient: Array) -> float:
        """One step: `flat` (P,) is changed in place by its `gradient` (P,). Returns the gradient's norm as it came.

        TypeError or ValueError, before anything is changed, for what is no writable vector of float32 or float64, a
        gradient of another length, another vector than before, and a rate that is not finite and at least 0.
        """
        _writable(flat)
        given = numeric.array("gradient", gradient, {"parameters": len(flat)}, flat.dtype)
        wanted = dict.fromkeys(self.vectors, (flat.shape, flat.dtype))
        if self._kept and {name: (kept.shape, kept.dtype) for name, kept in self._kept.items()} != wanted:
            kept = next(iter(self._kept.values()))
            raise ValueError(
                f"`flat` is {flat.size} numbers of {flat.dtype}; this optimiser has made {self.steps} steps on "
                f"{kept.size} of {kept.dtype}. Make a new one for another model."
            )
        rate = self.rate_at(self.steps)
        norm = norm_of(given)
        own = self.transforms or not getattr(type(self)._update, "reads_only", False)
        used, clipped = self._transformed(given.copy() if own else given, flat, norm)
        frozen = [t.mask for t in self.transforms if getattr(t, "mask", None) is not None]
        before = flat.copy() if frozen else flat
        if not self._kept:
            self._kept = {name: np.zeros_like(flat) for name in self.vectors}
        self.steps += 1
        with np.errstate(all="ignore"):  # NaN and infinity go through
            self._update(flat, used, rate)
        for mask in frozen:
            flat[mask] = before[mask]
        self.norm, self.clipped_norm, self.clipped, self.last_rate = norm, clipped, clipped < norm, rate
        return norm

    def rate_at(self, step: int) -> float:
        """The rate of this `step`, from 0. ValueError where a schedule gives what is no number of at least 0."""
        if not callable(self.rate):
            return float(self.rate)
        found = own_function.ask("A schedule", self.rate, "the number of the step", step)
        if not arguments.is_real(found) or not 0.0 <= float(found) < math.inf:
            raise ValueError(
                f"The schedule {_name(self.rate)} gives {told(found)} at step {step}; expected a "
                "finite number of at least 0."
            )
        return float(found)

    @property
    def state(self) -> dict[str, Array]:
        """What it remembers, as arrays: "steps", and by name the vectors (P,) once a step was made.

        Set it to go on from there: ValueError for what is no state of such an optimiser.
        """
        return {"steps": np.array(self.steps), **self._kept}

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        names = {"steps", *self.vectors}
        if not isinstance(state, Mapping) or set(state) not in ({"steps"}, names):
            raise ValueError(
                f"`state` is {arguments.kind(state)}; expected what `.state` of {self!r} gives: "
                f"{', '.join(sorted(names))}."
            )
        steps = arguments.step("state['steps']", state["steps"], 0)
        kept = {name: numeric.numbers(name, state[name]) for name in self.vectors if name in state}
        if len({(array.shape, array.dtype) for array in kept.values()}) > 1 or any(a.ndim != 1 for a in kept.values()):
            raise ValueError("`state` holds vectors of different lengths or types; those of one optimiser are alike.")
        self.steps, self._kept = steps, {name: numeric.compact(array.copy()) for name, array in kept.items()}

    def _update(self, flat: Array, gradient: Array, rate: float) -> None:
        raise NotImplementedError

    def _transformed(self, gradient: Array, flat: Array, norm: float) -> tuple[Array, float]:
        """The gradient after all transforms, and its norm after the last clip."""
        size, dtype, clipped = gradient.shape, gradient.dtype, norm
        for transform in self.transforms:
            gradient = own_function.ask("A transform", transform, "(gradient, flat)", gradient, flat)
            if not isinstance(gradient, np.ndarray) or (gradient.shape, gradient.dtype) != (size, dtype):
                kind = f" of {gradient.dtype}" if isinstance(gradient, np.ndarray) else ""
                raise ValueError(
                    f"The transform {_name(transform)} gives {told(gradient)}{kind}; expected the "
                    f"gradient, a vector of {size[0]} numbers of {dtype}."
                )
            if getattr(transform, "clips", False):
                clipped = min(clipped, norm_of(gradient))
        return numeric.compact(gradient), clipped

    def __repr__(self) -> str:
        own = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        shown = [f"{name}={value}" for name, value in own.items() if name not in _NOT_SHOWN]
        more = [f"transforms={self.transforms}"] if self.transforms else []
        return f"{type(self).__name__}({', '.join([str(self.rate), *shown, *more])})"


_NOT_SHOWN = ("rate", "transforms", "vectors", "steps", "norm", "clipped_norm", "clipped", "last_rate")


def reads_only(update: Callable) -> Callable:
    """Decorator of an `_update` that leaves the gradient as it is, so that it gets no copy."""
    update.reads_only = True  # type: ignore[attr-defined]
    return update


def share(name: str, value: Any) -> float:
    """A number from 0 up to, and without, 1."""
    number = arguments.real(name, value, low=0.0)
    if not number < 1.0:
        raise ValueError(f"`{name}` is {number:g}; expected a number of at least 0 and below 1.")
    return number


def _writable(flat: Any) -> None:
    if not isinstance(flat, np.ndarray):
        raise TypeError(
            f"`flat` is {arguments.kind(flat)}; expected an array that can be changed in place, `model.flat`."
        )
    plain = flat.flags.writeable and flat.flags.c_contiguous and flat.flags.aligned
    if flat.ndim != 1 or flat.dtype not in (np.float32, np.float64) or not plain:
        raise ValueError(
            f"`flat` has shape {flat.shape} and dtype {flat.dtype}"
            f"{'' if plain else ', and is not writable in one piece'}; expected one writable vector of float32 "
            "or float64, `model.flat`."
        )


def _name(function: Callable) -> str:
    """A schedule or transform of the user's, by its name where it has one."""
    return getattr(function, "__name__", None) or arguments.kind(function)
