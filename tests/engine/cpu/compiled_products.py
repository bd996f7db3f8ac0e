"""The compiled functions of matmul.py as Python calls them, which compiled code calls by their addresses."""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import njit

from throughtime.engine.cpu import by_address, matmul


@njit
def product(address, a, a_at, a_row, strips, rows, depth, panels, first, last, start, start_panel, out, out_at, narrow):
    by_address.product(
        address, a, a_at, a_row, strips, rows, depth, panels, first, last, start, start_panel, out, out_at, narrow
    )  # fmt: skip


@njit
def strips(address, a, at, row, rows, depth, out):
    by_address.pack_strips(address, a, at, row, rows, depth, out)


@njit
def rows(address, x, at, row, count, columns, panels, to):
    by_address.pack_rows(address, x, at, row, count, columns, panels, to)


@njit
def accumulate(address, d, d_at, d_row, count, y, y_at, depth, out, out_at, out_row, columns, edge):
    by_address.accumulate(address, d, d_at, d_row, count, y, y_at, depth, out, out_at, out_row, columns, edge)


CALLS = {"product": product, "strips": strips, "rows": rows, "accumulate": accumulate}


def compiled(name, vectors, dtype):
    return partial(CALLS[name], matmul.address(name, vectors, np.dtype(dtype)))
