"""Backward through time (BPTT)."""

from typing import NamedTuple

from ...cpu.run import Back
from .. import arrays, device, projections
from ..layer import Array, Layer
from ..pass_kernels import Pass
from ..register_arrays import ALIGNED, read, write
from ..thread_exchange import give, side_by_side
from ..toolkit import cuda
from ..unit_tuples import increase

from ..kernel_names import (  # isort: skip
    BLOCKS, FIRST, GATES, GROUPS, LOCAL, N, OUT, PARAMETERS, PARAMETER_ROOM, PARTS, PART_ROOM, ROWS, SAVED, SECOND,
    SHARED, SHARED_SIZE, SIGNALS, STAGED, STAGE_AT, STAGE_OUT, STAGE_SUMS, STAGE_WEIGHTS, STAGE_WIDE, STATES, SUMS,
    UNITS, WEIGHTS, WIDE, arrive, backward, emit_slope, of_unit, position, prepare, product, stage_backward,
    stage_prepare, stage_product, wait,
)  # fmt: skip


class BackpropSizes(NamedTuple):
    """Rows (t, m) of an array begin at `at` + (t*M + m) * `row`: of the states (s), of the gradients of the output (g)
    and of those of the states (o)."""

    start: int
    stop: int
    batch: int
    copies: int
    per: int
    s_at: int
    s_row: int
    s_step: int  # rows of the states from one time to the next
    g_at: int
    g_row: int
    o_at: int
    o_row: int
    reverse: int
    from_output: int
    to_states: int
    kept: int
    first: int = 0


def backprop(cell, weights, states, saved, grad_output, grad_states, carry, dx, dr, more, lengths, arrivals, sizes):
    """Backward through time from `stop` to `start`; carry is the gradient of the last states, then of the first.

    Rows m of carry, dx, dr, grad_output and grad_states belong to sequence m // copies. dx (steps, M, G*N) and dr
    (steps, M, R*N) are kept for the gradients of the weights and the input; only two steps of dr are, where `kept` is
    0. to_states as on the CPU: 1 with what enters by grad_output, 2 without. From one time to the next the states have
    s_step rows: B, or fewer where the rows of several times are taken for a batch (gradients by lag). more: nothing,
    the weights of the stage's product, what receives the gradients (M, P*N) of the units' parameters, or both.
    """
    size = BackpropSizes(*sizes)
    start, stop, B, copies, to_states = size.start, size.stop, size.batch, size.copies, size.to_states
    s_at, s_row, s_step, g_at, g_row, o_at, o_row = (
        size.s_at, size.s_row, size.s_step, size.g_at, size.g_row, size.o_at, size.o_row,
    )  # fmt: skip
    M, each = B * copies, size.per * copies
    lane, group, net, row0, rows = position(size.first, each)
    unit, m0 = group * UNITS + lane % UNITS, net * each + row0
    m = m0 + lane // UNITS
    b = m // copies
    active = lane // UNITS < rows and unit < N
    side_by_side(BLOCKS)
    h = cuda.shared.array(SHARED_SIZE, carry.dtype, alignment=ALIGNED)
    w, sums = cuda.local.array(WEIGHTS, carry.dtype), cuda.local.array(SUMS, carry.dtype)
    ds, seen = cuda.local.array(STATES, carry.dtype), cuda.local.array(STATES, carry.dtype)
    r, x, back = (
        cuda.local.array(PART_ROOM, carry.dtype), cuda.local.array(GATES, carry.dtype),
        cuda.local.array(SIGNALS, carry.dtype),
    )  # fmt: skip
    place, own = (net * cuda.gridDim.x * GROUPS + group) * OUT * WIDE, lane // UNITS * WIDE + unit
    cell, p = of_unit(cell, net, unit)
    dp = cuda.local.array(PARAMETER_ROOM, carry.dtype)
    for i in range(PARAMETERS):
        dp[i] = 0
    prepare(w, h, weights, place, lane, arrivals)
    if STAGED:
        stage_w, stage_sums = cuda.local.array(STAGE_WEIGHTS, carry.dtype), cuda.local.array(STAGE_SUMS, carry.dtype)
        da, stage_place = (
            cuda.local.array(STAGED, carry.dtype), (net * cuda.gridDim.x * GROUPS + group) * STAGE_OUT * STAGE_WIDE
        )  # fmt: skip
        stage_own = STAGE_AT + lane // UNITS * STAGE_WIDE + unit
        stage_prepare(stage_w, more[0], stage_place, lane)
    # Step t led from the state at t + late to the one at t + 1 - late; the next one on the way back is t + way.
    t, way, late = (start, 1, 1) if size.reverse else (stop - 1, -1, 0)
    length, g = 0, carry.dtype.type(0)
    if active:
        length = lengths[b]
        s_next = read(states, s_at + ((t + 1 - late) * s_step + b) * s_row + unit, N, STATES)
        s = read(states, s_at + ((t + late) * s_step + b) * s_row + unit, N, STATES)
        if t < length:
            keep = read(saved, (t * B + b) * SAVED * N + unit, N, SAVED)
        if size.from_output:
            g = read(grad_output, g_at + ((t - start) * M + m) * g_row + unit, 1, 1)[0]
        write(ds, 0, 1, read(carry, m * STATES * N + unit, N, STATES))
    here, there, slot, other = 0, ROWS * WIDE, 0, 1
    for k in range(stop - start):
        ahead = t + way if k + 1 < stop - start else t
        if size.kept:
            slot = t - start
        if active:
            s_ahead = read(states, s_at + ((ahead + late) * s_step + b) * s_row + unit, N, STATES)
            if ahead < length:
                keep_ahead = read(saved, (ahead * B + b) * SAVED * N + unit, N, SAVED)
            if size.from_output:
                g_ahead = read(grad_output, g_at + ((ahead - start) * M + m) * g_row + unit, 1, 1)[0]
            if to_states == 2:
                write(seen, 0, 1, read(ds, 0, 1, STATES))
            if t < length and size.from_output:
                slope = emit_slope(cell, s_next)
                for j in range(STATES):
                    ds[j] += slope[j] * g
            if to_states == 1:
                write(seen, 0, 1, read(ds, 0, 1, STATES))
            if t < length:
                d_x, d_r, d_s, d_p = backward(cell, read(ds, 0, 1, STATES), s, s_next, keep, p)
                write(ds, 0, 1, d_s)
                write(r, 0, 1, d_r)
                write(x, 0, 1, d_x)
                increase(dp, 0, d_p)
            else:
                for i in range(PARTS):
                    r[i] = 0
                for i in range(GATES):
                    x[i] = 0
            d_at = (slot * M + m) * PARTS * N + unit
        if STAGED:
            stage_at = FIRST * N
            if active:
                if LOCAL:
                    give(h, stage_own, N, read(r, FIRST, 1, SECOND), BLOCKS)
                else:
                    write(dr, d_at + stage_at, N, read(r, FIRST, 1, SECOND))
            before = arrive(arrivals)
            wait(arrivals, before)
            stage_product(
                da, stage_sums, stage_w, more[0], stage_place, h, STAGE_AT, dr, (slot * M + m0) * PARTS * N + stage_at,
                PARTS * N, rows,
            )  # fmt: skip
            if active and t < length:
                a_x, a_r, a_s, a_p = stage_backward(cell, read(da, 0, 1, STAGED), s, keep, p)
                increase(x, 0, a_x)
                increase(r, 0, a_r)
                increase(ds, 0, a_s)
                increase(dp, 0, a_p)
        if active:
            if LOCAL:
                give(h, here + own, N, read(r, 0, 1, FIRST), BLOCKS)
            elif FIRST:
                write(dr, d_at, N, read(r, 0, 1, FIRST))
        before = arrive(arrivals)
        if active:
            if LOCAL:
                write(dr, d_at, N, read(r, 0, 1, PARTS))
            if not SHARED and size.kept:
                write(dx, (slot * M + m) * GATES * N + unit, N, read(x, 0, 1, GATES))
            if to_states:
                o_then = o_at + ((t + 1 - late - start) * M + m) * o_row + unit
                write(grad_states, o_then, N, read(seen, 0, 1, STATES))
        wait(arrivals, before)
        product(back, sums, w, weights, place, h, here, dr, (slot * M + m0) * PARTS * N, PARTS * N, rows)
        if active:
            if FIRST and t < length:
                slope = emit_slope(cell, s)
                for i in range(SIGNALS):
                    for j in range(STATES):
                        ds[j] += slope[i * STATES + j] * back[i]
            s_next, s = s, s_ahead
            if ahead < length:
                keep = keep_ahead
            if size.from_output:
                g = g_ahead
        here, there, slot, other, t = there, here, other, slot, ahead
    if active:
        if PARAMETERS:
            write(more[-1], m * PARAMETERS * N + unit, N, read(dp, 0, 1, PARAMETERS))
        write(carry, m * STATES * N + unit, N, read(ds, 0, 1, STATES))
        if to_states:
            first_time = stop - start if size.reverse else 0
            write(grad_states, o_at + (first_time * M + m) * o_row + unit, N, read(ds, 0, 1, STATES))


def example(layer: Layer) -> None:
    """Launches the pass, for the table of what its kernels take."""
    dtype, columns = layer.states.dtype, layer.record.states * layer.units
    run(
        layer, device.empty((layer.batch, columns), dtype), device.empty((layer.steps, layer.batch, layer.units), dtype)
    )


BACKPROP = Pass(backprop, example, transposed=True)


def run(
    layer: Layer,
    carry: Array,
    grad_output: Array | None = None,
    *,
    start: int = 0,
    stop: int | None = None,
    copies: int = 1,
    grad_states: Array | None = None,
    apart: bool = False,
    to_weights: bool = True,
    to_input: bool = True,
) -> Back:
    """Back through the layer from states[stop], where the gradient is `carry` (B*copies, S*N), to states[start].

    Arguments as in cpu/run.py.
    """
    carry = arrays.compact(carry)
    stop = layer.steps if stop is None else stop
    record, units, dtype, M = layer.record, layer.units, layer.states.dtype, layer.batch * copies
    steps, kept, own = stop - start, to_weights or to_input, len(record.parameters)
    slots = max(1, steps if kept else min(2, steps))
    dr = device.empty(max(1, slots * M * record.parts * units), dtype)
    dx = dr if record.shared or not kept else device.empty(slots * M * record.gates * units, dtype)
    dp = (device.empty if steps else arrays.zeros)((M * own * units,), dtype) if own else None
    if steps and M:
        g, g_row = (carry.reshape(-1), 0) if grad_output is None else device.rows(grad_output)
        o, o_row = (g, 0) if grad_states is None else (grad_states.reshape(-1), int(grad_states.shape[2]))
        to_states = 0 if grad_states is None else 1 + apart
        plan = layer.plan(BACKPROP, copies)
        weights = layer.weights(plan, transposed=True)
        sizes = BackpropSizes(
            start=start, stop=stop, batch=layer.batch, copies=copies, per=layer.per, s_at=layer.offset,
            s_row=layer.size, s_step=layer.step_rows or layer.batch, g_at=0, g_row=g_row, o_at=layer.offset,
            o_row=o_row, reverse=int(layer.reverse), from_output=int(grad_output is not None), to_states=to_states,
            kept=int(kept),
        )  # fmt: skip
        of_stage = (layer.weights(plan, transposed=True, stage=True),) if record.staged else ()
        more = of_stage if dp is None else (*of_stage, dp)
        states = layer.states.reshape(-1)
        given = (weights, states, layer.saved, g, o, carry.reshape(-1), dx, dr, more, layer.lengths)
        layer.run(BACKPROP, plan, given, sizes, copies)
    elif grad_states is not None:
        for t in range(steps + 1):
            arrays.move(grad_states[t][:, layer.offset : layer.offset + int(carry.shape[1])], carry)
    grads = projections.weight_gradients(layer, dx, dr, dp, start, stop) if to_weights else None
    grad_x = projections.input_gradients(layer, dx, steps, copies) if to_input else None
    return Back(grads, grad_x, carry)


def sent_back(layer: Layer, g: Array, t: int = 0) -> Array:
    """What the gradient g (1, M, N) of what the layer sends after step t brings into its states then, (M, S*N)."""
    units = layer.record.states * layer.units
    states = device.empty((2, layer.batch, layer.size), layer.states.dtype)
    nothing = arrays.zeros((layer.batch, units), layer.states.dtype)
    run(layer, nothing, g, start=t, stop=t + 1, grad_states=states, to_weights=False, to_input=False)
    return states[1][:, layer.offset : layer.offset + units]
