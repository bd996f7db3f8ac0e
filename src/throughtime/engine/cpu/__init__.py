"""The engine on the CPU: loops compiled by Numba, on NumPy arrays."""

from . import arrays, jacobians
from .run import backprop, sent_back, tangent, unroll

__all__ = ["arrays", "backprop", "jacobians", "sent_back", "tangent", "unroll"]
