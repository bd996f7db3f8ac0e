"""The engine on the CPU: loops compiled by Numba, on NumPy arrays."""

from . import arrays, dense, descent, jacobians, over_time
from .run import backprop, sent_back, tangent, unroll

__all__ = ["arrays", "backprop", "dense", "descent", "jacobians", "over_time", "sent_back", "tangent", "unroll"]
