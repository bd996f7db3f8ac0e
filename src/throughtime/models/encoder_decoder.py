"""Encoder and decoder: one network reads a sequence, another goes on from its last state and says a second one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..network.network import Network
from ..network.unrolled import Unrolled
from ..refuse import checks
from ..refuse.called import called, told
from .chain import Chain
from .composite import Composite
from .embedding import output_gradient
from .fitting_pieces import state_shapes
from .model_run import ModelGradients, ModelRun, clipping, of_networks

Array = np.ndarray


class EncoderDecoder(Composite):
    """Two models, the second of which begins where the first one ends: y = decoder(inputs, state = encoder(source)).

    All that the decoder learns of the source passes through the encoder's last state, the bottleneck of Sutskever,
    Vinyals & Le (2014). The two sequences have lengths of their own.

    Args:
        encoder: a `tt.Network`, or a `Chain` with networks in it.
        decoder: likewise, with as large a state: as many networks, of as many layers, units and states.

    Attributes:
        encoder, decoder: the two; `tt.models.generate(model.decoder, start, steps, state=model.encode(source))` writes.
        flat (P,), parameters, shapes, dtype: see `tt.models.Readout`; the names begin with "encoder." and "decoder.".

    Raises:
        TypeError: for what is neither a network nor a chain.
        ValueError: for two whose states or precisions differ, or of which one has none.

    >>> import numpy as np, throughtime as tt
    >>> encoder = tt.models.Chain([tt.models.Embedding(7, 4, seed=0), tt.Network("gru", 4, 8, seed=1)])
    >>> decoder = tt.models.language_model("gru", 5, hidden_size=8, embedding=3, seed=2)
    >>> model = tt.models.EncoderDecoder(encoder, decoder)
    >>> source, inputs = np.ones((12, 2), int), np.zeros((6, 2), int)
    >>> run = model.unroll((source, inputs), lengths=([12, 7], [6, 2]))
    >>> run.output.shape, list(run.networks)
    ((6, 2, 5), ['encoder.1', 'decoder.1'])
    >>> tt.models.generate(model.decoder, inputs[:1], 6, seed=0, state=model.encode(source, [12, 7])).tokens.shape
    (6, 2)
    """

    def __init__(self, encoder: Any, decoder: Any) -> None:
        states = []
        for name, part in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(part, (Network, Chain)):
                raise TypeError(f"`{name}` is {told(part)}; expected a network or a chain with networks in it.")
            if isinstance(part, Network) and (part.device != "cpu" or part.batch_first):
                raise ValueError(
                    f"`{name}` is on the GPU or has the batch first; in a model time is first, on the CPU."
                )
            states.append(state_shapes(part))
            if not states[-1]:
                raise ValueError(f"`{name}` has no state, so nothing can pass: it needs a network.")
        if list(states[0].values()) != list(states[1].values()):
            shown = " and ".join(", ".join("{} x {} x {}".format(*own) for own in each.values()) for each in states)
            raise ValueError(
                "The states of `encoder` and `decoder` differ, counted as states x layers*directions x units of each "
                f"network: {shown}."
            )
        if encoder is decoder:
            raise ValueError("`encoder` and `decoder` are one model; make another of the same sizes.")
        if encoder.dtype != decoder.dtype:
            raise ValueError(f"`encoder` has dtype {encoder.dtype}, `decoder` {decoder.dtype}: make both of one.")
        if isinstance(decoder, Chain) and (decoder.one_in or decoder.one_out):
            raise ValueError("`decoder` reads and gives something at every step; leave last, mean and Repeat out.")
        self.encoder, self.decoder = encoder, decoder
        self._join([("encoder", encoder), ("decoder", decoder)])

    @property
    def recurrent(self) -> bool:
        """Whether there is a state to carry."""
        return True

    @property
    def generators(self) -> dict[str, np.random.Generator]:
        """The generators from which training draws, by the names of their pieces."""
        parts = (("encoder", self.encoder), ("decoder", self.decoder))
        return {
            f"{n}.{key}": own for n, part in parts if isinstance(part, Chain) for key, own in part.generators.items()
        }

    def encode(self, source: Any, lengths: Any = None, state: Any = None) -> Any:
        """The state from which the decoder begins: the encoder's at each sequence's end.

        source: what the encoder reads. lengths (B,) and state: as of its `unroll`.
        """
        self._held()
        return _renamed(self.encoder.unroll(source, state, lengths).final_state, self.decoder)

    def unroll(self, x: Any, state: Any = None, lengths: Any = None) -> ModelRun:
        """`ModelRun` of both, its output and `final_state` those of the decoder.

        x: a tuple (source, inputs): what the encoder reads, and what the decoder reads, the targets one step before.
        state: the encoder's first. lengths: None, or a tuple of those of source and inputs, each (B,) or None; the
        latter are those of the output.
        """
        return self._run(x, state, lengths, training=False)

    def _run(self, x: Any, state: Any, lengths: Any, training: bool) -> ModelRun:
        self._held()
        for name, pair in (("x", x), ("lengths", lengths)):
            if not (isinstance(pair, tuple) and len(pair) == 2) and (name == "x" or pair is not None):
                raise TypeError(f"`{name}` is {told(pair)}; of an encoder and a decoder it is a tuple of two.")
        ends = (None, None) if lengths is None else lengths
        first = _run_of(self.encoder, x[0], state, ends[0], training)
        second = _run_of(self.decoder, x[1], _renamed(first.final_state, self.decoder), ends[1], training)
        return _BothRun(self, first, second)


@called("a run of a model")
class _BothRun(ModelRun):
    def __init__(self, model: EncoderDecoder, first: Any, second: Any) -> None:
        self._model, self.runs = model, {"encoder": first, "decoder": second}
        self.output, self.final_state, self.lengths = second.output, second.final_state, second.lengths

    @property
    def networks(self) -> dict[str, Unrolled]:
        """The runs of the recurrent pieces, by the names of the pieces."""
        found: dict[str, Unrolled] = {}
        for name, run in self.runs.items():
            own = {"": run} if isinstance(run, Unrolled) else run.networks
            found |= {f"{name}.{inner}".rstrip("."): value for inner, value in own.items()}
        return found

    def backprop(
        self, grad_output: Any = None, grad_final_state: Any = None, clip_state: float | None = None
    ) -> ModelGradients:
        checks.some_gradient(grad_output, grad_final_state)
        g = None if grad_output is None else output_gradient(grad_output, self.output)
        encoder, decoder = self.runs["encoder"], self.runs["decoder"]
        second = decoder.backprop(g, grad_final_state, **clipping(decoder, clip_state))
        handed = _renamed(second.initial_state, self._model.encoder)
        first = encoder.backprop(None, handed, **clipping(encoder, clip_state))
        both = {"encoder": first, "decoder": second}
        parameters = {f"{n}.{name}": value for n, own in both.items() for name, value in own.parameters.items()}
        networks = of_networks("encoder", first) | of_networks("decoder", second)
        return ModelGradients(parameters, (first.input, second.input), first.initial_state, networks)


def _run_of(part: Any, x: Any, state: Any, lengths: Any, training: bool) -> Any:
    return part._run(x, state, lengths, training) if isinstance(part, Chain) else part.unroll(x, state, lengths)


def _renamed(state: Any, part: Any) -> Any:
    """A state by the names of another model's networks, in their order."""
    if not isinstance(state, dict):
        return state
    return dict(zip(state_shapes(part), state.values(), strict=True))
