"""The Jacobians of single steps, many in one launch."""

from functools import cache
from typing import Any

import numpy as np

from ...cells import array_fields
from ...cells.base import spec
from . import cell_parts, compiler, device, weight_blocks
from .register_arrays import one_hot, read, write
from .toolkit import cuda

from .kernel_names import (  # isort: skip
    D_R, D_S, EMITS, PARTS, SAVED, SIGNALS, STATES, SUMS, THREADS, TILE, backward, emit_slope, of_unit,
)  # fmt: skip


def jacobian(cell, w_hh, states, saved, out, lengths, shape):
    """out (steps, B, S*N, S*N): ds_t/ds_{t-1} for t = start+1, start+2, ...; TILE units of one of them in a block.

    Row (i, n) is D_r[i, n] . W[n, :] slope, plus D_s[i, n] in the unit's own columns, D_r and D_s from the cell's
    `backward` with unit cotangents. W (K, R*N, E*N) are the weights, with zeros where a signal does not feed a part.
    The threads take neighbouring columns.
    """
    start, B, per, N, s_at, s_row = shape
    d_r, d_s = cuda.shared.array(D_R, out.dtype), cuda.shared.array(D_S, out.dtype)
    sums = cuda.local.array(SUMS, out.dtype)
    tiles, size = (N + TILE - 1) // TILE, STATES * N
    unit0, matrix = cuda.blockIdx.x % tiles * TILE, cuda.blockIdx.x // tiles
    b, t = matrix % B, start + matrix // B
    count, net, alive = min(TILE, N - unit0), b // per, t < lengths[b]
    n = cuda.threadIdx.x
    if n < count and alive:
        unit = unit0 + n
        own_cell, p = of_unit(cell, net, unit)
        s = read(states, s_at + (t * B + b) * s_row + unit, N, STATES)
        s_next = read(states, s_at + ((t + 1) * B + b) * s_row + unit, N, STATES)
        keep = read(saved, (t * B + b) * SAVED * N + unit, N, SAVED)
        for i in range(STATES):
            _, r, own, _ = backward(own_cell, one_hot(out, i, STATES), s, s_next, keep, p)
            write(d_r, (n * STATES + i) * PARTS, 1, r)
            write(d_s, (n * STATES + i) * STATES, 1, own)
    cuda.syncthreads()
    for m in range(cuda.threadIdx.x, N, THREADS):
        other_cell, _ = of_unit(cell, net, m)
        slope = emit_slope(other_cell, read(states, s_at + (t * B + b) * s_row + m, N, STATES))
        for n in range(count):
            unit = unit0 + n
            for i in range(SUMS):
                sums[i] = 0
            if alive:
                for g in range(PARTS):
                    for k in range(SIGNALS):
                        weight = w_hh[((net * PARTS + g) * N + unit) * SIGNALS * N + k * N + m]
                        for i in range(STATES):
                            sums[k * STATES + i] += d_r[(n * STATES + i) * PARTS + g] * weight
            for i in range(STATES):
                row = (matrix * size + i * N + unit) * size + m
                for j in range(STATES):
                    value = out.dtype.type(0)
                    if EMITS:
                        value = sums[i] * slope[j]
                        for k in range(1, SIGNALS):
                            value += sums[k * STATES + i] * slope[k * STATES + j]
                    elif j < SIGNALS:
                        value = sums[j * STATES + i]
                    if unit == m and alive:
                        value += d_s[(n * STATES + i) * STATES + j]
                    if unit == m and not alive and i == j:
                        value = out.dtype.type(1)
                    out[row + j * N] = value


COLUMNS = 128  # threads of a block
UNITS = 16  # of a block: as many rows of a state's matrix share the slopes that a thread read


@cache
def kernel(cls: Any, dtype: np.dtype, per_unit: bool = False, units: int = 0) -> Any:
    """The kernel of a cell class, for any number of units but where these have numbers of their own."""
    record = spec(cls)
    names = cell_parts.parts(cls, dtype, per_unit, units)
    names |= {"TILE": UNITS, "THREADS": COLUMNS, "D_R": UNITS * record.states * max(1, record.parts)}
    names |= {"D_S": UNITS * record.states**2, "SUMS": record.signals * record.states}
    return compiler.kernel(jacobian, f"{record.name}-{dtype.name}", names, COLUMNS)


def jacobians(layer: Any, start: int, stop: int) -> Any:
    """ds_t/ds_{t-1} of the layer by itself for t = start+1 ... stop, (stop-start, B, S*N, S*N); forward in time."""
    cls: Any = type(layer.cell)
    record, units, dtype = layer.record, layer.units, layer.states.dtype
    size = record.states * units
    out = device.empty((stop - start, layer.batch, size, size), dtype)
    if out.size:
        shape = (start, layer.batch, layer.per, units, layer.offset, layer.size)
        w_hh, states = layer.parameters[1], layer.states.reshape(-1)
        w_hh = (w_hh if record.plain else weight_blocks.matrix(w_hh, record)).reshape(-1)
        arguments = (layer.fields, w_hh, states, layer.saved, out.reshape(-1), layer.lengths, shape)
        blocks = (stop - start) * layer.batch * -(-units // UNITS)
        per_unit = array_fields.has_arrays(layer.cell)
        made = kernel(cls, dtype, per_unit, units if per_unit or record.parameters else 0)
        with compiler.in_words(record.name):
            device.launch(made, (blocks, 1, 1), COLUMNS, arguments)
    return out


def of_layers(layers: list[Any], start: int, stop: int) -> Any:
    """The same of layers one above the other: of one alone, and None for more and for a stage, whose two products one
    after the other are given by products with units."""
    alone = len(layers) == 1 and not layers[0].record.stage
    return jacobians(layers[0], start, stop) if alone else None
