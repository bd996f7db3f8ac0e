"""The analyses that have their own way on the GPU: Lyapunov spectra, where frames stay there, and gradients by lag.

Dimensions: T steps, B sequences, S state size, K tangent vectors.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..engine import gpu
from ..engine.cuda import arrays, device, frames
from .arrays import Array
from .tangents import NetworkTangent

FAR = {4: 1e15, 8: 1e100}  # norms are kept within these, by bytes per number


class DeviceTangent(NetworkTangent):
    """The trajectory of a network on the device, or of all networks of an ensemble side by side."""

    def __init__(self, net: Any, inputs: Array | None, batch: int, state: Any) -> None:
        super().__init__(net, inputs, batch, state)
        self.batch = batch * net.networks

    def own_frame(self, frame: Array) -> "DeviceFrame":
        """The frame (B, S, K) on the device."""
        return DeviceFrame(np.repeat(frame[:1], self.batch, axis=0).astype(self.dtype))

    def pieces(self, steps: int) -> Iterator[tuple[Any, int, int]]:
        """Runs, with the first and the last state, that lead over up to `steps` further steps."""
        while steps:
            part = self._part(steps)
            if not part:
                return
            self.inside += part
            steps -= part
            yield self.run, self.inside - part, self.inside


class DeviceFrame:
    """Tangent vectors that stay on the device between orthonormalisations."""

    def __init__(self, frame: Array) -> None:
        self.shape, self.dtype = frame.shape, frame.dtype
        self.columns = device.to_device(np.ascontiguousarray(frame.swapaxes(1, 2)))  # (B, K, S), as the kernels have it
        self.work = frames.workspace(self.shape[0], self.shape[2], self.shape[1], self.dtype)

    def rates(self, source: DeviceTangent, steps: int) -> Array:
        """Growth rates (B, K) of another frame that starts here, after as many steps to align."""
        other = DeviceFrame(device.to_host(self.columns).swapaxes(1, 2))
        other.block(source, steps, 1, False)
        taken, logs, _ = other.block(source, steps, 1, False)
        return logs / taken if taken else np.full(logs.shape, np.nan)

    def block(self, source: DeviceTangent, steps: int, interval: int, with_det: bool) -> tuple[int, Array, Array]:
        """Carry the frames over up to `steps` steps: steps taken, ln R_ii over all of them (B, K), sum of ln|det J|."""
        logs, log_det, done = np.zeros((self.shape[0], self.shape[2])), np.zeros(self.shape[0]), 0
        grown = []
        while done < steps:
            wanted, taken = min(interval, steps - done), 0
            for run, start, stop in source.pieces(wanted):
                self.columns = run.jvp_rows(self.columns, start, stop)
                if with_det:
                    jacobians = device.to_host(run.jacobians(start, stop)).astype(np.float64)
                    log_det += np.linalg.slogdet(jacobians)[1].sum(axis=0)
                taken += stop - start
            if taken:
                rows = self.columns.reshape((self.shape[0] * self.shape[2], self.shape[1]))
                grown.append(frames.orthonormalise(rows, self.shape[2], self.work))
            done += taken
            if taken < wanted:
                break
        for found in grown:
            logs += device.to_host(found)
        return done, logs, log_det


def by_lag(run: Any, g: Array, max_lag: int, names: tuple[str, ...]) -> Iterator[tuple[Array, dict[str, Array]]]:
    """As lag_sweep.by_lag: the rows of all loss times are one batch, which takes one step back at a time."""
    T, B, dtype = run.steps, int(run.states.shape[1]), g.dtype
    lengths = np.full(B, T) if run.lengths is None else run.lengths
    alive = device.to_device((np.arange(T)[:, None] < lengths).astype(np.int64).reshape(-1))
    rows = _sent_back(run, g, alive)
    unit, logs = rows, np.zeros(T * B)
    for k in range(max_lag + 1):
        count = (T - k) * B
        norm = device.to_host(frames.norms(unit)).astype(np.float64)
        with np.errstate(divide="ignore"):
            found = np.log(norm) + logs
        far = FAR[dtype.itemsize]
        leaving = (norm > far) | ((norm < 1.0 / far) & (norm > 0.0))
        if leaving.any():  # from here on norms have vectors of their own; what leaves adds nothing to a sum any more
            factor = np.where(leaving, 1.0 / np.where(norm > 0.0, norm, 1.0), 1.0).astype(dtype)
            unit = arrays.compact(unit)
            arrays.scale_rows(unit, device.to_device(factor))
            logs = np.where(leaving, found, logs)
        apart = unit is not rows
        rows, parts = _step_back(run, rows, count, alive, names)
        yield found.reshape(-1, B), parts
        if k == max_lag:
            return
        # those of the first time have arrived at the initial state
        rows, logs = rows[B:], logs[B:]
        unit = _step_back(run, unit, count, alive, ())[0][B:] if apart else rows


def _virtual(layer: gpu.Layer, count: int, alive: Any) -> gpu.Layer:
    """The layer with its first `count` rows (t, b) as the batch of a single step."""
    return replace(layer, steps=1, batch=count, lengths=alive[:count], step_rows=layer.batch)


def _sent_back(run: Any, g: Array, alive: Any) -> Any:
    """What each loss brings into its own state, (T*B, S)."""
    layer, n = run._layers[-1][0], run.network.hidden_size
    count, S = run.steps * layer.batch, int(run.states.shape[2])
    states = device.empty((2, count, S), g.dtype)
    nothing = arrays.zeros((count, run._own), g.dtype)
    given = device.to_device(g.reshape(1, count, n))
    gpu.backprop(_virtual(layer, count, alive), nothing, given, grad_states=states, to_weights=False, to_input=False)
    out = arrays.zeros((count, S), g.dtype)
    columns = run._columns(run.network.num_layers - 1, 0)
    arrays.move(out[:, columns], states[1][:, columns])
    return out


def _step_back(run: Any, rows: Any, count: int, alive: Any, names: tuple[str, ...]) -> tuple[Any, dict[str, Array]]:
    """One step back for all rows (M, S), and the named gradients of that step."""
    out, above = device.empty((count, int(run.states.shape[2])), rows.dtype), None
    parts: dict[str, Any] = {}
    for k in reversed(range(run.network.num_layers)):
        columns = run._columns(k, 0)
        layer = _virtual(run._layers[k][0], count, alive)
        own = arrays.compact(rows[:, columns])
        back = gpu.backprop(layer, own, above, to_weights=bool(names), to_input=k > 0)
        arrays.move(out[:, columns], back.carry)
        above = back.x
        if names:
            run._name(parts, k, 0, back.parameters)
    return out, {name: device.to_host(parts[name]) for name in names}
