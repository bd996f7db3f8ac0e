"""Input feeding: where a decoder hears, beside its input, what its attention has seen."""

from __future__ import annotations

from typing import Any, NoReturn

from ..refuse import arguments
from ..refuse.called import called
from .kinds import kind

FED = ("attended", "context")


@kind
@called("an input feeding")
class InputFeeding:
    """Numbers put beside those of every step, from the attention of an `EncoderDecoder`, in whose decoder it stands.

        attended   x_t -> [x_t; h̃_{t−1}], h̃_{−1} = 0             (Luong, Pham & Manning 2015, input feeding)
        context    x_t -> [x_t; c_t], c_t looked up with h_{t−1}   (Bahdanau, Cho & Bengio 2015)

    Between the embedding and the network, which takes that many inputs more: `Chain([Embedding(V, E),
    InputFeeding("attended", N), Network(cell, E + N, N), Readout(N, V)])`. The h̃ and the contexts are those of
    `EncoderDecoder`; as each step waits for the one before, such a decoder runs a step at a time. It has no parameters,
    and so no number in the names of a `Chain`.

    feeds: "attended" or "context". size: of the vector: N, the numbers that the decoder's network sends, or M, those of
    an entry of the memory. TypeError and ValueError for what means nothing; the chain alone cannot be unrolled.

    >>> import numpy as np, throughtime as tt
    >>> decoder = tt.models.Chain([tt.models.Embedding(9, 4, seed=0), tt.models.InputFeeding("context", 6),
    ...                            tt.Network("gru", 4 + 6, 6, seed=1), tt.models.Readout(6, 9, seed=2)])
    >>> encoder = tt.Network("gru", 3, 6, seed=3)
    >>> model = tt.models.EncoderDecoder(encoder, decoder, tt.models.Attention("additive", 6, 6, seed=4), seed=5)
    >>> model.unroll((np.ones((12, 2, 3)), np.zeros((5, 2), int))).output.shape
    (5, 2, 9)
    """

    def __init__(self, feeds: str, size: int) -> None:
        self.feeds = arguments.known("input feeding", feeds, FED)
        self.size = arguments.size("size", size)

    def unroll(self, x: Any, state: Any = None, lengths: Any = None) -> NoReturn:
        """ValueError: alone there is nothing that it could feed. x, state, lengths: not looked at."""
        raise ValueError(
            "This chain has an InputFeeding, and nothing feeds it: it is the decoder of "
            "`tt.models.EncoderDecoder(encoder, chain, attention)`, which is unrolled."
        )

    def __repr__(self) -> str:
        return f'InputFeeding("{self.feeds}", {self.size})'
