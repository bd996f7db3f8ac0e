"""The Jacobians of single steps, many in one launch."""

from functools import cache
from typing import Any

import numpy as np

from ...cells.base import spec
from . import compiler, device, pass_kernels
from .kernel_names import D_R, D_S, EMITS, GATES, SAVED, STATES, THREADS, TILE, backward, emit_slope
from .register_arrays import one_hot, read, write
from .toolkit import cuda


def jacobian(cell, w_hh, states, saved, out, lengths, shape):
    """out (steps, B, S*N, S*N): ds_t/ds_{t-1} for t = start+1, start+2, ...; TILE units of one of them in a block.

    Row (i, n) is D_r[i, n] . W_hh[n, :] slope, plus D_s[i, n] in the unit's own columns, D_r and D_s from the cell's
    `backward` with unit cotangents. The threads take neighbouring columns.
    """
    start, B, per, N, s_at, s_row = shape
    d_r, d_s = cuda.shared.array(D_R, out.dtype), cuda.shared.array(D_S, out.dtype)
    sums = cuda.local.array(STATES, out.dtype)
    tiles, size = (N + TILE - 1) // TILE, STATES * N
    unit0, matrix = cuda.blockIdx.x % tiles * TILE, cuda.blockIdx.x // tiles
    b, t = matrix % B, start + matrix // B
    count, net, alive = min(TILE, N - unit0), b // per, t < lengths[b]
    n = cuda.threadIdx.x
    if n < count and alive:
        unit = unit0 + n
        s = read(states, s_at + (t * B + b) * s_row + unit, N, STATES)
        s_next = read(states, s_at + ((t + 1) * B + b) * s_row + unit, N, STATES)
        keep = read(saved, (t * B + b) * SAVED * N + unit, N, SAVED)
        for i in range(STATES):
            _, r, own = backward(cell, one_hot(out, i, STATES), s, s_next, keep)
            write(d_r, (n * STATES + i) * GATES, 1, r)
            write(d_s, (n * STATES + i) * STATES, 1, own)
    cuda.syncthreads()
    for m in range(cuda.threadIdx.x, N, THREADS):
        slope = read(states, s_at + (t * B + b) * s_row + m, N, STATES)
        if EMITS:
            slope = emit_slope(cell, slope)
        for n in range(count):
            unit = unit0 + n
            for i in range(STATES):
                sums[i] = 0
            if alive:
                for g in range(GATES):
                    weight = w_hh[((net * GATES + g) * N + unit) * N + m]
                    for i in range(STATES):
                        sums[i] += d_r[(n * STATES + i) * GATES + g] * weight
            for i in range(STATES):
                row = (matrix * size + i * N + unit) * size + m
                for j in range(STATES):
                    value = out.dtype.type(0)
                    if EMITS:
                        value = sums[i] * slope[j]
                    elif j == 0:
                        value = sums[i]
                    if unit == m and alive:
                        value += d_s[(n * STATES + i) * STATES + j]
                    if unit == m and not alive and i == j:
                        value = out.dtype.type(1)
                    out[row + j * N] = value


COLUMNS = 128  # threads of a block
UNITS = 16  # of a block: as many rows of a state's matrix share the slopes that a thread read


@cache
def kernel(cls: Any, dtype: np.dtype) -> Any:
    """The kernel of a cell class."""
    record = spec(cls)
    names = pass_kernels.cell_functions(cls, dtype)
    names |= {"GATES": record.gates, "STATES": record.states, "SAVED": record.saved, "EMITS": record.emits}
    names |= {"TILE": UNITS, "THREADS": COLUMNS, "D_R": UNITS * record.states * record.gates}
    names |= {"D_S": UNITS * record.states**2}
    return compiler.kernel(jacobian, f"{record.name}-{dtype.name}", names, COLUMNS)


def jacobians(layer: Any, start: int, stop: int) -> Any:
    """ds_t/ds_{t-1} of the layer by itself for t = start+1 ... stop, (stop-start, B, S*N, S*N); forward in time."""
    cls: Any = type(layer.cell)
    units, dtype = layer.units, layer.states.dtype
    size = layer.record.states * units
    out = device.empty((stop - start, layer.batch, size, size), dtype)
    if out.size:
        shape = (start, layer.batch, layer.per, units, layer.offset, layer.size)
        w_hh, states = layer.parameters[1].reshape(-1), layer.states.reshape(-1)
        arguments = (layer.fields, w_hh, states, layer.saved, out.reshape(-1), layer.lengths, shape)
        blocks = (stop - start) * layer.batch * -(-units // UNITS)
        device.launch(kernel(cls, dtype), (blocks, 1, 1), COLUMNS, arguments)
    return out


def of_layers(layers: list[Any], start: int, stop: int) -> Any:
    """The same of layers one above the other: of one alone, and None for more, which products with units give."""
    return jacobians(layers[0], start, stop) if len(layers) == 1 else None
