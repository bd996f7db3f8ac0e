"""Encoder and decoder: one network reads a sequence, another goes on from its last state and says a second one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..network.network import Network
from ..network.unrolled import Unrolled
from ..refuse import arguments, checks
from ..refuse.called import called, told
from .attending_decoder import Attending, AttendingRun, Parts, batched, fits, parts_of, unbatched
from .attention import Attention, Memory
from .bottleneck import Bottleneck, networks_in
from .chain import Chain
from .composite import Composite
from .embedding import output_gradient
from .fed_decoder import FedRun
from .fitting_pieces import sizes_of
from .input_feeding import InputFeeding
from .model_run import ModelGradients, ModelRun, clipping, of_networks
from .readout import Readout

Array = np.ndarray


class EncoderDecoder(Composite):
    """Two models, the second of which begins where the first one ends: y = decoder(inputs, state = encoder(source)).

    All that the decoder learns of the source passes through the encoder's last state, the bottleneck of Sutskever,
    Vinyals & Le (2014), or it also looks at what the encoder gave at every step, its memory m_s, by an attention:

        h_t = the last network of the decoder,  c_t = Σ_s a_ts m_s,  h̃_t = tanh(W_c [c_t; h_t]),  y_t = readout(h̃_t)

    with the weights a_ts of the `Attention` for the query h_t (Luong, Pham & Manning 2015, global attention). With a
    `tt.models.InputFeeding` in the decoder it also hears h̃_{t−1}, or, after Bahdanau, Cho & Bengio (2015), the context
    that h_{t−1} looks up, before each step. The two sequences have lengths of their own. Of a bidirectional encoder the
    decoder takes the states of both directions: their sum where it has as many units, both side by side where it has
    twice as many; the memory has both side by side.

    Args:
        encoder: a `tt.Network`, or a `Chain` with networks in it.
        decoder: likewise, with as large a state: as many networks, of as many layers, units and states.
        attention: an `Attention`, queries = the numbers that the decoder's last network sends, keys = those that the
            encoder gives at a step; None: the bottleneck alone.
        seed: of the first W_c, as a `Readout`'s.

    Attributes:
        encoder, decoder, attention: as given; combine: W_c, a `Readout` without bias.
        flat (P,), parameters, shapes, dtype: see `tt.models.Readout`; the names begin with "encoder.", "decoder." and,
            with attention, "attention." and "combine.".

    Raises:
        TypeError: for what is neither a network nor a chain, or no attention.
        ValueError: for two whose states or precisions differ, or of which one has none; for an attention that does not
            fit, and an InputFeeding without one.

    >>> import numpy as np, throughtime as tt
    >>> encoder = tt.models.Chain([tt.models.Embedding(7, 4, seed=0), tt.Network("gru", 4, 8, seed=1)])
    >>> decoder = tt.models.language_model("gru", 5, hidden_size=8, embedding=3, seed=2)
    >>> model = tt.models.EncoderDecoder(encoder, decoder, tt.models.Attention("general", 8, 8, seed=3), seed=4)
    >>> source, inputs = np.ones((12, 2), int), np.zeros((6, 2), int)
    >>> run = model.unroll((source, inputs), lengths=([12, 7], [6, 2]))
    >>> run.output.shape, list(run.networks), run.attention_weights.shape
    ((6, 2, 5), ['encoder.1', 'decoder.1'], (6, 2, 12))
    >>> tt.models.generate(model, 0, 6, seed=0, source=source, source_lengths=[12, 7]).tokens.shape
    (6, 2)
    """

    def __init__(self, encoder: Any, decoder: Any, attention: Any = None, *, seed: Any = None) -> None:
        for name, part in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(part, (Network, Chain)):
                raise TypeError(f"`{name}` is {told(part)}; expected a network or a chain with networks in it.")
            if part.device != "cpu" or (isinstance(part, Network) and part.batch_first):
                raise ValueError(
                    f"`{name}` is on the GPU or has the batch first; in a model time is first, on the CPU."
                )
            if not networks_in(part):
                raise ValueError(f"`{name}` has no state, so nothing can pass: it needs a network.")
        self._bottleneck = Bottleneck(encoder, decoder)
        if encoder is decoder:
            raise ValueError("`encoder` and `decoder` are one model; make another of the same sizes.")
        for name, part in (("decoder", decoder), ("attention", attention)):
            if part is not None and getattr(part, "dtype", encoder.dtype) != encoder.dtype:
                raise ValueError(f"`encoder` has dtype {encoder.dtype}, `{name}` {part.dtype}: make both of one.")
        if isinstance(decoder, Chain) and (decoder.one_in or decoder.one_out):
            raise ValueError("`decoder` reads and gives something at every step; leave last, mean and Repeat out.")
        if attention is not None and isinstance(decoder, Chain) and (decoder.noise or decoder.checkpoint):
            own = "noise" if decoder.noise else "checkpoint"
            raise ValueError(f"A decoder that attends has its own steps, without `{own}`; leave that out of it.")
        rng = arguments.generator(seed)
        self.encoder, self.decoder, self.attention = encoder, decoder, attention
        self.combine: Any = None
        parts, numbered = parts_of(decoder), [("encoder", encoder), ("decoder", decoder)]
        if attention is None:
            if parts.feeding is not None or any(isinstance(p, InputFeeding) for p in getattr(encoder, "pieces", ())):
                raise ValueError("An InputFeeding hears what an attention sees: pass `attention`, or leave it out.")
        else:
            if not isinstance(attention, Attention):
                raise TypeError(f"`attention` is {told(attention)}; expected a tt.models.Attention, or None.")
            queries, directions = _sent(parts)
            fits(attention, encoder, parts, (queries, sizes_of(encoder)[1]), directions)
            sizes = (attention.keys + queries, queries)
            self.combine = Readout(*sizes, bias=False, dtype=encoder.dtype, seed=rng)
            numbered += [("attention", attention), ("combine", self.combine)]
        self._join(numbered)

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
        return self._bottleneck.forward(self.encoder.unroll(source, state, lengths).final_state)

    def unroll(self, x: Any, state: Any = None, lengths: Any = None) -> ModelRun:
        """`ModelRun` of both, its output and `final_state` those of the decoder.

        With attention it has `attention_weights` (T, B, S) too, which sum to 1 over s, and are 0 behind the ends.
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
        source = SourceRun(self, x[0], state, ends[0], training)
        heard, read = source.run.output.shape, tuple(getattr(x[1], "shape", ()))
        if len(read) == 2 + bool(sizes_of(self.decoder)[0]) and len(heard) == 3 and read[1] != heard[1]:
            raise ValueError(
                f"`x[0]` has {heard[1]} sequences and `x[1]` {read[1]}, in shape {read}; what the "
                "decoder reads belongs to what the encoder reads, time first, (time, batch)."
            )
        return _BothRun(self, source, source.decoded(x[1], source.state, ends[1]))


class SourceRun:
    """A source read once, to be decoded as often as one likes. state: the decoder's first; run: the encoder's."""

    def __init__(self, model: EncoderDecoder, source: Any, state: Any, lengths: Any, training: bool) -> None:
        self._model, self._training, part = model, training, model.encoder
        chain = isinstance(part, Chain)
        self.run: Any = part._run(source, state, lengths, training) if chain else part.unroll(source, state, lengths)
        self.state = model._bottleneck.forward(self.run.final_state)
        if model.attention is not None:
            memory = Memory(model.attention, np.array(batched(self.run.output)), self.run.lengths)
            self._given = Attending(
                parts_of(model.decoder), memory, model.combine.parameters["weight"].copy(), training
            )

    def decoded(self, x: Any, state: Any, lengths: Any, fed: Any = None) -> Any:
        """The decoder's run over x; fed: what an InputFeeding "attended" hears first."""
        part = self._model.decoder
        if self._model.attention is None:
            chain = isinstance(part, Chain)
            return part._run(x, state, lengths, self._training) if chain else part.unroll(x, state, lengths)
        if isinstance(part, Chain):
            part._held()
        if self._given.parts.feeding is None:
            return AttendingRun(self._given, x, state, lengths)
        return FedRun(self._given, x, state, lengths, fed)


@called("a run of a model")
class _BothRun(ModelRun):
    def __init__(self, model: EncoderDecoder, source: SourceRun, second: Any) -> None:
        self._model, self.runs = model, {"encoder": source.run, "decoder": second}
        self.output, self.final_state, self.lengths = second.output, second.final_state, second.lengths
        if model.attention is not None:
            self.attention_weights = second.weights

    @property
    def networks(self) -> dict[str, Unrolled]:
        """The runs of the recurrent pieces, by the names of the pieces."""
        found: dict[str, Unrolled] = {}
        for name, run in self.runs.items():
            if isinstance(run, (AttendingRun, FedRun)):
                found |= run.networks
                continue
            own = {"": run} if isinstance(run, Unrolled) else run.networks
            found |= {f"{name}.{inner}".rstrip("."): value for inner, value in own.items()}
        return found

    def backprop(
        self, grad_output: Any = None, grad_final_state: Any = None, clip_state: float | None = None
    ) -> ModelGradients:
        checks.some_gradient(grad_output, grad_final_state)
        g = None if grad_output is None else output_gradient(grad_output, self.output)
        encoder, decoder, dm = self.runs["encoder"], self.runs["decoder"], None
        if self._model.attention is None:
            second = decoder.backprop(g, grad_final_state, **clipping(decoder, clip_state))
            parameters = {f"decoder.{name}": value for name, value in second.parameters.items()}
            networks = of_networks("decoder", second)
        else:
            second, dm = decoder.backprop(g, grad_final_state, clip_state)
            parameters, networks, dm = second.parameters, second.networks, unbatched(dm, encoder.output)
        handed = self._model._bottleneck.back(second.initial_state)
        first = encoder.backprop(dm, handed, **clipping(encoder, clip_state))
        parameters = {f"encoder.{name}": value for name, value in first.parameters.items()} | parameters
        networks = of_networks("encoder", first) | networks
        return ModelGradients(parameters, (first.input, second.input), first.initial_state, networks)


def _sent(parts: Parts) -> tuple[int, int]:
    """Numbers that the last piece with a state gives at a step, and the directions in which it reads."""
    last = parts.body[-1]
    directions = {net.num_directions for net in networks_in(last).values()}
    return sizes_of(last)[1], max(directions)
