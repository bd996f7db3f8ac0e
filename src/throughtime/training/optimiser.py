"""What every optimiser has: a rate, transforms of the gradient, a state of arrays, and the step in place."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import engine
from ..refuse import arguments, numeric, own_function
from ..refuse.called import called, told
from . import steps_on_device
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

    Of a model on the GPU `flat` and the gradient are device arrays: SGD, RMSprop, Adam and AdamW, and the transforms of
    tt.training, compute there; one of your own computes on the CPU.

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
        self._kept: dict[str, Any] = {}  # on the machine of the last step
        self._broken: Any = None  # on the GPU, what says that nothing may be changed any more

    def step(self, flat: Array, gradient: Array) -> float:
        """One step: `flat` (P,) is changed in place by its `gradient` (P,). Returns the gradient's norm as it came.

        TypeError or ValueError, before anything is changed, for what is no writable vector of float32 or float64, a
        gradient of another length, another vector than before, and a rate that is not finite and at least 0.
        """
        if steps_on_device.here(flat):
            room = steps_on_device.rows(1)
            self._queue(flat, gradient, room, 0)
            self._tell(*room.fetch(1)[0, 1:])
            return self.norm
        _writable(flat)
        given = numeric.array("gradient", gradient, {"parameters": len(flat)}, flat.dtype)
        self._continue(flat)
        rate = self.rate_at(self.steps)
        norm = norm_of(given)
        own = self.transforms or not getattr(type(self)._update, "reads_only", False)
        used, clipped = self._transformed(given.copy() if own else given, flat, norm)
        frozen = [t.mask for t in self.transforms if getattr(t, "mask", None) is not None]
        before = flat.copy() if frozen else flat
        self.steps += 1
        with np.errstate(all="ignore"):  # NaN and infinity go through
            self._update(flat, used, rate)
        for mask in frozen:
            flat[mask] = before[mask]
        self.last_rate = rate
        self._tell(norm, clipped)
        return norm

    def _queue(self, flat: Any, gradient: Any, room: Any, k: int, loss: Any = None) -> None:
        """A step on the GPU, whose norms are written into row k of `room`, as is the `loss`; nothing waits for it.

        For a loop that asks for its numbers now and then, as `fit` does; `step` is this and a look at the norm.
        """
        steps_on_device.may_step(self)
        flat, given = steps_on_device.of_model(flat, gradient)
        self._continue(flat)
        rate, machine = self.rate_at(self.steps), engine.of("cuda")
        room.begin(k, steps_on_device.nothing() if loss is None else loss, given)
        used = steps_on_device.transformed(self, flat, given, room, k)
        frozen = [steps_on_device.mask_there(t, flat) for t in self.transforms if hasattr(t, "mask")]
        before = machine.arrays.copy(flat) if frozen else None
        self.steps += 1
        self._broken = room.broken
        room.keep(flat)
        self._update(flat, used, rate)
        for mask in frozen:
            machine.update_rows.put_back(flat, mask, before)
        machine.arrays.changed(flat)
        self.last_rate = rate

    def _tell(self, norm: float, clipped_norm: float) -> None:
        """What the last step's gradient was like."""
        self.norm, self.clipped_norm = float(norm), float(clipped_norm)
        self.clipped = self.clipped_norm < self.norm

    def _continue(self, flat: Any) -> None:
        """What is kept of every parameter, on the machine of `flat`; ValueError where it is of other parameters."""
        shape = tuple(flat.shape)
        wanted = dict.fromkeys(self.vectors, (shape, flat.dtype))
        if self._kept and {name: (tuple(kept.shape), kept.dtype) for name, kept in self._kept.items()} != wanted:
            kept = next(iter(self._kept.values()))
            raise ValueError(
                f"`flat` is {flat.size} numbers of {flat.dtype}; this optimiser has made {self.steps} steps on "
                f"{kept.size} of {kept.dtype}. Make a new one for another model."
            )
        there = steps_on_device.here(flat)
        arrays = engine.of("cuda" if there else "cpu").arrays
        if not self._kept:
            self._kept = {name: arrays.zeros(shape, flat.dtype) for name in self.vectors}
        for name, kept in self._kept.items():
            if steps_on_device.here(kept) != there:
                self._kept[name] = arrays.from_host(kept) if there else engine.of("cuda").arrays.to_host(kept)

    def _loop(self, name: str, flat: Any) -> Callable:
        """A loop over all parameters, of the machine on which they are."""
        if steps_on_device.here(flat):
            return functools.partial(engine.of("cuda").descent.loops()[name], broken=self._broken)
        return engine.of("cpu").descent.loops()[name]

    def _vector(self, name: str, flat: Any) -> Any:
        """What is kept of every parameter under this name; an empty vector where it is not kept."""
        machine = engine.of("cuda" if steps_on_device.here(flat) else "cpu")
        return self._kept[name] if name in self._kept else machine.arrays.empty((0,), flat.dtype)

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
        """What it remembers, in NumPy: "steps", and by name the vectors (P,) once a step was made.

        Set it to go on from there: ValueError for what is no state of such an optimiser.
        """
        there = engine.of("cuda").arrays.to_host if any(map(steps_on_device.here, self._kept.values())) else None
        kept = {name: there(own) for name, own in self._kept.items()} if there else self._kept
        return {"steps": np.array(self.steps), **kept}

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

    def __getstate__(self) -> dict[str, Any]:
        """Pickled, and copied deeply, by way of the CPU."""
        kept = {name: own for name, own in self.state.items() if name != "steps"}
        return self.__dict__ | {"_kept": kept, "_broken": None}

    def __repr__(self) -> str:
        own = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        shown = [f"{name}={value}" for name, value in own.items() if name not in _NOT_SHOWN]
        more = [f"transforms={self.transforms}"] if self.transforms else []
        return f"{type(self).__name__}({', '.join([str(self.rate), *shown, *more])})"


_NOT_SHOWN = ("rate", "transforms", "vectors", "steps", "norm", "clipped_norm", "clipped", "last_rate")


def on_both(update: Callable) -> Callable:
    """Decorator of an `_update` whose loops are there for both machines."""
    update.on_gpu = True  # type: ignore[attr-defined]
    return update


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
