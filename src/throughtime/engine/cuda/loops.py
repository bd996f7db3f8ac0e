"""The sequence loops of the GPU, once for all cells: forward, backward (BPTT) and with perturbations.

Each is one kernel that walks through all of time: nothing is launched per step. What a step reads from memory, but for
what other threads have just computed, is asked for a step ahead. Dimensions as in engine/loops.py, N units (a constant
here, so that the numbers of a unit's gates lie at constant distances), and

    per    sequences of each network: an ensemble's sequences lie one network after another in the batch
    LANES  neighbouring threads that share the sums of UNITS units, each over its own columns
    ROWS   rows of the batch that a block works on; OWNERS = ROWS * UNITS <= LANES
    OUT    sums per row: UNITS times the SHARE of an owner, which is the gates (forward), 1 (backward)
    WIDE   COLUMNS of the product, N forward and G*N backward, and what fills them up with zeros
    WIDTH  numbers that are fetched at once from what others send

A block holds GROUPS * UNITS units of ROWS rows of one network. Lane m*UNITS + u of a group owns unit u of row m: it
knows its state and evaluates the cell. All lanes take part in the product that comes before.

LOCAL: one block holds all N units, or BLOCKS of a cluster do together, and what units send lies in the shared memory of
each. Else the units are divided among blocks of the grid, which hand it over through global memory. All meet once per
step (barrier.py); what nobody waits for is written between arriving there and waiting.
RESIDENT: a thread's weights stay in its registers. Else they come from the cache at every step.

The upper-case names and the functions are globals of each compiled copy (compiler.kernel, build.py).
"""

from typing import Any

from .register_arrays import ALIGNED, add, fill, one_hot, put, read, write
from .thread_exchange import collect, fetch, give, side_by_side
from .toolkit import cuda

# Replaced in every compiled copy; here for readers and for tools.
N = GATES = STATES = SAVED = LANES = GROUPS = UNITS = ROWS = OUT = COLUMNS = WIDE = CHUNK = DEPTH = VEC = WIDTH = 1
THREADS = WEIGHTS = SUMS = OWNERS = SHARE = SHARED_SIZE = BLOCKS = 1
EMITS = SHARED = LOCAL = RESIDENT = False
forward: Any = None
backward: Any = None
emit: Any = None
emit_slope: Any = None
position: Any = None
prepare: Any = None
product: Any = None
arrive: Any = None
wait: Any = None


def thread_position(first, each):
    """Of this thread: lane, group, network, the first of its block's rows in the network's `each`, and how many."""
    lane, group = cuda.threadIdx.x % LANES, cuda.blockIdx.x * GROUPS + cuda.threadIdx.x // LANES
    parts = (each + ROWS - 1) // ROWS
    net, row0 = (first + cuda.blockIdx.y) // parts, (first + cuda.blockIdx.y) % parts * ROWS
    return lane, group, net, row0, min(ROWS, each - row0)


def own_weights(w, h, weights, place, lane, meetings):
    """The thread's weights into its registers, and zeros into the shared memory that its rows do not fill."""
    if RESIDENT:
        fill(w, weights, place + lane * VEC, WIDE, OUT, DEPTH, LANES)
    if LOCAL:
        for i in range(cuda.threadIdx.x, SHARED_SIZE, THREADS):
            h[i] = 0
        wait(meetings, arrive(meetings))


def rows_times_weights(mine, sums, w, weights, place, h, buffer, source, at, row, rows):
    """mine[g] = sum_k weights[unit, g, k] source[m, k] for the unit u and the row m that this lane owns.

    The source lies in shared memory already (LOCAL), from h[buffer] on, or is fetched: row m from at + m*row on.
    """
    lane = cuda.threadIdx.x % LANES
    for i in range(SUMS):
        sums[i] = 0
    if LOCAL:
        add(sums, w, h, buffer + lane * VEC, WIDE, ROWS, OUT, DEPTH, LANES)
    elif RESIDENT:
        fetch(h, source, at, row, rows, COLUMNS, CHUNK, ROWS, WIDTH, THREADS)
        cuda.syncthreads()
        add(sums, w, h, lane * VEC, CHUNK, ROWS, OUT, DEPTH, LANES)
    else:
        for low in range(0, WIDE, CHUNK):
            fetch(h, source, at + low, row, rows, COLUMNS - low, CHUNK, ROWS, WIDTH, THREADS)
            cuda.syncthreads()
            for k in range(lane * VEC, min(CHUNK, WIDE - low), LANES * DEPTH):
                fill(w, weights, place + low + k, WIDE, OUT, DEPTH, LANES)
                add(sums, w, h, k, CHUNK, ROWS, OUT, DEPTH, LANES)
            cuda.syncthreads()
    collect(mine, sums, lane, OWNERS, SHARE, LANES)


def unroll(cell, xs, weights, bias, states, sent, saved, lengths, meetings, shape):
    """Forward through time: fills states and saved (and sent, where a unit sends something else than h).

    xs (T, B, G*N) is the input part of every step, the weights are packed (weight_packing.py).
    """
    T, B, per, s_at, s_row, e_at, e_row, reverse, first = shape
    lane, group, net, row0, rows = position(first, per)
    unit, b0 = group * UNITS + lane % UNITS, net * per + row0
    b = b0 + lane // UNITS
    active = lane // UNITS < rows and unit < N
    side_by_side(BLOCKS)
    h = cuda.shared.array(SHARED_SIZE, xs.dtype, alignment=ALIGNED)
    w, sums = cuda.local.array(WEIGHTS, xs.dtype), cuda.local.array(SUMS, xs.dtype)
    s, r = cuda.local.array(STATES, xs.dtype), cuda.local.array(GATES, xs.dtype)
    place, own = (net * cuda.gridDim.x * GROUPS + group) * OUT * WIDE, lane // UNITS * WIDE + unit
    prepare(w, h, weights, place, lane, meetings)
    # Step t leads from the state at t + late to the one at t + 1 - late; the next one is t + way.
    t, way, late = (T - 1, -1, 1) if reverse else (0, 1, 0)
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
    wait(meetings, arrive(meetings))
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
        before = arrive(meetings)
        if active:
            if t < length:
                write(saved, (t * B + b) * SAVED * N + unit, N, keep)
            if LOCAL or EMITS:
                write(states, s_at + then * s_row + unit, N, read(s, 0, 1, STATES))
            if LOCAL and EMITS:
                write(sent, e_at + then * e_row + unit, 1, (e,))
            x = x_ahead
        wait(meetings, before)
        here, there, t = there, here, ahead


def backprop(cell, weights, states, saved, grad_output, grad_states, carry, dx, dr, lengths, meetings, shape):
    """Backward through time from `stop` to `start`; carry is the gradient of the last states, then of the first.

    Rows m of carry, dx, dr, grad_output and grad_states belong to sequence m // copies. dx and dr (steps, M, G*N) are
    kept for the gradients of the weights and the input; only two steps of dr are, where `kept` is 0. to_states as on
    the CPU: 1 with what enters by grad_output, 2 without. From one time to the next the states have s_step rows: B,
    or fewer where the rows of several times are taken for a batch (gradients by lag).
    """
    start, stop, B, copies, per, s_at, s_row, s_step, g_at, g_row, o_at, o_row = shape[:12]
    reverse, from_output, to_states, kept, first = shape[12:]
    M, each = B * copies, per * copies
    lane, group, net, row0, rows = position(first, each)
    unit, m0 = group * UNITS + lane % UNITS, net * each + row0
    m = m0 + lane // UNITS
    b = m // copies
    active = lane // UNITS < rows and unit < N
    side_by_side(BLOCKS)
    h = cuda.shared.array(SHARED_SIZE, carry.dtype, alignment=ALIGNED)
    w, sums = cuda.local.array(WEIGHTS, carry.dtype), cuda.local.array(SUMS, carry.dtype)
    ds, seen = cuda.local.array(STATES, carry.dtype), cuda.local.array(STATES, carry.dtype)
    r, x, back = (
        cuda.local.array(GATES, carry.dtype), cuda.local.array(GATES, carry.dtype), cuda.local.array(1, carry.dtype),
    )  # fmt: skip
    place, own = (net * cuda.gridDim.x * GROUPS + group) * OUT * WIDE, lane // UNITS * WIDE + unit
    prepare(w, h, weights, place, lane, meetings)
    # Step t led from the state at t + late to the one at t + 1 - late; the next one on the way back is t + way.
    t, way, late = (start, 1, 1) if reverse else (stop - 1, -1, 0)
    length, g = 0, carry.dtype.type(0)
    if active:
        length = lengths[b]
        s_next = read(states, s_at + ((t + 1 - late) * s_step + b) * s_row + unit, N, STATES)
        s = read(states, s_at + ((t + late) * s_step + b) * s_row + unit, N, STATES)
        if t < length:
            keep = read(saved, (t * B + b) * SAVED * N + unit, N, SAVED)
        if from_output:
            g = read(grad_output, g_at + ((t - start) * M + m) * g_row + unit, 1, 1)[0]
        write(ds, 0, 1, read(carry, m * STATES * N + unit, N, STATES))
    here, there, slot, other = 0, ROWS * WIDE, 0, 1
    for k in range(stop - start):
        ahead = t + way if k + 1 < stop - start else t
        if kept:
            slot = t - start
        if active:
            s_ahead = read(states, s_at + ((ahead + late) * s_step + b) * s_row + unit, N, STATES)
            if ahead < length:
                keep_ahead = read(saved, (ahead * B + b) * SAVED * N + unit, N, SAVED)
            if from_output:
                g_ahead = read(grad_output, g_at + ((ahead - start) * M + m) * g_row + unit, 1, 1)[0]
            if to_states == 2:
                write(seen, 0, 1, read(ds, 0, 1, STATES))
            if t < length and from_output:
                slope = emit_slope(cell, s_next)
                for j in range(STATES):
                    ds[j] += slope[j] * g
            if to_states == 1:
                write(seen, 0, 1, read(ds, 0, 1, STATES))
            if t < length:
                d_x, d_r, d_s = backward(cell, read(ds, 0, 1, STATES), s, s_next, keep)
                write(ds, 0, 1, d_s)
                write(r, 0, 1, d_r)
                write(x, 0, 1, d_x)
            else:
                for i in range(GATES):
                    r[i] = 0
                    x[i] = 0
            d_at = (slot * M + m) * GATES * N + unit
            if LOCAL:
                give(h, here + own, N, read(r, 0, 1, GATES), BLOCKS)
            else:
                write(dr, d_at, N, read(r, 0, 1, GATES))
        before = arrive(meetings)
        if active:
            if LOCAL:
                write(dr, d_at, N, read(r, 0, 1, GATES))
            if not SHARED and kept:
                write(dx, d_at, N, read(x, 0, 1, GATES))
            if to_states:
                o_then = o_at + ((t + 1 - late - start) * M + m) * o_row + unit
                write(grad_states, o_then, N, read(seen, 0, 1, STATES))
        wait(meetings, before)
        product(back, sums, w, weights, place, h, here, dr, (slot * M + m0) * GATES * N, GATES * N, rows)
        if active:
            if t < length:
                slope = emit_slope(cell, s)
                for j in range(STATES):
                    ds[j] += slope[j] * back[0]
            s_next, s = s, s_ahead
            if ahead < length:
                keep = keep_ahead
            if from_output:
                g = g_ahead
        here, there, slot, other, t = there, here, other, slot, ahead
    if active:
        write(carry, m * STATES * N + unit, N, read(ds, 0, 1, STATES))
        if to_states:
            first_time = stop - start if reverse else 0
            write(grad_states, o_at + (first_time * M + m) * o_row + unit, N, read(ds, 0, 1, STATES))


def tangent(cell, weights, vx, states, saved, v, sends, out, lengths, meetings, shape):
    """Forward through time: perturbations v (M, S*N), `copies` of each sequence, from states[start] to states[stop].

    vx (steps, M, G*N) is what the input's perturbation brings to the gates. sends (2, M, N) holds the perturbation of
    what the units send, out (steps, M, N) receives that of the output.
    """
    start, stop, B, copies, per, s_at, s_row, from_input, to_output, first = shape
    M, each = B * copies, per * copies
    lane, group, net, row0, rows = position(first, each)
    unit, m0 = group * UNITS + lane % UNITS, net * each + row0
    m = m0 + lane // UNITS
    b = m // copies
    active = lane // UNITS < rows and unit < N
    side_by_side(BLOCKS)
    h = cuda.shared.array(SHARED_SIZE, v.dtype, alignment=ALIGNED)
    w, sums = cuda.local.array(WEIGHTS, v.dtype), cuda.local.array(SUMS, v.dtype)
    old, new, r = (
        cuda.local.array(STATES, v.dtype), cuda.local.array(STATES, v.dtype), cuda.local.array(GATES, v.dtype),
    )  # fmt: skip
    place, own = (net * cuda.gridDim.x * GROUPS + group) * OUT * WIDE, lane // UNITS * WIDE + unit
    prepare(w, h, weights, place, lane, meetings)
    length, t = 0, start
    if active:
        length = lengths[b]
        s = read(states, s_at + (t * B + b) * s_row + unit, N, STATES)
        s_next = read(states, s_at + ((t + 1) * B + b) * s_row + unit, N, STATES)
        if t < length:
            keep = read(saved, (t * B + b) * SAVED * N + unit, N, SAVED)
        if from_input:
            x = read(vx, m * GATES * N + unit, N, GATES)
        write(old, 0, 1, read(v, m * STATES * N + unit, N, STATES))
        e = sent_tangent(cell, s, old)
        write(sends, m * N + unit, 1, (e,))
        if LOCAL:
            give(h, own, 1, (e,), BLOCKS)
    wait(meetings, arrive(meetings))
    here, there, now, then = 0, ROWS * WIDE, 0, 1
    for k in range(stop - start):
        ahead = t + 1 if t + 1 < stop else t
        if active:
            s_ahead = read(states, s_at + ((ahead + 1) * B + b) * s_row + unit, N, STATES)
            if ahead < length:
                keep_ahead = read(saved, (ahead * B + b) * SAVED * N + unit, N, SAVED)
            if from_input:
                x_ahead = read(vx, ((ahead - start) * M + m) * GATES * N + unit, N, GATES)
        product(r, sums, w, weights, place, h, here, sends, (now * M + m0) * N, N, rows)
        if active:
            if t < length:
                for i in range(STATES):
                    d_x, d_r, d_s = backward(cell, one_hot(v, i, STATES), s, s_next, keep)
                    total = v.dtype.type(0)
                    for g in range(GATES):
                        total += d_r[g] * r[g]
                        if from_input:
                            total += d_x[g] * x[g]
                    for j in range(STATES):
                        total += d_s[j] * old[j]
                    put(new, i, total, STATES)
                write(old, 0, 1, read(new, 0, 1, STATES))
            e = sent_tangent(cell, s_next, old)
            if LOCAL:
                give(h, there + own, 1, (e,), BLOCKS)
            else:
                write(sends, (then * M + m) * N + unit, 1, (e,))
        before = arrive(meetings)
        if active:
            if to_output:
                write(out, (k * M + m) * N + unit, 1, (e if t < length else v.dtype.type(0),))
            s, s_next = s_next, s_ahead
            if ahead < length:
                keep = keep_ahead
            if from_input:
                x = x_ahead
        wait(meetings, before)
        here, there, now, then, t = there, here, then, now, ahead
    if active:
        write(v, m * STATES * N + unit, N, read(old, 0, 1, STATES))


def sent_tangent(cell, s, v):
    """The perturbation of what a unit sends, for the perturbation v of its state."""
    slope, total = emit_slope(cell, s), v.dtype.type(0)
    for j in range(STATES):
        total += slope[j] * v[j]
    return total
