"""The trajectory of a network as a source of Jacobians, and the states in which it may start.

Dimensions: T steps, B sequences, I inputs, S state size, K tangent vectors, L layers, N units.
"""

from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np

from ...cells.base import spec
from ...engine import of
from ...network import handed_out
from ...network.each_layer import alike
from ...refuse import states
from ...results import Array
from .interval import LONGEST_INTERVAL, enough_rows, row_risk
from .step_jacobian import Dense, Diagonal, Weights

AT_ONCE = 64  # steps whose local derivatives are worked out together
AHEAD = 16384  # units · steps whose sizes are looked at together
CHUNK_BYTES = 32 * 2**20  # states of one unrolled piece; the saved activations are a few times that


class Trajectory:
    """Jacobians along a trajectory of a network, as a `Source`: unrolled piece by piece, so that memory does not grow
    with time. On the GPU the networks of an ensemble go side by side, and what has to be known here is fetched."""

    longest, shift = LONGEST_INTERVAL, 0.0

    def __init__(self, net: Any, inputs: Array | None, each: int, state: Any, placed: bool = True) -> None:
        self.net, self.inputs, self.state, self.placed = net, inputs, state, placed
        self.each = each  # sequences that the network is given; of an ensemble on the GPU it has several times as many
        self.engine, self.on_device = net.engine, net.device == "cuda"
        self.batch = each * net.networks
        self.parts = [slice(k * each, (k + 1) * each) for k in range(net.networks)]
        self.state_size, self.dtype = int(net.state_size), np.dtype(net.dtype)
        records = [spec(cell) for cell in net.cells]
        self.emits = any(record.emits for record in records)
        self.vanilla = records[0].plain and net.num_layers == records[0].gates == records[0].states == 1
        self.position = 0  # steps of input already unrolled
        row = each * (self.state_size + net.input_size) * self.dtype.itemsize
        self.chunk = int(np.clip(CHUNK_BYTES // max(row, 1), 16, 2048))
        self.run: Any = None
        self.weights: Weights | None = None
        self.inside, self.length = 0, 0  # steps of the current piece: already used, and in all
        self.still = np.ones(self.batch, bool)  # sequences whose state has not moved since the warm-up
        self.known: tuple[int, int] = (0, 0)  # steps of it whose local derivatives stand in
        self.local: Any = None  # these, as a Diagonal
        self.foreseen: tuple[Any, int, int, int, Array] = (None, 0, 0, 0, np.zeros(0))  # run, steps, columns, risks

    def mark(self) -> Any:
        """This point of the trajectory, for `back`."""
        return self.state, self.position, self.run, self.inside, self.length, self.known, self.local

    def back(self, mark: Any) -> None:
        """Return to a marked point: the same steps follow once more."""
        self.state, self.position, self.run, self.inside, self.length, self.known, self.local = mark

    def skip(self, steps: int) -> None:
        """Move the state on without a frame."""
        while steps:
            taken = min(steps, self.chunk)
            self._unroll(taken)
            steps -= taken
        self.run = None
        self.still[...] = True

    def advance(self, frame: Array, steps: int, with_det: bool) -> tuple[Array, int, Array]:
        """Carry a frame (B, S, K) over up to `steps` steps: the frame, the steps taken, the sum of ln|det J| (B,)."""
        taken, log_det = 0, np.zeros(self.batch)
        for start, stop in self.pieces(steps):
            if with_det or 2 * frame.shape[2] > self.state_size:  # a wide frame: form each Jacobian, multiply by BLAS
                for jacobian in self._of_piece(start, stop):
                    with np.errstate(all="ignore"):
                        for step in range(jacobian.steps):
                            frame = jacobian.dense(step) @ frame  # in float64, of float32 too: no rank lost to it
                    if with_det:
                        log_det = log_det + jacobian.log_det()
            else:
                frame = self.run.jvp(frame, start, stop)
            taken += stop - start
        return frame, taken, log_det

    def jacobians(self, steps: int) -> Array:
        """The Jacobians of up to `steps` further steps, fewer where a piece of the trajectory ends: (n, B, S, S)."""
        part = self._part(steps)
        self.inside += part
        if not part:
            return np.empty((0, self.batch, self.state_size, self.state_size))
        return np.asarray(self.run.jacobians(self.inside - part, self.inside))

    def step_jacobians(self, steps: int) -> Iterator[Dense | Diagonal]:
        """The Jacobians of up to `steps` further steps, in the form in which they are cheap."""
        for start, stop in self.pieces(steps):
            yield from self._of_piece(start, stop)

    def risks(self, steps: int, columns: int) -> Array:
        """How far each of up to `steps` further steps may tell this many tangent vectors apart, nats (n,): see
        `row_risk`. Fewer where a piece of the trajectory ends."""
        run, low, high, known, of = self.foreseen
        if run is self.run and known == columns and low <= self.inside and self.inside + steps <= high:
            return of[self.inside - low : self.inside - low + steps]
        steps = self._part(steps)
        if not (run is self.run and known == columns and low <= self.inside and self.inside + steps <= high):
            units = [min(n, 2 * enough_rows(columns) + 8) for n in self.net.hidden_sizes]  # of a few no less is seen
            low, ahead = self.inside, int(np.clip(AHEAD // (self.each * max(units)), AT_ONCE, 8 * AT_ONCE))
            high = min(low + max(ahead, steps), self.length)
            of = np.zeros(high - low)
            for k in range(self.net.num_layers):
                sizes = _row_sizes(self.run.derivatives(k, low, high, units[k]))
                of = np.maximum(of, row_risk(sizes, columns).max(axis=1, initial=0.0))
            self.foreseen = (self.run, low, high, columns, of)
        return of[self.inside - low : self.inside - low + steps]

    def pieces(self, steps: int) -> Iterator[tuple[int, int]]:
        """The first and the last state, in the present piece `run`, of up to `steps` further steps."""
        while steps:
            part = self._part(steps)
            if not part:
                return
            self.inside += part
            steps -= part
            yield self.inside - part, self.inside

    def diagonal(self, run: Any, start: int, stop: int) -> Diagonal:
        """The Jacobians from states[start] of a piece to states[stop], of a vanilla network."""
        if self.weights is None:
            matrix = self.engine.arrays.fetched(self.net.layer(0)[1])
            if self.on_device:  # one for each network
                matrix = matrix[0] if len(matrix) == 1 else np.repeat(matrix, self.each, axis=0)
            self.weights = Weights(matrix)
        local = run.derivatives(0, start, stop)
        (sent,) = local.sent_before if self.emits else (None,)
        ((own,),) = local.by_state
        given = (local.by_recurrent[0][0], sent, own if np.any(own) else None)
        shape = local.states[0][1:].shape
        parts: list[Any] = [None if part is None else np.broadcast_to(part, shape) for part in given]
        return Diagonal(self.weights, *parts)

    def _part(self, steps: int) -> int:
        """How many of `steps` the present piece still holds; the next piece is unrolled where it is used up."""
        if self.run is None or self.inside == self.length:
            left = self.chunk if self.inputs is None else min(self.chunk, len(self.inputs) - self.position)
            if left == 0:
                return 0
            self._unroll(left)
        return min(steps, self.length - self.inside)

    def _of_piece(self, start: int, stop: int) -> Iterator[Dense | Diagonal]:
        """The Jacobians from states[start] of the present piece to states[stop]."""
        if not self.vanilla:
            units = self.net.hidden_sizes[0] if self.net.num_layers == 1 and not self.emits else self.state_size
            for t in range(start + 1, stop + 1):
                yield Dense(self.run.jacobian(t), units)
            return
        while start < stop:
            if not self.known[0] <= start < self.known[1]:
                self.known = (start, min(start + AT_ONCE, self.length))
                self.local = self.diagonal(self.run, *self.known)
            low, end = self.known[0], min(stop, self.known[1])
            yield self.local.part(start - low, end - low)
            start = end

    def _unroll(self, steps: int) -> None:
        if self.inputs is None:
            piece = np.zeros((steps, self.each, self.net.input_size), dtype=self.dtype)
        else:
            piece = self.inputs[self.position : self.position + steps]
        self.run = self.net.unroll(piece.swapaxes(0, 1) if self.net.batch_first else piece, state=self.state)
        self.state = self.run.final_state
        self.position += steps
        self.inside, self.length, self.known = 0, steps, (0, 0)
        self._watch(*(self.engine.arrays.fetched(self.run.states[t]) for t in (0, 1, steps)))

    def _watch(self, start: Array, following: Array, last: Array) -> None:
        with np.errstate(invalid="ignore"):
            moved = np.maximum(np.abs(following - start), np.abs(last - start)).max(axis=1, initial=0.0)
            least = 4.0 * float(np.finfo(self.dtype).eps) * np.abs(start).max(axis=1, initial=0.0)
            self.still &= moved <= least


def _row_sizes(local: Any) -> Array:
    """The largest derivative of the next states of the units by what they receive and by their own states: (n, B,
    P*units), P states of a unit."""
    shape, sizes = local.states[0][1:].shape, []
    with np.errstate(all="ignore"):
        for received, own in zip(local.by_recurrent, local.by_state, strict=True):
            sizes.append(reduce(np.maximum, (np.abs(part) for part in (*received, *own))))
        return np.concatenate([np.broadcast_to(part, shape) for part in sizes], axis=2)


def initial_state(net: Any, state: Any, batch: int, had_batch: bool) -> Any:
    """A state in every form that net.unroll takes, as it takes it with an axis of the batch."""
    state = net.engine.arrays.fetched(state)
    if not net.stacked:
        return as_parts(states.state(state, net, batch, had_batch), net)

    def with_batch(part: Any) -> Any:  # of all networks or of one: the run will see
        found = np.asarray(part)
        return found if had_batch or found.ndim != 2 else found[:, None]

    return each_part(with_batch, state, net)


def each_part(function: Any, state: Any, net: Any) -> Any:
    """A state in PyTorch's shapes with `function` of every array in place of it: h, a tuple (h, c, …), or of unlike
    layers a list of such."""

    def in_one(own: Any, count: int) -> Any:
        if count > 1 and isinstance(own, (tuple, list)):
            return tuple(None if part is None else function(part) for part in own)
        return None if own is None else function(own)

    each = list(zip(net.unit_states, net.hidden_sizes, strict=True))
    if alike(each) or not isinstance(state, (tuple, list)):
        return in_one(state, each[0][0])
    return [in_one(own, count) for own, (count, _) in zip(state, each, strict=False)]


def as_parts(flat: Array, net: Any) -> Any:
    """(B, S) as net.unroll takes it for a batch, in PyTorch's shapes."""
    return handed_out.state(flat, net, of("cpu").arrays, True)


def random_state(net: Any, seed: Any) -> Any:
    """Uniform in [−1, 1] for every part of the state of one sequence, as `net.unroll` takes it."""
    rng = np.random.default_rng(seed)
    like = as_parts(np.zeros((1, net.state_size), net.dtype), net)
    return each_part(lambda part: rng.uniform(-1.0, 1.0, part.shape).astype(net.dtype), like, net)
