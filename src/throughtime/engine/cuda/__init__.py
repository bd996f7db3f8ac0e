"""The engine on the GPU: kernels compiled by Numba's CUDA package, on its device arrays."""

from . import arrays, batched_qr, determinants, jacobians
from .run import backprop, sent_back, tangent, unroll

__all__ = ["arrays", "backprop", "batched_qr", "determinants", "jacobians", "sent_back", "tangent", "unroll"]
