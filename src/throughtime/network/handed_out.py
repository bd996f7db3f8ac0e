"""What a run hands to a user: a state in PyTorch's shapes.

Dimensions: B sequences, L layers, D directions, N units, S numbers of a state.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .each_layer import alike

Array = Any  # of the machine


def state(flat: Array, network: Any, arrays: Any, had_batch: bool) -> Any:
    """(B, S) as h (L·D, B, N), or as a tuple (h, c, …) of such; of layers of unlike sizes or states a list of what each
    layer has, h (D, B, N) or (h, c, …). Without the axis of the batch where the input had none. arrays: of the engine
    on whose machine `flat` lies."""
    rows = network.num_directions
    if len(network.hidden_sizes) == 1:
        return _parts(flat, rows, network.hidden_sizes[0], arrays, had_batch)
    each = list(zip(network.unit_states, network.hidden_sizes, strict=True))
    if alike(each):
        return _parts(flat, rows * len(each), each[0][1], arrays, had_batch)
    found, at = [], 0
    for states, units in each:
        own = arrays.compact(flat[:, at : at + rows * states * units])
        found.append(_parts(own, rows, units, arrays, had_batch))
        at += rows * states * units
    return found


def _parts(flat: Array, rows: int, units: int, arrays: Any, had_batch: bool) -> Any:
    B, S = map(int, flat.shape)
    if isinstance(flat, np.ndarray):  # in one copy, or none
        of_all = flat.reshape(B, rows, S // (rows * units), units)
        if B > 1 or rows > 1:
            of_all = np.ascontiguousarray(of_all.transpose(2, 1, 0, 3))
        else:
            of_all = of_all.reshape(S // units, rows, B, units)
        found = tuple(of_all if had_batch else of_all[:, :, 0])
        return found[0] if len(found) == 1 else found
    shaped, parts = flat.reshape((B, rows, S // rows)), []
    for a in range(0, S // rows, units):
        part = shaped[:, :, a : a + units]
        if had_batch:
            parts.append(arrays.parted(part, (1, 0, 2)))
        else:
            parts.append(arrays.shaped(arrays.compact(part, (1, 0, 2)), (rows, units)))
    return parts[0] if len(parts) == 1 else tuple(parts)
