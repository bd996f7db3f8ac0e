"""Text as a stream of bytes: parallel lanes that go on from batch to batch, for truncated backpropagation."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..refuse import arguments
from ..refuse.expected import checking
from .batch import Array, Batch
from .epochs import Batches, stretches
from .task import explain_methods, probability


@dataclass(frozen=True, repr=False)
class TextStream:
    """A text in parallel lanes, to predict the next byte; made by `text_stream`.

    Fields:
        tokens: (n,) of the training part, bytes that are numbers into the vocabulary.
        held_out: (m,) of the rest.
        vocabulary: the bytes that occur, in their order.
        lanes: B, the sequences of a batch.
        length: T, the steps of a batch.
    """

    tokens: Array
    held_out: Array
    vocabulary: bytes
    lanes: int
    length: int

    def __repr__(self) -> str:
        return (
            f"TextStream of {len(self.tokens)} bytes and {len(self.held_out)} held out, {len(self.vocabulary)} "
            f"different ones, in {self.lanes} lanes of {self.length} steps a batch"
        )

    @property
    def inputs(self) -> int:
        """Different bytes: tokens of the input, and outputs."""
        return len(self.vocabulary)

    @property
    def outputs(self) -> int:
        """Different bytes."""
        return len(self.vocabulary)

    @property
    def baseline(self) -> float:
        """Cross-entropy of the held-out bytes, nats per byte, of a model that knows how often each byte comes in the
        training part (and one time more, so that none has probability 0); over ln 2 it is in bits. NaN if none is held
        out."""
        counts = np.bincount(self.tokens, minlength=len(self.vocabulary)) + 1.0
        return float(-np.log(counts / counts.sum())[self.held_out[1:]].mean()) if len(self.held_out) > 1 else math.nan

    def batches(self) -> Batches:
        """`Batches` of the training part without end: x (T, B) and targets (T, B) tokens, one byte apart.

        The text is cut into B lanes; batch after batch goes on along all of them (`continues`), to their end, where an
        epoch is over and the next begins anew. The last batch of an epoch is shorter; fewer than B bytes are left out.
        """
        return self._along(self.tokens, None)

    def held_out_batches(self) -> Batches:
        """`Batches` of the held-out part, once. ValueError where it has not B + 1 bytes."""
        return self._along(self.held_out, 1)

    def encode(self, text: Any) -> Array:
        """Tokens (n,) of bytes, or of a `text` in UTF-8. ValueError for a byte that is not in the vocabulary."""
        if not isinstance(text, (bytes, str)):
            raise TypeError(f"`text` is {arguments.kind(text)}; expected bytes, or a text.")
        found = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        table = np.full(256, -1)
        table[np.frombuffer(self.vocabulary, np.uint8)] = np.arange(len(self.vocabulary))
        tokens = table[np.frombuffer(found, np.uint8)]
        if (tokens < 0).any():
            raise ValueError(f"`text` has the byte {found[int(tokens.argmin())]:#04x}, which is not in the vocabulary.")
        return tokens

    def decode(self, tokens: Array) -> bytes:
        """The bytes of `tokens`, whole numbers below `inputs`; ValueError for others."""
        if tokens.size and (tokens.dtype.kind not in "iu" or not 0 <= tokens.min() <= tokens.max() < self.inputs):
            raise ValueError(f"`tokens` holds others than whole numbers from 0 to {self.inputs - 1}.")
        return np.frombuffer(self.vocabulary, np.uint8)[tokens.astype(int)].tobytes()

    def _along(self, tokens: Array, passes: int | None) -> Batches:
        lane = (len(tokens) - 1) // self.lanes
        if lane < 1:
            raise ValueError(f"{len(tokens)} bytes are too few for {self.lanes} lanes; expected one more at least.")
        starts = lane * np.arange(self.lanes)
        return Batches(partial(stretches, lane, self.length), partial(self._take, tokens, lane, starts), 0, passes)

    def _take(self, tokens: Array, lane: int, starts: Array, start: int) -> Batch:
        place = np.arange(start, min(start + self.length, lane))[:, None] + starts
        return Batch(tokens[place].astype(int), tokens[place + 1].astype(int), continues=start > 0)


@checking
def text_stream(source: Any, batch: int, length: int, *, held_out: float = 0.1) -> TextStream:
    """A file, or bytes, as a stream of tokens: B lanes of the text, T steps at a time, to predict the next byte.

    source: the name of a file, a str or a Path, or the text itself as bytes.
    batch, length: B and T. held_out: the share at the end that is kept for validation.
    Returns `TextStream`: .batches(), endless, whose state a network carries from batch to batch (`continues`);
    .held_out_batches(), one pass; .vocabulary, .encode, .decode, .baseline. Pieces as in Karpathy, Johnson & Li 2015,
    arXiv:1506.02078: B = T = 100.

    FileNotFoundError for a file that is not there, TypeError for what is no name and no bytes, ValueError for a text
    shorter than one byte for each lane and one more.

    >>> import throughtime as tt
    >>> stream = tt.tasks.text_stream(b"to be or not to be, " * 50, batch=4, length=50)
    >>> stream
    TextStream of 900 bytes and 100 held out, 8 different ones, in 4 lanes of 50 steps a batch
    >>> batches = stream.batches()
    >>> [next(batches).continues for _ in range(6)]
    [False, True, True, True, True, False]
    >>> x = next(batches).x
    >>> x.shape, stream.decode(x[:13, 0])
    ((50, 4), b'ot to be, to ')
    """
    batch, length = arguments.size("batch", batch), arguments.size("length", length)
    held_out = probability("held_out", held_out)
    text = source if isinstance(source, bytes) else _read(source)
    found = np.frombuffer(text, np.uint8)
    used = np.unique(found)
    table = np.zeros(256, np.uint8)  # one byte each: a text of 30 MB stays one
    table[used] = np.arange(len(used))
    split = len(found) - round(held_out * len(found))
    if split < batch + 1:
        raise ValueError(
            f"`source` has {len(found)} bytes, {split} of them to train on; {batch} lanes need {batch + 1} at least."
        )
    tokens = table[found]
    return TextStream(tokens[:split], tokens[split:], used.tobytes(), batch, length)


def _read(source: Any) -> bytes:
    if isinstance(source, str) and ("\n" in source or max(map(len, source.split(os.sep))) > 255):
        raise ValueError(
            "`source` is a text; a str is the name of a file, and a text itself is bytes: `text.encode()`."
        )
    name = arguments.path("source", source)
    if os.path.isdir(name):
        raise ValueError(f"`source` is a folder, {name!r}; join its files: `b''.join(p.read_bytes() for p in …)`.")
    try:
        return Path(name).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"`source`: there is no file {arguments.kind(name)}. A text itself is passed as bytes, `text.encode()`."
        ) from None
    except OSError as error:
        raise ValueError(f"`source` cannot be read: {error}.") from error


explain_methods(TextStream)
