"""Chain: pieces one after another, unrolled and sent back as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..network.network import Network
from ..network.unrolled import Unrolled
from ..refuse import arguments, checks
from ..refuse.called import called, told
from .embedding import no_state, output_gradient
from .model import Model
from .model_run import ModelGradients, ModelRun
from .pooling import POOLINGS, PooledRun
from .repeat import Repeat

Array = np.ndarray
Piece = Any  # a Network or a Model, or what has no parameters: one of POOLINGS, a Repeat


class Chain(Model):
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

    Attributes:
        flat (P,), parameters, shapes, dtype: see `tt.models.Readout`.
        pieces: tuple of what was given.

    Raises:
        TypeError: for a piece that is none.
        ValueError: for pieces whose sizes, precisions or machines do not fit, one with the batch first, and one whose
            parameters have been replaced by other arrays since.

    >>> import numpy as np, throughtime as tt
    >>> net = tt.Network("lstm", 16, 32, seed=1)
    >>> model = tt.models.Chain([tt.models.Embedding(256, 16, seed=0), net, tt.models.Readout(32, 256, seed=2)])
    >>> model
    Chain(Embedding, Network, Readout; dtype="float64", 18,944 parameters)
    >>> run = model.unroll(np.zeros((20, 4), int), lengths=[20, 20, 5, 1])
    >>> run.output.shape, tt.analysis.gradient_norms(run.networks["1"], np.ones((20, 4, 32))).rate.shape
    ((20, 4, 256), (4,))
    """

    def __init__(self, pieces: Sequence[Any], *, classes: bool = False) -> None:
        if not isinstance(pieces, (list, tuple)) or not pieces:
            raise TypeError(f"`pieces` is {told(pieces)}; a chain takes a list of pieces, one after another.")
        self.pieces, self.classes = tuple(pieces), arguments.flag("classes", classes)
        held = [_piece(k, piece) for k, piece in enumerate(self.pieces)]
        self._numbered = [(str(k), piece) for k, piece in enumerate(piece for piece in held if not _bare(piece))]
        if not self._numbered or held[0] in POOLINGS:
            raise ValueError("`pieces` begins with a network, an embedding, a readout or a chain of them.")
        if len({id(piece) for _, piece in self._numbered}) < len(self._numbered):
            raise ValueError("`pieces` holds one piece twice; make another of the same sizes.")
        self._fits(held)
        values = {f"{n}.{name}": value for n, piece in self._numbered for name, value in piece.parameters.items()}
        self._hold(values, self._numbered[0][1].dtype)

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers in and out at a step; 0 of the former stands for a token."""
        return _sizes(self._numbered[0][1])[0], _sizes(self._numbered[-1][1])[1]

    def _take(self, flat: Array) -> None:
        """Look into `flat`, and let the pieces look into their parts of it; for a larger model."""
        super()._take(flat)
        self._segments, at = dict[str, Array](), 0
        for number, piece in self._numbered:
            names = {name: f"{number}.{name}" for name in piece.shapes}
            end = at + sum(self.parameters[name].size for name in names.values())
            self._segments[number] = flat[at:end]
            if isinstance(piece, Network):
                piece.parameters.update({own: self.parameters[name] for own, name in names.items()})
            else:
                piece._take(self._segments[number])
            at = end

    def _fits(self, held: list[Piece]) -> None:
        """ValueError where one piece does not give what the next takes."""
        given, pooled, before = None, False, ""
        for k, piece in enumerate(held):
            if isinstance(piece, Repeat):
                if k and not pooled:
                    raise ValueError(f"`pieces[{k}]` lays one vector out in time, but the {before} before gives many.")
                pooled = False
                continue
            if piece in POOLINGS:
                if pooled:
                    raise ValueError(
                        f"`pieces[{k}]` takes the time axis away, which an earlier piece has done already."
                    )
                pooled = True
                continue
            wanted, out = _sizes(piece)
            name = type(piece).__name__
            if given is not None and wanted != given:
                takes = f"takes {wanted} numbers" if wanted else "takes tokens"
                raise ValueError(
                    f"`pieces[{k}]`, a {name}, {takes} at a step, but the {before} before it gives {given}."
                )
            if pooled and _recurrent(piece):
                raise ValueError(f"`pieces[{k}]`, a {name}, needs a time axis, which last or mean has taken away.")
            if piece.dtype != self._numbered[0][1].dtype:
                raise ValueError(
                    f"`pieces[{k}]`, a {name}, has dtype {piece.dtype}, the first {self._numbered[0][1].dtype}: make "
                    "all of one."
                )
            given, before = out, name

    def unroll(self, x: Any, state: Any = None, lengths: Any = None) -> ModelRun:
        """`ModelRun` of all pieces over x: (T, B, I) or (T, I) of numbers, (T, B) or (T,) of tokens; time first.

        state: as an earlier run's `final_state`, to go on from. lengths: (B,) real steps of each sequence.
        """
        self._held()
        return _ChainRun(self, x, state, lengths)

    def predict(self, x: Any, state: Any = None, lengths: Any = None) -> Array:
        """The output for x, with `classes=True` the number of its largest entry; state, lengths as of `unroll`.

        >>> import numpy as np, throughtime as tt
        >>> model = tt.models.Chain([tt.Network("gru", 3, 8, seed=0), tt.models.last, tt.models.Readout(8, 5, seed=1)],
        ...                         classes=True)
        >>> model.predict(np.ones((20, 4, 3))).shape
        (4,)
        """
        output = self.unroll(x, state, lengths).output
        return output.argmax(axis=-1) if self.classes else output

    def _held(self) -> None:
        """ValueError if a piece no longer looks into the vector."""
        for number, piece in self._numbered:
            lost = piece.flat is not self._segments[number] if isinstance(piece, Model) else None
            for name in piece.shapes:
                if lost or (lost is None and piece.parameters.get(name) is not self.parameters[f"{number}.{name}"]):
                    raise ValueError(
                        f'The parameter "{name}" of piece {number} has been replaced by another array, or taken over '
                        "by another model, and no longer belongs to this one: write into it, "
                        f'`parameters["{name}"][...] = value`, and make each model of pieces of its own.'
                    )

    def __repr__(self) -> str:
        names = [getattr(piece, "__name__", type(piece).__name__) for piece in self.pieces]
        return f'Chain({", ".join(names)}; dtype="{self.dtype}", {self.flat.size:,} parameters)'


@called("a run of a model")
class _ChainRun(ModelRun):
    def __init__(self, chain: Chain, x: Any, state: Any, lengths: Any) -> None:
        states = _by_name(chain, state)
        self.runs: list[tuple[str, Any]] = []
        numbers = iter(chain._numbered)
        for piece in chain.pieces:
            if piece in POOLINGS:
                number, run = "", piece(self.runs[-1][1])
            else:
                number = "" if _bare(piece) else next(numbers)[0]
                run = piece.unroll(x, states.get(number), lengths)
            lengths = run.lengths  # checked and copied; none once a sequence has one output
            self.runs.append((number, run))
            x = run.output
        last = self.runs[-1][1]
        self.output, self.lengths = last.output, lengths
        self.directions = last.network.num_directions if isinstance(last, Unrolled) else last.directions
        self.initial_names = [number for number, piece in chain._numbered if _recurrent(piece)]
        found = {n: run.final_state for n, run in self.runs if n in self.initial_names}
        self.final_state = _as_given(found)

    @property
    def networks(self) -> dict[str, Unrolled]:
        """The runs of the recurrent pieces, by the names of the pieces."""
        found: dict[str, Unrolled] = {}
        for number, run in self.runs:
            if isinstance(run, Unrolled):
                found[number] = run
            elif number:
                found |= {f"{number}.{name}": inner for name, inner in run.networks.items()}
        return found

    def backprop(self, grad_output: Any = None, grad_final_state: Any = None) -> ModelGradients:
        checks.some_gradient(grad_output, grad_final_state)
        g: Any = np.zeros_like(self.output) if grad_output is None else output_gradient(grad_output, self.output)
        at_end = _split(grad_final_state, self.initial_names, "grad_final_state")
        parameters, initial = dict[str, dict[str, Array]](), dict[str, Any]()
        for number, run in reversed(self.runs):
            if isinstance(run, PooledRun):
                g = run.to_run(g)
                continue
            found = run.backprop(g, at_end.get(number))
            g = found.input
            if number:
                parameters[number] = found.parameters
            if number in self.initial_names:
                initial[number] = found.initial_state
        named = {f"{n}.{name}": value for n in reversed(parameters) for name, value in parameters[n].items()}
        ordered = {n: initial[n] for n in self.initial_names}
        return ModelGradients(named, g, _as_given(ordered))


def _piece(k: int, piece: Any) -> Piece:
    if _bare(piece) or isinstance(piece, Model):
        return piece
    if not isinstance(piece, Network):
        raise TypeError(
            f"`pieces[{k}]` is {told(piece)}; a chain takes networks, embeddings, readouts and chains, and between "
            "them tt.models.last or tt.models.mean."
        )
    if piece.device != "cpu":
        raise ValueError(f'`pieces[{k}]` is on the GPU; models compute on the CPU: pass `net.to("cpu")`.')
    if piece.batch_first:
        raise ValueError(f"`pieces[{k}]` has the batch first; in a model the time is first: leave `batch_first` out.")
    return piece


def _bare(piece: Piece) -> bool:
    """Whether it has no parameters, and so no number."""
    return piece in POOLINGS or isinstance(piece, Repeat)


def _sizes(piece: Piece) -> tuple[int, int]:
    if isinstance(piece, Network):
        return piece.input_size, piece.hidden_size * piece.num_directions
    return piece.sizes


def _recurrent(piece: Piece) -> bool:
    return isinstance(piece, Network) or (isinstance(piece, Chain) and any(_recurrent(p) for _, p in piece._numbered))


def _by_name(chain: Chain, state: Any) -> dict[str, Any]:
    return _split(state, [number for number, piece in chain._numbered if _recurrent(piece)], "state")


def _split(state: Any, names: list[str], name: str) -> dict[str, Any]:
    """The states of the recurrent pieces by name."""
    if state is None:
        return {}
    if not names:
        no_state(state, "this model", name)
    if len(names) == 1:
        return {names[0]: state}
    if not isinstance(state, dict) or set(state) != set(names):
        raise ValueError(
            f"`{name}` is {told(state)}; this model has several recurrent pieces, and its state is a dict with the "
            f"names {', '.join(names)}, as `run.final_state` is."
        )
    return state


def _as_given(states: dict[str, Any]) -> Any:
    """The state of a model: that of the one recurrent piece, or a dict of several, or None."""
    return next(iter(states.values())) if len(states) == 1 else states or None
