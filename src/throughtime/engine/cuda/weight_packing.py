"""Weights in the order in which the sequence kernels read them."""

from typing import Any

from . import device
from .device import EACH
from .plans import Plan, wide
from .toolkit import cuda

TILE = 32


def pack_rows(w, out, shape):
    """out[k, unit*G + g, c] = w[k, g*N + unit, c] for c < columns, else 0."""
    gates, N, columns, rows, width = shape
    place = cuda.grid(1)
    if place < out.size:
        c, row, net = place % width, place // width % rows, place // width // rows
        unit, gate = row // gates, row % gates
        inside = c < columns and unit < N
        out[place] = w[((net * gates + gate) * N + unit) * columns + c] if inside else w.dtype.type(0)


def pack_columns(w, out, shape):
    """out[k, unit, c] = w[k, c, unit] for c < G*N, else 0; a tile at a time: rows are read and written whole."""
    columns, N, rows, width = shape
    tile = cuda.shared.array((32, 33), w.dtype)  # the 33rd number puts a column into different banks
    across, down = (width + TILE - 1) // TILE, (rows + TILE - 1) // TILE
    block = cuda.blockIdx.x
    c0, unit0, net = block % across * TILE, block // across % down * TILE, block // across // down
    lane, first = cuda.threadIdx.x % TILE, cuda.threadIdx.x // TILE
    for k in range(first, TILE, EACH // TILE):
        c, unit = c0 + k, unit0 + lane
        tile[k, lane] = w[(net * columns + c) * N + unit] if c < columns and unit < N else w.dtype.type(0)
    cuda.syncthreads()
    for k in range(first, TILE, EACH // TILE):
        unit, c = unit0 + k, c0 + lane
        if unit < rows and c < width:
            out[(net * rows + unit) * width + c] = tile[lane, k]


def pack(w: Any, gates: int, plan: Plan, transposed: bool) -> Any:
    """w_hh (K, G*N, N) as a pass reads it with this plan, flat (K, rows, columns), zeros where w ends.

    As it is, for products with what units send: a row for each gate of each unit. Transposed, for products with the
    gradients of the gates: a row for each unit.
    """
    nets, columns, units = w.shape
    if not transposed:
        return packed_rows(w, gates, units, plan)
    rows = plan.blocks(units) * plan.groups * plan.units
    width = wide(columns, plan.lanes, w.dtype.itemsize)
    out = device.empty(nets * rows * width, w.dtype)
    blocks = nets * -(-rows // TILE) * -(-width // TILE)
    arguments = (w.reshape(-1), out, (columns, units, rows, width))
    device.launch(device.plain(pack_columns), (blocks, 1, 1), EACH, arguments)
    return out


def packed_rows(w: Any, sums: int, units: int, plan: Plan) -> Any:
    """The rows of w (K, sums*N, columns) unit by unit."""
    nets, _, columns = (int(length) for length in w.shape)
    rows = plan.blocks(units) * plan.groups * plan.units
    width = wide(columns, plan.lanes, w.dtype.itemsize)
    out = device.empty(nets * rows * sums * width, w.dtype)
    device.for_each(pack_rows, out.size, (w.reshape(-1), out, (sums, units, columns, rows * sums, width)))
    return out
