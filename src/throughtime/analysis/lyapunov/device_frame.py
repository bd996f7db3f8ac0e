"""Lyapunov spectra on the GPU, where frames stay there.

Dimensions: T steps, B sequences, S state size, K tangent vectors.
"""

from typing import Any

import numpy as np

from ...cells.base import spec
from ...engine.cuda import arrays, batched_qr, device
from ...results import Array
from .interval import Pace, spreads
from .step_jacobian import Diagonal, Weights
from .trajectory import NetworkTangent, slopes


class DeviceTangent(NetworkTangent):
    """The trajectory of a network on the device, or of all networks of an ensemble side by side."""

    def __init__(self, net: Any, inputs: Array | None, batch: int, state: Any) -> None:
        super().__init__(net, inputs, batch, state)
        self.batch = batch * net.networks
        self.still = np.ones(self.batch, bool)
        self.parts = [slice(k * batch, (k + 1) * batch) for k in range(net.networks)] if net.stacked else None

    def log_det(self, run: Any, start: int, stop: int) -> Array:
        """The sum of ln|det J| (B,) over these steps of a piece of the trajectory: of vanilla units from ln|det W| and
        the slopes, of others on the device."""
        record = spec(self.net.cell)
        with device.on(run.stream):
            if self.net.num_layers == record.gates == record.states == 1:
                d, sent, own = slopes(run._layers[0][0].cell, *self._kept(run, start, stop))
                if own is None:
                    return Diagonal(self._weights(), d, sent, None).log_det()
            return log_det(run, start, stop)

    def _weights(self) -> Weights:
        if self.weights is None:
            matrices = device.to_host(self.net.layer(0)[1])
            self.weights = Weights(matrices[0] if len(matrices) == 1 else np.repeat(matrices, self.each, axis=0))
        return self.weights

    def _kept(self, run: Any, start: int, stop: int) -> tuple[Array, tuple[Array, ...]]:
        (layer,) = run._layers[0]
        kept, step = layer.record.saved, layer.batch * layer.record.saved * layer.units
        saved = device.to_host(layer.saved[start * step : stop * step]) if kept else np.empty(0, self.dtype)
        saved = saved.reshape(stop - start, layer.batch, kept, layer.units)
        return device.to_host(run.states[start : stop + 1]), tuple(np.moveaxis(saved, 2, 0))

    def risks(self, steps: int, columns: int) -> Array:
        """Not known without fetching what the steps saved: only what intervals show is judged."""
        return np.zeros(steps)

    def _states(self, t: int) -> Array:
        return device.to_host(self.run.states[t])

    def own_frame(self, frame: Array) -> "DeviceFrame":
        """The frame (B, S, K) on the device."""
        return DeviceFrame(np.repeat(frame[:1], self.batch, axis=0).astype(self.dtype))


def on_host(state: Any) -> Any:
    """A state whose parts may lie on the device, with all of them in NumPy or as they came."""
    if isinstance(state, (tuple, list)):
        return type(state)(on_host(part) for part in state)
    return device.to_host(device.wrap(state)) if device.on_device(state) else state


class DeviceFrame:
    """Tangent vectors that stay on the device between orthonormalisations."""

    def __init__(self, frame: Array) -> None:
        self.shape, self.dtype = frame.shape, frame.dtype
        self.columns = device.to_device(np.ascontiguousarray(frame.swapaxes(1, 2)))  # (B, K, S), as the kernels have it
        self.work = batched_qr.workspace(self.shape[0], self.shape[2], self.shape[1], self.dtype)
        self.pace: Pace | None = None  # the judge of intervals, where they can be taken again
        self.start = self.columns  # of the last block
        self.lost = np.zeros((self.shape[0], self.shape[2]), bool)  # exponents of -inf
        self.broken = np.zeros(self.shape[0], bool)  # sequences that have become NaN
        self.before, self.doubt = (self.lost, self.broken), ""

    def rates(self, source: DeviceTangent, steps: int) -> tuple[Array, float]:
        """Growth rates (B, K) of another frame that starts here, after as many steps to align; the largest spread of a
        single step."""
        other = DeviceFrame(device.to_host(self.columns).swapaxes(1, 2))
        other.block(source, steps, 1, False)
        found = [other.block(source, 1, 1, False) for _ in range(steps)]
        logs = np.array(
            [logs for taken, logs, _ in found if taken] or [np.full((self.shape[0], self.shape[2]), np.nan)]
        )
        worst = spreads(logs)
        return logs.mean(axis=0), float(worst[~np.isnan(worst)].max(initial=0.0))

    def whole(self) -> None:
        """From here on every exponent counts anew."""
        self.lost = np.zeros_like(self.lost)

    def rewind(self) -> None:
        """Return to the start of the last block, which is to be taken again."""
        self.columns, (self.lost, self.broken) = self.start, self.before

    def block(self, source: DeviceTangent, steps: int, interval: int, with_det: bool) -> tuple[int, Array, Array]:
        """Carry the frames over up to `steps` steps: steps taken, ln R_ii over all of them (B, K), sum of ln|det J|.

        TooLong: where the block is to be taken again, after `rewind`. What is lost in a single step stays lost.
        """
        self.start, self.before = self.columns, (self.lost, self.broken)
        logs, log_det, done = np.zeros((self.shape[0], self.shape[2])), np.zeros(self.shape[0]), 0
        grown, lengths, windows = [], [], list[tuple[Any, int, int]]()
        while done < steps:
            wanted, taken = min(interval, steps - done), 0
            for start, stop in source.pieces(wanted):
                self.columns = source.run.jvp_rows(self.columns, start, stop)
                first = windows.pop()[1] if windows and windows[-1][::2] == (source.run, start) else start
                windows.append((source.run, first, stop))
                taken += stop - start
            if taken:
                rows = self.columns.reshape((self.shape[0] * self.shape[2], self.shape[1]))
                grown.append(batched_qr.orthonormalise(rows, self.shape[2], self.work))
                lengths.append(taken)
            done += taken
            if taken < wanted:
                break
        for found, taken in zip(grown, lengths, strict=True):
            logs = logs + self._judged(device.to_host(found).astype(np.float64), taken)
        for window in windows if with_det else ():
            log_det += source.log_det(*window)
        return done, logs, log_det

    def _judged(self, logs: Array, steps: int) -> Array:
        """ln R_ii (B, K) of one interval, -inf for what is lost."""
        spread = np.zeros(len(logs))
        for b, lost in enumerate(self.lost):
            if not lost.all() and not self.broken[b]:
                spread[b] = spreads(logs[b : b + 1, ~lost])[0]
        if self.pace is not None and (steps > 1 or self.pace.limit > 1):
            self.pace.judge(float(spread.max()), steps)
            if steps > 1 and self.pace.fixed:
                self.pace.note(spread)
        self.broken = self.broken | np.isnan(logs).any(axis=1)
        self.lost = self.lost | np.isneginf(logs)
        if (self.lost[:, :-1] & ~self.lost[:, 1:]).any():  # what remains has been freed of a direction of rounding
            self.doubt = (
                'a Jacobian is singular in a leading direction: of the others after it net.to("cpu") finds more'
            )
        return np.where(self.lost & ~self.broken[:, None], -np.inf, logs)


def log_det(run: Any, start: int, stop: int) -> Array:
    """The sum of ln|det J| (B,) over these steps, by QR in float64.

    Columns of J are scaled to length one, since a unit that its neighbours do not feel is no lost rank; rows
    `orthonormalise` scales itself.
    """
    B, S = (int(n) for n in run.states.shape[1:])
    total, each = np.zeros(B), max(1, DET_BYTES // max(1, 8 * B * S * S))
    for a in range(start, stop, each):
        jacobians = run.jacobians(a, min(a + each, stop))
        n = int(jacobians.shape[0])
        columns = device.empty((n, B, S, S), np.float64)
        arrays.move(columns, device.transposed(jacobians, (0, 1, 3, 2)))
        rows = columns.reshape((n * B * S, S))
        with np.errstate(all="ignore"):  # NaN, and infinity, which becomes NaN, stay in their sequence
            length = device.to_host(batched_qr.norms(rows))
            arrays.scale_rows(rows, device.to_device(1.0 / np.where(length == 0.0, 1.0, length)))
            logs = device.to_host(batched_qr.orthonormalise(rows, S)).reshape(n, B, S) + np.log(length).reshape(n, B, S)
        total += logs.sum(axis=(0, 2))
    return total


DET_BYTES = 1 << 29  # of the matrices of one launch
