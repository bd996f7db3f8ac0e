"""Forward through time."""

from typing import Any, NamedTuple

from ....cells.base import spec
from .. import device, projections
from ..layer import Array, Layer
from ..pass_kernels import Pass
from ..register_arrays import ALIGNED, read, write
from ..thread_exchange import give, side_by_side
from ..toolkit import cuda
from ..unit_tuples import increase

from ..kernel_names import (  # isort: skip
    BLOCKS, EMITS, FIRST, GATES, GROUPS, LOCAL, N, OUT, PARTS, PART_ROOM, ROWS, SAVED, SECOND, SHARED_SIZE, STAGED,
    STAGE_AT, STAGE_OUT, STAGE_SUMS, STAGE_WEIGHTS, STAGE_WIDE, STATES, SUMS, UNITS, WEIGHTS, WIDE, arrive, emit,
    forward, of_unit, position, prepare, product, stage, stage_prepare, stage_product, wait,
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


def unroll(cell, xs, weights, bias, states, sent, saved, staged, lengths, arrivals, sizes):
    """Forward through time: fills states and saved (and sent, where a unit sends something else than states).

    xs (T, B, G*N) is the input part of every step, the weights are packed (weight_packing.py). staged: nothing, or the
    weights of the stage's product and what the stage sends, (T, B, A*N), to be filled.
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
    s, r = cuda.local.array(STATES, xs.dtype), cuda.local.array(PART_ROOM, xs.dtype)
    place, own = (net * cuda.gridDim.x * GROUPS + group) * OUT * WIDE, lane // UNITS * WIDE + unit
    cell, p = of_unit(cell, net, unit)
    prepare(w, h, weights, place, lane, arrivals)
    if STAGED:
        stage_weights, from_stage = staged
        stage_w, stage_sums = cuda.local.array(STAGE_WEIGHTS, xs.dtype), cuda.local.array(STAGE_SUMS, xs.dtype)
        stage_r, a = cuda.local.array(SECOND, xs.dtype), cuda.local.array(STAGED, xs.dtype)
        stage_place = (net * cuda.gridDim.x * GROUPS + group) * STAGE_OUT * STAGE_WIDE
        stage_own = STAGE_AT + lane // UNITS * STAGE_WIDE + unit
        stage_prepare(stage_w, stage_weights, stage_place, lane)
    # Step t leads from the state at t + late to the one at t + 1 - late; the next one is t + way.
    t, way, late = (T - 1, -1, 1) if size.reverse else (0, 1, 0)
    length = 0
    if active:
        length = lengths[b]
        x = read(xs, (t * B + b) * GATES * N + unit, N, GATES)
        constant = read(bias, net * PARTS * N + unit, N, FIRST)
        if STAGED:
            stage_constant = read(bias, (net * PARTS + FIRST) * N + unit, N, SECOND)
        write(s, 0, 1, read(states, s_at + ((t + late) * B + b) * s_row + unit, N, STATES))
        e = emit(cell, read(s, 0, 1, STATES))
        if EMITS:
            write(sent, e_at + ((t + late) * B + b) * e_row + unit, N, e)
        if LOCAL and FIRST:
            give(h, own, N, e, BLOCKS)
    wait(arrivals, arrive(arrivals))
    here, there = 0, ROWS * WIDE
    for k in range(T):
        ahead = t + way if k + 1 < T else t
        if active:
            x_ahead = read(xs, (ahead * B + b) * GATES * N + unit, N, GATES)
        product(r, sums, w, weights, place, h, here, sent, e_at + ((t + late) * B + b0) * e_row, e_row, rows)
        if STAGED:
            if active:
                a_at = (t * B + b) * STAGED * N + unit
                for i in range(STAGED):
                    a[i] = 0
                if t < length:
                    increase(r, 0, constant)
                    write(a, 0, 1, stage(cell, x, read(r, 0, 1, FIRST), read(s, 0, 1, STATES), p))
                if LOCAL:
                    give(h, stage_own, N, read(a, 0, 1, STAGED), BLOCKS)
                else:
                    write(from_stage, a_at, N, read(a, 0, 1, STAGED))
            before = arrive(arrivals)
            if LOCAL and active:
                write(from_stage, a_at, N, read(a, 0, 1, STAGED))
            wait(arrivals, before)
            stage_product(
                stage_r, stage_sums, stage_w, stage_weights, stage_place, h, STAGE_AT, from_stage,
                (t * B + b0) * STAGED * N, STAGED * N, rows,
            )  # fmt: skip
        if active:
            if t < length:
                if STAGED:
                    increase(stage_r, 0, stage_constant)
                    write(r, FIRST, 1, read(stage_r, 0, 1, SECOND))
                else:
                    increase(r, 0, constant)
                s_next, keep = forward(cell, x, read(r, 0, 1, PARTS), read(s, 0, 1, STATES), p)
                write(s, 0, 1, s_next)
            e, then = emit(cell, read(s, 0, 1, STATES)), (t + 1 - late) * B + b
            if LOCAL:
                if FIRST:
                    give(h, there + own, N, e, BLOCKS)
            elif EMITS:
                write(sent, e_at + then * e_row + unit, N, e)
            else:
                write(states, s_at + then * s_row + unit, N, read(s, 0, 1, STATES))
        before = arrive(arrivals)
        if active:
            if t < length:
                write(saved, (t * B + b) * SAVED * N + unit, N, keep)
            if LOCAL or EMITS:
                write(states, s_at + then * s_row + unit, N, read(s, 0, 1, STATES))
            if LOCAL and EMITS:
                write(sent, e_at + then * e_row + unit, N, e)
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
    parameters: tuple[Array, ...],
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
    sent = device.empty((steps + 1) * batch * record.signals * units, dtype) if record.emits else own
    saved = device.empty(max(1, steps * batch * record.saved * units), dtype)
    staged = device.empty(max(1, steps * batch * record.staged * units), dtype) if record.staged else None
    layer = Layer(cell, parameters, flat, row, steps, batch, states, offset, lengths, reverse, sent, saved, staged)
    if steps and batch:
        w_ih, _, b_ih, b_hh = parameters[:4]
        xs = projections.input_part(flat, row, w_ih, b_ih, steps, batch)
        plan, (e_at, e_row) = layer.plan(UNROLL), layer.sends
        sizes = UnrollSizes(
            steps=steps, batch=batch, per=layer.per, s_at=offset, s_row=layer.size, e_at=e_at, e_row=e_row,
            reverse=int(reverse),
        )  # fmt: skip
        bias = b_hh.reshape(-1) if record.recurrent else xs  # where nothing is read of it
        more = (layer.weights(plan, stage=True), staged) if record.staged else ()
        layer.run(UNROLL, plan, (xs, layer.weights(plan), bias, own, sent, saved, more, lengths), sizes)
    return layer
