"""The engine on the GPU: kernels compiled by Numba's CUDA package, on its device arrays."""

from . import (
    arrays,
    batched_qr,
    dense,
    descent,
    determinants,
    jacobians,
    loss_kernels,
    over_time,
    row_norms,
    update_rows,
)
from .run import backprop, sent_back, tangent, unroll

__all__ = [
    "arrays", "backprop", "batched_qr", "dense", "descent", "determinants", "jacobians", "loss_kernels", "over_time",
    "row_norms", "sent_back", "tangent", "unroll", "update_rows",
]  # fmt: skip
