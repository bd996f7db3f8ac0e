"""The loops with perturbations: tangents forward through time, and the Jacobians of steps. Names as in loops.py."""

import numpy as np

from ...jit import PLACEHOLDER
from ..sizes import JacobianBlock, Places, Share, Tangent
from .by_address import call, pack_strips, product
from .matmul import narrow_panel
from .meeting import meet
from .operands import Addresses
from .own_share import mine
from .primitives import clear, combine, copy, wide
from .spans import move
from .stages import stage_tangent

BLOCK = WIDTH = RWIDTH = AWIDTH = FIELD_STEP = GATES = STATES = SIGNALS = KEPT = SIZE = PLACEHOLDER
RAGGED = EMITS = ALIKE = FIRST = STAGED = SPARSE = LANES = PACKED_X = PACKED_R = PACKED_A = PLACEHOLDER
X = R = S0 = S1 = KEEP = E = DP = V = C = SLOPE = END = PLACEHOLDER
spread = product_sparse = PLACEHOLDER

TOGETHER = 16  # matrices that a block of units serves before the next block takes its turn


def tangent(addresses, weights, known, perturbation, beside, size, share, meeting):
    """Forward through time: perturbations of states[start] to those of states[stop]."""
    wide()
    to = Addresses(*addresses)
    tangent_block, apply_block = to.tangent_block, to.apply_block
    stage_tangent_block, stage_apply_block = to.stage_tangent_block, to.stage_apply_block
    of_x, of_r, of_a = to.product_x, to.product_r, to.product_a
    w_ih, w_hh = weights
    fields, states, saved, lengths = known
    v, sends, vx, out = perturbation
    size, share = Tangent(*size), Share(*mine(share, meeting))
    at = Places(*size.places)
    start, stop, B, copies, I, N = size.start, size.stop, size.batch, size.copies, size.inputs, size.units
    s_at, s_row, from_input, to_output = at.s_at, at.s_row, size.from_input, size.to_output
    row0, row1, unit0, unit1 = share.first_row, share.end_row, share.first_unit, share.end_unit
    threads, lockstep = share.team, share.lockstep
    P, first, last = (N + BLOCK - 1) // BLOCK, unit0 // BLOCK, (unit1 + BLOCK - 1) // BLOCK
    narrow = narrow_panel(N, BLOCK, LANES)  # where a panel is one part of some units
    whole = N if RAGGED else -1
    narrow_x, narrow_r = narrow if WIDTH == BLOCK else whole, narrow if RWIDTH == BLOCK else whole
    narrow_a = narrow if AWIDTH == BLOCK else -1
    M, rows, e_row = B * copies, row1 - row0, SIGNALS * N
    held = last - first if STAGED else 1  # panels of x and r that are worked out together
    rs, xs = np.empty((held * rows + LANES) * RWIDTH, v.dtype), np.empty((held * rows + LANES) * WIDTH, v.dtype)
    padded = (rows + LANES - 1) // LANES * LANES
    x_strips, strips = np.empty(padded * I * from_input, v.dtype), np.empty(padded * e_row, v.dtype)
    zeros = np.zeros(max(WIDTH, RWIDTH, AWIDTH), v.dtype)
    work = np.zeros(END, v.dtype)
    if STAGED:
        signals, w_a = beside
        ra, a_strips = np.empty((rows + LANES) * AWIDTH, v.dtype), np.empty(padded * STAGED * N, v.dtype)
    if SPARSE:
        index, ends = beside
        room = np.empty(4 * LANES * LANES, v.dtype)
        clear(strips, 0, strips.size)
    round_ = 0
    for t in range(start, stop):
        old, new = (t - start) % 2 * M * e_row, (t - start + 1) % 2 * M * e_row
        e_now, x_now, a_row = old + row0 * e_row, ((t - start) * M + row0) * I, STAGED * N
        a_now = row0 * a_row
        if SPARSE:
            spread(sends, e_now, e_row, rows, N, strips)
        elif PACKED_R:
            pack_strips(to.strips_r, sends, e_now, e_row, rows, e_row, strips)
        if PACKED_X:
            if from_input:
                pack_strips(to.strips_x, vx, x_now, I, rows, I, x_strips)
        if STAGED:
            if FIRST:
                product(of_r, sends, e_now, e_row, strips, rows, e_row, w_hh, first, last, zeros, 0, rs, 0, narrow_r)
            if from_input:
                product(of_x, vx, x_now, I, x_strips, rows, I, w_ih, first, last, zeros, 0, xs, 0, narrow_x)
            stage_tangent(
                stage_tangent_block, stage_apply_block, fields, states, saved, lengths, v, signals, xs, rs, work, t,
                s_at + t * B * s_row, s_row, B, copies, N, row0, rows, first, last, from_input,
            )  # fmt: skip
            if lockstep:
                round_ = meet(meeting, threads, round_)
            if PACKED_A:
                pack_strips(to.strips_a, signals, a_now, a_row, rows, a_row, a_strips)
        for p in range(first, last):
            unit, count = p * BLOCK, min(BLOCK, N - p * BLOCK)
            if STAGED:
                product(of_a, signals, a_now, a_row, a_strips, rows, a_row, w_a, p, p + 1, zeros, 0, ra, 0, narrow_a)
            else:
                if SPARSE:
                    product_sparse(strips, rows, N, w_hh, index, ends, p, p + 1, zeros, 0, rs, 0, room)
                elif FIRST:
                    product(of_r, sends, e_now, e_row, strips, rows, e_row, w_hh, p, p + 1, zeros, 0, rs, 0, narrow_r)
                if from_input:
                    product(of_x, vx, x_now, I, x_strips, rows, I, w_ih, p, p + 1, zeros, 0, xs, 0, narrow_x)
            ready = -1
            for m in range(row0, row1):
                b, here = m // copies, m * STATES * N + unit
                if t >= lengths[b]:
                    here = m * e_row + unit
                    move(sends, new + here, N, sends, old + here, N, SIGNALS, count, BLOCK)
                    if to_output:
                        clear(out, ((t - start) * M + m) * N + unit, count)
                    continue
                if b != ready:
                    move(work, S0, BLOCK, states, s_at + (t * B + b) * s_row + unit, N, STATES, count, BLOCK)
                    move(work, S1, BLOCK, states, s_at + ((t + 1) * B + b) * s_row + unit, N, STATES, count, BLOCK)
                    copy(work, KEEP, saved, ((t * P + p) * B + b) * KEPT, KEPT)
                    call(tangent_block, fields, p * FIELD_STEP, work)
                    ready = b
                place = (p - first) * rows + m - row0 if STAGED else m - row0
                copy(work, R, rs, place * RWIDTH, RWIDTH)
                if from_input:
                    copy(work, X, xs, place * WIDTH, WIDTH)
                if STAGED:
                    copy(work, R + RWIDTH, ra, (m - row0) * AWIDTH, AWIDTH)
                move(work, V, BLOCK, v, here, N, STATES, count, BLOCK)
                call(apply_block, fields, p * FIELD_STEP, work)
                move(v, here, N, work, DP, BLOCK, STATES, count, BLOCK)
                move(sends, new + m * e_row + unit, N, work, E, BLOCK, SIGNALS, count, BLOCK)
                if to_output:
                    move(out, ((t - start) * M + m) * N + unit, 0, work, E, 0, 1, count, BLOCK)
        if lockstep:
            round_ = meet(meeting, threads, round_)


def jacobian(addresses, w, known, out, size, share, meeting):
    """A block of ds_{t+1}/ds_t in the matrices out (M, size, size), row m = (t - start)*B + b for times from start on.

    Row (i, n) of the block, which begins at `corner` of every matrix, is D[i, n] . w[n, :]: with D_r and w = W_hh, of
    all signals side by side, for the layer's own states, times the slope of what they send, plus D_s[i, n] in the
    unit's own columns; and with D_x and w_m = W_ih (what it receives, by the states before) for those of the layers
    below, `between` them. w is (parts*N, columns), not packed, `w_gap` further on for the next matrix. The rows of a
    block of units stay near while they serve some matrices, and every row of the result is written once, as it is far
    larger than all that it is made of.
    """
    wide()
    to = Addresses(*addresses)
    tangent_block, slope_block = to.tangent_block, to.slope_block
    fields, states, saved, lengths = known
    block, share = JacobianBlock(*size), Share(*mine(share, meeting))
    start, B, N, size, corner = block.start, block.batch, block.units, block.size, block.corner
    at = Places(*block.places)
    s_at, s_row, columns, width, between = at.s_at, at.s_row, block.columns, block.width, block.between
    row0, row1, unit0, unit1 = share.first_row, share.end_row, share.first_unit, share.end_unit
    P, first, last = (N + BLOCK - 1) // BLOCK, unit0 // BLOCK, (unit1 + BLOCK - 1) // BLOCK
    sends = EMITS and FIRST > 0 and not between
    before = np.empty(TOGETHER * STATES * N if sends else 0, states.dtype)  # the slopes of what the units sent
    work = np.zeros(END, states.dtype)
    for group in range(row0, row1, TOGETHER):
        rows = range(group, min(group + TOGETHER, row1))
        if sends:
            for m in rows:
                for unit in range(0, N, BLOCK):
                    count = min(BLOCK, N - unit)
                    move(work, S1, BLOCK, states, s_at + (start * B + m) * s_row + unit, N, STATES, count, BLOCK)
                    call(slope_block, fields, unit // BLOCK * FIELD_STEP, work)
                    move(before, (m - group) * STATES * N + unit, N, work, SLOPE, BLOCK, STATES, count, BLOCK)
        for p in range(first, last):
            unit, count = p * BLOCK, min(BLOCK, N - p * BLOCK)
            for m in rows:
                t, b = start + m // B, m % B
                alive = t < lengths[b]
                if alive:
                    move(work, S0, BLOCK, states, s_at + (t * B + b) * s_row + unit, N, STATES, count, BLOCK)
                    move(work, S1, BLOCK, states, s_at + ((t + 1) * B + b) * s_row + unit, N, STATES, count, BLOCK)
                    copy(work, KEEP, saved, ((t * P + p) * B + b) * KEPT, KEPT)
                    call(tangent_block, fields, p * FIELD_STEP, work)
                for n in range(unit, unit + count):
                    here, c = (m * size + n) * size + corner, C + n - unit
                    if not alive:
                        for i in range(STATES):
                            clear(out, here + i * N * size, width)
                            if not between:
                                out[here + i * N * size + i * N + n] = 1
                        continue
                    line, gap, top = m * block.w_gap + n * columns, N * columns, N * size
                    if ALIKE:
                        d = c + (0 if between else GATES * BLOCK)
                        combine(out, here, top, work, d, SIZE, BLOCK, w, line, gap, columns, width, GATES, STATES)
                    else:
                        if between:
                            combine(out, here, top, work, c, SIZE, BLOCK, w, line, gap, columns, width, GATES, STATES)
                        elif FIRST:
                            d = c + GATES * BLOCK
                            combine(out, here, top, work, d, SIZE, BLOCK, w, line, gap, columns, width, FIRST, STATES)
                        else:
                            for i in range(STATES):
                                clear(out, here + i * top, width)
                    if between:
                        continue
                    for i in range(STATES):
                        row = here + i * N * size
                        if EMITS:
                            if FIRST:
                                for j in range(STATES - 1, -1, -1):
                                    for k in range(N):
                                        slope = before[((m - group) * STATES + j) * N + k]
                                        out[row + j * N + k] = out[row + k] * slope
                        for j in range(STATES):
                            out[row + j * N + n] += work[c + i * SIZE + (GATES + FIRST + j) * BLOCK]
