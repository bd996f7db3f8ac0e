"""Where the Jacobians of a Lyapunov spectrum come from: a network along its trajectory, or given matrices.

Dimensions: T steps, B sequences, I inputs, S state size, K tangent vectors.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import islice
from typing import Any

import numpy as np

from ...cells.base import on_arrays, spec, unit_derivatives
from ...network import norms
from ...refuse import checks, finite
from ...results import Array
from .step_jacobian import Dense, Diagonal, Weights

Local = Dense | Diagonal

AT_ONCE = 64  # steps whose local derivatives are worked out together
AHEAD = 16384  # units · steps whose sizes are looked at together
CHUNK_BYTES = 32 * 2**20  # states of one unrolled piece; the saved activations are a few times that


class NetworkTangent:
    """Jacobians along a trajectory of a network, unrolled piece by piece so that memory does not grow with time."""

    def __init__(self, net: Any, inputs: Array | None, batch: int, state: Any) -> None:
        self.net, self.inputs, self.batch, self.state = net, inputs, batch, state
        self.each = batch  # sequences that the network is given; of an ensemble on the GPU it has several times as many
        self.state_size, self.dtype = int(net.state_size), np.dtype(net.dtype)
        self.position = 0  # steps of input already unrolled
        row = batch * (self.state_size + net.input_size) * self.dtype.itemsize
        self.chunk = int(np.clip(CHUNK_BYTES // max(row, 1), 16, 2048))
        self.run: Any = None
        self.weights: Weights | None = None
        self.inside, self.length = 0, 0  # steps of the current piece: already used, and in all
        self.placed = True  # whether the user said where the state starts
        self.still = np.ones(self.batch, bool)  # sequences whose state has not moved since the warm-up
        self.known: tuple[int, int] = (0, 0)  # steps of it whose local derivatives stand in
        self.slopes: tuple[Any, ...] = ()
        self.foreseen: tuple[Any, int, int, int, Array] = (None, 0, 0, 0, np.zeros(0))  # run, steps, columns, risks

    def mark(self) -> Any:
        """This point of the trajectory, for `back`."""
        return self.state, self.position, self.run, self.inside, self.length, self.known, self.slopes

    def back(self, mark: Any) -> None:
        """Return to a marked point: the same steps follow once more."""
        self.state, self.position, self.run, self.inside, self.length, self.known, self.slopes = mark

    def skip(self, steps: int) -> None:
        """Move the state on without a frame."""
        while steps:
            taken = min(steps, self.chunk)
            self._unroll(taken)
            steps -= taken
        self.run = None
        self.still[...] = True

    def advance(self, frame: Array, steps: int, with_det: bool) -> tuple[Array, int, Array]:
        taken, log_det = 0, np.zeros(self.batch)
        for start, stop in self.pieces(steps):
            if with_det or 2 * frame.shape[2] > self.state_size:  # a wide frame: form each Jacobian, multiply by BLAS
                for local in self._locals(start, stop):
                    with np.errstate(all="ignore"):
                        for step in range(local.steps):
                            frame = local.dense(step) @ frame  # in float64, of float32 too: no rank lost to it
                    if with_det:
                        log_det = log_det + local.log_det()
            else:
                frame = self.run.jvp(frame, start, stop)
            taken += stop - start
        return frame, taken, log_det

    def together(self, steps: int) -> Array:
        """The Jacobians of up to `steps` further steps, fewer where a piece of the trajectory ends: (n, B, S, S)."""
        part = self._part(steps)
        self.inside += part
        if not part:
            return np.empty((0, self.batch, self.state_size, self.state_size))
        return np.asarray(self.run.jacobians(self.inside - part, self.inside))

    def locals(self, steps: int) -> Iterator[Local]:
        """The Jacobians of up to `steps` further steps."""
        for start, stop in self.pieces(steps):
            yield from self._locals(start, stop)

    def risks(self, steps: int, columns: int) -> Array:
        """How far each of up to `steps` further steps may tell this many tangent vectors apart, nats (n,): see
        `row_risk`. Fewer where a piece of the trajectory ends."""
        run, low, high, known, of = self.foreseen
        if run is self.run and known == columns and low <= self.inside and self.inside + steps <= high:
            return of[self.inside - low : self.inside - low + steps]
        steps = self._part(steps)
        if not (run is self.run and known == columns and low <= self.inside and self.inside + steps <= high):
            units = min(self.net.hidden_size, 2 * _enough_rows(columns) + 8)  # of a few the risk is no less
            low, ahead = self.inside, int(np.clip(AHEAD // (self.each * units), AT_ONCE, 8 * AT_ONCE))
            high = min(low + max(ahead, steps), self.length)
            of = np.zeros(high - low)
            for (layer,) in self.run._layers:
                of = np.maximum(of, row_risk(unit_sizes(layer, low, high, units), columns).max(axis=1, initial=0.0))
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

    def _part(self, steps: int) -> int:
        """How many of `steps` the present piece still holds; the next piece is unrolled where it is used up."""
        if self.run is None or self.inside == self.length:
            left = self.chunk if self.inputs is None else min(self.chunk, len(self.inputs) - self.position)
            if left == 0:
                return 0
            self._unroll(left)
        return min(steps, self.length - self.inside)

    def _locals(self, start: int, stop: int) -> Iterator[Local]:
        """The Jacobians from states[start] of the present piece to states[stop]."""
        record = spec(self.net.cell)
        if self.net.num_layers > 1 or record.gates > 1 or record.states > 1:
            units = self.net.hidden_size if self.net.num_layers == 1 and not record.emits else self.state_size
            for t in range(start + 1, stop + 1):
                yield Dense(self.run.jacobian(t), units)
            return
        if self.weights is None:
            self.weights = Weights(self.net.layer(0)[1])
        while start < stop:
            if not self.known[0] <= start < self.known[1]:
                low, high = start, min(start + AT_ONCE, self.length)
                self.known, self.slopes = (low, high), slopes(self._cell(), *self._kept(self.run, low, high))
            low, end = self.known[0], min(stop, self.known[1])
            parts: list[Any] = [None if part is None else part[start - low : end - low] for part in self.slopes]
            yield Diagonal(self.weights, *parts)
            start = end

    def _cell(self) -> Any:
        """The cell of the present piece, in the version of its code that was unrolled."""
        return self.run._layers[0][0].cell

    def _kept(self, run: Any, start: int, stop: int) -> tuple[Array, tuple[Array, ...]]:
        """Of a layer of one gate and one state: its states from `start` to `stop`, and what these steps saved."""
        (layer,) = run._layers[0]
        return layer.states[start : stop + 1], layer.saved_by_unit(start, stop)

    def _unroll(self, steps: int) -> None:
        if self.inputs is None:
            piece = np.zeros((steps, self.each, self.net.input_size), dtype=self.dtype)
        else:
            piece = self.inputs[self.position : self.position + steps]
        self.run = self.net.unroll(piece.swapaxes(0, 1) if self.net.batch_first else piece, state=self.state)
        self.state = self.run.final_state
        self.position += steps
        self.inside, self.length, self.known = 0, steps, (0, 0)
        self._watch(*(self._states(t) for t in (0, 1, steps)))

    def _watch(self, start: Array, following: Array, last: Array) -> None:
        with np.errstate(invalid="ignore"):
            moved = np.maximum(np.abs(following - start), np.abs(last - start)).max(axis=1, initial=0.0)
            least = 4.0 * float(np.finfo(self.dtype).eps) * np.abs(start).max(axis=1, initial=0.0)
            self.still &= moved <= least

    def _states(self, t: int) -> Array:
        """The states (B, S) of the present piece at one time."""
        return np.asarray(self.run.states[t])


def slopes(cell: Any, states: Array, saved: tuple[Array, ...]) -> tuple[Array, Array | None, Array | None]:
    """Of units of one gate and one state: ds_t/dr, de/ds_{t-1} and ds_t/ds_{t-1} without the part through r, each
    (n, B, N), None for ones in the second place and for zeros in the third; from states (n+1, B, N)."""
    before, after = states[:-1], states[1:]
    ((_, (d,), (own,)),) = unit_derivatives(cell, (before,), (after,), saved)
    sent = on_arrays(lambda s: (cell.emit_slope(s),), ((before,),))[0][0] if spec(cell).emits else None
    given = (sent, own if np.any(own) else None)
    sent, own = (None if part is None else np.broadcast_to(part, before.shape) for part in given)
    return np.broadcast_to(d, before.shape), sent, own


def unit_sizes(layer: Any, start: int, stop: int, units: int) -> Array:
    """The largest derivative of the next states of the first units by what they receive and by their own states:
    (n, B, P*units)."""
    count, n = spec(layer.cell).states, layer.units
    places = [layer.offset + i * n for i in range(count)]
    parts = tuple(layer.states[start : stop + 1, :, place : place + units] for place in places)
    before, after = tuple(part[:-1] for part in parts), tuple(part[1:] for part in parts)
    saved, found = tuple(part[:, :, :units] for part in layer.saved_by_unit(start, stop)), []
    with np.errstate(all="ignore"):
        for _, received, own in unit_derivatives(layer.cell, before, after, saved):
            found.append(reduce(np.maximum, (np.abs(part) for part in (*received, *own))))
        return np.concatenate([np.broadcast_to(part, before[0].shape) for part in found], axis=2)


def _enough_rows(columns: int) -> int:
    return columns + columns // 4 + 2


def row_risk(sizes: Array, columns: int) -> Array:
    """How far apart a Jacobian whose rows have these sizes (..., S) may drive the growth of K tangent vectors: the
    logarithm of the largest row over the smallest of the largest 1.25 K + 2. So many rows of common size leave K
    vectors independent; with fewer, some may sink to rounding, and rise again in a later step."""
    place = sizes.shape[-1] - min(_enough_rows(columns), sizes.shape[-1])
    with np.errstate(all="ignore"):
        ratio = np.log(sizes.max(axis=-1)) - np.log(np.partition(sizes, place, axis=-1)[..., place])
    return np.asarray(np.where(np.isnan(ratio), 0.0, ratio))


class MatrixTangent:
    """The product of an iterator of matrices."""

    batch = 1
    dtype = np.dtype(np.float64)
    longest = 6  # steps of an interval: the rows of any matrices do not tell what they hide, and a QR costs little

    def __init__(self, matrices: Iterator[Array], size: int) -> None:
        self.matrices, self.state_size = matrices, size
        self.read: list[Array] = []  # since the last mark
        self.again: deque[Array] = deque()  # to be given once more
        self.shift = 0.0  # since the last mark: ln of the powers of 2 by which matrices were divided

    def mark(self) -> Any:
        """This point of the product, for `back`; the matrices after it are kept until the next mark."""
        self.read, self.shift = [], 0.0

    def back(self, mark: Any) -> None:
        """Return to the last mark: the same matrices follow once more."""
        self.again.extendleft(reversed(self.read))
        self.read, self.shift = [], 0.0

    def risks(self, steps: int, columns: int) -> Array:
        """As those of `NetworkTangent`; the matrices are read ahead."""
        while len(self.again) < steps:
            matrix = next(self.matrices, None)
            if matrix is None:
                break
            self.again.append(matrix)
        sizes = np.array([np.abs(matrix).max(axis=1) for matrix in islice(self.again, steps)])
        return row_risk(sizes, columns) if sizes.size else np.zeros(0)

    def _next(self, steps: int) -> Iterator[Array]:
        for _ in range(steps):
            matrix = self.again.popleft() if self.again else next(self.matrices, None)
            if matrix is None:
                return
            self.read.append(matrix)
            matrix, shift = norms.within_range(matrix)
            self.shift += shift
            yield matrix

    def advance(self, frame: Array, steps: int, with_det: bool) -> tuple[Array, int, Array]:
        taken, log_det = 0, np.zeros(1)
        for matrix in self._next(steps):
            with np.errstate(all="ignore"):  # overflow ends as NaN exponents, and the result says so
                frame = matrix @ frame
            if with_det:
                log_det = log_det + Dense(matrix[None], len(matrix)).log_det()
            taken += 1
        return frame, taken, log_det

    def together(self, steps: int) -> Array:
        """Up to `steps` further matrices, (n, 1, S, S)."""
        found = list(self._next(steps))
        return np.array(found).reshape(len(found), 1, self.state_size, self.state_size)

    def locals(self, steps: int) -> Iterator[Local]:
        """The matrices of up to `steps` further steps."""
        for matrix in self._next(steps):
            yield Dense(matrix[None], len(matrix))


def checked_matrices(jacobians: Iterable[Any], what: str) -> Iterator[Array]:
    """Each matrix as it is read, in float64; what is none, or has no such `what`, is refused in words."""
    if isinstance(jacobians, np.ndarray) and jacobians.ndim != 3:
        raise ValueError(
            f"`jacobians` has shape {jacobians.shape}, but a sequence of "
            "Jacobians is (time, S, S); for one matrix pass jacobians[None]"
        )
    shape = None
    for t, given in enumerate(jacobians):
        matrix = checks.numbers(f"jacobians[{t}]", given).astype(np.float64, copy=False)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
            raise ValueError(
                f"`jacobians[{t}]` has shape {matrix.shape}, but a Jacobian of a state onto the next is square: (S, S)"
            )
        if shape is not None and matrix.shape != shape:
            raise ValueError(
                f"`jacobians[{t}]` has shape {matrix.shape}, but the "
                f"ones before it have {shape}: one state size throughout"
            )
        shape = matrix.shape
        finite.matrix(f"jacobians[{t}]", matrix, what)
        yield matrix


def initial_state(net: Any, state: Any, batch: int, had_batch: bool) -> Any:
    """A state in every form that net.unroll takes, as it takes it with an axis of the batch."""
    if getattr(net, "device", "cpu") == "cuda":
        from .device_frame import on_host  # late: it loads Numba's CUDA package

        state = on_host(state)
    if getattr(net, "stacked", False):  # of all networks or of one: the run will see
        several = isinstance(state, (tuple, list)) and spec(net.cell).states > 1
        parts = [None if part is None else np.asarray(part) for part in (state if several else (state,))]
        parts = [part if part is None or had_batch or part.ndim != 2 else part[:, None] for part in parts]
        return tuple(parts) if several else parts[0]
    return as_parts(checks.state(state, net, batch, had_batch), net)


def as_parts(flat: Array, net: Any) -> Any:
    """(B, S) as net.unroll takes it for a batch: h (L, B, N), or a tuple (h, c, …) of such."""
    parts = flat.reshape(len(flat), net.num_layers, -1, net.hidden_size).transpose(2, 1, 0, 3)
    found = tuple(np.ascontiguousarray(part) for part in parts)
    return found[0] if len(found) == 1 else found


def random_state(net: Any, seed: Any) -> Any:
    """Uniform in [−1, 1] for every part of the state: (layers, 1, N), or a tuple of them as `net.unroll` takes it."""
    rng = np.random.default_rng(seed)
    parts = net.state_size // (net.num_layers * net.hidden_size)
    drawn = [rng.uniform(-1.0, 1.0, (net.num_layers, 1, net.hidden_size)).astype(net.dtype) for _ in range(parts)]
    return drawn[0] if parts == 1 else tuple(drawn)
