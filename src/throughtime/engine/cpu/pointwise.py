"""The mathematics of a block of units: made from a cell's functions, compiled for each cell, called by address.

All of it happens in one small array `work`, its parts at constant distances, so that LLVM sees that nothing overlaps
and vectorises the loops, which have a constant number of turns. `fields` are the cell's hyper-parameters.
"""

from ...jit import PLACEHOLDER
from .primitives import one_hot, read, wide, write

BLOCK = GATES = STATES = SAVED = SIZE = SHARED = PLACEHOLDER
X = R = S0 = S1 = KEEP = E = DS = DX = DR = DP = V = C = SLOPE = PLACEHOLDER
forward = backward = emit = emit_slope = PLACEHOLDER


def forward_block(fields, work):
    """One step: work[X], work[R], work[S0] -> work[S1], work[KEEP], work[E]."""
    wide()
    for n in range(BLOCK):
        s_next, keep = forward(
            fields, read(work, X + n, BLOCK, GATES), read(work, R + n, BLOCK, GATES), read(work, S0 + n, BLOCK, STATES)
        )
        write(work, S1 + n, BLOCK, s_next, STATES)
        write(work, KEEP + n, BLOCK, keep, SAVED)
        write(work, E + n, BLOCK, (emit(fields, s_next),), 1)


def backward_block(fields, work):
    """One step back: work[DS], work[S0], work[S1], work[KEEP] -> work[DX], work[DR], work[DP]."""
    wide()
    for n in range(BLOCK):
        s, s_next = read(work, S0 + n, BLOCK, STATES), read(work, S1 + n, BLOCK, STATES)
        dx, dr, dp = backward(fields, read(work, DS + n, BLOCK, STATES), s, s_next, read(work, KEEP + n, BLOCK, SAVED))
        if not SHARED:
            write(work, DX + n, BLOCK, dx, GATES)
        write(work, DR + n, BLOCK, dr, GATES)
        write(work, DP + n, BLOCK, dp, STATES)


def tangent_block(fields, work):
    """The local derivative: work[S0], work[S1], work[KEEP] -> work[C], work[SLOPE].

    `backward` fed with the unit cotangent of state i gives row i of (D_x, D_r, D_s), which goes to work[C + i*SIZE].
    """
    wide()
    for i in range(STATES):
        c = C + i * SIZE
        for n in range(BLOCK):
            s, s_next = read(work, S0 + n, BLOCK, STATES), read(work, S1 + n, BLOCK, STATES)
            dx, dr, dp = backward(fields, one_hot(work, i, STATES), s, s_next, read(work, KEEP + n, BLOCK, SAVED))
            write(work, c + n, BLOCK, dx, GATES)
            write(work, c + GATES * BLOCK + n, BLOCK, dr, GATES)
            write(work, c + 2 * GATES * BLOCK + n, BLOCK, dp, STATES)
    for n in range(BLOCK):
        write(work, SLOPE + n, BLOCK, emit_slope(fields, read(work, S1 + n, BLOCK, STATES)), STATES)


def emit_block(fields, work):
    """What the units send: work[S1] -> work[E]."""
    wide()
    for n in range(BLOCK):
        write(work, E + n, BLOCK, (emit(fields, read(work, S1 + n, BLOCK, STATES)),), 1)


def slope_block(fields, work):
    """The derivative of what the units send by their states: work[S1] -> work[SLOPE]."""
    wide()
    for n in range(BLOCK):
        write(work, SLOPE + n, BLOCK, emit_slope(fields, read(work, S1 + n, BLOCK, STATES)), STATES)


def apply_block(fields, work):
    """One direction through the local derivative: work[X], work[R], work[V], work[C], work[SLOPE] -> work[DP], work[E].

    DP = D_x X + D_r R + D_s V and E = SLOPE . DP, for every unit.
    """
    wide()
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
