"""The sequence loops of the GPU, once for all cells: forward, backward (BPTT) and with perturbations.

Each is one kernel that walks through all of time: nothing is launched per step. Dimensions as in engine/loops.py, and

    per    sequences of each network: an ensemble's sequences lie one network after another in the batch
    LANES  neighbouring threads that share the sums of UNITS units, each over its own columns
    ROWS   rows of the batch that a block works on; ROWS * UNITS <= LANES
    OUT    sums per row: UNITS times the gates (forward), UNITS (backward)
    WIDE   columns of the product, N forward and G*N backward, and what fills them up with zeros

A block holds GROUPS * UNITS units of ROWS rows of one network. Lane m*UNITS + u of a group owns unit u of row m: it
knows its state and evaluates the cell. All lanes take part in the product that comes before.

ALONE: the block holds all N units, its rows meet in shared memory, the block meets once per step. Else the units are
divided among blocks, which hand over what they send through global memory and meet once per step (barrier.py).
RESIDENT: a thread's weights stay in its registers. Else they come from the cache at every step.

The upper-case names and the functions are globals of each compiled copy (device.kernel, build.py).
"""

from typing import Any

from .device import cuda
from .registers import add, fill, one_hot, read, write

# Replaced in every compiled copy; here for readers and for tools.
GATES = STATES = SAVED = LANES = GROUPS = UNITS = ROWS = OUT = WIDE = CHUNK = DEPTH = VEC = THREADS = 1
WEIGHTS = SUMS = SHARED_SIZE = 1
EMITS = SHARED = ALONE = RESIDENT = False
forward: Any = None
backward: Any = None
emit: Any = None
emit_slope: Any = None
position: Any = None
prepare: Any = None
product: Any = None
meet: Any = None


def thread_position(first, each):
    """Of this thread: lane, group, network, the first of its block's rows in the network's `each`, and how many."""
    lane, group = cuda.threadIdx.x % LANES, cuda.blockIdx.x * GROUPS + cuda.threadIdx.x // LANES
    parts = (each + ROWS - 1) // ROWS
    net, row0 = (first + cuda.blockIdx.y) // parts, (first + cuda.blockIdx.y) % parts * ROWS
    return lane, group, net, row0, min(ROWS, each - row0)


def own_weights(w, h, weights, place, lane):
    """The thread's weights into its registers, and zeros into the shared memory that its rows do not fill."""
    if RESIDENT:
        fill(w, weights, place + lane * VEC, WIDE, OUT, DEPTH, LANES)
    if ALONE:
        for i in range(cuda.threadIdx.x, SHARED_SIZE, THREADS):
            h[i] = 0
        cuda.syncthreads()


def rows_times_weights(mine, sums, w, weights, place, h, buffer, source, at, row, rows, columns):
    """mine[g] = sum_k weights[g, unit, k] source[m, k] for the unit u and the row m that this lane owns.

    The source lies in shared memory already (ALONE), from h[buffer] on, or is fetched: row m from at + m*row on.
    """
    lane = cuda.threadIdx.x % LANES
    for i in range(SUMS):
        sums[i] = 0
    if ALONE:
        add(sums, w, h, buffer + lane * VEC, WIDE, ROWS, OUT, DEPTH, LANES)
    else:
        for low in range(0, WIDE, CHUNK):
            for i in range(cuda.threadIdx.x, ROWS * CHUNK, THREADS):
                m, k = i // CHUNK, low + i % CHUNK
                h[i] = cuda.ldcg(source, at + m * row + k) if m < rows and k < columns else h.dtype.type(0)
            cuda.syncthreads()
            if RESIDENT:
                add(sums, w, h, lane * VEC, CHUNK, ROWS, OUT, DEPTH, LANES)
            else:
                for k in range(lane * VEC, min(CHUNK, WIDE - low), LANES * DEPTH):
                    fill(w, weights, place + low + k, WIDE, OUT, DEPTH, LANES)
                    add(sums, w, h, k, CHUNK, ROWS, OUT, DEPTH, LANES)
                cuda.syncthreads()
    for i in range(SUMS):
        total, other = sums[i], 1
        while other < LANES:
            total += cuda.shfl_xor_sync(0xFFFFFFFF, total, other)
            other *= 2
        sums[i] = total
    for m in range(ROWS):
        for u in range(UNITS):
            if lane == m * UNITS + u:
                for g in range(OUT // UNITS):
                    mine[g] = sums[m * OUT + g * UNITS + u]


def unroll(cell, xs, weights, bias, states, sent, saved, lengths, meetings, shape):
    """Forward through time: fills states and saved (and sent, where a unit sends something else than h).

    xs (T, B, G*N) is the input part of every step, the weights are packed (packing.py).
    """
    T, B, per, N, s_at, s_row, e_at, e_row, reverse, first = shape
    lane, group, net, row0, rows = position(first, per)
    unit, b0 = group * UNITS + lane % UNITS, net * per + row0
    b = b0 + lane // UNITS
    active = lane // UNITS < rows and unit < N
    h = cuda.shared.array(SHARED_SIZE, xs.dtype)
    w, sums = cuda.local.array(WEIGHTS, xs.dtype), cuda.local.array(SUMS, xs.dtype)
    s, r = cuda.local.array(STATES, xs.dtype), cuda.local.array(GATES, xs.dtype)
    place = (net * cuda.gridDim.x * GROUPS + group) * OUT * WIDE
    prepare(w, h, weights, place, lane)
    begin, length = T if reverse else 0, 0
    if active:
        length = lengths[b]
        write(s, 0, 1, read(states, s_at + (begin * B + b) * s_row + unit, N, STATES))
        e = emit(cell, read(s, 0, 1, STATES))
        if EMITS:
            sent[e_at + (begin * B + b) * e_row + unit] = e
        if ALONE:
            h[lane // UNITS * WIDE + unit] = e
    meet(meetings)
    for k in range(T):
        t = T - 1 - k if reverse else k
        now, then = (t + 1, t) if reverse else (t, t + 1)
        if active:
            x = read(xs, (t * B + b) * GATES * N + unit, N, GATES)
        here = k % 2 * ROWS * WIDE
        product(r, sums, w, weights, place, h, here, sent, e_at + (now * B + b0) * e_row, e_row, rows, N)
        if active:
            if t < length:
                for g in range(GATES):
                    r[g] += bias[(net * GATES + g) * N + unit]
                s_next, keep = forward(cell, x, read(r, 0, 1, GATES), read(s, 0, 1, STATES))
                write(s, 0, 1, s_next)
                write(saved, (t * B + b) * SAVED * N + unit, N, keep)
            write(states, s_at + (then * B + b) * s_row + unit, N, read(s, 0, 1, STATES))
            e = emit(cell, read(s, 0, 1, STATES))
            if EMITS:
                sent[e_at + (then * B + b) * e_row + unit] = e
            if ALONE:
                h[(k + 1) % 2 * ROWS * WIDE + lane // UNITS * WIDE + unit] = e
        meet(meetings)


def backprop(cell, weights, states, saved, grad_output, grad_states, carry, dx, dr, lengths, meetings, shape):
    """Backward through time from `stop` to `start`; carry is the gradient of the last states, then of the first.

    Rows m of carry, dx, dr, grad_output and grad_states belong to sequence m // copies. dx and dr (steps, M, G*N) are
    kept for the gradients of the weights and the input; only two steps of dr are, where `kept` is 0. to_states as on
    the CPU: 1 with what enters by grad_output, 2 without. From one time to the next the states have s_step rows: B,
    or fewer where the rows of several times are taken for a batch (gradients by lag).
    """
    start, stop, B, copies, per, N, s_at, s_row, s_step, g_at, g_row, o_at, o_row = shape[:13]
    reverse, from_output, to_states, kept, first = shape[13:]
    M, each = B * copies, per * copies
    lane, group, net, row0, rows = position(first, each)
    unit, m0 = group * UNITS + lane % UNITS, net * each + row0
    m = m0 + lane // UNITS
    b = m // copies
    active = lane // UNITS < rows and unit < N
    h = cuda.shared.array(SHARED_SIZE, carry.dtype)
    w, sums = cuda.local.array(WEIGHTS, carry.dtype), cuda.local.array(SUMS, carry.dtype)
    ds, back = cuda.local.array(STATES, carry.dtype), cuda.local.array(1, carry.dtype)
    place = (net * cuda.gridDim.x * GROUPS + group) * OUT * WIDE
    prepare(w, h, weights, place, lane)
    length = 0
    if active:
        length = lengths[b]
        write(ds, 0, 1, read(carry, m * STATES * N + unit, N, STATES))
    for k in range(stop - start):
        t = start + k if reverse else stop - 1 - k
        now, then = (t + 1, t) if reverse else (t, t + 1)
        slot = t - start if kept else k % 2
        here = k % 2 * ROWS * WIDE
        if active:
            s = read(states, s_at + (now * s_step + b) * s_row + unit, N, STATES)
            s_next = read(states, s_at + (then * s_step + b) * s_row + unit, N, STATES)
            d_at = (slot * M + m) * GATES * N + unit
            o_then = o_at + ((then - start) * M + m) * o_row + unit
            if to_states == 2:
                write(grad_states, o_then, N, read(ds, 0, 1, STATES))
            if t < length and from_output:
                slope, g = emit_slope(cell, s_next), grad_output[g_at + ((t - start) * M + m) * g_row + unit]
                for j in range(STATES):
                    ds[j] += slope[j] * g
            if to_states == 1:
                write(grad_states, o_then, N, read(ds, 0, 1, STATES))
            if t < length:
                keep = read(saved, (t * B + b) * SAVED * N + unit, N, SAVED)
                d_x, d_r, d_s = backward(cell, read(ds, 0, 1, STATES), s, s_next, keep)
                write(ds, 0, 1, d_s)
                write(dr, d_at, N, d_r)
                if not SHARED and kept:
                    write(dx, d_at, N, d_x)
                if ALONE:
                    write(h, here + lane // UNITS * WIDE + unit, N, d_r)
            else:
                for g in range(GATES):
                    dr[d_at + g * N] = 0
                    if not SHARED and kept:
                        dx[d_at + g * N] = 0
        meet(meetings)
        product(back, sums, w, weights, place, h, here, dr, (slot * M + m0) * GATES * N, GATES * N, rows, GATES * N)
        if active and t < length:
            slope = emit_slope(cell, s)
            for j in range(STATES):
                ds[j] += slope[j] * back[0]
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
    start, stop, B, copies, per, N, s_at, s_row, from_input, to_output, first = shape
    M, each = B * copies, per * copies
    lane, group, net, row0, rows = position(first, each)
    unit, m0 = group * UNITS + lane % UNITS, net * each + row0
    m = m0 + lane // UNITS
    b = m // copies
    active = lane // UNITS < rows and unit < N
    h = cuda.shared.array(SHARED_SIZE, v.dtype)
    w, sums = cuda.local.array(WEIGHTS, v.dtype), cuda.local.array(SUMS, v.dtype)
    old, new, r = (
        cuda.local.array(STATES, v.dtype), cuda.local.array(STATES, v.dtype), cuda.local.array(GATES, v.dtype),
    )  # fmt: skip
    place = (net * cuda.gridDim.x * GROUPS + group) * OUT * WIDE
    prepare(w, h, weights, place, lane)
    length = 0
    if active:
        length = lengths[b]
        write(old, 0, 1, read(v, m * STATES * N + unit, N, STATES))
        e = sent_tangent(cell, read(states, s_at + (start * B + b) * s_row + unit, N, STATES), old)
        sends[m * N + unit] = e
        if ALONE:
            h[lane // UNITS * WIDE + unit] = e
    meet(meetings)
    for k in range(stop - start):
        t = start + k
        here = k % 2 * ROWS * WIDE
        if active:
            s = read(states, s_at + (t * B + b) * s_row + unit, N, STATES)
            s_next = read(states, s_at + ((t + 1) * B + b) * s_row + unit, N, STATES)
            keep = read(saved, (t * B + b) * SAVED * N + unit, N, SAVED)
        product(r, sums, w, weights, place, h, here, sends, (k % 2 * M + m0) * N, N, rows, N)
        if active:
            if t < length:
                x_at = (k * M + m) * GATES * N + unit
                for i in range(STATES):
                    d_x, d_r, d_s = backward(cell, one_hot(v, i, STATES), s, s_next, keep)
                    new[i] = 0
                    for g in range(GATES):
                        new[i] += d_r[g] * r[g]
                        if from_input:
                            new[i] += d_x[g] * vx[x_at + g * N]
                    for j in range(STATES):
                        new[i] += d_s[j] * old[j]
                write(old, 0, 1, read(new, 0, 1, STATES))
            e = sent_tangent(cell, s_next, old)
            sends[((k + 1) % 2 * M + m) * N + unit] = e
            if to_output:
                out[(k * M + m) * N + unit] = e if t < length else v.dtype.type(0)
            if ALONE:
                h[(k + 1) % 2 * ROWS * WIDE + lane // UNITS * WIDE + unit] = e
        meet(meetings)
    if active:
        write(v, m * STATES * N + unit, N, read(old, 0, 1, STATES))


def sent_tangent(cell, s, v):
    """The perturbation of what a unit sends, for the perturbation v of its state."""
    slope, total = emit_slope(cell, s), v.dtype.type(0)
    for j in range(STATES):
        total += slope[j] * v[j]
    return total
