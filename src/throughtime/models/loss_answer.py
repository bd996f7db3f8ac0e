"""What a loss answers, checked: whoever writes one of his own is told what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..refuse import arguments
from ..refuse.called import told

Array = np.ndarray


def answer(loss: Callable, run: Any, targets: Any, weights: Any) -> tuple[float, Array]:
    """What a loss says of a run's output, checked: one number, and a gradient in the shape of the output."""
    if not callable(loss) or isinstance(loss, type):
        raise TypeError(f"`loss` is {told(loss)}; expected a function (output, targets) -> (value, gradient).")
    options = {} if run.lengths is None else {"lengths": run.lengths}
    if weights is not None:
        options["weights"] = weights
    name = getattr(loss, "__name__", "loss")
    try:
        found = loss(run.output, targets, **options)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # from inside
        takes = ", ".join(["output", "targets", *options])
        raise TypeError(f"`{name}` is called as a loss ({takes}), and says: {error}.") from None
    if not isinstance(found, tuple) or len(found) != 2:
        raise TypeError(f"`{name}` returned {told(found)}; a loss returns (value, gradient by the output).")
    value, gradient = found
    if not arguments.is_real(value) and not (isinstance(value, np.ndarray) and value.ndim == 0):
        raise TypeError(f"The value that `{name}` returned is {told(value)}; expected one real number.")
    if not isinstance(gradient, np.ndarray) or gradient.shape != run.output.shape:
        raise ValueError(
            f"The gradient that `{name}` returned is {told(gradient)}; expected an array {run.output.shape}, that of "
            "the output."
        )
    return float(value), gradient
