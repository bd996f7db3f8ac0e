"""The norm of a gradient: one compiled pass, as training asks for it at every step."""

from __future__ import annotations

from typing import Any

from ..engine.cpu import descent
from ..network import norms


def norm(gradient: Any) -> float:
    """The norm of a vector (P,) of float32 or float64, summed in float64; NaN and inf as they come, also where squares
    overflow or vanish.

    >>> import numpy as np
    >>> norm(np.array([3e200, 4e200])) / 1e200
    5.0
    """
    square = descent.loops()["sum_of_squares"](gradient)
    return square**0.5 if norms.SMALLEST < square < norms.LARGEST else norms.norm(gradient)
