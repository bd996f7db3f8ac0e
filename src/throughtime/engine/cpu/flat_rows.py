"""Arrays as the compiled loops take them: flat, with the place where the rows begin and how far apart they are."""

import numpy as np

Array = np.ndarray


def base(x: Array) -> tuple[Array, int, int]:
    """A flat array, an offset and a row stride that describe x (T, B, I); a view of some columns is not copied."""
    if x.flags.c_contiguous:
        return x.reshape(-1), 0, x.shape[2]
    base = x.base
    if isinstance(base, np.ndarray) and base.flags.c_contiguous and base.dtype == x.dtype:
        step, row, item = (stride // x.itemsize for stride in x.strides)
        if item == 1 and step == row * x.shape[1]:
            first, origin = x.__array_interface__["data"][0], base.__array_interface__["data"][0]
            return base.reshape(-1), (first - origin) // x.itemsize, row
    return np.ascontiguousarray(x).reshape(-1), 0, x.shape[2]
