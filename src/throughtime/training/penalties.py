"""Penalties on the dynamics of gradients: added to the loss by `fit(…, penalties=(…))`, or in a loop of one's own.

A penalty is any function penalty(model, run, gradients, step) -> (value, gradient): a number, and its gradient by all
parameters, (P,) as model.flat. run and gradients are what `model.forward_backward` gives as .run and .gradients; step
is the number of the update. Its column in a `History` is called by its `name`, or its own __name__.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..analysis.gradients.omega import omega_of
from ..analysis.lyapunov.exponents_gradient import frames_along, gradient_through
from ..engine.blas import single_blas
from ..refuse import arguments, direction, words
from ..refuse.called import told
from .history import not_taken

Array = np.ndarray


@words.explain
@dataclass(frozen=True)
class Omega:
    """Pascanu's Ω as a penalty: gradients of the loss that keep their norm on the way back.

        weight · Ω,   Ω = mean over steps and sequences of (‖J_tᵀ dL/ds_t‖/‖dL/ds_t‖ − 1)²

    summed over the model's networks; its gradient is the paper's, by the weights in J_t alone, see
    `tt.analysis.pascanu_omega`.

    Args:
        weight: of Ω beside the loss, at least 0, or a function of the step; the paper has 4.
        smallest: norm of dL/ds_t below which a step does not count.

    Source: Pascanu, Mikolov & Bengio, ICML 2013, arXiv:1211.5063. TypeError or ValueError for what is no such number,
    for a model without network, and a bidirectional one.

        >>> import throughtime as tt
        >>> task = tt.tasks.TemporalOrder(length=20)
        >>> model = tt.models.many_to_one("tanh", task.inputs, task.outputs, hidden_size=16, embedding=4, seed=0)
        >>> batch, optimiser, omega = task.batch(8, seed=0), tt.training.SGD(0.01), tt.training.Omega(4.0)
        >>> found = model.forward_backward(batch.x, batch.targets, tt.training.cross_entropy)
        >>> value, gradient = omega(model, found.run, found.gradients)
        >>> norm = optimiser.step(model.flat, found.gradient + gradient)
        >>> value > 0, gradient.shape == model.flat.shape
        (True, True)
    """

    weight: Any = 4.0
    smallest: float = 1e-10
    name: ClassVar[str] = "omega"

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        arguments.real("smallest", self.smallest, low=0.0)

    def __call__(self, model: Any, run: Any, gradients: Any, step: int = 0) -> tuple[float, Array]:
        """(value, gradient) of the penalty; gradients: of the loss, `found.gradients`."""
        weight, total, out = weight_at(self.weight, step), 0.0, np.zeros_like(model.flat)
        views = model.named(out)
        for name, own in _networks(run, "Omega"):
            given: Any = getattr(gradients, "networks", {}).get(name)
            if getattr(given, "states", None) is None:
                raise ValueError(
                    f"`gradients` is {told(gradients)}; expected those of this run with all "
                    "dL/ds_t, `model.forward_backward(…).gradients`."
                )
            with single_blas():
                found = omega_of(own, given.states, self.smallest, None, False)
            total += weight * found.value
            for key, value in found.parameters.items():
                views[f"{name}.{key}"] += weight * value
        return total, out


@words.explain
@dataclass(frozen=True)
class Flossing:
    """Gradient flossing: Lyapunov exponents pushed to a target, so that gradients neither vanish nor explode.

        weight · mean over sequences and i ≤ k of (λ_i − target)²

    summed over the model's networks, with its exact gradient through the QR and the states, for any cell; see
    `tt.analysis.lyapunov_gradient`. What enters a network is held fixed, so that an embedding does not move.

    The paper has k = 75 of 80, target 0, 55 steps of one sequence.

    Args:
        k: leading exponents.
        target: of each, nats per step.
        weight: at least 0, or a function of the step, say `lambda step: 1.0 if step < 500 else 0.0`; where it is 0
            nothing is computed.
        steps, sequences: at most so many of the run, from its beginning.
        warmup, discard, interval, seed: as of `tt.analysis.lyapunov_gradient`; `discard` by default a tenth.

    Source: Engelken, NeurIPS 2023, arXiv:2312.17306. TypeError or ValueError for what means nothing, for a model
    without network, and a bidirectional one; for an exponent that is −inf, ask for fewer.

    Before training, without a loss:

        >>> import numpy as np, throughtime as tt
        >>> model = tt.models.many_to_many("tanh", 1, 1, hidden_size=16, seed=0)
        >>> x, flossing, optimiser = np.random.default_rng(0).normal(size=(55, 1, 1)), tt.training.Flossing(8), None
        >>> optimiser, values = tt.training.Adam(0.01), []
        >>> for _ in range(30):
        ...     value, gradient = flossing(model, model.unroll(x))
        ...     norm = optimiser.step(model.flat, gradient)
        ...     values.append(value)
        >>> values[-1] < values[0] / 2
        True
    """

    k: int
    target: float = 0.0
    weight: Any = 1.0
    steps: int = 55
    sequences: int = 1
    warmup: int = 0
    discard: int | None = None
    interval: int = 1
    seed: int = 0
    name: ClassVar[str] = "flossing"

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        arguments.real("target", self.target)
        for name in ("k", "steps", "sequences", "interval"):
            arguments.size(name, getattr(self, name))
        for name in ("warmup", "discard"):
            if getattr(self, name) is not None:
                arguments.step(name, getattr(self, name), 0)

    def __call__(self, model: Any, run: Any, gradients: Any = None, step: int = 0) -> tuple[float, Array]:
        """(value, gradient) of the penalty; `gradients` are not needed."""
        weight, total, out = weight_at(self.weight, step), 0.0, np.zeros_like(model.flat)
        if weight == 0.0:
            return total, out
        views = model.named(out)
        for name, own in _networks(run, "Flossing"):
            with single_blas():
                part = self._beginning(own)
                frames = frames_along(part, self.k, self.warmup, self.discard, self.interval, self.seed)
                off = frames.exponents - self.target
                counts = np.isfinite(off)
                share = weight / max(1, int(counts.sum()))
                total += share * float((off[counts] ** 2).sum())
                found = gradient_through(part, frames, np.where(counts, 2.0 * share * off, 0.0))[1]
            for key, value in found.items():
                views[f"{name}.{key}"] += value
        return total, out

    def _beginning(self, own: Any) -> Any:
        """The first steps of the first sequences."""
        T, B = min(self.steps, own.steps), min(self.sequences, own.states.shape[1])
        if (own.steps, own.states.shape[1]) == (T, B):
            return own
        lengths = None if own.lengths is None else np.minimum(own.lengths[:B], T)
        return own.network.unroll(own.input[:T, :B], state=own.states[0, :B], lengths=lengths)


def named(penalties: Any) -> list[tuple[str, Any]]:
    """Penalties with the names of their columns; TypeError for what is no list of functions."""
    if not isinstance(penalties, (list, tuple)) or not all(callable(p) and not isinstance(p, type) for p in penalties):
        raise TypeError(
            f"`penalties` is {told(penalties)}; expected a list of functions (model, run, gradients, step) -> (value, "
            "gradient), such as `[tt.training.Omega(4.0)]`."
        )
    found = [(getattr(p, "name", getattr(p, "__name__", type(p).__name__)), p) for p in penalties]
    if len(dict(found)) < len(found):
        raise ValueError("`penalties` has two of one name; each is a column of the history.")
    for name, _ in found:
        not_taken("penalties", name)
    return found


def weight_at(weight: Any, step: int) -> float:
    """The weight of a penalty at a step."""
    return arguments.real("weight", weight(step), low=0.0) if callable(weight) else float(weight)


def _check_weight(weight: Any) -> None:
    if not callable(weight) or isinstance(weight, type):
        arguments.real("weight", weight, low=0.0)


def _networks(run: Any, what: str) -> Iterator[tuple[str, Any]]:
    found = getattr(run, "networks", None)
    if not found:
        raise ValueError(f"`run` is {told(run)}; {what} takes that of a model with a network, `model.unroll(x)`.")
    for name, own in found.items():
        direction.one_way(own.network, what)
        if own.checkpoint:
            raise ValueError(
                f"{what} needs the states of all steps, and this model was made with `checkpoint` and keeps them every "
                f"{own.checkpoint} steps: make it without."
            )
        yield name, own
