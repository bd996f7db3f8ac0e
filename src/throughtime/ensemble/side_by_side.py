"""Work on every member of a family at once, each with arguments of its own; nothing is kept on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from . import random_streams, sweep
from .family import Ensemble
from .pieces import analysed, label


def side_by_side(
    family: Ensemble,
    work: Callable,
    shared: tuple,
    own: Sequence[tuple],
    progress: bool,
    ended: threading.Event | None = None,
) -> list[Any]:
    """`work(member, *shared, *own[i])` of every member, in their order, where the family's backend says.

    A generator among the `shared` becomes a stream of its own for each; functions among them that draw from one that is
    outside their arguments are refused (ValueError). ended : set when an error or an interrupt ends all, in threads.
    """
    calls = random_streams.calls(work, shared, {}, len(family))
    away = family.backend == "joblib"
    pieces: list[sweep.Piece] = []
    for i, (function, args, options) in enumerate(calls):
        member = (family._member(i), 0) if away else (family, i)
        pieces.append((analysed, (*member, None, (), function, (*args, *own[i]), options)))
    names = [f"the {'model' if family.of_models else 'network'} of {label(point)}" for point in family.points]
    return sweep.sweep(pieces, names, backend=family.backend, progress=progress, ended=ended)
