"""Forward through time."""

from typing import Any, NamedTuple

from ....cells.base import spec
from .. import device, projections
from ..layer import Array, Layer
from ..pass_kernels import Pass
from ..register_arrays import ALIGNED, read, write
from ..thread_exchange import give, side_by_side
from ..toolkit import cuda

from ..kernel_names import (  # isort: skip
    BLOCKS, EMITS, GATES, GROUPS, LOCAL, N, OUT, ROWS, SAVED, SHARED_SIZE, STATES, SUMS, UNITS, WEIGHTS, WIDE,
    arrive, emit, forward, position, prepare, product, wait,
)  # fmt: skip


class UnrollSizes(NamedTuple):
    """Rows (t, b) of an array begin at `at` + (t*B + b) * `row`: of the states (s) and of what is sent (e)."""

    steps: int
    batch: int
    per: int
    s_at: int
    s_row: int
    e_at: int
    e_row: int
    reverse: int
    first: int = 0


def unroll(cell, xs, weights, bias, states, sent, saved, lengths, arrivals, sizes):
    """Forward through time: fills states and saved (and sent, where a unit sends something else than h).

    xs (T, B, G*N) is the input part of every step, the weights are packed (weight_packing.py).
    """
    size = UnrollSizes(*sizes)
    T, B, s_at, s_row, e_at, e_row = size.steps, size.batch, size.s_at, size.s_row, size.e_at, size.e_row
    lane, group, net, row0, rows = position(size.first, size.per)
    unit, b0 = group * UNITS + lane % UNITS, net * size.per + row0
    b = b0 + lane // UNITS
    active = lane // UNITS < rows and unit < N
    side_by_side(BLOCKS)
    h = cuda.shared.array(SHARED_SIZE, xs.dtype, alignment=ALIGNED)
    w, sums = cuda.local.array(WEIGHTS, xs.dtype), cuda.local.array(SUMS, xs.dtype)
    s, r = cuda.local.array(STATES, xs.dtype), cuda.local.array(GATES, xs.dtype)
    place, own = (net * cuda.gridDim.x * GROUPS + group) * OUT * WIDE, lane // UNITS * WIDE + unit
    prepare(w, h, weights, place, lane, arrivals)
    # Step t leads from the state at t + late to the one at t + 1 - late; the next one is t + way.
    t, way, late = (T - 1, -1, 1) if size.reverse else (0, 1, 0)
    length = 0
    if active:
        length = lengths[b]
        x = read(xs, (t * B + b) * GATES * N + unit, N, GATES)
        constant = read(bias, net * GATES * N + unit, N, GATES)
        write(s, 0, 1, read(states, s_at + ((t + late) * B + b) * s_row + unit, N, STATES))
        e = emit(cell, read(s, 0, 1, STATES))
        if EMITS:
            write(sent, e_at + ((t + late) * B + b) * e_row + unit, 1, (e,))
        if LOCAL:
            give(h, own, 1, (e,), BLOCKS)
    wait(arrivals, arrive(arrivals))
    here, there = 0, ROWS * WIDE
    for k in range(T):
        ahead = t + way if k + 1 < T else t
        if active:
            x_ahead = read(xs, (ahead * B + b) * GATES * N + unit, N, GATES)
        product(r, sums, w, weights, place, h, here, sent, e_at + ((t + late) * B + b0) * e_row, e_row, rows)
        if active:
            if t < length:
                for g in range(GATES):
                    r[g] += constant[g]
                s_next, keep = forward(cell, x, read(r, 0, 1, GATES), read(s, 0, 1, STATES))
                write(s, 0, 1, s_next)
            e, then = emit(cell, read(s, 0, 1, STATES)), (t + 1 - late) * B + b
            if LOCAL:
                give(h, there + own, 1, (e,), BLOCKS)
            elif EMITS:
                write(sent, e_at + then * e_row + unit, 1, (e,))
            else:
                write(states, s_at + then * s_row + unit, N, read(s, 0, 1, STATES))
        before = arrive(arrivals)
        if active:
            if t < length:
                write(saved, (t * B + b) * SAVED * N + unit, N, keep)
            if LOCAL or EMITS:
                write(states, s_at + then * s_row + unit, N, read(s, 0, 1, STATES))
            if LOCAL and EMITS:
                write(sent, e_at + then * e_row + unit, 1, (e,))
            x = x_ahead
        wait(arrivals, before)
        here, there, t = there, here, ahead


def example(layer: Layer) -> None:
    """Launches the pass, for the table of what its kernels take."""
    x = device.empty((layer.steps, layer.batch, layer.inputs), layer.states.dtype)
    run(layer.cell, layer.parameters, x, layer.states, layer.offset, layer.lengths, layer.reverse)


UNROLL = Pass(unroll, example)


def run(
    cell: Any,
    parameters: tuple[Array, Array, Array, Array],
    x: Array,
    states: Array,
    offset: int,
    lengths: Array,
    reverse: bool,
) -> Layer:
    """Run one layer over x (T, B, I), from the states that stand at its first time, and fill in the others."""
    steps, batch, _ = x.shape
    flat, row = device.rows(x)
    record, units, dtype = spec(cell), int(parameters[1].shape[2]), states.dtype
    own = device.shaped(states, (-1,))
    sent = device.empty((steps + 1) * batch * units, dtype) if record.emits else own
    saved = device.empty(max(1, steps * batch * record.saved * units), dtype)
    layer = Layer(cell, parameters, flat, row, steps, batch, states, offset, lengths, reverse, sent, saved)
    if steps and batch:
        w_ih, _, b_ih, b_hh = parameters
        xs = projections.input_part(flat, row, w_ih, b_ih, steps, batch)
        plan, (e_at, e_row) = layer.plan(UNROLL), layer.sends
        sizes = UnrollSizes(
            steps=steps, batch=batch, per=layer.per, s_at=offset, s_row=layer.size, e_at=e_at, e_row=e_row,
            reverse=int(reverse),
        )  # fmt: skip
        layer.run(UNROLL, plan, (xs, layer.weights(plan), b_hh.reshape(-1), own, sent, saved, lengths), sizes)
    return layer
