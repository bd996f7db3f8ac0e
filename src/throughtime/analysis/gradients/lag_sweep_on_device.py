"""Gradients by lag on the GPU: the rows of all loss times are one batch, which takes one step back at a time.

Dimensions: T steps, B sequences, S state size.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...results import Array


def by_lag(
    run: Any, g: Array, max_lag: int, names: tuple[str, ...], far: float
) -> Iterator[tuple[Array, dict[str, Array]]]:
    """As lag_sweep.by_lag, of a run on the device; `far` is the length beyond which a row is brought back to one."""
    T, B, arrays = run.steps, int(run.states.shape[1]), run.engine.arrays
    rows = run.single_steps().output_cotangent(1, g.reshape(T * B, -1))
    unit, logs = rows, np.zeros(T * B)
    for k in range(max_lag + 1):
        with arrays.on(run.stream):
            steps = run.single_steps(0, T - k)
            norm = arrays.to_host(run.engine.batched_qr.norms(unit)).astype(np.float64)
            with np.errstate(divide="ignore"):
                log_norm = np.log(norm) + logs
            leaving = (norm > far) | ((norm < 1.0 / far) & (norm > 0.0))
            if leaving.any():  # from here on norms have vectors of their own; what leaves adds nothing to a sum
                factor = np.where(leaving, 1.0 / np.where(norm > 0.0, norm, 1.0), 1.0).astype(g.dtype)
                unit = arrays.compact(unit)
                arrays.scale_rows(unit, arrays.from_host(factor))
                logs = np.where(leaving, log_norm, logs)
            before, parameters = steps.pullback(rows, 0, 1)
            parts = {name: arrays.to_host(parameters[name]) for name in names}
            # those of the first time have arrived at the initial state
            own = unit is not rows and k < max_lag
            rows, logs = before[B:], logs[B:]
            unit = steps.vjp(unit, 0, 1)[B:] if own else rows
        yield log_norm.reshape(-1, B), parts
