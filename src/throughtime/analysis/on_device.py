"""The analyses that have their own way on the GPU: Lyapunov spectra, where frames stay there, and gradients by lag.

Dimensions: T steps, B sequences, S state size, K tangent vectors.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..engine import gpu
from ..engine.cuda import arrays, device, frames
from .arrays import Array
from .lag_sweep import FAR
from .tangents import NetworkTangent


class DeviceTangent(NetworkTangent):
    """The trajectory of a network on the device, or of all networks of an ensemble side by side."""

    def __init__(self, net: Any, inputs: Array | None, batch: int, state: Any) -> None:
        super().__init__(net, inputs, batch, state)
        self.batch = batch * net.networks

    def own_frame(self, frame: Array) -> "DeviceFrame":
        """The frame (B, S, K) on the device."""
        return DeviceFrame(np.repeat(frame[:1], self.batch, axis=0).astype(self.dtype))


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
            for start, stop in source.pieces(wanted):
                run = source.run
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
    with device.on(run.stream):
        rows = arrays.zeros((T * B, int(run.states.shape[2])), dtype)
        top = run._apart(0, T)[-1]
        sent = gpu.sent_back(top, device.to_device(g.reshape(1, T * B, -1)))
        arrays.move(rows[:, top.offset : top.offset + int(sent.shape[1])], sent)
    unit, logs = rows, np.zeros(T * B)
    far = FAR[dtype.name]
    for k in range(max_lag + 1):
        with device.on(run.stream):
            layers = run._apart(0, T - k)
            norm = device.to_host(frames.norms(unit)).astype(np.float64)
            with np.errstate(divide="ignore"):
                found = np.log(norm) + logs
            leaving = (norm > far) | ((norm < 1.0 / far) & (norm > 0.0))
            if leaving.any():  # from here on norms have vectors of their own; what leaves adds nothing to a sum
                factor = np.where(leaving, 1.0 / np.where(norm > 0.0, norm, 1.0), 1.0).astype(dtype)
                unit = arrays.compact(unit)
                arrays.scale_rows(unit, device.to_device(factor))
                logs = np.where(leaving, found, logs)
            before, parameters = run._backward(layers, rows, 0, 1, to_weights=True)
            parts = {name: device.to_host(parameters[name]) for name in names}
            # those of the first time have arrived at the initial state
            apart = unit is not rows and k < max_lag
            rows, logs = before[B:], logs[B:]
            unit = run._backward(layers, unit, 0, 1)[0][B:] if apart else rows
        yield found.reshape(-1, B), parts
