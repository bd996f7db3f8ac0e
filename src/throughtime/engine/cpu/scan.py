"""The sequence loops where a step is linear in the state: pieces of time side by side, in vector lanes and threads.

    s_{k+1} = A_k s_k + b_k, unit by unit

Time is cut into sections of BLOCK pieces of `length` steps; a piece is a lane. (1) Every lane takes its steps from 0
and multiplies their A: what a piece does is s -> P s + p. (2) Pieces are combined one after another, which gives each
its start, and sections the same way. (3) Every lane takes its steps again, from its start. Sections go round among the
threads of a team, which meet once per round; what each section does is worked out in the same order whoever works, so
that results have the same bits for any number of threads.

It pays where few numbers stand side by side: the loops over time (loops.py) fill their lanes with units.

Dimensions as in loops.py, and
    k      steps in the order in which they are taken: time, or back in time; so in either pass
    Q      N units, with the chains of numbers of each; rows of the batch come one after another
    COEF   STATES * (STATES + 1): A row by row, then b

The upper-case names are globals of each compiled copy (`jit.specialise`).
"""

import numpy as np

from ...jit import PLACEHOLDER
from ..sizes import Places, Scan, ScanBack, Share
from .by_address import call, call_beside, pack_strips, product
from .meeting import meet
from .own_share import mine
from .primitives import copy, wide

BLOCK = LANES = GATES = STATES = COEF = FIELD_STEP = ROOM = EMITS = SLOTS = PLACEHOLDER
X = S1 = C = E = PLACEHOLDER
PIECE = MATRIX = COLUMN = KEPT = PARAMETERS = SHARED = PLACEHOLDER
S0 = KEEP = DS = DX = DR = DP = DQ = SLOPE = PLACEHOLDER
inputs_of = compose = onward = together = spread = step_lanes = PLACEHOLDER


def scan_forward(addresses, w, known, x, sent, ends, size, share, meeting):
    """Forward through time: fills states, and sent where a unit sends something else than h."""
    wide()
    affine_block, emit_block, of_x, of_strips = addresses
    fields, states, lengths = known
    size, share = Scan(*size), Share(*mine(share, meeting))
    T, B, I, N, L, reverse, at = size.steps, size.batch, size.inputs, size.units, size.length, size.reverse, size.places
    at = Places(*at)
    sections, section = size.sections, L * BLOCK
    member, team, items, round_ = share.member, share.team, B * size.sections, 0
    xt, zeros = np.empty((1 + I) * BLOCK, x.dtype), np.zeros(BLOCK, x.dtype)
    xs, strips = np.empty((N * GATES + LANES) * BLOCK, x.dtype), np.empty((N * GATES + LANES) * (1 + I), x.dtype)
    pack_strips(of_strips, w, 0, 1 + I, N * GATES, 1 + I, strips)
    work, steps = np.zeros(ROOM, x.dtype), np.empty(N * L * PIECE, x.dtype)
    lanes = np.empty(N * PIECE, x.dtype)
    carry, start, new = np.empty(N * STATES, x.dtype), np.empty(N * STATES, x.dtype), np.empty(STATES, x.dtype)
    for turn in range((items + team - 1) // team):
        item = turn * team + member
        b, k0 = item // sections, item % sections * section
        if item < items:
            whole = k0 + section <= T and lengths[b] >= T
            for l in range(L):
                inputs_of(x, at.x_at + b * at.x_row, B * at.x_row, k0 + l, L, T, reverse, I, xt, 0)
                product(of_x, w, 0, 1 + I, strips, GATES * N, 1 + I, xt, 0, 1, zeros, 0, xs, 0, -1)
                for n in range(N):
                    for gate in range(GATES):
                        copy(work, X + gate * BLOCK, xs, (gate * N + n) * BLOCK, BLOCK)
                    call(affine_block, fields, n * FIELD_STEP, work)
                    here = (n * L + l) * PIECE
                    copy(steps, here, work, C, MATRIX)
                    copy(steps, here + MATRIX, work, S1, COLUMN)
                    if not whole:
                        for c in range(BLOCK):
                            k = k0 + c * L + l
                            t = T - 1 - k if reverse else k
                            if k >= T or t >= lengths[b]:  # the state stands still
                                for i in range(COEF):
                                    steps[here + i * BLOCK + c] = 0
                                for i in range(STATES):
                                    steps[here + i * (STATES + 1) * BLOCK + c] = 1
            for n in range(N):
                compose(steps, n * L * PIECE, L, lanes, n * PIECE, work)
                together(lanes, n * PIECE, ends, ((turn % 2 * team + member) * N + n) * COEF, new)
        round_ = meet(meeting, team, round_)
        for m in range(team):
            other = turn * team + m
            if other < items:
                if other % sections == 0:
                    row = at.s_at + ((T if reverse else 0) * B + other // sections) * at.s_row
                    for j in range(STATES * N):
                        carry[j] = states[row + j]
                if m == member:
                    for j in range(STATES * N):
                        start[j] = carry[j]
                for n in range(N):
                    onward(ends, ((turn % 2 * team + m) * N + n) * COEF, 0, 1, carry, n, N, new)
        if item < items:
            if EMITS and k0 == 0:
                row = (T if reverse else 0) * B + b
                for n in range(N):
                    for i in range(STATES):
                        work[S1 + i * BLOCK] = start[i * N + n]
                    call(emit_block, fields, n * FIELD_STEP, work)
                    sent[at.e_at + row * at.e_row + n] = work[E]
            for n in range(N):
                spread(lanes, n * PIECE, start, n, N, work, S1, new)
                for l in range(L):
                    step_lanes(steps, (n * L + l) * PIECE, work)
                    if EMITS:
                        call(emit_block, fields, n * FIELD_STEP, work)
                    live = max(0, min(BLOCK, (T - k0 - l + L - 1) // L))  # lanes that have not passed the end
                    row, apart = (T - 1 - k0 - l, -L * B) if reverse else (k0 + l + 1, L * B)
                    for i in range(STATES):
                        place = at.s_at + (row * B + b) * at.s_row + i * N + n
                        for c in range(live):
                            states[place + c * apart * at.s_row] = work[S1 + i * BLOCK + c]
                    if EMITS:
                        for c in range(live):
                            sent[at.e_at + (row * B + b + c * apart) * at.e_row + n] = work[E + c]


def scan_backward(addresses, w, known, x, gradient, ends, size, share, meeting):
    """Backward through time from `stop` to `start`: u_k = A_k^T (u_{k+1} + h_k), with h of what the output brings in;
    from there what is wanted of the gradients. `parts` are sums over the lanes of sections, in SLOTS places."""
    wide()
    affine_block, backward_block, slope_block, of_x, of_strips = addresses
    fields, states, lengths = known
    g, g_states, grad_x, parts, last, first = gradient  # of the last states; the first is filled
    size, share = ScanBack(*size), Share(*mine(share, meeting))
    start, stop, B, I, N, L, reverse = (
        size.start,
        size.stop,
        size.batch,
        size.inputs,
        size.units,
        size.length,
        size.reverse,
    )
    at, T, sections, section = Places(*size.places), stop - start, size.sections, L * BLOCK
    member, team, items, round_, rows = share.member, share.team, B * size.sections, 0, GATES * N
    sums = rows * I + rows + PARAMETERS * N
    xt, zeros = np.empty(L * (1 + I) * BLOCK, x.dtype), np.zeros(BLOCK, x.dtype)
    xs, strips = np.empty((rows + LANES) * BLOCK, x.dtype), np.empty((rows + LANES) * (1 + I), x.dtype)
    pack_strips(of_strips, w, 0, 1 + I, rows, 1 + I, strips)
    work, steps = np.zeros(ROOM, x.dtype), np.empty(N * L * PIECE, x.dtype)
    entering, keep = np.zeros(N * L * STATES * BLOCK, x.dtype), np.empty(N * L * KEPT, x.dtype)
    lanes, us = np.empty(N * PIECE, x.dtype), np.empty(N * STATES * BLOCK, x.dtype)
    carry, begin, new = np.empty(N * STATES, x.dtype), np.empty(N * STATES, x.dtype), np.empty(STATES, x.dtype)
    gx, total = np.empty(I * BLOCK, x.dtype), np.empty((sums if size.to_weights else 0) * BLOCK, x.dtype)
    for turn in range((items + team - 1) // team):
        item = turn * team + member
        b, k0 = item // sections, item % sections * section
        if item < items:
            whole = k0 + section <= T and lengths[b] >= stop
            for l in range(L):
                live = max(0, min(BLOCK, (T - k0 - l + L - 1) // L))  # lanes that have not passed the end
                x_at = at.x_at + (start * B + b) * at.x_row
                inputs_of(x, x_at, B * at.x_row, k0 + l, L, T, 1 - reverse, I, xt, l * (1 + I) * BLOCK)
                product(of_x, w, 0, 1 + I, strips, rows, 1 + I, xt[l * (1 + I) * BLOCK :], 0, 1, zeros, 0, xs, 0, -1)
                for n in range(N):
                    for gate in range(GATES):
                        copy(work, X + gate * BLOCK, xs, (gate * N + n) * BLOCK, BLOCK)
                    call(affine_block, fields, n * FIELD_STEP, work)
                    here, enters = (n * L + l) * PIECE, (n * L + l) * STATES * BLOCK
                    copy(keep, (n * L + l) * KEPT, work, KEEP, KEPT)
                    if size.from_output:
                        t, apart = (start + k0 + l, L * B) if reverse else (stop - 1 - k0 - l, -L * B)
                        place = size.g_at + ((t - start) * B + b) * size.g_row + n
                        for c in range(live):
                            work[E + c] = g[place + c * apart * size.g_row]
                        if EMITS:
                            then = t if reverse else t + 1
                            for i in range(STATES):
                                place = at.s_at + (then * B + b) * at.s_row + i * N + n
                                for c in range(live):
                                    work[S1 + i * BLOCK + c] = states[place + c * apart * at.s_row]
                            call(slope_block, fields, n * FIELD_STEP, work)
                            for i in range(STATES):
                                for c in range(BLOCK):
                                    entering[enters + i * BLOCK + c] = work[SLOPE + i * BLOCK + c] * work[E + c]
                        else:
                            for c in range(BLOCK):
                                entering[enters + c] = work[E + c]
                    if not whole:
                        for c in range(BLOCK):
                            k = k0 + c * L + l
                            t = start + k if reverse else stop - 1 - k
                            if k >= T or t >= lengths[b]:  # the state stands still
                                for i in range(STATES):
                                    entering[enters + i * BLOCK + c] = 0
                                    for j in range(STATES):
                                        work[C + (i * STATES + j) * BLOCK + c] = 1 if i == j else 0
                    for i in range(STATES):
                        for j in range(STATES):
                            for c in range(BLOCK):
                                steps[here + (i * STATES + j) * BLOCK + c] = work[C + (j * STATES + i) * BLOCK + c]
                        for c in range(BLOCK):
                            steps[here + (STATES * STATES + i) * BLOCK + c] = 0
                        for j in range(STATES):
                            for c in range(BLOCK):
                                steps[here + (STATES * STATES + i) * BLOCK + c] += (
                                    work[C + (j * STATES + i) * BLOCK + c] * entering[enters + j * BLOCK + c]
                                )
            for n in range(N):
                compose(steps, n * L * PIECE, L, lanes, n * PIECE, work)
                together(lanes, n * PIECE, ends, ((turn % 2 * team + member) * N + n) * COEF, new)
        round_ = meet(meeting, team, round_)
        for m in range(team):
            other = turn * team + m
            if other < items:
                row = other // sections * STATES * N
                if other % sections == 0:
                    for j in range(STATES * N):
                        carry[j] = last[row + j]
                if m == member:
                    for j in range(STATES * N):
                        begin[j] = carry[j]
                for n in range(N):
                    onward(ends, ((turn % 2 * team + m) * N + n) * COEF, 0, 1, carry, n, N, new)
                if m == member and other % sections == sections - 1:
                    for j in range(STATES * N):
                        first[row + j] = carry[j]
        if item < items:
            for n in range(N):
                spread(lanes, n * PIECE, begin, n, N, us, n * STATES * BLOCK, new)
            for j in range(total.size):
                total[j] = 0
            for l in range(L):
                live = max(0, min(BLOCK, (T - k0 - l + L - 1) // L))
                for j in range(I * BLOCK):
                    gx[j] = 0
                for n in range(N):
                    u, enters = n * STATES * BLOCK, (n * L + l) * STATES * BLOCK
                    for j in range(STATES * BLOCK):
                        work[DS + j] = us[u + j] + entering[enters + j]
                    t, apart = (start + k0 + l, L * B) if reverse else (stop - 1 - k0 - l, -L * B)
                    now, then = (t + 1, t) if reverse else (t, t + 1)
                    for i in range(STATES):
                        old = at.s_at + (now * B + b) * at.s_row + i * N + n
                        after = at.s_at + (then * B + b) * at.s_row + i * N + n
                        for c in range(live):
                            work[S0 + i * BLOCK + c] = states[old + c * apart * at.s_row]
                            work[S1 + i * BLOCK + c] = states[after + c * apart * at.s_row]
                        if size.to_states:
                            place = size.o_at + ((then - start) * B + b) * size.o_row + i * N + n
                            for c in range(live):
                                value = work[DS + i * BLOCK + c] if size.to_states == 1 else us[u + i * BLOCK + c]
                                g_states[place + c * apart * size.o_row] = value
                    kept_at, at_fields = (n * L + l) * KEPT, n * FIELD_STEP
                    call_beside(backward_block, fields, at_fields, work, work, DX, work, DR, keep, kept_at)
                    if not whole:
                        for c in range(BLOCK):
                            k = k0 + c * L + l
                            t = start + k if reverse else stop - 1 - k
                            if k >= T or t >= lengths[b]:
                                for j in range(GATES):
                                    work[DX + j * BLOCK + c] = 0
                                for j in range(PARAMETERS):
                                    work[DQ + j * BLOCK + c] = 0
                                for i in range(STATES):
                                    work[DP + i * BLOCK + c] = us[u + i * BLOCK + c]
                    copy(us, u, work, DP, COLUMN)
                    for gate in range(GATES):
                        row = gate * N + n
                        if size.to_weights:
                            for i in range(I):
                                for c in range(BLOCK):
                                    total[(row * I + i) * BLOCK + c] += (
                                        work[DX + gate * BLOCK + c] * xt[(l * (1 + I) + 1 + i) * BLOCK + c]
                                    )
                            for c in range(BLOCK):
                                total[(rows * I + row) * BLOCK + c] += work[DX + gate * BLOCK + c]
                        if size.to_input:
                            for i in range(I):
                                for c in range(BLOCK):
                                    gx[i * BLOCK + c] += w[row * (1 + I) + 1 + i] * work[DX + gate * BLOCK + c]
                    if size.to_weights:
                        for j in range(PARAMETERS):
                            for c in range(BLOCK):
                                total[(rows * I + rows + j * N + n) * BLOCK + c] += work[DQ + j * BLOCK + c]
                if size.to_input:
                    t, apart = (k0 + l, L * B) if reverse else (T - 1 - k0 - l, -L * B)
                    for c in range(live):
                        for i in range(I):
                            grad_x[(t * B + b + c * apart) * I + i] = gx[i * BLOCK + c]
            if size.to_weights:
                place = ((b * SLOTS if size.each else 0) + item % SLOTS) * sums
                for j in range(sums):
                    for c in range(BLOCK):
                        parts[place + j] += total[j * BLOCK + c]
