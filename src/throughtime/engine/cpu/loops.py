"""The sequence loops, once for all cells. This one goes forward; backward_loop.py has BPTT, tangents.py perturbations.

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
from ..sizes import Forward, Places, Share
from .meeting import meet
from .operands import Pointwise
from .primitives import call, copy, move, wide

BLOCK = WIDTH = STATES = KEPT = GROUP = EMITS = PLACEHOLDER
X = R = S0 = S1 = KEEP = E = END = PLACEHOLDER
product = PLACEHOLDER


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
