"""What a chain takes as pieces, and which of them fit together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..network.network import Network
from ..refuse.called import told
from .directions import sum_directions
from .dropout import Dropout
from .input_feeding import InputFeeding
from .model import Model
from .pooling import POOLINGS
from .repeat import Repeat

Piece = Any  # a Network or a Model, or what has no parameters: one of FUNCTIONS, a Dropout, an InputFeeding, a Repeat
FUNCTIONS = (*POOLINGS, sum_directions)


def is_bare(piece: Piece) -> bool:
    """Whether it has no parameters, and so no number."""
    return piece in FUNCTIONS or isinstance(piece, (Dropout, InputFeeding, Repeat))


def is_recurrent(piece: Piece) -> bool:
    """Whether it has a state."""
    return isinstance(piece, Network) or (isinstance(piece, Model) and piece.recurrent)


def sizes_of(piece: Piece) -> tuple[int, int]:
    """Numbers in and out at a step."""
    if isinstance(piece, Network):
        return piece.input_size, piece.hidden_sizes[-1] * piece.num_directions
    return piece.sizes


def is_bidirectional(piece: Piece) -> bool:
    """Whether a network in it reads from the end too."""
    if isinstance(piece, Network):
        return piece.bidirectional
    halves = [getattr(piece, name) for name in ("encoder", "decoder") if hasattr(piece, name)]
    return any(map(is_bidirectional, (*getattr(piece, "pieces", ()), *halves)))


def pieces_fit(pieces: Sequence[Any]) -> tuple[bool, bool, int]:
    """Whether a sequence has one vector going in and coming out, and the directions side by side that come out.

    TypeError or ValueError where one piece does not give what the next takes.
    """
    for k, piece in enumerate(pieces):
        _is_piece(k, piece)
    solid = [piece for piece in pieces if not is_bare(piece)]
    if not solid or (is_bare(pieces[0]) and not isinstance(pieces[0], Repeat)):
        raise ValueError("`pieces` begins with a network, an embedding, a readout or a chain of them.")
    if len({id(piece) for piece in solid}) < len(solid):
        raise ValueError("`pieces` holds one piece twice; make another of the same sizes.")
    one_in = isinstance(pieces[0], Repeat) or getattr(solid[0], "one_in", False)
    given, one, before, directions = None, one_in, "", 1
    for k, piece in enumerate(pieces):
        name = getattr(piece, "__name__", type(piece).__name__)
        if isinstance(piece, Repeat):
            if k and not one:
                raise ValueError(f"`pieces[{k}]` lays one vector out in time, but the {before} before gives many.")
            one = False
        elif piece in POOLINGS:
            if one:
                raise ValueError(f"`pieces[{k}]` takes the time axis away, which an earlier piece has done already.")
            one = True
        elif piece is sum_directions:
            if directions != 2 or given is None:
                raise ValueError(f"`pieces[{k}]` adds two directions, but the {before} before it gives one.")
            given, directions = given // 2, 1
        elif isinstance(piece, InputFeeding):
            if given is None or one:
                raise ValueError(f"`pieces[{k}]` feeds every step of what stands before it, an Embedding or a Readout.")
            given += piece.size
        elif not isinstance(piece, Dropout):
            given = _next(k, piece, name, given, one, before, solid[0].dtype)
            one = getattr(piece, "one_out", one)
            directions = piece.num_directions if isinstance(piece, Network) else getattr(piece, "directions", 1)
            before = name
    return one_in, one, directions


def _next(k: int, piece: Piece, name: str, given: int | None, one: bool, before: str, dtype: Any) -> int:
    """The numbers that a piece with parameters gives at a step."""
    wanted, out = sizes_of(piece)
    if given is not None and wanted != given:
        takes = f"takes {wanted} numbers" if wanted else "takes tokens"
        raise ValueError(f"`pieces[{k}]`, a {name}, {takes} at a step, but the {before} before it gives {given}.")
    if one and is_recurrent(piece) and not getattr(piece, "one_in", False):
        raise ValueError(f"`pieces[{k}]`, a {name}, needs a time axis, which last or mean has taken away.")
    if not one and getattr(piece, "one_in", False):
        raise ValueError(f"`pieces[{k}]`, a {name}, takes one vector for a sequence; put last or mean before it.")
    if piece.dtype != dtype:
        raise ValueError(f"`pieces[{k}]`, a {name}, has dtype {piece.dtype}, the first {dtype}: make all of one.")
    return out


def _is_piece(k: int, piece: Any) -> None:
    if is_bare(piece):
        return
    if not isinstance(piece, (Network, Model)):
        raise TypeError(
            f"`pieces[{k}]` is {told(piece)}; a chain takes networks, embeddings, readouts and chains, and between "
            "them tt.models.last or tt.models.mean."
        )
    if piece.device != "cpu":
        raise ValueError(
            f"`pieces[{k}]` is on the GPU; a chain is made of pieces on the CPU "
            'and goes there as a whole: pass `piece.to("cpu")`, and then `model.to("cuda")`.'
        )
    if isinstance(piece, Network) and piece.batch_first:
        raise ValueError(f"`pieces[{k}]` has the batch first; in a model the time is first: leave `batch_first` out.")
