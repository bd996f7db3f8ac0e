"""The passes over one layer under the names and signatures of cpu/run.py, with device arrays, and ensembles in one
launch."""

from .layer import Layer
from .passes.backprop import run as backprop
from .passes.backprop import sent_back
from .passes.pushforward import run as tangent
from .passes.unroll import run as unroll

__all__ = ["Layer", "backprop", "sent_back", "tangent", "unroll"]
