"""Chain: pieces one after another, unrolled and sent back as one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..network.asked import asked_checkpoint
from ..network.network import Network
from ..network.noise import RecurrentDropout, Zoneout, checked
from ..refuse import arguments
from ..refuse.called import told
from .chain_run import ChainRun
from .closed_loop import ClosedLoop
from .composite import Composite
from .directions import sum_directions
from .dropout import Dropout
from .fitting_pieces import is_bare, is_recurrent, pieces_fit, sizes_of
from .kinds import kind
from .model import Model
from .model_run import ModelRun

Array = np.ndarray
kind(Zoneout)  # files know them by name
kind(RecurrentDropout)


class Chain(Composite):
    """Pieces one after another, each fed with what the one before gives: networks, embeddings, readouts.

        y = piece_n(… piece_1(piece_0(x)))

    As torch.nn.Sequential of nn.Embedding, nn.LSTM, nn.Linear, with its names: "0.weight", "1.weight_ih_l0", "2.bias".
    The parameters of the pieces move into one vector, `chain.flat`, and the arrays of each piece become views into it:
    what trains the chain trains `pieces[1]`, a `Network`, which every analysis takes at any time.

    Args:
        pieces: a list of `tt.Network`, `Embedding`, `Readout`, `Chain`; between two of them `tt.models.last` or
            `tt.models.mean` for one output per sequence, and a `Repeat` where one vector is to become many. These have
            no number in the names, as they have no parameters.
        classes: whether the outputs are logits of classes, of which `predict` gives the number of the largest.
        noise: a `tt.Zoneout`, a `tt.RecurrentDropout`, or a list of both, for the networks among the pieces, while the
            chain is trained and only then: `unroll`, `predict` and every analysis are without.
        checkpoint: as of `tt.Network(…).unroll`, for the networks among the pieces while the chain is trained: the
            steps after each of which their states are kept, or "auto". `forward_backward` then gives no dL/ds_t, and
            penalties on gradients, which need all states, are refused. An inner chain has its own.

    Attributes:
        flat (P,), parameters, shapes, dtype: see `tt.models.Readout`.
        pieces: tuple of what was given.
        one_in, one_out: whether a sequence has one vector in place of one for each step, going in and coming out.
        directions: 2 where the output is that of two, side by side; otherwise 1.

    Raises:
        TypeError: for a piece that is none.
        ValueError: for pieces whose sizes, precisions or machines do not fit, one with the batch first, and one whose
            parameters have been replaced by other arrays since; for `noise` or `checkpoint` without a network.

    >>> import numpy as np, throughtime as tt
    >>> net = tt.Network("lstm", 16, 32, seed=1)
    >>> model = tt.models.Chain([tt.models.Embedding(256, 16, seed=0), net, tt.models.Readout(32, 256, seed=2)])
    >>> model
    Chain(Embedding, Network, Readout; dtype="float64", 18,944 parameters)
    >>> run = model.unroll(np.zeros((20, 4), int), lengths=[20, 20, 5, 1])
    >>> run.output.shape, tt.analysis.gradient_norms(run.networks["1"], np.ones((20, 4, 32))).rate.shape
    ((20, 4, 256), (4,))
    """

    on_gpu = True
    skips = False  # whether what goes in is added to what comes out

    def __init__(
        self, pieces: Sequence[Any], *, classes: bool = False, noise: Any = None, checkpoint: Any = None
    ) -> None:  # fmt: skip
        if not isinstance(pieces, (list, tuple)) or not pieces:
            raise TypeError(f"`pieces` is {told(pieces)}; a chain takes a list of pieces, one after another.")
        self.pieces, self.classes, self.noise = tuple(pieces), arguments.flag("classes", classes), checked(noise)
        self.checkpoint = asked_checkpoint(checkpoint)
        for name in ("noise", "checkpoint"):
            if getattr(self, name) and not any(isinstance(piece, Network) for piece in pieces):
                raise ValueError(f"`{name}` is for networks among the pieces, and here are none.")
        self.one_in, self.one_out, self.directions = pieces_fit(self.pieces)
        with_parameters = [piece for piece in self.pieces if not is_bare(piece)]
        self._join([(str(k), piece) for k, piece in enumerate(with_parameters)])

    @property
    def generators(self) -> dict[str, np.random.Generator]:
        """The generators from which training draws, by the place of their piece: what a checkpoint has to hold."""
        found = {f"noise.{type(own).__name__}": own.generator for own in self.noise}
        for k, piece in enumerate(self.pieces):
            if isinstance(piece, Dropout):
                found[str(k)] = piece.generator
            elif isinstance(piece, Model):
                found |= {f"{k}.{name}": generator for name, generator in piece.generators.items()}
        return found

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers in and out at a step; 0 of the former stands for a token."""
        out, halved = sizes_of(self._numbered[-1][1])[1], sum_directions in self.pieces[self._last() :]
        return sizes_of(self._numbered[0][1])[0], out // 2 if halved else out

    def _last(self) -> int:
        """Where the last piece with parameters stands."""
        return max(k for k, piece in enumerate(self.pieces) if not is_bare(piece))

    @property
    def recurrent(self) -> bool:
        """Whether there is a state to carry."""
        return any(is_recurrent(piece) for piece in self.pieces)

    def unroll(self, x: Any, state: Any = None, lengths: Any = None) -> ModelRun:
        """`ModelRun` of all pieces over x: (T, B, I) or (T, I) of numbers, (T, B) or (T,) of tokens; time first.

        state: as an earlier run's `final_state`, to go on from. lengths: (B,) real steps of each sequence.
        """
        return self._run(x, state, lengths, training=False)

    def _run(self, x: Any, state: Any, lengths: Any, training: bool) -> ModelRun:
        self._held()
        arrays = self.engine.arrays
        with arrays.on(arrays.stream_of(x)):
            return ChainRun(self.pieces, x, state, lengths, training, noise=self.noise, checkpoint=self.checkpoint)

    def _elsewhere(self, device: str) -> Any:
        made = super()._elsewhere(device)
        parts = iter(made._numbered)
        pieces = [copy.deepcopy(piece) if is_bare(piece) else next(parts)[1] for piece in self.pieces]
        made.__dict__["pieces"] = tuple(pieces)
        return made

    def predict(self, x: Any, state: Any = None, lengths: Any = None) -> Array:
        """The output for x in NumPy, with `classes=True` the number of its largest entry.

        state, lengths: as of `unroll`.

        >>> import numpy as np, throughtime as tt
        >>> model = tt.models.Chain([tt.Network("gru", 3, 8, seed=0), tt.models.last, tt.models.Readout(8, 5, seed=1)],
        ...                         classes=True)
        >>> model.predict(np.ones((20, 4, 3))).shape
        (4,)
        """
        output = super().predict(x, state, lengths)
        return output.argmax(axis=-1) if self.classes else output

    def closed_loop(self) -> ClosedLoop:
        """`ClosedLoop`: the model with its output as its next input, a dynamical system with states and Jacobians.

        For a model of numbers that gives at each step as many as it takes. ValueError for one of tokens, of one vector
        for a sequence, of two directions, and without a state.

        >>> import numpy as np, throughtime as tt
        >>> model = tt.models.Chain([tt.Network("gru", 2, 8, seed=0), tt.models.Readout(8, 2, seed=1)])
        >>> model.closed_loop().forecast(np.ones((20, 3, 2)), steps=5).shape
        (5, 3, 2)
        """
        return ClosedLoop(self)

    def __repr__(self) -> str:
        names = [getattr(piece, "__name__", type(piece).__name__) for piece in self.pieces]
        return f"{type(self).__name__}({', '.join(names)}{self._told()}"
