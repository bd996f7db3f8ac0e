"""The mathematics of a block of units: made from a cell's functions, compiled for each cell, called by address.

It happens in one small array `work`, its parts at constant distances, so that LLVM sees that nothing overlaps and makes
vectors of the loops, which have a constant number of turns: `lane` and `vectors` say which (vector_loops.py). What lies
in whole blocks elsewhere, the products and what is saved, is read and written where it is.
`fields` are the cell's hyper-parameters, and of the block's units the parameters.
"""

from ...jit import PLACEHOLDER
from .primitives import disjoint, one_hot, read, wide, write
from .vector_loops import lane, vectors

BLOCK = GATES = PARTS = FIRST = STATES = SAVED = SIGNALS = STAGED = PARAMETERS = PLACEHOLDER
SIZE = ASIZE = SLOPES = SHARED = ALIKE = PLACEHOLDER
X = R = S0 = S1 = KEEP = E = DS = DX = DR = DP = DQ = V = C = SLOPE = A = DA = CA = PLACEHOLDER
forward = backward = emit = emit_slope = stage = stage_backward = PLACEHOLDER


def forward_block(fields, work, xs, rs, saved):
    """One step: xs, rs, work[S0] -> work[S1], work[E], saved."""
    wide()
    disjoint()
    for n in range(BLOCK):
        lane()
        x, r, s = read(xs, n, BLOCK, GATES), read(rs, n, BLOCK, PARTS), read(work, S0 + n, BLOCK, STATES)
        s_next, keep = forward(fields, n, x, r, s)
        write(work, S1 + n, BLOCK, s_next, STATES)
        write(saved, n, BLOCK, keep, SAVED)
        write(work, E + n, BLOCK, emit(fields, n, s_next), SIGNALS)
    vectors(work, BLOCK)


def affine_block(fields, work):
    """A step that is linear in the state: work[X] -> work[C], its matrix row by row, work[S1], what it makes of the
    state 0, and work[KEEP], which does not come from the state."""
    wide()
    disjoint()
    for n in range(BLOCK):
        lane()
        x, r, s = read(work, X + n, BLOCK, GATES), read(work, R + n, BLOCK, PARTS), one_hot(work, STATES, STATES)
        s_next, keep = forward(fields, n, x, r, s)
        write(work, S1 + n, BLOCK, s_next, STATES)
        write(work, KEEP + n, BLOCK, keep, SAVED)
    for i in range(STATES):
        for n in range(BLOCK):
            lane()
            s, s_next = one_hot(work, STATES, STATES), read(work, S1 + n, BLOCK, STATES)
            found = backward(fields, n, one_hot(work, i, STATES), s, s_next, read(work, KEEP + n, BLOCK, SAVED))
            write(work, C + i * STATES * BLOCK + n, BLOCK, found[2], STATES)
    vectors(work, BLOCK)


def backward_block(fields, work, dx, dr, saved):
    """One step back: work[DS], work[S0], work[S1], saved -> dx, dr, work[DP], work[DQ]."""
    wide()
    disjoint()
    for n in range(BLOCK):
        lane()
        s, s_next = read(work, S0 + n, BLOCK, STATES), read(work, S1 + n, BLOCK, STATES)
        keep = read(saved, n, BLOCK, SAVED)
        found = backward(fields, n, read(work, DS + n, BLOCK, STATES), s, s_next, keep)
        if not SHARED:
            write(dx, n, BLOCK, found[0], GATES)
        write(dr, n, BLOCK, found[1], PARTS)
        write(work, DP + n, BLOCK, found[2], STATES)
        if PARAMETERS:
            write(work, DQ + n, BLOCK, found[3], PARAMETERS)
    vectors(work, BLOCK)


def tangent_block(fields, work):
    """The local derivative: work[S0], work[S1], work[KEEP] -> work[C], work[SLOPE].

    `backward` fed with the unit cotangent of state i gives row i of (D_x, D_r, D_s), which goes to work[C + i*SIZE].
    """
    wide()
    disjoint()
    for i in range(STATES):
        c = C + i * SIZE
        for n in range(BLOCK):
            lane()
            s, s_next = read(work, S0 + n, BLOCK, STATES), read(work, S1 + n, BLOCK, STATES)
            keep = read(work, KEEP + n, BLOCK, SAVED)
            found = backward(fields, n, one_hot(work, i, STATES), s, s_next, keep)
            write(work, c + n, BLOCK, found[0], GATES)
            write(work, c + GATES * BLOCK + n, BLOCK, found[1], PARTS)
            write(work, c + (GATES + PARTS) * BLOCK + n, BLOCK, found[2], STATES)
    for n in range(BLOCK):
        lane()
        slope = emit_slope(fields, n, read(work, S1 + n, BLOCK, STATES))
        write(work, SLOPE + n, BLOCK, slope, SLOPES)
    vectors(work, BLOCK)


def emit_block(fields, work):
    """What the units send: work[S1] -> work[E]."""
    wide()
    disjoint()
    for n in range(BLOCK):
        lane()
        write(work, E + n, BLOCK, emit(fields, n, read(work, S1 + n, BLOCK, STATES)), SIGNALS)
    vectors(work, BLOCK)


def slope_block(fields, work):
    """The derivative of what the units send by their states: work[S1] -> work[SLOPE]."""
    wide()
    disjoint()
    for n in range(BLOCK):
        lane()
        slope = emit_slope(fields, n, read(work, S1 + n, BLOCK, STATES))
        write(work, SLOPE + n, BLOCK, slope, SLOPES)
    vectors(work, BLOCK)


def apply_block(fields, work):
    """One direction through the local derivative: work[X], work[R], work[V], work[C], work[SLOPE] -> work[DP], work[E].

    DP = D_x X + D_r R + D_s V and E = SLOPE . DP, for every unit.
    """
    wide()
    disjoint()
    for n in range(SIGNALS * BLOCK):
        lane()
        work[E + n] = 0
    for i in range(STATES):
        c = C + i * SIZE
        for n in range(BLOCK):
            lane()
            if ALIKE:
                total = work[c + n] * work[X + n] + work[c + GATES * BLOCK + n] * work[R + n]
                for g in range(1, GATES):
                    total += work[c + g * BLOCK + n] * work[X + g * BLOCK + n]
                    total += work[c + (GATES + g) * BLOCK + n] * work[R + g * BLOCK + n]
            else:
                total = work[c + n] * work[X + n]
                for g in range(1, GATES):
                    total += work[c + g * BLOCK + n] * work[X + g * BLOCK + n]
                for j in range(PARTS):
                    total += work[c + (GATES + j) * BLOCK + n] * work[R + j * BLOCK + n]
            for j in range(STATES):
                total += work[c + (GATES + PARTS + j) * BLOCK + n] * work[V + j * BLOCK + n]
            work[DP + i * BLOCK + n] = total
            for k in range(SIGNALS):
                work[E + k * BLOCK + n] += work[SLOPE + (k * STATES + i) * BLOCK + n] * total
    vectors(work, BLOCK)


def stage_block(fields, work):
    """The first stage of a step: work[X], the first parts of work[R], work[S0] -> work[A], its signals."""
    wide()
    disjoint()
    for n in range(BLOCK):
        lane()
        x, r, s = read(work, X + n, BLOCK, GATES), read(work, R + n, BLOCK, FIRST), read(work, S0 + n, BLOCK, STATES)
        write(work, A + n, BLOCK, stage(fields, n, x, r, s), STAGED)
    vectors(work, BLOCK)


def stage_backward_block(fields, work):
    """Its way back: work[DA], work[S0], work[KEEP] -> work[DX], the first parts of work[DR], work[DP], work[DQ]."""
    wide()
    disjoint()
    for n in range(BLOCK):
        lane()
        s, keep = read(work, S0 + n, BLOCK, STATES), read(work, KEEP + n, BLOCK, SAVED)
        found = stage_backward(fields, n, read(work, DA + n, BLOCK, STAGED), s, keep)
        write(work, DX + n, BLOCK, found[0], GATES)
        write(work, DR + n, BLOCK, found[1], FIRST)
        write(work, DP + n, BLOCK, found[2], STATES)
        if PARAMETERS:
            write(work, DQ + n, BLOCK, found[3], PARAMETERS)
    vectors(work, BLOCK)


def stage_tangent_block(fields, work):
    """Its local derivative, as in tangent_block: work[S0], work[KEEP] -> work[CA], a row of ASIZE for each signal."""
    wide()
    disjoint()
    for k in range(STAGED):
        c = CA + k * ASIZE
        for n in range(BLOCK):
            lane()
            s, keep = read(work, S0 + n, BLOCK, STATES), read(work, KEEP + n, BLOCK, SAVED)
            found = stage_backward(fields, n, one_hot(work, k, STAGED), s, keep)
            write(work, c + n, BLOCK, found[0], GATES)
            write(work, c + GATES * BLOCK + n, BLOCK, found[1], FIRST)
            write(work, c + (GATES + FIRST) * BLOCK + n, BLOCK, found[2], STATES)
    vectors(work, BLOCK)


def stage_apply_block(fields, work):
    """One direction through it: work[X], the first parts of work[R], work[V], work[CA] -> work[A]."""
    wide()
    disjoint()
    for k in range(STAGED):
        c = CA + k * ASIZE
        for n in range(BLOCK):
            lane()
            total = work[c + n] * work[X + n]
            for g in range(1, GATES):
                total += work[c + g * BLOCK + n] * work[X + g * BLOCK + n]
            for j in range(FIRST):
                total += work[c + (GATES + j) * BLOCK + n] * work[R + j * BLOCK + n]
            for j in range(STATES):
                total += work[c + (GATES + FIRST + j) * BLOCK + n] * work[V + j * BLOCK + n]
            work[A + k * BLOCK + n] = total
    vectors(work, BLOCK)
