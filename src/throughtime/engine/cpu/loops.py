"""The sequence loops, once for all cells. This one goes forward; backward_loop.py has BPTT, tangents.py perturbations.

Dimensions
    T, B   time steps, sequences of the batch
    I, N   inputs, units
    G, S   gates, states of a unit
    R0, R1 parts of r that the state feeds, and that a stage feeds; of a plain cell R0 = G and R1 = 0
    E, A   signals of the state, of the stage
    M      rows of a backward or tangent pass: B * copies; row m belongs to sequence m // copies
    BLOCK  units worked on together
    WIDTH  G * BLOCK, a panel of weights: BLOCK units with all their gates; RWIDTH of R0, AWIDTH of R1 parts
    KEPT   numbers that a block saves

Arrays are flat (operands.py); an element's place is spelt where it is used: x_at and x_row say where the rows of x
begin and how far apart they are, s_at and s_row the same of the states, e_ of what the units send, g_ of the output's
gradient, o_ of the states' gradients (sizes.py). A loop takes its share of the rows and units (shares.py).

The mathematics of a block is in pointwise.py; it works in a small array `work`, and the loops call it by its address:
so one compiled loop serves all cells of the same shape (G, S, saved), and a new cell compiles in half a second. The
copies to and from `work` cost some 10 % of a pointwise block and nothing beside the product. Beyond the last unit a
block holds left-over numbers, which never come out.

The upper-case names are globals of each compiled copy (`jit.specialise`, shape.py and build.py). What
stands under `if` and one of them alone (STAGED, FIRST, ...) is left out before anything is compiled: plain cells do not
pay for what others need.
"""

import numpy as np

from ...jit import PLACEHOLDER
from ..sizes import Forward, Places, Share
from .by_address import call, call_beside, pack_gates, pack_strips, product
from .masked import dampen, zone
from .matmul import narrow_panel
from .meeting import meet
from .operands import Addresses
from .own_share import mine
from .primitives import clear, copy, wide
from .spans import move
from .stages import first_stage

BLOCK = WIDTH = RWIDTH = AWIDTH = FIELD_STEP = STATES = SIGNALS = KEPT = GROUP = PLACEHOLDER
RAGGED = EMITS = PACKS = GATES = FIRST = STAGED = MASKED = SPARSE = LANES = PACKED_X = PACKED_R = PACKED_A = PLACEHOLDER
R = S0 = S1 = E = END = PLACEHOLDER
spread = product_sparse = PLACEHOLDER


def unroll(addresses, weights, unpacked, known, x, sent, beside, size, share, meeting):
    """Forward through time: fills states and saved (and sent, where a unit sends something else than h)."""
    wide()
    to = Addresses(*addresses)
    forward_block, emit_block, stage_block = to.forward_block, to.emit_block, to.stage_block
    of_x, of_r, of_a = to.product_x, to.product_r, to.product_a
    w_ih, b_ih, w_hh, b_hh = weights
    if MASKED:
        fields, states, saved, lengths, kept, candidates, heard = known
    else:
        fields, states, saved, lengths = known
    size, share = Forward(*size), Share(*mine(share, meeting))
    T, B, I, N, reverse, at = size.steps, size.batch, size.inputs, size.units, size.reverse, Places(*size.places)
    x_at, x_row, s_at, s_row, e_at, e_row = at.x_at, at.x_row, at.s_at, at.s_row, at.e_at, at.e_row
    row0, row1, unit0, unit1 = share.first_row, share.end_row, share.first_unit, share.end_unit
    threads, lockstep = share.team, share.lockstep
    P, first, last = (N + BLOCK - 1) // BLOCK, unit0 // BLOCK, (unit1 + BLOCK - 1) // BLOCK
    narrow = narrow_panel(N, BLOCK, LANES)  # where a panel is one part of some units
    whole = N if RAGGED else -1
    narrow_x, narrow_r = narrow if WIDTH == BLOCK else whole, narrow if RWIDTH == BLOCK else whole
    narrow_a = narrow if AWIDTH == BLOCK else -1
    rows = row1 - row0
    chunk = max(1, 24 // rows)  # few rows: several steps of the input at once make tall tiles
    apart = chunk > 1 and rows < B  # in x they do not follow each other
    group = GROUP if rows == 1 else 1
    held = last - first if STAGED else group  # panels of x and r that are worked out together
    padded, tall = (rows + LANES - 1) // LANES * LANES, (rows * chunk + LANES - 1) // LANES * LANES
    xs = np.empty((((last - first) * chunk if chunk > 1 else held) * rows + LANES) * WIDTH, x.dtype)
    rs = np.empty((held * rows + LANES) * RWIDTH, x.dtype)
    x_strips, strips = np.empty(tall * I, x.dtype), np.empty(padded * SIGNALS * N, x.dtype)
    if STAGED:
        staged, w_a, b_a = beside
        ra, a_strips = np.empty((group * rows + LANES) * AWIDTH, x.dtype), np.empty(padded * STAGED * N, x.dtype)
    if SPARSE:
        index, ends = beside
        room = np.empty(4 * LANES * LANES, x.dtype)
        clear(strips, 0, strips.size)
    own = np.empty(chunk * rows * I if apart else 0, x.dtype)
    work = np.zeros(END, x.dtype)
    round_ = 0
    if PACKS:
        if size.packs:
            p0, p1, keep = first, last, size.packs - 1
            if threads > 1 and not lockstep:
                p0, p1 = P * share.member // threads, P * (share.member + 1) // threads
            r_w_ih, r_w_hh, r_b_ih, r_b_hh, k_w_ih, k_w_hh, k_b_ih, k_b_hh = unpacked
            pack = to.pack_gates
            pack_gates(pack, r_w_ih, k_w_ih, keep, GATES, N, I, BLOCK, RAGGED, w_ih, 0, p0, p1)
            pack_gates(pack, r_b_ih, k_b_ih, keep, GATES, N, 1, BLOCK, RAGGED, b_ih, 0, p0, p1)
            pack_gates(pack, r_w_hh, k_w_hh, keep, FIRST, N, N, BLOCK, RAGGED, w_hh, 0, p0, p1)
            pack_gates(pack, r_b_hh, k_b_hh, keep, FIRST, N, 1, BLOCK, RAGGED, b_hh, 0, p0, p1)
            if not lockstep:  # where the units are divided each reads its own panels
                round_ = meet(meeting, threads, round_)
    if EMITS:  # what the initial state sends
        begin = T if reverse else 0
        for m in range(row0, row1):
            for unit in range(first * BLOCK, unit1, BLOCK):
                count = min(BLOCK, N - unit)
                move(work, S1, BLOCK, states, s_at + (begin * B + m) * s_row + unit, N, STATES, count, BLOCK)
                call(emit_block, fields, unit // BLOCK * FIELD_STEP, work)
                if MASKED:
                    dampen(work, heard, m * SIGNALS * N + unit, N, count)
                move(sent, e_at + (begin * B + m) * e_row + unit, N, work, E, BLOCK, SIGNALS, count, BLOCK)
        if lockstep:
            round_ = meet(meeting, threads, round_)
    for done in range(0, T, chunk):
        steps = min(chunk, T - done)
        low = T - done - steps if reverse else done
        if chunk > 1:
            origin, many = x_at + (low * B + row0) * x_row, steps * rows
            read, read_at, read_row = x, origin, x_row
            if apart:
                for row in range(many):
                    here = origin + (row // rows * B + row % rows) * x_row
                    for i in range(I):
                        own[row * I + i] = x[here + i]
                read, read_at, read_row = own, 0, I
            if PACKED_X:
                pack_strips(to.strips_x, read, read_at, read_row, many, I, x_strips)
            product(of_x, read, read_at, read_row, x_strips, many, I, w_ih, first, last, b_ih, WIDTH, xs, 0, narrow_x)
        for k in range(steps):
            step = steps - 1 - k if reverse else k
            t = low + step
            now, then = (t + 1, t) if reverse else (t, t + 1)
            x_now, e_now, deep = x_at + (t * B + row0) * x_row, e_at + (now * B + row0) * e_row, SIGNALS * N
            if PACKED_X:
                if chunk == 1:
                    pack_strips(to.strips_x, x, x_now, x_row, rows, I, x_strips)
            if SPARSE:
                spread(sent, e_now, e_row, rows, N, strips)
            elif PACKED_R:
                pack_strips(to.strips_r, sent, e_now, e_row, rows, deep, strips)
            if STAGED:
                if chunk == 1:
                    product(of_x, x, x_now, x_row, x_strips, rows, I, w_ih, first, last, b_ih, WIDTH, xs, 0, narrow_x)
                if FIRST:
                    product(
                        of_r, sent, e_now, e_row, strips, rows, deep, w_hh, first, last, b_hh, RWIDTH, rs, 0, narrow_r
                    )  # fmt: skip
                first_stage(
                    stage_block, fields, states, lengths, staged, xs, rs, work, t, s_at + now * B * s_row, s_row, B, N,
                    row0, rows, first, last, steps, step,
                )  # fmt: skip
                if lockstep:
                    round_ = meet(meeting, threads, round_)
                if PACKED_A:
                    a_row = STAGED * N
                    pack_strips(to.strips_a, staged, (t * B + row0) * a_row, a_row, rows, a_row, a_strips)
            for turn in range(0, last - first, group):
                # there and back: the weights in the cache at the end of one step are the first to be used in the next
                p0 = first + turn if t % 2 else max(first, last - turn - group)
                p1 = min(p0 + group, last - turn if t % 2 == 0 else last)
                if STAGED:
                    a_row = STAGED * N
                    a_now = (t * B + row0) * a_row
                    product(
                        of_a, staged, a_now, a_row, a_strips, rows, a_row, w_a, p0, p1, b_a, AWIDTH, ra, 0, narrow_a
                    )  # fmt: skip
                else:
                    if chunk == 1:
                        product(of_x, x, x_now, x_row, x_strips, rows, I, w_ih, p0, p1, b_ih, WIDTH, xs, 0, narrow_x)
                    if SPARSE:
                        product_sparse(strips, rows, N, w_hh, index, ends, p0, p1, b_hh, RWIDTH, rs, 0, room)
                    elif FIRST:
                        product(
                            of_r, sent, e_now, e_row, strips, rows, deep, w_hh, p0, p1, b_hh, RWIDTH, rs, 0, narrow_r
                        )  # fmt: skip
                for pm in range((p1 - p0) * rows):
                    p, m = (p0 + pm, 0) if rows == 1 else (p0, pm)  # of several rows one panel
                    unit, count = p * BLOCK, min(BLOCK, N - p * BLOCK)
                    b = row0 + m
                    before, after = s_at + (now * B + b) * s_row + unit, s_at + (then * B + b) * s_row + unit
                    e_before, e_after = e_at + (now * B + b) * e_row + unit, e_at + (then * B + b) * e_row + unit
                    if t >= lengths[b]:  # this sequence has ended (in reverse: not begun), its state stands still
                        move(states, after, N, states, before, N, STATES, count, BLOCK)
                        if EMITS:
                            move(sent, e_after, N, sent, e_before, N, SIGNALS, count, BLOCK)
                        continue
                    move(work, S0, BLOCK, states, before, N, STATES, count, BLOCK)
                    x_here = (((p - first) * steps + step) * rows + m if STAGED or chunk > 1 else pm) * WIDTH
                    at_fields, s_here = p * FIELD_STEP, ((t * P + p) * B + b) * KEPT
                    if STAGED:
                        copy(work, R, rs, ((p - first) * rows + m) * RWIDTH, RWIDTH)
                        copy(work, R + RWIDTH, ra, pm * AWIDTH, AWIDTH)
                        call_beside(forward_block, fields, at_fields, work, xs, x_here, work, R, saved, s_here)
                    else:
                        call_beside(forward_block, fields, at_fields, work, xs, x_here, rs, pm * RWIDTH, saved, s_here)
                    if MASKED:
                        zone(work, kept, candidates, (t * B + b) * STATES * N + unit, N, count)
                        call(emit_block, fields, p * FIELD_STEP, work)
                        dampen(work, heard, b * SIGNALS * N + unit, N, count)
                    move(states, after, N, work, S1, BLOCK, STATES, count, BLOCK)
                    if EMITS:
                        move(sent, e_after, N, work, E, BLOCK, SIGNALS, count, BLOCK)
            if lockstep:
                round_ = meet(meeting, threads, round_)
