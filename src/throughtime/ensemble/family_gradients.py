"""The gradients of every network of an ensemble, on its axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..refuse.called import name_of, told
from ..results.of_ensemble import EnsembleResult

PARTS = ("input", "initial_state", "states")  # of gradients, beside those of the parameters


@dataclass(frozen=True, repr=False)
class EnsembleGradients(EnsembleResult):
    """What backpropagation gives in every network of an ensemble.

    gradients["weight_hh_l0"], a parameter's name, gradients["states"], ["input"] or ["initial_state"] is that gradient
    in every network, with the ensemble's axes in front. KeyError for another name; ValueError where shapes differ.

    Fields:
        axes: dict name -> values.
        results: tuple of `Gradients`, of models `ModelGradients`, in the order of the axes' product.
    """

    @cached_property
    def fields(self) -> list[str]:
        """The names of the gradients that are arrays."""
        first = self.results[0]
        return [*first.parameters, *(name for name in PARTS if isinstance(getattr(first, name, None), np.ndarray))]

    @staticmethod
    def _value(result: Any, name: str) -> Any:
        """That of one network; AttributeError where it has none."""
        return result.parameters[name] if name in result.parameters else getattr(result, name)


def sent_back(run: Any, shape: tuple[int, ...], output: Any, final: Any, options: Mapping, place: int) -> Any:
    """`run.backprop` of the network at this place of the ensemble, with its own gradients, or those of all."""
    own = _own("grad_output", output, run, run.output, place, shape)
    return run.backprop(own, _own("grad_final_state", final, run, run.final_state, place, shape), **options)


def _own(name: str, given: Any, run: Any, like: Any, place: int, shape: tuple[int, ...]) -> Any:
    """What one run gets of a gradient: the same as all, its part along the ensemble's axes, or what a function says."""
    if given is None:
        return None
    if callable(given) and not (isinstance(given, type) or name_of(given) or hasattr(given, "state_dict")):
        found = given(run)
        if isinstance(found, tuple) and len(found) == 2 and name == "grad_output":
            raise TypeError(
                f"`{name}` is a function that gave {told(found)}; expected the gradient alone: of a loss that gives "
                "(value, gradient) write `lambda run: loss(run.output, targets)[1]`."
            )
        return found
    if isinstance(like, tuple) and isinstance(given, (tuple, list)) and len(given) == len(like):
        return tuple(_own(name, part, run, of, place, shape) for part, of in zip(given, like, strict=True))
    if isinstance(like, Mapping) and isinstance(given, Mapping) and set(given) == set(like):
        return {key: _own(name, given[key], run, like[key], place, shape) for key in like}
    if not shape or not isinstance(given, np.ndarray) or not isinstance(like, np.ndarray):
        return given
    if given.ndim != like.ndim + len(shape):
        return given
    if given.shape != (*shape, *like.shape):
        raise ValueError(
            f"`{name}` has shape {given.shape}; expected {like.shape}, the same for all networks, or "
            f"{(*shape, *like.shape)}, one for each of the ensemble's axes {shape}."
        )
    return given.reshape(-1, *like.shape)[place]
