"""throughtime: recurrent networks, backpropagation through time, and what happens to a gradient on its way back.

>>> import numpy as np, throughtime as tt
>>> net = tt.Network("lstm", input_size=8, hidden_size=64, seed=0)
>>> run = net.unroll(np.random.default_rng(0).normal(size=(100, 8)))
>>> run.backprop(np.ones((100, 64))).states.shape
(101, 1, 128)
"""

from importlib import import_module as _import_module
from typing import Any as _Any

from . import init, scalar
from .cells import CELLS, GRU, LSTM, LeakyTanh, Linear, Rate, Relu, Sigmoid, Tanh, cell
from .cells.check import check_cell
from .engine.blas import single_blas
from .engine.foreign import PerformanceWarning
from .engine.threads import get_num_threads, set_num_threads
from .ensemble import Ensemble
from .expected import checked as _checked
from .network import Network
from .storage import load
from .unrolled import Gradients, Unrolled

check_cell, set_num_threads = _checked(check_cell), _checked(set_num_threads)
__version__ = "0.1.0"

__all__ = [
    "CELLS", "GRU", "LSTM", "Ensemble", "Gradients", "LeakyTanh", "Linear", "Network", "PerformanceWarning", "Rate",
    "Relu", "Sigmoid", "Tanh", "Unrolled", "analysis", "cell", "check_cell", "get_num_threads", "init", "kernels",
    "load", "plots", "scalar", "set_num_threads", "single_blas",
]  # fmt: skip


def __getattr__(name: str) -> _Any:
    """Import analysis, kernels and plots when first used: SciPy and Matplotlib load slower than all the rest."""
    if name in ("analysis", "kernels", "plots"):
        return _import_module(f".{name}", __name__)
    raise AttributeError(f"module 'throughtime' has no attribute {name!r}")
