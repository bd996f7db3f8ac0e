"""Triangular frames as analyses use them: memory in strips, one compiled call for many steps (see triangular.py)."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import memory
from ..cpu import threads
from ..cpu.machine import machine
from ..cpu.register_tile import most_rows
from .factorisation import COLUMNS
from .frame_product import DENSE
from .triangular import kernels

Array = np.ndarray
MEETINGS = 70  # that take as long as the S*S*K multiply-adds from which a second thread gains


class Jacobians(NamedTuple):
    """The Jacobians of several steps for the compiled loop: diag(d) W diag(slope) + diag(own), or J itself.

    w is W^T with its rows padded to `line` = padded(S), d, slope and own are (steps, line); or w is J, (steps, S, S),
    and line = S. All flat, of one precision; `gap` leads from one step to the next, `first` is the step to begin with.
    """

    w: Array
    line: int
    d: Array
    slope: Array
    own: Array
    flags: int
    first: int
    steps: int
    gap: int


def padded(size: int) -> int:
    """Columns of the rows of W^T: whole tiles."""
    rows = most_rows(2)
    return -(-size // rows) * rows


def _aligned(count: int, dtype: Any) -> Array:
    """Zeros that begin on a cache line, however few."""
    size = np.dtype(dtype).itemsize
    block = memory.zeros(count + 64 // size, dtype)
    first = -block.__array_interface__["data"][0] % 64 // size
    return block[first : first + count]


class Workspace:
    """What the frames (S, K) of several sequences share: the kernels and scratch memory."""

    def __init__(self, size: int, columns: int, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.steps, sizes = kernels(self.dtype)
        width, rows, deep = sizes["WIDTH"], sizes["ROWS"], sizes["DEEP"]
        high = -(-size // width) * width
        self.width, self.strips, self.sizes = width, -(-columns // width), (size, columns, high)
        self.team = threads.get_num_threads()
        if self.team > 1 and size * size * columns <= MEETINGS * machine().meet * machine().rate:
            self.team = 1
        blocks = -(-size // rows)
        packed = max((blocks // self.team + 2) * self.team, blocks + 2) * rows * deep
        place = partial(_aligned, dtype=self.dtype)
        pivots, done = np.zeros(columns, np.int64), np.zeros(self.strips, np.int64)
        scratch = (place(width * (high + 2 * width)), place(COLUMNS * width), place(COLUMNS * width))
        near = place(self.team * deep * width)
        self.work = (*scratch, pivots, done, np.arange(size), place(packed), near, place(width))


class Frame:
    """A frame (S, K) in strips, given whole, and factorised at once."""

    def __init__(self, frame: Array, workspace: Workspace) -> None:
        self.space = workspace
        size, _, high = workspace.sizes
        count = workspace.strips * high * workspace.width
        self.frames = (_aligned(count, workspace.dtype), _aligned(count, workspace.dtype))
        for q, strip in enumerate(self._strips(0)):
            part = frame[:, q * workspace.width : (q + 1) * workspace.width]
            strip[:size, : part.shape[1]] = part
        self.order = np.arange(size)
        self.info = np.array([0, 1, 0, 0])
        self.decompose()

    def _strips(self, which: int) -> Array:
        return self.frames[which].reshape(self.space.strips, self.space.sizes[2], self.space.width)

    @property
    def whole(self) -> bool:
        """Whether the frame stands whole, between two decompositions."""
        return bool(self.info[1])

    def advance(self, jacobians: Jacobians, interval: int, end: bool, limit: float) -> tuple[int, Array]:
        """Carry it on: the steps taken, and |U_ii| of each decomposition (n, K).

        A decomposition after every `interval` steps, and after the last if `end`. Fewer steps than given where the last
        decomposition has a pivot that is not finite, or at most `limit` times the largest.
        """
        space = self.space
        diagonal = np.empty((jacobians.steps // interval + 2) * space.sizes[1], space.dtype)
        given = (
            tuple(jacobians),
            self.frames,
            space.sizes,
            interval,
            end,
            limit,
            self.order,
            diagonal,
            space.work,
            self.info,
        )
        threads.run(space.steps, given, [(k, space.team) for k in range(space.team)], (0, 1))
        count = int(self.info[2])
        return int(self.info[3]), diagonal.reshape(-1, space.sizes[1])[:count]

    def decompose(self) -> Array:
        """LU of the whole frame: |U_ii| (1, K)."""
        unused = np.ones(1, self.space.dtype)
        return self.advance(Jacobians(unused, 1, unused, unused, unused, DENSE, 0, 0, 0), 1, True, 0.0)[1]

    def entries(self, out: Array) -> None:
        """Copy a factorised frame to `out` (S, K): -L below the diagonal, U on and above it."""
        strips, width = self._strips(int(self.info[0])), self.space.width
        rows, columns = out.shape
        whole = columns // width * width
        if whole:
            out[:, :whole].reshape(rows, -1, width)[...] = strips[: whole // width, :rows].transpose(1, 0, 2)
        if whole < columns:
            out[:, whole:] = strips[whole // width, :rows, : columns - whole]

    def restore(self, both: Array, order: Array) -> None:
        """Take the entries (S, K) and the order of rows that a factorised frame had before."""
        size, width = self.space.sizes[0], self.space.width
        for q, strip in enumerate(self._strips(0)):
            part = both[:, q * width : (q + 1) * width]
            strip[:size, : part.shape[1]] = part
        self.order[...] = order
        self.info[...] = 0

    def factors(self) -> tuple[Array, Array]:
        """L (S, K) and U (K, K) of a factorised frame in float64; row i of L is row order[i] of the frame."""
        size, columns, _ = self.space.sizes
        both = np.empty((size, columns))
        self.entries(both)
        return unit_lower(both), np.triu(both[:columns])


def unit_lower(both: Array) -> Array:
    """L (S, K) of entries that hold -L below the diagonal."""
    lower = np.tril(both, -1)
    np.negative(lower, out=lower)
    np.fill_diagonal(lower, 1.0)
    return lower
