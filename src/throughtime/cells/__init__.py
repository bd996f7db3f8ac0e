"""The cells of the library. A new cell is one file here and one line in `CELLS`; every shared test then runs on it."""

from .base import cell, registered, spec
from .elman import Linear, Relu, Sigmoid, Tanh
from .gru import GRU
from .leaky import LeakyTanh
from .lstm import LSTM
from .rate import Rate

CELLS: dict[str, type] = {
    "tanh": Tanh,
    "relu": Relu,
    "linear": Linear,
    "sigmoid": Sigmoid,
    "leaky_tanh": LeakyTanh,
    "rate": Rate,
    "lstm": LSTM,
    "gru": GRU,
}

__all__ = [
    "CELLS",
    "GRU",
    "LSTM",
    "LeakyTanh",
    "Linear",
    "Rate",
    "Relu",
    "Sigmoid",
    "Tanh",
    "cell",
    "registered",
    "spec",
]
