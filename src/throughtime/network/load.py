"""A network from the file that `Network.save` wrote."""

from __future__ import annotations

import os

from ..refuse import words
from . import on_disk
from .network import Network


@words.explained
def load(path: str | os.PathLike[str]) -> Network:
    """The network that `Network.save` wrote to `path`, its parameters bit by bit.

    A user's own cell has to be registered before, by importing the module that defines it. ValueError, in words,
    for a file that is damaged, foreign, from a newer version, or of a cell unknown here;
    FileNotFoundError if there is none. TypeError if `path` is not a str or an os.PathLike: a number would be an open
    file of this process.

    >>> import os, tempfile, throughtime as tt
    >>> path = os.path.join(tempfile.mkdtemp(), "net.tt")
    >>> tt.Network("lstm", 3, 4, seed=0).save(path)
    >>> tt.load(path).cell
    LSTM()
    """
    options, arrays = on_disk.read(path)
    return Network(**options, init=lambda network, rng: arrays)
