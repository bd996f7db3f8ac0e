"""Perturbations of many rows through few steps: a product of all rows with the weights, then the cell, at each step.

The persistent kernels hold a few rows to a block; of thousands, such as whole frames of many networks, each block would
fetch its weights again for a handful. Plain cells alone: with blocks of W_hh the product has other shapes.
"""

from functools import cache
from typing import Any

import numpy as np

from .. import cell_parts, compiler, device
from ..layer import Array, Layer
from ..plans import Plan
from ..register_arrays import one_hot, put, read, write
from ..tiled_matmul import ALONG_BOTH, multiply
from ..toolkit import cuda

from ..kernel_names import (  # isort: skip
    GATES, N, PARTS, SAVED, STATES, backward, emit_slope, of_unit,
)  # fmt: skip

EACH = 256
WAVES = 4  # times that the persistent kernel would fill the device, from which on it is left; estimated, not measured


def suits(layer: Layer, plan: Plan, copies: int) -> bool:
    """Whether so many rows are better taken so."""
    record = layer.record
    if not (record.plain and record.recurrent and record.signals == 1):
        return False
    blocks = layer.networks * -(-layer.per * copies // plan.rows) * plan.blocks(layer.units)
    return blocks > WAVES * device.multiprocessors()


def sent(cell, states, v, sends, shape):
    """What each unit sends of its perturbation, (M, N)."""
    rows, copies, per, at, row = shape
    place = cuda.grid(1)
    if place < rows * N:
        m, unit = place // N, place % N
        b = m // copies
        cell, _ = of_unit(cell, b // per, unit)
        slope = emit_slope(cell, read(states, at + b * row + unit, N, STATES))
        total = v.dtype.type(0)
        for j in range(STATES):
            total += slope[j] * v[(m * STATES + j) * N + unit]
        sends[place] = total


def advance(cell, r, x, states, saved, v, lengths, shape):
    """v of each unit a step further; r (M, R*N) and, if `from_input`, x (M, G*N) come to its gates."""
    rows, copies, per, at, next_at, row, saved_at, t, from_input, x_at = shape
    place = cuda.grid(1)
    old, new = cuda.local.array(STATES, v.dtype), cuda.local.array(STATES, v.dtype)
    if place < rows * N:
        m, unit = place // N, place % N
        b = m // copies
        if t < lengths[b]:
            cell, p = of_unit(cell, b // per, unit)
            s = read(states, at + b * row + unit, N, STATES)
            s_next = read(states, next_at + b * row + unit, N, STATES)
            keep = read(saved, saved_at + b * SAVED * N + unit, N, SAVED)
            write(old, 0, 1, read(v, m * STATES * N + unit, N, STATES))
            for i in range(STATES):
                d_x, d_r, d_s, _ = backward(cell, one_hot(v, i, STATES), s, s_next, keep, p)
                total = v.dtype.type(0)
                for g in range(PARTS):
                    total += d_r[g] * r[(m * PARTS + g) * N + unit]
                if from_input:
                    for g in range(GATES):
                        total += d_x[g] * x[x_at + (m * GATES + g) * N + unit]
                for j in range(STATES):
                    total += d_s[j] * old[j]
                put(new, i, total, STATES)
            write(v, m * STATES * N + unit, N, read(new, 0, 1, STATES))


@cache
def kernel(which: Any, cls: Any, dtype: np.dtype, units: int, per_unit: bool) -> Any:
    names = cell_parts.parts(cls, dtype, per_unit, units)
    return compiler.kernel(which, f"{cls.__name__}-{dtype.name}-{units}", names, EACH)


def run(layer: Layer, v: Array, xs: Array | None, start: int, stop: int, copies: int) -> None:
    """v (M, S*N) from states[start] to states[stop], in place; xs flat (stop-start, M, G*N), or None."""
    record, units, dtype, M = layer.record, layer.units, v.dtype, layer.batch * copies
    each, own, flat, states = layer.per * copies, record.states * units, v.reshape(-1), layer.states.reshape(-1)
    sends = device.empty(M * units, dtype) if record.emits else flat
    left = (sends, 0, each * units, units) if record.emits else (sends, 0, each * own, own)
    gates = record.parts * units
    r, w = device.empty(M * gates, dtype), layer.parameters[1].reshape(-1)
    cls: Any = type(layer.cell)
    blocks = -(-M * units // EACH)

    def launch(which: Any, *arguments: Any) -> None:
        made = kernel(which, cls, np.dtype(dtype), units, layer.per_unit)
        with compiler.in_words(record.name):
            device.launch(made, (blocks, 1, 1), EACH, (layer.fields, *arguments))

    for t in range(start, stop):
        at, row = layer.offset + t * layer.batch * layer.size, layer.size
        if record.emits:
            launch(sent, states, flat, sends, (M, copies, layer.per, at, row))
        right = (w, 0, gates * units, units)
        multiply(ALONG_BOTH, left, right, None, r, (each, gates, units, layer.networks, each, M))
        x, x_at = (r, 0) if xs is None else (xs, (t - start) * M * record.gates * units)
        saved_at, then = t * layer.batch * record.saved * units, at + layer.batch * layer.size
        shape = (M, copies, layer.per, at, then, row, saved_at, t, int(xs is not None), x_at)
        launch(advance, r, x, states, layer.saved, flat, layer.lengths, shape)
