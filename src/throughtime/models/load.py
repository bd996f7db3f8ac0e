"""A network or a model from the file that its `save` wrote."""

from __future__ import annotations

import os
from typing import Any

from ..network import archive, on_disk
from ..network.network import Network
from ..refuse import words
from . import pieces_on_disk


@words.explained
def load(path: str | os.PathLike[str]) -> Any:
    """The network or the model that its `save` wrote to `path`, its parameters bit by bit.

    A user's own cell has to be registered before, and a model of a user's own class defined, by importing the module
    that does so. ValueError, in words, for a file that is damaged, foreign, from a newer version, or of a cell or piece
    unknown here; FileNotFoundError if there is none. TypeError if `path` is not a str or an os.PathLike: a number would
    be an open file of this process.

    >>> import os, tempfile, throughtime as tt
    >>> path = os.path.join(tempfile.mkdtemp(), "net.tt")
    >>> tt.Network("lstm", 3, 4, seed=0).save(path)
    >>> tt.load(path).cell
    LSTM()
    >>> tt.models.many_to_one("gru", 3, 5, hidden_size=8, seed=0).save(path)
    >>> tt.load(path)
    Chain(Network, last, Readout; dtype="float64", 357 parameters)
    """
    if archive.format_of(path) == pieces_on_disk.FORMAT.name:
        return pieces_on_disk.read(path)
    options, arrays = on_disk.read(path)
    return Network(**options, init=lambda network, rng: arrays)
