"""What the measurement of a Lyapunov spectrum asks of its parts: a source of Jacobians, and a frame that it carries.

Three frames do the same in their own way: OrthonormalFrame (few columns, small states, directions that are lost),
TriangularFrame (wide ones) and DeviceFrame (on the GPU). `measure` knows no more of them than stands here.

Dimensions: B sequences, S state size, K tangent vectors, n parts of time.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np

from ...results import Array
from .interval import Pace


class Source(Protocol):
    """Jacobians, one step after another: the trajectory of a network, or given matrices."""

    batch: int
    state_size: int
    dtype: np.dtype[Any]
    on_device: bool  # whether it is a network on the GPU, where its frame has to be
    longest: int  # steps of the longest interval that is chosen automatically
    parts: list[slice]  # of the batch, each with a result of its own: one, or the networks of an ensemble on the GPU
    placed: bool  # whether the user said where it starts
    still: Array  # (B,) whether the state never moved
    shift: float  # since the last mark: ln of what the Jacobians were divided by, to be added to every ln R_ii

    def mark(self) -> Any:
        """This point, for `back`."""
        ...

    def back(self, mark: Any) -> None:
        """Return to the point marked last: the same steps follow once more."""
        ...

    def risks(self, steps: int, columns: int) -> Array:
        """How far each of the next steps may drive the growth of so many vectors apart, nats (n,): `row_risk`."""
        ...


class Taken(NamedTuple):
    """What a frame has done in a block of steps."""

    steps: int
    logs: Array  # (n, B, K) ln R_ii of n parts of the block, of equal length
    log_det: Array  # (B,) sum of ln|det J|, where it was asked for
    interval: int  # steps from one orthonormalisation to the next
    ended: bool  # whether the source has come to its end


class Frame(Protocol):
    """Tangent vectors (B, S, K), carried forwards."""

    pace: Pace  # the judge of its intervals
    doubt: str  # what it has to say against itself; usually empty

    def whole(self) -> None:
        """From here on every exponent counts anew, also those of directions that were lost."""
        ...

    def block(self, source: Any, left: int | None, with_det: bool) -> Taken:
        """Carry the frame on over as many steps as suit it, at most `left`.

        TooLong: an interval spread too far; the block is to be taken again, from its mark, after `rewind` and with
        fewer steps. LostRank: likewise, by the orthonormal frame that the error has.
        """
        ...

    def rewind(self) -> None:
        """Return to the start of the block that has not come to its end."""
        ...
