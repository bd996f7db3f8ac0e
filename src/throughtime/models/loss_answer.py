"""What a loss answers, checked: whoever writes one of his own is told what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..refuse import arguments, own_function
from ..refuse.called import told
from .machines import engine_of

Array = np.ndarray


def answer(loss: Callable, run: Any, targets: Any, weights: Any) -> tuple[Any, Array]:
    """What a loss says of a run's output, checked: one number, and a gradient in the shape of the output. On the GPU
    the number may be one that is fetched when it is read."""
    foreign = getattr(loss, "__module__", None) or ""
    if not callable(loss) or isinstance(loss, type) or hasattr(loss, "state_dict") or foreign.startswith("torch"):
        raise TypeError(
            f"`loss` is {told(loss)}; expected a function (output, targets) -> (value, gradient by the output), "
            "such as `tt.training.cross_entropy` or `tt.training.mean_squared_error`."
        )
    options = {} if run.lengths is None else {"lengths": run.lengths}
    if weights is not None:
        options["weights"] = weights
    name = getattr(loss, "__name__", "loss")
    takes = f"({', '.join(['output', 'targets', *options])})"
    found = own_function.ask(f"The loss `{name}`", loss, takes, run.output, targets, **options)
    if not isinstance(found, tuple) or len(found) != 2:
        raise TypeError(f"`{name}` returned {told(found)}; a loss returns (value, gradient by the output).")
    value, gradient = found
    if not arguments.is_real(value) and not (isinstance(value, np.ndarray) and value.ndim == 0):
        raise TypeError(f"The value that `{name}` returned is {told(value)}; expected one real number.")
    if not isinstance(run.output, np.ndarray):
        arrays = engine_of(run.output).arrays
        if not arrays.holds(gradient) or tuple(gradient.shape) != tuple(run.output.shape):
            raise ValueError(
                f"The gradient that `{name}` returned is {told(gradient)}; expected an array on the GPU, in the shape "
                f"of the output, {tuple(run.output.shape)}: there a loss is one of tt.training, or a function of "
                "device arrays, by CuPy for instance."
            )
        return (value if hasattr(value, "array") else float(value)), gradient
    if not isinstance(gradient, np.ndarray) or gradient.shape != run.output.shape:
        what = "a torch tensor" if type(gradient).__module__.startswith("torch") else told(gradient)
        raise ValueError(
            f"The gradient that `{name}` returned is {what}; expected a NumPy array {run.output.shape}, that of the "
            "output."
        )
    return float(value), gradient
