"""The cells of the library. A new cell is one file here and one line below; every shared test then runs on it.

Its name, as a user writes it, is that of its class in small letters: GRU is "gru", LeakyTanh "leaky_tanh".
"""

import re

from .base import cell, registered, spec

# In the order in which a user reads them.
# isort: off
from .elman import Tanh, Relu, Linear, Sigmoid
from .leaky import LeakyTanh
from .euler import EulerTanh
from .rate import Rate
from .threshold_power import ThresholdPower
from .lstm import LSTM
from .gru import GRU
from .cho_gru import ChoGRU
from .mgu import MGU
from .ugrnn import UGRNN
from .minimal_rnn import MinimalRNN
from .lstm1997 import LSTM1997
from .peephole_lstm import PeepholeLSTM
from .slstm import SLSTM
from .min_gru import MinGRU
from .min_lstm import MinLSTM
from .lru import LRU
from .ind_rnn import IndRNN
from .co_rnn import CoRNN
# isort: on


def _name(cls: type) -> str:
    """LeakyTanh -> leaky_tanh."""
    return re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()


CELLS: dict[str, type] = {_name(cls): cls for cls in list(globals().values()) if hasattr(cls, "__throughtime__")}
__all__ = ["CELLS", "cell", "registered", "spec", *(cls.__name__ for cls in CELLS.values())]
