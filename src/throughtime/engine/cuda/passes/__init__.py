"""The passes over time: a file for each, with its kernel, its sizes and its launch, and a line of this list."""

from .backprop import BACKPROP
from .pushforward import PUSHFORWARD
from .unroll import UNROLL

PASSES = (
    UNROLL,
    BACKPROP,
    PUSHFORWARD,
)
