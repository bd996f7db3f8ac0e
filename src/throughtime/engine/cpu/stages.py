"""The first stage of a step, for cells that have one: forward, back, and with perturbations. Names as in loops.py.

What the stage sends is kept for all steps, (T, B, A*N). Its product comes between the first product of a step and the
rest of it, so that threads that share the units meet once more.
"""

import numpy as np

from ...jit import PLACEHOLDER
from .by_address import call, pack_strips, product
from .matmul import narrow_panel
from .primitives import clear, copy, wide
from .spans import move

BLOCK = WIDTH = RWIDTH = AWIDTH = QWIDTH = FIELD_STEP = GATES = FIRST = PARTS = STATES = SIGNALS = KEPT = PLACEHOLDER
STAGED = PARAMETERS = BACK = LANES = PLACEHOLDER
X = R = S0 = KEEP = V = A = DA = DX = DR = DP = DQ = PLACEHOLDER


def first_stage(
    stage_block, fields, states, lengths, staged, xs, rs, work, t, s_now, s_row, B, N, row0, rows, first, last, steps,
    step,
):  # fmt: skip
    """The stage's signals of step t, of a share's rows and panels, from the x and r held for them."""
    wide()
    for p in range(first, last):
        unit, count = p * BLOCK, min(BLOCK, N - p * BLOCK)
        for m in range(rows):
            b = row0 + m
            place = (t * B + b) * STAGED * N + unit
            if t >= lengths[b]:  # nobody reads it but the gradient of the weights, which multiplies it with 0
                for k in range(STAGED):
                    clear(staged, place + k * N, count)
                continue
            copy(work, X, xs, (((p - first) * steps + step) * rows + m) * WIDTH, WIDTH)
            copy(work, R, rs, ((p - first) * rows + m) * RWIDTH, RWIDTH)
            move(work, S0, BLOCK, states, s_now + b * s_row + unit, N, STATES, count, BLOCK)
            call(stage_block, fields, p * FIELD_STEP, work)
            move(staged, place, N, work, A, BLOCK, STAGED, count, BLOCK)


def stage_back(
    to, fields, states, saved, lengths, w_a, da, dr, dx, dq, carry, strips, zeros, work, t, slot, s_now, s_row, B,
    copies, N, row0, rows, first, last,
):  # fmt: skip
    """What the parts of r that the stage feeds bring to its signals at step t, and these to x, r, s and the parameters:
    added to dx, dr, carry and dq, of a share's rows and its panels of BACK units."""
    wide()
    P, M, per_signal = (N + BLOCK - 1) // BLOCK, B * copies, (N + BACK - 1) // BACK
    depth = P * AWIDTH
    a_row, d_row, x_row, q_row = depth + LANES, P * RWIDTH + LANES, P * WIDTH + LANES, P * QWIDTH + LANES
    a_at, size = (slot * M + row0) * a_row, (rows + LANES) * BACK
    narrow = narrow_panel(N, BACK, LANES)
    signals = np.empty(STAGED * size, da.dtype)  # the gradients of some units' signals
    pack_strips(to.strips_back, da, a_at, a_row, rows, depth, strips)
    for q in range(first, last):
        for k in range(STAGED):
            w, own = q + k * per_signal, signals[k * size :]
            slim = narrow + k * per_signal
            product(to.product_back, da, a_at, a_row, strips, rows, depth, w_a, w, w + 1, zeros, 0, own, 0, slim)
        width = min(BACK, N - q * BACK)
        for row in range(rows):
            m = row0 + row
            b, line = m // copies, slot * M + m
            if t >= lengths[b]:
                continue
            for cut in range(0, width, BLOCK):
                unit, count = q * BACK + cut, min(BLOCK, width - cut)
                p, here = unit // BLOCK, m * STATES * N + unit
                move(work, DA, BLOCK, signals, row * BACK + cut, size, STAGED, BLOCK, BLOCK)
                move(work, S0, BLOCK, states, s_now + b * s_row + unit, N, STATES, count, BLOCK)
                copy(work, KEEP, saved, ((t * P + p) * B + b) * KEPT, KEPT)
                call(to.stage_backward_block, fields, p * FIELD_STEP, work)
                for n in range(count):
                    for g in range(GATES):
                        dx[line * x_row + p * WIDTH + g * BLOCK + n] += work[DX + g * BLOCK + n]
                    for j in range(FIRST):
                        dr[line * d_row + p * RWIDTH + j * BLOCK + n] += work[DR + j * BLOCK + n]
                    for i in range(STATES):
                        carry[here + i * N + n] += work[DP + i * BLOCK + n]
                    for k in range(PARAMETERS):
                        dq[line * q_row + p * QWIDTH + k * BLOCK + n] += work[DQ + k * BLOCK + n]


def stage_tangent(
    stage_tangent_block, stage_apply_block, fields, states, saved, lengths, v, signals, xs, rs, work, t, s_now, s_row,
    B, copies, N, row0, rows, first, last, from_input,
):  # fmt: skip
    """The perturbation of the stage's signals at step t, of a share's rows and panels, from those of x, r and s."""
    wide()
    P = (N + BLOCK - 1) // BLOCK
    for p in range(first, last):
        unit, count, ready = p * BLOCK, min(BLOCK, N - p * BLOCK), -1
        for row in range(rows):
            m = row0 + row
            b, place = m // copies, m * STAGED * N + unit
            if t >= lengths[b]:
                continue
            if b != ready:
                move(work, S0, BLOCK, states, s_now + b * s_row + unit, N, STATES, count, BLOCK)
                copy(work, KEEP, saved, ((t * P + p) * B + b) * KEPT, KEPT)
                call(stage_tangent_block, fields, p * FIELD_STEP, work)
                ready = b
            held = (p - first) * rows + row
            copy(work, R, rs, held * RWIDTH, RWIDTH)
            if from_input:
                copy(work, X, xs, held * WIDTH, WIDTH)
            move(work, V, BLOCK, v, m * STATES * N + unit, N, STATES, count, BLOCK)
            call(stage_apply_block, fields, p * FIELD_STEP, work)
            move(signals, place, N, work, A, BLOCK, STAGED, count, BLOCK)
