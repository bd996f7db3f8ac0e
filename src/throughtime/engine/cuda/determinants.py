"""Determinants of many matrices on the device.

Dimensions: n steps, B sequences, S rows.
"""

from typing import Any

import numpy as np

from . import arrays, batched_qr, device


def log_det(matrices: Any) -> np.ndarray:
    """ln|det| of device matrices (n, B, S, S), by QR in float64: (n, B) in NumPy.

    Columns are scaled to length one, since a unit that its neighbours do not feel is no lost rank; rows
    `batched_qr.orthonormalise` scales itself.
    """
    n, B, S = (int(size) for size in matrices.shape[:3])
    columns = device.empty((n, B, S, S), np.float64)
    arrays.move(columns, device.transposed(matrices, (0, 1, 3, 2)))
    rows = columns.reshape((n * B * S, S))
    with np.errstate(all="ignore"):  # NaN, and infinity, which becomes NaN, stay in their sequence
        length = device.to_host(batched_qr.norms(rows))
        arrays.scale_rows(rows, device.to_device(1.0 / np.where(length == 0.0, 1.0, length)))
        logs = device.to_host(batched_qr.orthonormalise(rows, S)).reshape(n, B, S) + np.log(length).reshape(n, B, S)
    return np.asarray(logs.sum(axis=2))
