"""A cell's hyper-parameters and the parameters of its units, as compiled functions take them."""

from typing import Any

import numpy as np

Array = np.ndarray


def fields(kernel: Any, cell: Any, parameters: tuple[Array, ...]) -> Array:
    """A cell's hyper-parameters as the compiled functions take them: as they are, or, where some have a value for each
    unit or the units have parameters, all of them in panels, each with the fields and then the parameters of a block.
    """
    if kernel.without_fields is not None:
        return kernel.without_fields
    if not kernel.shape.by_unit:
        return np.array([*cell, 0.0], kernel.dtype)  # never empty
    units, block = parameters[1].shape[1], kernel.shape.block
    panels, own = -(-units // block), (*cell, *parameters[4:])
    rows = np.empty((len(own), panels * block), kernel.dtype)
    for row, values in zip(rows, own, strict=True):
        row[:units] = values
    rows[:, units:] = rows[:, units - 1 : units]  # what the left-over numbers of the last block are made with
    return rows.reshape(len(own), panels, block).swapaxes(0, 1).reshape(-1)
