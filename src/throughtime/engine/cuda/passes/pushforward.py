"""Perturbations forward through time: products with Jacobians (JVP)."""

from typing import NamedTuple

from .. import arrays, device, projections
from ..layer import Array, Layer
from ..pass_kernels import Pass
from ..register_arrays import ALIGNED, one_hot, put, read, write
from ..thread_exchange import give, side_by_side
from ..toolkit import cuda
from . import large_pushforward

from ..kernel_names import (  # isort: skip
    BLOCKS, FIRST, GATES, GROUPS, LOCAL, N, OUT, PARTS, PART_ROOM, ROWS, SAVED, SECOND, SHARED_SIZE, SIGNALS, STAGED,
    STAGE_AT, STAGE_OUT, STAGE_SUMS, STAGE_WEIGHTS, STAGE_WIDE, STATES, SUMS, UNITS, WEIGHTS, WIDE, arrive, backward,
    of_unit, position, prepare, product, sent_tangent, stage_backward, stage_prepare, stage_product, wait,
)  # fmt: skip


class TangentSizes(NamedTuple):
    """Rows (t, b) of the states begin at s_at + (t*B + b) * s_row."""

    start: int
    stop: int
    batch: int
    copies: int
    per: int
    s_at: int
    s_row: int
    from_input: int
    to_output: int
    first: int = 0


def tangent(cell, weights, vx, states, saved, v, sends, out, staged, lengths, arrivals, sizes):
    """Forward through time: perturbations v (M, S*N), `copies` of each sequence, from states[start] to states[stop].

    vx (steps, M, G*N) is what the input's perturbation brings to the gates. sends (2, M, E*N) holds the perturbation of
    what the units send, out (steps, M, N) receives that of the output. staged: nothing, or the weights of the stage's
    product and room for the perturbation of what it sends, (M, A*N).
    """
    size = TangentSizes(*sizes)
    start, stop, B, copies, s_at, s_row = size.start, size.stop, size.batch, size.copies, size.s_at, size.s_row
    M, each = B * copies, size.per * copies
    lane, group, net, row0, rows = position(size.first, each)
    unit, m0 = group * UNITS + lane % UNITS, net * each + row0
    m = m0 + lane // UNITS
    b = m // copies
    active = lane // UNITS < rows and unit < N
    side_by_side(BLOCKS)
    h = cuda.shared.array(SHARED_SIZE, v.dtype, alignment=ALIGNED)
    w, sums = cuda.local.array(WEIGHTS, v.dtype), cuda.local.array(SUMS, v.dtype)
    old, new, r = (
        cuda.local.array(STATES, v.dtype), cuda.local.array(STATES, v.dtype), cuda.local.array(PART_ROOM, v.dtype),
    )  # fmt: skip
    signals = cuda.local.array(SIGNALS, v.dtype)
    place, own = (net * cuda.gridDim.x * GROUPS + group) * OUT * WIDE, lane // UNITS * WIDE + unit
    cell, p = of_unit(cell, net, unit)
    prepare(w, h, weights, place, lane, arrivals)
    if STAGED:
        stage_weights, from_stage = staged
        stage_w, stage_sums = cuda.local.array(STAGE_WEIGHTS, v.dtype), cuda.local.array(STAGE_SUMS, v.dtype)
        stage_r, a = cuda.local.array(SECOND, v.dtype), cuda.local.array(STAGED, v.dtype)
        stage_place = (net * cuda.gridDim.x * GROUPS + group) * STAGE_OUT * STAGE_WIDE
        stage_own = STAGE_AT + lane // UNITS * STAGE_WIDE + unit
        stage_prepare(stage_w, stage_weights, stage_place, lane)
    length, t = 0, start
    if active:
        length = lengths[b]
        s = read(states, s_at + (t * B + b) * s_row + unit, N, STATES)
        s_next = read(states, s_at + ((t + 1) * B + b) * s_row + unit, N, STATES)
        if t < length:
            keep = read(saved, (t * B + b) * SAVED * N + unit, N, SAVED)
        if size.from_input:
            x = read(vx, m * GATES * N + unit, N, GATES)
        write(old, 0, 1, read(v, m * STATES * N + unit, N, STATES))
        e = sent_tangent(signals, cell, s, old)
        write(sends, m * SIGNALS * N + unit, N, e)
        if LOCAL and FIRST:
            give(h, own, N, e, BLOCKS)
    wait(arrivals, arrive(arrivals))
    here, there, now, then = 0, ROWS * WIDE, 0, 1
    for k in range(stop - start):
        ahead = t + 1 if t + 1 < stop else t
        if active:
            s_ahead = read(states, s_at + ((ahead + 1) * B + b) * s_row + unit, N, STATES)
            if ahead < length:
                keep_ahead = read(saved, (ahead * B + b) * SAVED * N + unit, N, SAVED)
            if size.from_input:
                x_ahead = read(vx, ((ahead - start) * M + m) * GATES * N + unit, N, GATES)
        product(r, sums, w, weights, place, h, here, sends, (now * M + m0) * SIGNALS * N, SIGNALS * N, rows)
        if STAGED:
            if active:
                for i in range(STAGED):
                    total = v.dtype.type(0)
                    if t < length:
                        a_x, a_r, a_s, _ = stage_backward(cell, one_hot(v, i, STAGED), s, keep, p)
                        if FIRST:
                            for g in range(FIRST):
                                total += a_r[g] * r[g]
                        if size.from_input:
                            for g in range(GATES):
                                total += a_x[g] * x[g]
                        for j in range(STATES):
                            total += a_s[j] * old[j]
                    put(a, i, total, STAGED)
                if LOCAL:
                    give(h, stage_own, N, read(a, 0, 1, STAGED), BLOCKS)
                else:
                    write(from_stage, m * STAGED * N + unit, N, read(a, 0, 1, STAGED))
            before = arrive(arrivals)
            wait(arrivals, before)
            stage_product(
                stage_r, stage_sums, stage_w, stage_weights, stage_place, h, STAGE_AT, from_stage, m0 * STAGED * N,
                STAGED * N, rows,
            )  # fmt: skip
            write(r, FIRST, 1, read(stage_r, 0, 1, SECOND))
        if active:
            if t < length:
                for i in range(STATES):
                    d_x, d_r, d_s, _ = backward(cell, one_hot(v, i, STATES), s, s_next, keep, p)
                    total = v.dtype.type(0)
                    if PARTS:
                        for g in range(PARTS):
                            total += d_r[g] * r[g]
                    if size.from_input:
                        for g in range(GATES):
                            total += d_x[g] * x[g]
                    for j in range(STATES):
                        total += d_s[j] * old[j]
                    put(new, i, total, STATES)
                write(old, 0, 1, read(new, 0, 1, STATES))
            e = sent_tangent(signals, cell, s_next, old)
            if LOCAL:
                if FIRST:
                    give(h, there + own, N, e, BLOCKS)
            else:
                write(sends, (then * M + m) * SIGNALS * N + unit, N, e)
        before = arrive(arrivals)
        if active:
            if size.to_output:
                write(out, (k * M + m) * N + unit, 1, (e[0] if t < length else v.dtype.type(0),))
            s, s_next = s_next, s_ahead
            if ahead < length:
                keep = keep_ahead
            if size.from_input:
                x = x_ahead
        wait(arrivals, before)
        here, there, now, then, t = there, here, then, now, ahead
    if active:
        write(v, m * STATES * N + unit, N, read(old, 0, 1, STATES))


def example(layer: Layer) -> None:
    """Launches the pass, for the table of what its kernels take."""
    v = device.empty((layer.batch, layer.record.states * layer.units), layer.states.dtype)
    run(layer, v, start=0, stop=layer.steps, copies=1)


PUSHFORWARD = Pass(tangent, example)


def run(
    layer: Layer, v: Array, vx: Array | None = None, *, start: int, stop: int, copies: int, to_output: bool = False
) -> tuple[Array, Array | None]:
    """Perturbations v (B*copies, S*N) of states[start], and vx (stop-start, B*copies, I) of x, taken to states[stop].

    Returns the perturbations of states[stop] and, if asked, of what the layer sends, (stop-start, B*copies, N).
    """
    v = arrays.compact(v)
    record, units, dtype, M, steps = layer.record, layer.units, layer.states.dtype, layer.batch * copies, stop - start
    out = device.empty((max(1, steps), M, units) if to_output else (1, 1, 1), dtype)
    if steps and M:
        xs = None
        if vx is not None:
            flat, row = device.rows(vx)
            xs = projections.input_part(flat, row, layer.parameters[0], None, steps, M)
        plan = layer.plan(PUSHFORWARD, copies)
        if not to_output and large_pushforward.suits(layer, plan, copies):
            large_pushforward.run(layer, v, xs, start, stop, copies)
            return v, None
        sends = device.empty(2 * M * record.signals * units, dtype)
        xs = sends if xs is None else xs
        sizes = TangentSizes(
            start=start, stop=stop, batch=layer.batch, copies=copies, per=layer.per, s_at=layer.offset,
            s_row=layer.size, from_input=int(vx is not None), to_output=int(to_output),
        )  # fmt: skip
        staged: tuple[Array, ...] = ()
        if record.staged:
            staged = layer.weights(plan, stage=True), device.empty(M * record.staged * units, dtype)
        states, weights = layer.states.reshape(-1), layer.weights(plan)
        given = (weights, xs, states, layer.saved, v.reshape(-1), sends, out.reshape(-1), staged, layer.lengths)
        layer.run(PUSHFORWARD, plan, given, sizes, copies)
    return v, out[:steps] if to_output else None
