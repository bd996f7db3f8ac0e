"""What the units of a layer send, by their states: slopes and perturbations."""

import numpy as np

from ...cells.on_arrays import signal_slopes
from .one_layer import Layer

Array = np.ndarray


def slopes(layer: Layer, t: int) -> tuple[tuple, ...]:
    """de/ds of every unit at time t, of each signal: S arrays (B, N), or numbers where the unit sends its states."""
    count, units, own = layer.kernels.record.states, layer.units, layer.states[t, :, layer.offset :]
    return signal_slopes(layer.cell, tuple(own[:, k * units : (k + 1) * units] for k in range(count)))


def sent_tangent(layer: Layer, v: Array, t: int, copies: int) -> Array:
    """The perturbation (M, E*N) of what the units send at time t, for perturbations v (M, S*N) of their states."""
    units, found = layer.units, slopes(layer, t)
    total = np.zeros((layer.batch, copies, len(found), units), v.dtype)
    for signal, by_state in enumerate(found):
        for k, slope in enumerate(by_state):
            part = v[:, k * units : (k + 1) * units].reshape(layer.batch, copies, units)
            total[:, :, signal] += (slope[:, None] if isinstance(slope, np.ndarray) else v.dtype.type(slope)) * part
    return total.reshape(len(v), len(found) * units)
