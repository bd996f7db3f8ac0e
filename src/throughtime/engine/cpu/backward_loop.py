"""Backward through time, once for all cells (BPTT). Names as in loops.py."""

import numpy as np

from ...jit import PLACEHOLDER
from ..sizes import Backward, Places, Share
from .by_address import add_gradients, call, call_beside, pack_strips, pack_transposed, product
from .input_gradients import input_gradients
from .masked import join_back, zone_back
from .matmul import narrow_panel
from .meeting import meet
from .operands import Addresses
from .own_share import mine
from .panels import depth_of
from .primitives import clear, copy, wide
from .spans import add, move, trim
from .stages import stage_back
from .weight_gradients import parameter_gradients, room_for

BLOCK = WIDTH = RWIDTH = AWIDTH = QWIDTH = FIELD_STEP = GATES = PARTS = STATES = SIGNALS = KEPT = PLACEHOLDER
BACK = GROUP_BACK = LANES = WIRED = SENT = MOST_PARTS = MOST_SIGNALS = PLACEHOLDER
RAGGED = PACKS = EMITS = MASKED = SHARED = FIRST = STAGED = PARAMETERS = BESIDE = SPARSE = PLACEHOLDER
S0 = S1 = E = DS = DX = DR = DP = DQ = SLOPE = END = PLACEHOLDER
spread = product_sparse_back = sparse_gradients = PLACEHOLDER


def ragged_back(work, at, d, place, count, size):
    """The gradient of a ragged last block, from work[at] to `size` numbers of d (panels.py)."""
    wide()
    clear(d, place, size)
    trim(work, at, PARTS, count, BLOCK)
    for g in range(PARTS):
        copy(d, place + g * count, work, at + g * BLOCK, BLOCK)


def backprop(addresses, weights, unpacked, known, x, sent, beside, gradient, size, share, meeting):
    """Backward through time from `stop` to `start`: all that is wanted of the gradients, see there."""
    wide()
    to = Addresses(*addresses)
    backward_block, slope_block, of_back = to.backward_block, to.slope_block, to.product_back
    w_hh, w_ih = weights
    if MASKED:
        fields, states, saved, lengths, kept, candidates, heard = known
    else:
        fields, states, saved, lengths = known
    grad_output, grad_states, grad_x, grads, carry, dr, dx = gradient
    size, share = Backward(*size), Share(*mine(share, meeting))
    start, stop, B, copies, I, N = size.start, size.stop, size.batch, size.copies, size.inputs, size.units
    at, g_at, g_row, o_at, o_row = Places(*size.places), size.g_at, size.g_row, size.o_at, size.o_row
    x_at, x_row, s_at, s_row, e_at, e_row = at.x_at, at.x_row, at.s_at, at.s_row, at.e_at, at.e_row
    reverse, chunk, from_output, to_states = size.reverse, size.chunk, size.from_output, size.to_states
    to_input, to_weights, each = size.to_input, size.to_weights, size.each
    row0, row1, unit0, unit1 = share.first_row, share.end_row, share.first_unit, share.end_unit
    member, threads, lockstep = share.member, share.team, share.lockstep
    P, first, last = (N + BLOCK - 1) // BLOCK, unit0 // BLOCK, (unit1 + BLOCK - 1) // BLOCK
    M, rows = B * copies, row1 - row0
    depth, x_depth = depth_of(N, BLOCK, FIRST, RAGGED), depth_of(N, BLOCK, GATES, RAGGED)
    # Rows of dr and dx; at a power of two all would meet in the same lines of the cache.
    d_row, dx_row, da_row, dq_row = depth + LANES, x_depth + LANES, P * AWIDTH + LANES, P * QWIDTH + LANES
    first_back, last_back = unit0 // BACK, (unit1 + BACK - 1) // BACK
    group, per_signal = GROUP_BACK if rows == 1 else 1, (N + BACK - 1) // BACK
    narrow = narrow_panel(N, BACK, LANES)
    padded = (rows + LANES - 1) // LANES * LANES
    strips = np.empty(padded * max(depth, P * AWIDTH), x.dtype)
    if SPARSE:
        clear(strips, 0, strips.size)
        index, ends, of_weights, ends_of_weights, places_of_weights = beside
        room = np.empty(4 * LANES * LANES, x.dtype)
    rs = np.empty(group * padded * BACK, x.dtype)
    zeros = np.zeros(BACK, x.dtype)
    work = np.zeros(END, x.dtype)
    if BESIDE:
        staged, w_a, da, dq = beside
    of_rows, of_sums = to.rows_back, to.accumulate_back
    round_ = 0
    if PACKS:
        if size.packs:
            r_w_hh, r_w_ih = unpacked
            q0, q1, pack, of_x = first_back, last_back, to.pack_transposed, (I + BACK - 1) // BACK
            if threads > 1 and not lockstep:
                q0, q1 = per_signal * member // threads, per_signal * (member + 1) // threads
            pack_transposed(pack, r_w_hh, FIRST, N, N, 1, BLOCK, RAGGED, w_hh, 0, q0, q1)
            q0, q1 = of_x * member // threads, of_x * (member + 1) // threads
            pack_transposed(pack, r_w_ih, GATES, N, I, 1, BLOCK, RAGGED, w_ih, 0, q0, q1)
            if not lockstep:
                round_ = meet(meeting, threads, round_)
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
                    b = m if copies == 1 else m // copies
                    here, place = m * STATES * N + unit, (slot * M + m) * d_row + p * RWIDTH
                    x_place = (slot * M + m) * dx_row + p * WIDTH
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
                                call(slope_block, fields, p * FIELD_STEP, work)
                                for j in range(STATES * BLOCK):
                                    work[DS + j] += work[SLOPE + j] * work[E + j % BLOCK]
                            else:
                                add(work, DS, work, E, BLOCK, BLOCK)
                    if to_states == 1:
                        move(grad_states, o_then, N, work, DS, BLOCK, STATES, count, BLOCK)
                    if not alive:
                        clear(dr, place, min(RWIDTH, depth - p * RWIDTH))
                        if not SHARED:
                            clear(dx, x_place, min(WIDTH, x_depth - p * WIDTH))
                        if STAGED:
                            clear(da, (slot * M + m) * da_row + p * AWIDTH, AWIDTH)
                        if PARAMETERS:
                            clear(dq, (slot * M + m) * dq_row + p * QWIDTH, QWIDTH)
                        continue
                    move(work, S0, BLOCK, states, s_at + (now * B + b) * s_row + unit, N, STATES, count, BLOCK)
                    if MASKED:
                        zone_back(work, kept, candidates, (t * B + b) * STATES * N + unit, N, count)
                    at_fields, s_here = p * FIELD_STEP, ((t * P + p) * B + b) * KEPT
                    if STAGED:
                        call_beside(backward_block, fields, at_fields, work, dx, x_place, work, DR, saved, s_here)
                    elif RAGGED and count < BLOCK:
                        call_beside(backward_block, fields, at_fields, work, work, DX, work, DR, saved, s_here)
                    else:
                        call_beside(backward_block, fields, at_fields, work, dx, x_place, dr, place, saved, s_here)
                    if MASKED:
                        join_back(work)
                    if count < BLOCK:  # the products to come would count what lies beyond the last unit
                        if RAGGED:
                            ragged_back(work, DR, dr, place, count, depth - p * RWIDTH)
                            if not SHARED:
                                ragged_back(work, DX, dx, x_place, count, depth - p * RWIDTH)
                        else:
                            if STAGED:
                                trim(work, DR, PARTS, count, BLOCK)
                            else:
                                trim(dr, place, PARTS, count, BLOCK)
                            if not SHARED:
                                trim(dx, x_place, GATES, count, BLOCK)
                    if STAGED:
                        copy(dr, place, work, DR, RWIDTH)
                        copy(da, (slot * M + m) * da_row + p * AWIDTH, work, DR + RWIDTH, AWIDTH)
                    if PARAMETERS:
                        copy(dq, (slot * M + m) * dq_row + p * QWIDTH, work, DQ, QWIDTH)
                    move(carry, here, N, work, DP, BLOCK, STATES, count, BLOCK)
            if STAGED:
                if lockstep:
                    round_ = meet(meeting, threads, round_)
                stage_back(
                    to, fields, states, saved, lengths, w_a, da, dr, dx, dq, carry, strips, zeros, work, t, slot,
                    s_at + now * B * s_row, s_row, B, copies, N, row0, rows, first_back, last_back,
                )  # fmt: skip
            if lockstep:
                round_ = meet(meeting, threads, round_)
            if not FIRST:
                continue
            d_at = (slot * M + row0) * d_row
            if SPARSE:
                spread(dr, d_at, d_row, rows, depth, strips)
            else:
                pack_strips(to.strips_back, dr, d_at, d_row, rows, depth, strips)
            for turn in range(0, last_back - first_back, group):
                q0 = first_back + turn if t % 2 else max(first_back, last_back - turn - group)
                q1 = min(q0 + group, last_back - turn if t % 2 == 0 else last_back)
                for e in range(SIGNALS):
                    w0, w1, slim = q0 + e * per_signal, q1 + e * per_signal, narrow + e * per_signal
                    if SPARSE:
                        product_sparse_back(strips, rows, depth, w_hh, index, ends, w0, w1, zeros, 0, rs, 0, room)
                    else:
                        product(of_back, dr, d_at, d_row, strips, rows, depth, w_hh, w0, w1, zeros, 0, rs, 0, slim)
                    for qm in range((q1 - q0) * rows):
                        q, m = (q0 + qm, row0) if rows == 1 else (q0, row0 + qm)  # of several rows one panel
                        b = m if copies == 1 else m // copies
                        if t >= lengths[b]:
                            continue
                        here, place, width = m * STATES * N + q * BACK, qm * BACK, min(BACK, N - q * BACK)
                        if MASKED:
                            for n in range(width):
                                rs[place + n] *= heard[(b * SIGNALS + e) * N + q * BACK + n]
                        if EMITS:
                            for cut in range(0, width, BLOCK):
                                unit, count = q * BACK + cut, min(BLOCK, width - cut)
                                before = s_at + (now * B + b) * s_row + unit
                                move(work, S1, BLOCK, states, before, N, STATES, count, BLOCK)
                                call(slope_block, fields, unit // BLOCK * FIELD_STEP, work)
                                for j in range(STATES):
                                    slope = SLOPE + (e * STATES + j) * BLOCK
                                    for n in range(count):
                                        carry[here + j * N + cut + n] += work[slope + n] * rs[place + cut + n]
                        else:  # signal e is state e
                            add(carry, here + e * N, rs, place, width, BACK)
        if to_input or to_weights:
            round_ = meet(meeting, threads, round_)
            d = dr if SHARED else dx
            if to_weights:
                origin = low + 1 if reverse else low
                x_low, e_low = x_at + low * B * x_row, e_at + origin * B * e_row
                apart, tall = (B, steps) if each else (1, steps * M)  # sums, and the rows of one
                room_of_sums = np.empty(room_for(MOST_PARTS, MOST_SIGNALS, max(I, N), tall, BLOCK, BACK), x.dtype)
                for b in range(apart):
                    add_gradients(
                        to.gradients_x, of_rows, of_sums, d, b * dx_row, apart * dx_row, x, x_low + b * x_row,
                        apart * x_row, I, grads[0], grads[0].size, b * GATES * N, grads[2], grads[2].size,
                        b * GATES * N, tall, N, member, threads, room_of_sums,
                    )  # fmt: skip
                    if SPARSE:
                        add_gradients(
                            to.gradients_r, of_rows, of_sums, dr, b * d_row, apart * d_row, sent, e_low + b * e_row,
                            apart * e_row, N, grads[1], 0, 0, grads[3], grads[3].size, b * PARTS * N, tall, N, member,
                            threads, room_of_sums,
                        )  # fmt: skip
                        if grads[1].size:
                            sparse_gradients(
                                dr, b * d_row, apart * d_row, sent, e_low + b * e_row, apart * e_row, of_weights,
                                ends_of_weights, places_of_weights, grads[1], b * WIRED * N * N, tall, N, P, member,
                                threads,
                            )  # fmt: skip
                    elif FIRST:
                        add_gradients(
                            to.gradients_r, of_rows, of_sums, dr, b * d_row, apart * d_row, sent, e_low + b * e_row,
                            apart * e_row, N, grads[1], grads[1].size, b * WIRED * N, grads[3], grads[3].size,
                            b * PARTS * N, tall, N, member, threads, room_of_sums,
                        )  # fmt: skip
                    if STAGED:
                        a_low, a_step = low * B * STAGED * N, STAGED * N
                        add_gradients(
                            to.gradients_a, of_rows, of_sums, da, b * da_row, apart * da_row, staged,
                            a_low + b * a_step, apart * a_step, N, grads[1], grads[1].size, (b * WIRED + SENT) * N,
                            grads[3], grads[3].size, (b * PARTS + FIRST) * N, tall, N, member, threads, room_of_sums,
                        )  # fmt: skip
                    if PARAMETERS:
                        parameter_gradients(dq, b * dq_row, apart * dq_row, grads, b * N, tall, N, member, threads)
            if to_input:
                input_gradients(to, d, w_ih, grad_x, (low - start) * M, steps * M, I, x_depth, member, threads)
        if lockstep or to_input or to_weights:  # the next step may write what another thread still reads
            round_ = meet(meeting, threads, round_)
    if to_states:
        first_time = stop if reverse else start
        for m in range(row0, row1):
            for j in range(STATES):
                place, here = o_at + ((first_time - start) * M + m) * o_row + j * N, (m * STATES + j) * N
                for n in range(unit0, unit1):
                    grad_states[place + n] = carry[here + n]
