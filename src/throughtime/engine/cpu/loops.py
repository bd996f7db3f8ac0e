"""The sequence loops, once for all cells: forward, and backward (BPTT). tangents.py has those with perturbations.

Dimensions
    T, B   time steps, sequences of the batch
    I, N   inputs, units
    G, S   gates, states of a unit
    M      rows of a backward or tangent pass: B * copies; row m belongs to sequence m // copies
    BLOCK  units worked on together
    WIDTH  G * BLOCK, a panel of weights: BLOCK units with all their gates
    KEPT   numbers that a block saves

Arrays are flat (operands.py); an element's place is spelt where it is used: x_at and x_row say where the rows of x
begin and how far apart they are, s_at and s_row the same of the states, e_ of what the units send, g_ of the output's
gradient, o_ of the states' gradients (sizes.py). A loop takes its share of the rows and units (shares.py).

The mathematics of a block is in pointwise.py; it works in a small array `work`, and the loops call it by its address:
so one compiled loop serves all cells of the same shape (G, S, saved), and a new cell compiles in half a second. The
copies to and from `work` cost some 10 % of a pointwise block and nothing beside the product. Beyond the last unit a
block holds left-over numbers, which never come out.

The upper-case names and the products are globals of each compiled copy (`jit.specialise`, build.py).
"""

import numpy as np

from ...jit import PLACEHOLDER
from ..sizes import Backward, Forward, Places, Share
from .meeting import meet
from .operands import Pointwise
from .primitives import call, clear, copy, move, wide
from .register_tile import tile

BLOCK = WIDTH = VECTORS = GATES = STATES = KEPT = BACK = GROUP = GROUP_BACK = LANES = EMITS = SHARED = PLACEHOLDER
X = R = S0 = S1 = KEEP = E = DS = DX = DR = DP = SLOPE = END = PLACEHOLDER
product = product_back = product_packed = pack_strips = accumulate = pack_rows = PLACEHOLDER
ROWS = 64  # whose dL/dx are worked out together: a part of the first cache under all panels


def unroll(pointwise, weights, known, x, sent, size, share, meeting):
    """Forward through time: fills states and saved (and sent, where a unit sends something else than h)."""
    wide()
    blocks = Pointwise(*pointwise)
    forward_block, emit_block = blocks.forward_block, blocks.emit_block
    w_ih, b_ih, w_hh, b_hh = weights
    fields, states, saved, lengths = known
    size, share = Forward(*size), Share(*share)
    T, B, I, N, reverse, at = size.steps, size.batch, size.inputs, size.units, size.reverse, Places(*size.places)
    x_at, x_row, s_at, s_row, e_at, e_row = at.x_at, at.x_row, at.s_at, at.s_row, at.e_at, at.e_row
    row0, row1, unit0, unit1 = share.first_row, share.end_row, share.first_unit, share.end_unit
    threads, lockstep = share.team, share.lockstep
    P, first, last = (N + BLOCK - 1) // BLOCK, unit0 // BLOCK, (unit1 + BLOCK - 1) // BLOCK
    rows = row1 - row0
    chunk = max(1, 24 // rows) if rows == B else 1  # few rows: several steps of the input at once make tall tiles
    group = GROUP if rows == 1 else 1
    xs = np.empty(((last - first) * chunk if chunk > 1 else group) * rows * WIDTH, x.dtype)
    rs = np.empty(group * rows * WIDTH, x.dtype)
    work = np.zeros(END, x.dtype)
    round_ = 0
    if EMITS:  # what the initial state sends
        begin = T if reverse else 0
        for m in range(row0, row1):
            for unit in range(first * BLOCK, unit1, BLOCK):
                count = min(BLOCK, N - unit)
                move(work, S1, BLOCK, states, s_at + (begin * B + m) * s_row + unit, N, STATES, count, BLOCK)
                call(emit_block, fields, work)
                move(sent, e_at + (begin * B + m) * e_row + unit, 0, work, E, 0, 1, count, BLOCK)
        if lockstep:
            round_ = meet(meeting, threads, round_)
    for done in range(0, T, chunk):
        steps = min(chunk, T - done)
        low = T - done - steps if reverse else done
        if chunk > 1:
            product(x, x_at + (low * B + row0) * x_row, x_row, steps * rows, I, w_ih, first, last, b_ih, WIDTH, xs, 0)
        for k in range(steps):
            step = steps - 1 - k if reverse else k
            t = low + step
            now, then = (t + 1, t) if reverse else (t, t + 1)
            for turn in range(0, last - first, group):
                # there and back: the weights in the cache at the end of one step are the first to be used in the next
                p0 = first + turn if t % 2 else max(first, last - turn - group)
                p1 = min(p0 + group, last - turn if t % 2 == 0 else last)
                if chunk == 1:
                    product(x, x_at + (t * B + row0) * x_row, x_row, rows, I, w_ih, p0, p1, b_ih, WIDTH, xs, 0)
                product(sent, e_at + (now * B + row0) * e_row, e_row, rows, N, w_hh, p0, p1, b_hh, WIDTH, rs, 0)
                for pm in range((p1 - p0) * rows):
                    p, m = p0 + pm // rows, pm % rows
                    unit, count = p * BLOCK, min(BLOCK, N - p * BLOCK)
                    b = row0 + m
                    before, after = s_at + (now * B + b) * s_row + unit, s_at + (then * B + b) * s_row + unit
                    e_before, e_after = e_at + (now * B + b) * e_row + unit, e_at + (then * B + b) * e_row + unit
                    if t >= lengths[b]:  # this sequence has ended (in reverse: not begun), its state stands still
                        move(states, after, N, states, before, N, STATES, count, BLOCK)
                        if EMITS:
                            move(sent, e_after, 0, sent, e_before, 0, 1, count, BLOCK)
                        continue
                    copy(work, X, xs, (((p - first) * steps + step) * rows + m if chunk > 1 else pm) * WIDTH, WIDTH)
                    copy(work, R, rs, pm * WIDTH, WIDTH)
                    move(work, S0, BLOCK, states, before, N, STATES, count, BLOCK)
                    call(forward_block, fields, work)
                    move(states, after, N, work, S1, BLOCK, STATES, count, BLOCK)
                    copy(saved, ((t * P + p) * B + b) * KEPT, work, KEEP, KEPT)
                    if EMITS:
                        move(sent, e_after, 0, work, E, 0, 1, count, BLOCK)
            if lockstep:
                round_ = meet(meeting, threads, round_)


def backprop(pointwise, weights, known, x, sent, gradient, size, share, meeting):
    """Backward through time from `stop` to `start`: all that is wanted of the gradients, see there."""
    wide()
    blocks = Pointwise(*pointwise)
    backward_block, slope_block = blocks.backward_block, blocks.slope_block
    w_hh, w_ih = weights
    fields, states, saved, lengths = known
    grad_output, grad_states, grad_x, grads, carry, dr, dx = gradient
    size, share = Backward(*size), Share(*share)
    start, stop, B, copies, I, N = size.start, size.stop, size.batch, size.copies, size.inputs, size.units
    at, g_at, g_row, o_at, o_row = Places(*size.places), size.g_at, size.g_row, size.o_at, size.o_row
    x_at, x_row, s_at, s_row, e_at, e_row = at.x_at, at.x_row, at.s_at, at.s_row, at.e_at, at.e_row
    reverse, chunk, from_output, to_states = size.reverse, size.chunk, size.from_output, size.to_states
    to_input, to_weights, each = size.to_input, size.to_weights, size.each
    row0, row1, unit0, unit1 = share.first_row, share.end_row, share.first_unit, share.end_unit
    index, threads, lockstep = share.member, share.team, share.lockstep
    P, first, last = (N + BLOCK - 1) // BLOCK, unit0 // BLOCK, (unit1 + BLOCK - 1) // BLOCK
    M, rows, depth = B * copies, row1 - row0, P * WIDTH
    d_row = depth + LANES  # rows of dr and dx; at a power of two all would meet in the same lines of the cache
    first_back, last_back = unit0 // BACK, (unit1 + BACK - 1) // BACK
    group = GROUP_BACK if rows == 1 else 1
    whole = rows // LANES * LANES if last_back - first_back > 1 else 0  # rows that it pays to pack
    strips = np.empty(whole * depth, x.dtype)
    rs = np.empty(group * rows * BACK, x.dtype)
    zeros = np.zeros(BACK, x.dtype)
    work = np.zeros(END, x.dtype)
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
                    here, place = m * STATES * N + unit, (slot * M + m) * d_row + p * WIDTH
                    o_then, g_t = o_at + ((then - start) * M + m) * o_row + unit, g_at + ((t - start) * M + m) * g_row
                    move(work, DS, BLOCK, carry, here, N, STATES, count, BLOCK)
                    if to_states == 2:
                        move(grad_states, o_then, N, work, DS, BLOCK, STATES, count, BLOCK)
                    alive = t < lengths[b]
                    if alive:
                        move(work, S1, BLOCK, states, s_at + (then * B + b) * s_row + unit, N, STATES, count, BLOCK)
                        if from_output:
                            move(work, E, 0, grad_output, g_t + unit, 0, 1, count, BLOCK)
                            if EMITS:
                                call(slope_block, fields, work)
                                for j in range(STATES * BLOCK):
                                    work[DS + j] += work[SLOPE + j] * work[E + j % BLOCK]
                            else:
                                for n in range(BLOCK):
                                    work[DS + n] += work[E + n]
                    if to_states == 1:
                        move(grad_states, o_then, N, work, DS, BLOCK, STATES, count, BLOCK)
                    if not alive:
                        clear(dr, place, WIDTH)
                        if not SHARED:
                            clear(dx, place, WIDTH)
                        continue
                    move(work, S0, BLOCK, states, s_at + (now * B + b) * s_row + unit, N, STATES, count, BLOCK)
                    copy(work, KEEP, saved, ((t * P + p) * B + b) * KEPT, KEPT)
                    call(backward_block, fields, work)
                    if count < BLOCK:  # the products to come would count what lies beyond the last unit
                        for g in range(GATES):
                            clear(work, DR + g * BLOCK + count, BLOCK - count)
                            clear(work, DX + g * BLOCK + count, BLOCK - count)
                    copy(dr, place, work, DR, WIDTH)
                    if not SHARED:
                        copy(dx, place, work, DX, WIDTH)
                    move(carry, here, N, work, DP, BLOCK, STATES, count, BLOCK)
            if lockstep:
                round_ = meet(meeting, threads, round_)
            d_at = (slot * M + row0) * d_row
            pack_strips(dr, d_at, d_row, whole, depth, strips)
            for turn in range(0, last_back - first_back, group):
                q0 = first_back + turn if t % 2 else max(first_back, last_back - turn - group)
                q1 = min(q0 + group, last_back - turn if t % 2 == 0 else last_back)
                product_packed(strips, whole, depth, w_hh, q0, zeros, 0, rs)
                if whole < rows:
                    at_rest, rest = d_at + whole * d_row, rows - whole
                    product_back(dr, at_rest, d_row, rest, depth, w_hh, q0, q1, zeros, 0, rs, whole * BACK)
                for qm in range((q1 - q0) * rows):
                    q, m = q0 + qm // rows, row0 + qm % rows
                    b = m // copies
                    if t >= lengths[b]:
                        continue
                    here, place, width = m * STATES * N + q * BACK, qm * BACK, min(BACK, N - q * BACK)
                    if EMITS:
                        for cut in range(0, width, BLOCK):
                            count, s_now = min(BLOCK, width - cut), s_at + (now * B + b) * s_row + q * BACK + cut
                            move(work, S1, BLOCK, states, s_now, N, STATES, count, BLOCK)
                            call(slope_block, fields, work)
                            for j in range(STATES):
                                for n in range(count):
                                    carry[here + j * N + cut + n] += work[SLOPE + j * BLOCK + n] * rs[place + cut + n]
                    else:
                        for n in range(width):
                            carry[here + n] += rs[place + n]
        if to_input or to_weights:
            round_ = meet(meeting, threads, round_)
            d = dr if SHARED else dx
            if to_weights:
                origin = low + 1 if reverse else low
                x_low, e_low = x_at + low * B * x_row, e_at + origin * B * e_row
                apart, tall = (B, steps) if each else (1, steps * M)  # sums, and the rows of one
                for b in range(apart):
                    weight_gradients(
                        d, dr, x, sent, grads, b, tall, I, N, b * d_row, apart * d_row, x_low + b * x_row,
                        apart * x_row, e_low + b * e_row, apart * e_row, index, threads,
                    )  # fmt: skip
            if to_input:
                input_gradients(d, w_ih, grad_x, (low - start) * M, steps * M, I, depth, index, threads)
        if lockstep or to_input or to_weights:  # the next step may write what another thread still reads
            round_ = meet(meeting, threads, round_)
    if to_states:
        first_time = stop if reverse else start
        for m in range(row0, row1):
            for j in range(STATES):
                place, here = o_at + ((first_time - start) * M + m) * o_row + j * N, (m * STATES + j) * N
                for n in range(unit0, unit1):
                    grad_states[place + n] = carry[here + n]


def weight_gradients(dx, dr, x, sent, grads, which, rows, I, N, d_at, d_row, x_at, x_row, e_at, e_row, index, threads):
    """One thread's share of dW_ih += dx^T x, dW_hh += dr^T sent and the biases, over a chunk's rows in their order, to
    the gradients number `which` of each array; those that are not wanted are empty."""
    wide()
    g_ih, g_hh, gb_ih, gb_hh = grads
    P = (N + BLOCK - 1) // BLOCK
    d = np.empty(rows * WIDTH, x.dtype)
    edge = np.zeros(32 * BACK, x.dtype)
    sent_panels = np.empty((N + BACK - 1) // BACK * BACK * rows if g_hh.size else 0, x.dtype)
    x_panels = np.empty((I + BACK - 1) // BACK * BACK * rows if g_ih.size else 0, x.dtype)
    if g_hh.size:
        pack_rows(sent, e_at, e_row, rows, N, sent_panels)
    if g_ih.size:
        pack_rows(x, x_at, x_row, rows, I, x_panels)
    for p in range(P * index // threads, P * (index + 1) // threads):
        count = min(BLOCK, N - p * BLOCK)
        for side in range(2):  # of the recurrence, of the input
            weights, bias = (g_hh, gb_hh) if side == 0 else (g_ih, gb_ih)
            if weights.size + bias.size == 0:
                continue
            if side == 0 or not SHARED or g_hh.size + gb_hh.size == 0:  # otherwise it is there already
                for m in range(rows):
                    copy(d, m * WIDTH, dr if side == 0 else dx, d_at + m * d_row + p * WIDTH, WIDTH)
            if bias.size:
                bias_gradient(d, rows, bias, which * GATES * N + p * BLOCK, N, count)
            if weights.size:
                y, columns = (sent_panels, N) if side == 0 else (x_panels, I)
                for g in range(GATES):
                    at = ((which * GATES + g) * N + p * BLOCK) * columns
                    accumulate(d, g * BLOCK, WIDTH, count, y, rows, weights, at, columns, columns, edge)


def bias_gradient(d, rows, bias, at, N, count):
    """bias += sum_m d[m, :] for a block's gates, in the order of m: a product with ones, which costs nothing extra."""
    ones, sums = np.ones(1, d.dtype), np.zeros(WIDTH, d.dtype)
    for g in range(GATES):
        for n in range(count):
            sums[g * BLOCK + n] = bias[at + g * N + n]
    tile(1, VECTORS, 1, (ones, 0, 0, 0), (d, 0, 0, WIDTH), rows, (sums, 0, 0, 0), (sums, 0, 0, 0))
    for g in range(GATES):
        for n in range(count):
            bias[at + g * N + n] = sums[g * BLOCK + n]


def input_gradients(d, w_ih, grad_x, at, rows, I, depth, index, threads):
    """One thread's share of dL/dx = dx W_ih for the rows of a chunk."""
    first, last, d_row = rows * index // threads, rows * (index + 1) // threads, depth + LANES
    panels = (I + BACK - 1) // BACK
    packs = panels > 1
    out, strips = np.empty(ROWS * BACK, d.dtype), np.empty(ROWS * depth if packs else 0, d.dtype)
    zeros = np.zeros(BACK, d.dtype)
    for low in range(first, last, ROWS):
        here = min(ROWS, last - low)
        whole = here // LANES * LANES if packs else 0
        pack_strips(d, low * d_row, d_row, whole, depth, strips)
        for q in range(panels):
            product_packed(strips, whole, depth, w_ih, q, zeros, 0, out)
            if whole < here:
                rest = (low + whole) * d_row
                product_back(d, rest, d_row, here - whole, depth, w_ih, q, q + 1, zeros, 0, out, whole * BACK)
            count = min(BACK, I - q * BACK)
            for m in range(here):
                move(grad_x, (at + low + m) * I + q * BACK, 0, out, m * BACK, 0, 1, count, BACK)
