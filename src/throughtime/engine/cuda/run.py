"""The engine on the GPU: names and signatures of cpu/run.py, with device arrays, and ensembles in one launch."""

from . import jacobians
from .layer import Array, Layer
from .passes.backprop import run as backprop
from .passes.backprop import sent_back
from .passes.pushforward import run as tangent
from .passes.unroll import run as unroll

__all__ = ["Layer", "backprop", "jacobian", "sent_back", "tangent", "unroll"]


def jacobian(layer: Layer, t: int) -> Array:
    """ds_t/ds_{t-1} of the layer by itself, (B, S*N, S*N)."""
    return jacobians.jacobians(layer, t - 1, t)[0]
