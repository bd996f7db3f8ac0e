"""throughtime: recurrent networks, backpropagation through time, and what happens to a gradient on its way back.

Start here; `help(...)` of each name tells the rest:

    Network          a cell, its sizes and parameters, in PyTorch's conventions; .unroll(x) sends a sequence through it
    Unrolled         what comes of it, help(tt.Unrolled): output, states, .backprop, .jacobian(t), .jvp, .vjp
    Zoneout, RecurrentDropout
                     noise in the recurrence, for training: net.unroll(x, noise=tt.Zoneout(0.1, seed=0))
    Gradients        what backprop gives: .parameters, .input, .initial_state, .states (dL/ds_t at all times)
    Ensemble         a family of networks, seeds × gains × …, unrolled and analysed in one call
    analysis         Lyapunov spectra, Jacobian spectra, gradient norms and lags, bounds, fixed points, mean fields
    plots            a picture of every result, as result.plot() draws it
    models           embedding, network, readout as one model with one vector of parameters
    training         losses, optimisers, schedules: what trains a model, piece by piece
    tasks            what to train on: adding, copy memory, grammars, flows, texts, with exact baselines
    init             initialisers: uniform, gaussian, orthogonal, sparse, spectral_radius, irnn, chrono and others
    parametrise      weights that are orthogonal, antisymmetric, low rank, sparse, …, and trained as such
    CELLS            the cells by name, "tanh", "lstm", "gru" and others; their classes are tt.Tanh, tt.LSTM, tt.GRU, …
    cell, check_cell a cell of your own: a decorator, and whether its derivative is right
    kernels, scalar  compiled steps and functions, to be called from your own @njit code
    load             a network or a model saved by its .save
    set_num_threads, get_num_threads, single_blas, PerformanceWarning
                     threads: ours, and those of NumPy's linear algebra that stand in their way
    release_memory   give back what is kept for arrays to come

Sequences are (time, batch, inputs); exponents and growth rates are natural logarithms per time step (nats per step).

>>> import numpy as np, throughtime as tt
>>> net = tt.Network("lstm", input_size=8, hidden_size=64, seed=0)
>>> run = net.unroll(np.random.default_rng(0).normal(size=(100, 8)))
>>> run.backprop(np.ones((100, 64))).states.shape
(101, 1, 128)
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import init, parametrise, scalar
from .cells import CELLS, cell
from .engine.blas import single_blas
from .engine.check_cell import check_cell
from .engine.cpu.threads import get_num_threads, set_num_threads
from .engine.other_threads import PerformanceWarning  # noqa: F401
from .engine.release import release_memory
from .network.gradients import Gradients
from .network.network import Network
from .network.noise import RecurrentDropout, Zoneout  # noqa: F401
from .network.unrolled import Unrolled  # noqa: F401

if _TYPE_CHECKING:
    from .ensemble.family import Ensemble
    from .models.load import load

_CLASSES = {cls.__name__: cls for cls in CELLS.values()}
globals().update(_CLASSES)  # tt.GRU, …
__version__ = "0.1.0"

# The classes of cells, of runs and the warning are public too, as tt.GRU. They stand in __dir__ and not here, since
# `help(throughtime)` prints at length what is in both: of each cell the methods of the tuple that it is, 700 lines, of
# a run 240, which nobody makes but by `unroll`.
__all__ = [
    "CELLS", "Ensemble", "Gradients", "Network", "analysis", "cell", "check_cell",
    "get_num_threads", "init", "kernels", "load", "models", "parametrise", "plots", "release_memory", "scalar",
    "set_num_threads", "single_blas", "tasks", "training",
]  # fmt: skip
_LATE = {"Ensemble": ".ensemble.family", "load": ".models.load"}
_LAZY = ("analysis", "kernels", "models", "plots", "tasks", "training")


def __dir__() -> list[str]:
    """What a user calls; the modules that only the package itself imports are left out."""
    beside = {
        "PerformanceWarning",
        "RecurrentDropout",
        "Unrolled",
        "Zoneout",
        "cells",
        "__version__",
        "__doc__",
        "__path__",
    }
    return sorted({*__all__, *_CLASSES, *beside})


def __getattr__(name: str) -> _Any:
    """Import a lazy part when it is first used: SciPy and Matplotlib load slower than all the rest, and an ensemble
    takes a fifth of what the library itself does."""
    if name in _LATE:
        globals()[name] = getattr(_import_module(_LATE[name], __name__), name)
        return globals()[name]
    if name in _LAZY:
        return _import_module(f".{name}", __name__)
    raise AttributeError(f"module 'throughtime' has no attribute {name!r}")
