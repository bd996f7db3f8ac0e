"""Gradients by lag on the GPU: the rows of all loss times are one batch, which takes one step back at a time.

Dimensions: T steps, B sequences, S state size.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...engine.cuda import arrays, batched_qr, device
from ...engine.cuda import run as gpu
from ...results import Array
from .lag_sweep import FAR


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
            norm = device.to_host(batched_qr.norms(unit)).astype(np.float64)
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
