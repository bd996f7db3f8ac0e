"""A model and a loss as they are handed to `fit` and `evaluate`, or an error in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..refuse import arguments
from ..refuse.called import name_of, told
from . import losses

LOSSES = ("cross_entropy", "binary_cross_entropy", "mean_squared_error")


def model_for(function: str, model: Any) -> Any:
    """A model of tt.models."""
    if name_of(model) != "a model":
        hint = "[net, tt.models.Readout(net.hidden_size, outputs)]" if name_of(model) == "a network" else "[…]"
        raise TypeError(f"`model` is {told(model)}; `{function}` takes a model: make one, `tt.models.Chain({hint})`.")
    return model


def loss_of(loss: Any) -> Callable:
    """A function (output, targets, …) -> (value, gradient), from one or the name of one."""
    if isinstance(loss, str):
        return getattr(losses, arguments.known("loss", loss, LOSSES))
    if not callable(loss) or isinstance(loss, type) or name_of(loss) or hasattr(loss, "state_dict"):
        raise TypeError(
            f"`loss` is {told(loss)}; expected a function (output, targets, lengths, weights) -> (value, gradient), or "
            f"one of the names {', '.join(LOSSES)}."
        )
    return loss
