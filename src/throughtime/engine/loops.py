"""The sequence loops, once for all cells: forward, backward (BPTT and adjoint), and tangent.

Dimensions
    T, B   time steps, sequences of the batch          I, N   inputs, units
    G, S   gates, states of a unit                     M      rows of a backward or tangent pass: B * copies, m // copies = sequence
    BLOCK  units worked on together                    WIDTH  G * BLOCK, a panel of weights: BLOCK units with all their gates

Arrays are flat; an element's place is spelt where it is used. Each loop takes its part of the work: rows row0 .. row1 of the batch and
units unit0 .. unit1. A team either divides the rows, and each thread goes its own way through time, or (lockstep) the units, and all
meet once per step. The pointwise mathematics of a block happens in one small array `work` at constant distances, so that LLVM
sees that nothing overlaps and vectorises it; the copies around it cost some 10 % of a pointwise block and nothing beside the product.

The upper-case names, the cell's functions and the products are globals of each compiled copy (`jit.specialise`, engine/build.py).
"""

import numpy as np

from .primitives import meet, one_hot, read, write

# Replaced in every compiled copy; here for readers and for tools.
BLOCK = WIDTH = GATES = STATES = SAVED = BACK = SIZE = 1
EMITS = SHARED = False
X = R = S0 = S1 = KEEP = E = DS = DX = DR = DP = V = C = SLOPE = 0


def forward_block(fields, work):
    """BLOCK units of one step: work[X], work[R], work[S0] -> work[S1], work[KEEP], work[E]."""
    for n in range(BLOCK):
        s_next, keep = forward(fields, read(work, X + n, BLOCK, GATES), read(work, R + n, BLOCK, GATES), read(work, S0 + n, BLOCK, STATES))
        write(work, S1 + n, BLOCK, s_next)
        write(work, KEEP + n, BLOCK, keep)
        work[E + n] = emit(fields, s_next)


def backward_block(fields, work):
    """BLOCK units of one step back: work[DS], work[S0], work[S1], work[KEEP] -> work[DX], work[DR], work[DP]."""
    for n in range(BLOCK):
        s, s_next = read(work, S0 + n, BLOCK, STATES), read(work, S1 + n, BLOCK, STATES)
        dx, dr, dp = backward(fields, read(work, DS + n, BLOCK, STATES), s, s_next, read(work, KEEP + n, BLOCK, SAVED))
        if not SHARED:
            write(work, DX + n, BLOCK, dx)
        write(work, DR + n, BLOCK, dr)
        write(work, DP + n, BLOCK, dp)


def tangent_block(fields, work):
    """The local derivative of BLOCK units, from `backward` fed with unit cotangents: work[C + i*SIZE] = row i of (D_x, D_r, D_s)."""
    for i in range(STATES):
        c = C + i * SIZE
        for n in range(BLOCK):
            s, s_next = read(work, S0 + n, BLOCK, STATES), read(work, S1 + n, BLOCK, STATES)
            dx, dr, dp = backward(fields, one_hot(work, i, STATES), s, s_next, read(work, KEEP + n, BLOCK, SAVED))
            write(work, c + n, BLOCK, dx)
            write(work, c + GATES * BLOCK + n, BLOCK, dr)
            write(work, c + 2 * GATES * BLOCK + n, BLOCK, dp)
    for n in range(BLOCK):
        write(work, SLOPE + n, BLOCK, emit_slope(fields, read(work, S1 + n, BLOCK, STATES)))


def apply_block(work):
    """One direction through the local derivative: work[X], work[R], work[V] -> work[DP] = D_x X + D_r R + D_s V, work[E] = slope DP."""
    for n in range(BLOCK):
        work[E + n] = 0
    for i in range(STATES):
        c = C + i * SIZE
        for n in range(BLOCK):
            total = work[c + n] * work[X + n] + work[c + GATES * BLOCK + n] * work[R + n]
            for g in range(1, GATES):
                total += work[c + g * BLOCK + n] * work[X + g * BLOCK + n]
                total += work[c + (GATES + g) * BLOCK + n] * work[R + g * BLOCK + n]
            for j in range(STATES):
                total += work[c + (2 * GATES + j) * BLOCK + n] * work[V + j * BLOCK + n]
            work[DP + i * BLOCK + n] = total
            work[E + n] += work[SLOPE + i * BLOCK + n] * total


def load(work, at, array, place, stride, blocks, count):
    """work[at + j*BLOCK + n] = array[place + j*stride + n] for n < count, and 0 beyond the last unit."""
    for j in range(blocks):
        for n in range(count):
            work[at + j * BLOCK + n] = array[place + j * stride + n]
        for n in range(count, BLOCK):
            work[at + j * BLOCK + n] = 0


def store(array, place, stride, work, at, blocks, count):
    """array[place + j*stride + n] = work[at + j*BLOCK + n] for n < count."""
    for j in range(blocks):
        for n in range(count):
            array[place + j * stride + n] = work[at + j * BLOCK + n]


def unroll(fields, weights, x, states, sent, saved, lengths, shape, part, meeting):
    """Forward through time: fills states and saved (and sent, where a unit sends something else than h)."""
    w_ih, b_ih, w_hh, b_hh = weights
    T, B, I, N, x_at, x_row, s_at, s_row, e_at, e_row, reverse = shape
    row0, row1, unit0, unit1, _, threads, lockstep = part
    P, first, last = (N + BLOCK - 1) // BLOCK, unit0 // BLOCK, (unit1 + BLOCK - 1) // BLOCK
    rows = row1 - row0
    chunk = max(1, 24 // rows) if rows == B else 1  # few rows: several steps of the input at once, so that tiles are tall
    xs = np.empty((last - first) * chunk * rows * WIDTH, x.dtype)
    rs = np.empty(rows * WIDTH, x.dtype)
    work = np.zeros(C, x.dtype)
    round_ = 0
    for done in range(0, T, chunk):
        steps = min(chunk, T - done)
        low = T - done - steps if reverse else done
        product(x, x_at + (low * B + row0) * x_row, x_row, steps * rows, I, w_ih, first, last, b_ih, WIDTH, xs, 0)
        for k in range(steps):
            step = steps - 1 - k if reverse else k
            t = low + step
            now, then = (t + 1, t) if reverse else (t, t + 1)
            for p in range(first, last):
                product(sent, e_at + (now * B + row0) * e_row, e_row, rows, N, w_hh, p, p + 1, b_hh, WIDTH, rs, 0)
                unit, count = p * BLOCK, min(BLOCK, N - p * BLOCK)
                for m in range(rows):
                    b = row0 + m
                    before, after = s_at + (now * B + b) * s_row + unit, s_at + (then * B + b) * s_row + unit
                    if t >= lengths[b]:  # this sequence has ended (or, in reverse, not yet begun): its state stands still
                        for j in range(STATES):
                            for n in range(count):
                                states[after + j * N + n] = states[before + j * N + n]
                        if EMITS:
                            for n in range(count):
                                sent[e_at + (then * B + b) * e_row + unit + n] = sent[e_at + (now * B + b) * e_row + unit + n]
                        continue
                    for j in range(WIDTH):
                        work[X + j] = xs[(((p - first) * steps + step) * rows + m) * WIDTH + j]
                    for j in range(WIDTH):
                        work[R + j] = rs[m * WIDTH + j]
                    load(work, S0, states, before, N, STATES, count)
                    forward_block(fields, work)
                    store(states, after, N, work, S1, STATES, count)
                    for j in range(SAVED * BLOCK):
                        saved[((t * B + b) * P + p) * SAVED * BLOCK + j] = work[KEEP + j]
                    if EMITS:
                        store(sent, e_at + (then * B + b) * e_row + unit, 0, work, E, 1, count)
            if lockstep:
                round_ = meet(meeting, threads, round_)


def backprop(fields, weights, x, states, sent, saved, grad_output, grad_states, grad_x, grads, carry, dr, dx, lengths, shape, part, meeting):
    """Backward through time from `stop` to `start`. On entry carry is the gradient with respect to the last states, at the end the first.

    Rows m of carry, dr, dx, grad_output, grad_states and grad_x belong to sequence m // copies. What is wanted besides carry is said by
    flags: the gradients of the weights (copies = 1), of the input, of every state.
    """
    w_hh, w_ih = weights
    start, stop, B, copies, I, N, x_at, x_row, s_at, s_row, e_at, e_row, g_at, g_row, o_at, o_row, reverse, chunk = shape[:18]
    from_output, to_states, to_input, to_weights = shape[18:]
    row0, row1, unit0, unit1, index, threads, lockstep = part
    P, first, last = (N + BLOCK - 1) // BLOCK, unit0 // BLOCK, (unit1 + BLOCK - 1) // BLOCK
    M, rows, depth = B * copies, row1 - row0, P * WIDTH
    rs = np.empty(rows * BACK, x.dtype)
    zeros = np.zeros(BACK, x.dtype)
    work = np.zeros(C, x.dtype)
    round_ = 0
    for done in range(0, stop - start, chunk):
        steps = min(chunk, stop - start - done)
        low = start + done if reverse else stop - done - steps
        for k in range(steps):
            slot = k if reverse else steps - 1 - k
            t = low + slot
            now, then = (t + 1, t) if reverse else (t, t + 1)
            for p in range(first, last):
                unit, count = p * BLOCK, min(BLOCK, N - p * BLOCK)
                for m in range(row0, row1):
                    b = m // copies
                    here = m * STATES * N + unit
                    place = (slot * M + m) * depth + p * WIDTH
                    load(work, DS, carry, here, N, STATES, count)
                    alive = t < lengths[b]
                    if alive:
                        load(work, S1, states, s_at + (then * B + b) * s_row + unit, N, STATES, count)
                        if from_output:
                            load(work, E, grad_output, g_at + ((t - start) * M + m) * g_row + unit, 0, 1, count)
                            for n in range(BLOCK):
                                slope = emit_slope(fields, read(work, S1 + n, BLOCK, STATES))
                                for j in range(STATES):
                                    work[DS + j * BLOCK + n] += slope[j] * work[E + n]
                    if to_states:
                        store(grad_states, o_at + ((then - start) * M + m) * o_row + unit, N, work, DS, STATES, count)
                    if not alive:
                        for j in range(WIDTH):
                            dr[place + j] = 0
                            if not SHARED:
                                dx[place + j] = 0
                        continue
                    load(work, S0, states, s_at + (now * B + b) * s_row + unit, N, STATES, count)
                    for j in range(SAVED * BLOCK):
                        work[KEEP + j] = saved[((t * B + b) * P + p) * SAVED * BLOCK + j]
                    backward_block(fields, work)
                    for g in range(GATES):
                        for n in range(count, BLOCK):  # beyond the last unit there is nothing, whatever the cell makes of zeros
                            work[DR + g * BLOCK + n] = 0
                            work[DX + g * BLOCK + n] = 0
                    for j in range(WIDTH):
                        dr[place + j] = work[DR + j]
                    if not SHARED:
                        for j in range(WIDTH):
                            dx[place + j] = work[DX + j]
                    store(carry, here, N, work, DP, STATES, count)
            if lockstep:
                round_ = meet(meeting, threads, round_)
            for q in range(unit0 // BACK, (unit1 + BACK - 1) // BACK):
                product_back(dr, (slot * M + row0) * depth, depth, rows, depth, w_hh, q, q + 1, zeros, 0, rs, 0)
                for m in range(row0, row1):
                    b = m // copies
                    if t < lengths[b]:
                        at, place, here = m * STATES * N + q * BACK, (m - row0) * BACK, s_at + (now * B + b) * s_row + q * BACK
                        for n in range(min(BACK, N - q * BACK)):
                            if EMITS:
                                slope = emit_slope(fields, read(states, here + n, N, STATES))
                                for j in range(STATES):
                                    carry[at + j * N + n] += slope[j] * rs[place + n]
                            else:
                                carry[at + n] += rs[place + n]
        if to_input or to_weights:
            round_ = meet(meeting, threads, round_)
            d = dr if SHARED else dx
            if to_weights:
                origin = low + 1 if reverse else low
                weight_gradients(d, dr, x, sent, grads, steps * M, I, N, x_at + low * B * x_row, x_row, e_at + origin * B * e_row, e_row, index, threads)
            if to_input:
                input_gradients(d, w_ih, grad_x, (low - start) * M, steps * M, I, depth, index, threads)
            round_ = meet(meeting, threads, round_)
    if to_states:
        first_time = stop if reverse else start
        for m in range(row0, row1):
            for j in range(STATES):
                for n in range(unit0, unit1):
                    grad_states[o_at + ((first_time - start) * M + m) * o_row + j * N + n] = carry[(m * STATES + j) * N + n]


def weight_gradients(dx, dr, x, sent, grads, rows, I, N, x_at, x_row, e_at, e_row, index, threads):
    """One thread's share of dW_ih += dx^T x, dW_hh += dr^T sent and the biases, over the `rows` of a chunk, in the order of the rows."""
    g_ih, g_hh, gb_ih, gb_hh = grads
    P = (N + BLOCK - 1) // BLOCK
    d = np.empty(rows * WIDTH, x.dtype)
    edge = np.zeros(32 * BACK, x.dtype)
    y = np.empty((max(I, N) + BACK - 1) // BACK * BACK * rows, x.dtype)
    for side in range(2):
        source, bias, out, columns = (dr, gb_hh, g_hh, N) if side == 0 else (dx, gb_ih, g_ih, I)
        if side == 0:
            pack_rows(sent, e_at, e_row, rows, columns, BACK, y)
        else:
            pack_rows(x, x_at, x_row, rows, columns, BACK, y)
        for p in range(P * index // threads, P * (index + 1) // threads):
            for m in range(rows):
                for j in range(WIDTH):
                    d[m * WIDTH + j] = source[(m * P + p) * WIDTH + j]
            for g in range(GATES):
                unit, count = g * N + p * BLOCK, min(BLOCK, N - p * BLOCK)
                for m in range(rows):
                    for n in range(count):
                        bias[unit + n] += d[m * WIDTH + g * BLOCK + n]
                accumulate(d, g * BLOCK, WIDTH, count, y, rows, out, unit * columns, columns, columns, edge)


def input_gradients(d, w_ih, grad_x, at, rows, I, depth, index, threads):
    """One thread's share of dL/dx = dx W_ih for the rows of a chunk."""
    first, last = rows * index // threads, rows * (index + 1) // threads
    out = np.empty((last - first) * BACK, d.dtype)
    zeros = np.zeros(BACK, d.dtype)
    for q in range((I + BACK - 1) // BACK):
        product_back(d, first * depth, depth, last - first, depth, w_ih, q, q + 1, zeros, 0, out, 0)
        for m in range(last - first):
            for n in range(min(BACK, I - q * BACK)):
                grad_x[(at + first + m) * I + q * BACK + n] = out[m * BACK + n]


def tangent(fields, weights, states, saved, v, sends, vx, out, lengths, shape, part, meeting):
    """Forward through time with perturbations: v (M, S*N) from states[start] to states[stop], `copies` of them for each sequence.

    sends (2, M, N) holds the perturbation of what the units send, of this step and the next; vx (steps, M, I) that of the input, out
    (steps, M, N) receives that of the output: the next layer's vx.
    """
    w_ih, w_hh = weights
    start, stop, B, copies, I, N, s_at, s_row, from_input, to_output = shape
    row0, row1, unit0, unit1, _, threads, lockstep = part
    P, first, last = (N + BLOCK - 1) // BLOCK, unit0 // BLOCK, (unit1 + BLOCK - 1) // BLOCK
    M, rows = B * copies, row1 - row0
    rs, xs = np.empty(rows * WIDTH, v.dtype), np.empty(rows * WIDTH, v.dtype)
    zeros = np.zeros(WIDTH, v.dtype)
    work = np.zeros(C + STATES * SIZE + STATES * BLOCK, v.dtype)
    round_ = 0
    for t in range(start, stop):
        old, new = (t - start) % 2 * M * N, (t - start + 1) % 2 * M * N
        for p in range(first, last):
            unit, count = p * BLOCK, min(BLOCK, N - p * BLOCK)
            product(sends, old + row0 * N, N, rows, N, w_hh, p, p + 1, zeros, 0, rs, 0)
            if from_input:
                product(vx, ((t - start) * M + row0) * I, I, rows, I, w_ih, p, p + 1, zeros, 0, xs, 0)
            ready = -1
            for m in range(row0, row1):
                b, here = m // copies, m * STATES * N + unit
                if t >= lengths[b]:
                    for n in range(count):
                        sends[new + m * N + unit + n] = sends[old + m * N + unit + n]
                        if to_output:
                            out[((t - start) * M + m) * N + unit + n] = 0
                    continue
                if b != ready:
                    load(work, S0, states, s_at + (t * B + b) * s_row + unit, N, STATES, count)
                    load(work, S1, states, s_at + ((t + 1) * B + b) * s_row + unit, N, STATES, count)
                    for j in range(SAVED * BLOCK):
                        work[KEEP + j] = saved[((t * B + b) * P + p) * SAVED * BLOCK + j]
                    tangent_block(fields, work)
                    ready = b
                for j in range(WIDTH):
                    work[R + j] = rs[(m - row0) * WIDTH + j]
                if from_input:
                    for j in range(WIDTH):
                        work[X + j] = xs[(m - row0) * WIDTH + j]
                load(work, V, v, here, N, STATES, count)
                apply_block(work)
                store(v, here, N, work, DP, STATES, count)
                store(sends, new + m * N + unit, 0, work, E, 1, count)
                if to_output:
                    store(out, ((t - start) * M + m) * N + unit, 0, work, E, 1, count)
        if lockstep:
            round_ = meet(meeting, threads, round_)
