"""Checkpoints of a training: all that the next step depends on, in one file that is complete or not there.

The file is that of network/archive.py: plain JSON and arrays. A training that was killed, while it wrote too, goes on
from the last one to the same bits as one that was not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..network import archive
from ..refuse import arguments
from ..refuse.called import told
from ..refuse.expected import checking
from .history import History
from .in_progress import Training
from .optimiser import Optimiser
from .steps_on_device import fetched
from .tree import packed, unpacked
from .update_pieces import Pieces

FORM = archive.Format("throughtime.checkpoint", 1, "checkpoint", "array", "tt.training.fit", "tt.training.fit")


def generators_of(model: Any, more: Any) -> dict[str, np.random.Generator]:
    """The generators that a training draws from, by name: those of the model, and those that were handed in."""
    if not isinstance(more, Mapping):
        raise TypeError(f"`generators` is {told(more)}; expected a dict of numpy Generators by name.")
    found = {**{f"model {name}": rng for name, rng in (getattr(model, "generators", None) or {}).items()}, **more}
    for name, rng in found.items():
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"`generators[{name!r}]` is {told(rng)}; expected a numpy Generator.")
    return found


def save(path: Any, training: Training, pieces: Pieces, generators: Mapping[str, np.random.Generator]) -> None:
    """Write the file, or replace it in one step."""
    model, optimiser, history = training.model, training.optimiser, training.history
    tree = {
        "flat": fetched(model.flat),
        "optimiser": optimiser.state,
        "training": {name: fetched(getattr(training, name)) for name in PROGRESS},
        "pieces": pieces.state,
        "generators": {name: rng.bit_generator.state for name, rng in generators.items()},
        "rows": {name: np.array(column) for name, column in history.rows.items()},
        "measured": {name: [np.array(s), np.array(v)] for name, (s, v) in history.measured.items()},
    }
    skeleton, arrays = packed(tree)
    archive.write(path, FORM, {**_identity(model, optimiser), "truncate": pieces.windows, "tree": skeleton}, arrays)


PROGRESS = ("step", "pieces", "loss", "norm", "state", "best", "best_step", "best_loss", "waited")


def resume(path: Any, training: Training, pieces: Pieces, generators: Mapping[str, np.random.Generator]) -> bool:
    """Bring a training to where the file left it; False where there is none. ValueError for one of another training."""
    if not os.path.exists(arguments.path("checkpoint", path)):
        return False
    header, tree = _read(path, training.model)
    told_now = {**_identity(training.model, training.optimiser), "truncate": pieces.windows}
    for name, now in told_now.items():
        then = header.get(name)
        if name != "model" and then != (list(now) if isinstance(now, tuple) else now):
            raise ValueError(
                f'The checkpoint "{path}" is of another training: its {name} is {then}, not {now}. Name another file, '
                "or load the parameters alone, `tt.training.load_checkpoint(path, model)`."
            )
    if set(tree["generators"]) != set(generators):
        raise ValueError(
            f'The checkpoint "{path}" has the generators {sorted(tree["generators"])}; this training has '
            f"{sorted(generators)}."
        )
    training.optimiser.state = tree["optimiser"]
    pieces.state = tree["pieces"]
    for name, rng in generators.items():
        rng.bit_generator.state = tree["generators"][name]
    for name, value in tree["training"].items():
        setattr(training, name, value)
    training.model.write(tree["flat"])
    _refill(training.history, tree)
    return True


def load_checkpoint(path: Any, model: Any, optimiser: Optimiser | None = None) -> History:
    """Take the parameters of a checkpoint into a model, and its state into an optimiser; returns the `History`.

    path: a file that `fit(…, checkpoint=path)` wrote. model: one of the same parameters; it gets those with the best
    validation so far, or without validation the last. optimiser: one of the same kind, to go on with; None: none.
    FileNotFoundError where there is no such file; ValueError for one that is damaged, or of another model.

    >>> import os, tempfile, throughtime as tt
    >>> task, path = tt.tasks.Adding(length=10), os.path.join(tempfile.mkdtemp(), "adding.tt")
    >>> def model(seed):
    ...     net = tt.Network("tanh", task.inputs, 8, seed=seed)
    ...     return tt.models.Chain([net, tt.models.last, tt.models.Readout(8, task.outputs, seed=seed)])
    >>> trained, other = model(0), model(1)
    >>> optimiser = tt.training.Adam(0.01)
    >>> _ = tt.training.fit(trained, task.batches(8, seed=0), task.loss, optimiser, steps=5, checkpoint=path)
    >>> history = tt.training.load_checkpoint(path, other)
    >>> len(history), bool((other.flat == trained.flat).all())
    (5, True)
    """
    _, tree = _read(path, model)
    if optimiser is not None:
        optimiser.state = tree["optimiser"]
    best = tree["training"]["best"]
    model.write(tree["flat"] if best is None else best)
    history = History()
    _refill(history, tree)
    return history


load_checkpoint = checking(load_checkpoint, {})


def _read(path: Any, model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    if not hasattr(model, "flat") or not hasattr(model, "shapes"):
        raise TypeError(f"`model` is {told(model)}; expected a model, such as a tt.models.Chain.")
    header, arrays = archive.read(path, FORM)
    here = _shapes(model)
    if header.get("model") != here:
        there = header.get("model")
        differ = [name for name in {**here, **there} if here.get(name) != there.get(name)] if there else []
        raise ValueError(
            f'The checkpoint "{path}" is of another model: {", ".join(differ)} are not the same in both. It was '
            f"written for {there}."
        )
    return header, unpacked(header["tree"], arrays)


def _identity(model: Any, optimiser: Any) -> dict[str, Any]:
    return {"model": _shapes(model), "optimiser": re.sub(r" at 0x[0-9a-f]+", "", repr(optimiser))}


def _shapes(model: Any) -> dict[str, Any]:
    return {"dtype": str(model.flat.dtype), **{name: list(shape) for name, shape in model.shapes.items()}}


def _refill(history: History, tree: dict[str, Any]) -> None:
    history.rows.clear()
    history.rows.update({name: column.tolist() for name, column in tree["rows"].items()})
    history.measured.clear()
    history.measured.update({name: (s.tolist(), list(v)) for name, (s, v) in tree["measured"].items()})
