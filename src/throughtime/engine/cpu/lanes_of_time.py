"""What the loops of scan.py do with a lane's steps: the input of many times at once, and pieces of time put together.

Dimensions as there. A step, or what many do together, is COEF numbers: A, STATES x STATES, row by row, then b; of all
lanes BLOCK times as many, each number's lanes side by side.
"""

import math

import numpy as np

from ...jit import PLACEHOLDER
from .primitives import copy, wide

BLOCK = STATES = COEF = PIECE = MATRIX = S1 = STEP = NOW = THEN = PLACEHOLDER


def inputs_of(x, x_at, x_row, first, apart, steps, back, I, xt, at):
    """The inputs of many times, xt[at + (1 + i)*BLOCK + c], 1 before them and 0 beyond the last step: lane c takes
    step first + c*apart, counted from the end if `back`."""
    wide()
    live = max(0, min(BLOCK, (steps - first + apart - 1) // apart))
    row = x_at + (steps - 1 - first if back else first) * x_row
    between = -apart * x_row if back else apart * x_row
    for c in range(BLOCK):
        xt[at + c] = 1
    for i in range(I):
        here = at + (1 + i) * BLOCK
        for c in range(live):
            xt[here + c] = x[row + c * between + i]
        for c in range(live, BLOCK):
            xt[here + c] = 0


def compose(steps, at, length, lanes, to, work):
    """What `length` steps of every lane do together: s -> P s + p, to lanes[to + (0 ... COEF-1)*BLOCK + c].

    With several states it happens in work[STEP], work[NOW] and work[THEN], which LLVM sees apart.
    """
    wide()
    if STATES == 1:
        for c in range(BLOCK):
            lanes[to + c], lanes[to + BLOCK + c] = 1, 0
        for l in range(length):
            a = at + l * PIECE
            for c in range(BLOCK):
                lanes[to + BLOCK + c] = steps[a + c] * lanes[to + BLOCK + c] + steps[a + BLOCK + c]
                lanes[to + c] *= steps[a + c]
        return
    for j in range(PIECE):
        work[NOW + j] = 0
    for i in range(STATES):
        for c in range(BLOCK):
            work[NOW + i * (STATES + 1) * BLOCK + c] = 1
    for l in range(length):
        copy(work, STEP, steps, at + l * PIECE, PIECE)
        for i in range(STATES):
            for column in range(STATES):  # of P
                for c in range(BLOCK):
                    total = work[STEP + i * STATES * BLOCK + c] * work[NOW + column * BLOCK + c]
                    for j in range(1, STATES):
                        total += (
                            work[STEP + (i * STATES + j) * BLOCK + c] * work[NOW + (j * STATES + column) * BLOCK + c]
                        )
                    work[THEN + (i * STATES + column) * BLOCK + c] = total
            for c in range(BLOCK):
                total = work[STEP + MATRIX + i * BLOCK + c]
                for j in range(STATES):
                    total += work[STEP + (i * STATES + j) * BLOCK + c] * work[NOW + MATRIX + j * BLOCK + c]
                work[THEN + MATRIX + i * BLOCK + c] = total
        for j in range(PIECE):
            work[NOW + j] = work[THEN + j]
    copy(lanes, to, work, NOW, PIECE)


def together(lanes, at, out, to, new):
    """What all lanes do, one after another: COEF numbers out[to ...]; new: room for STATES numbers."""
    column = np.empty(STATES, lanes.dtype)
    for k in range(STATES + 1):  # the columns of P from unit vectors; p from 0
        for i in range(STATES):
            column[i] = 1 if i == k else 0
        for c in range(BLOCK):
            onward(lanes, at + c, 1 - (k == STATES), BLOCK, column, 0, 1, new)
        for i in range(STATES):
            out[to + (i * STATES + k if k < STATES else STATES * STATES + i)] = column[i]


def onward(steps, at, homogeneous, apart, s, first, row, new):
    """s = P s + p for one lane, or P s; state i is s[first + i*row]. A state that is 0 stays out of it where P has
    grown beyond all numbers: step by step it would never have met it. new: room for STATES numbers."""
    for i in range(STATES):
        new[i] = 0 if homogeneous else steps[at + (STATES * STATES + i) * apart]
        for j in range(STATES):
            factor, value = steps[at + (i * STATES + j) * apart], s[first + j * row]
            if not (value == 0 and math.isinf(factor)):
                new[i] += factor * value
    for i in range(STATES):
        s[first + i * row] = new[i]


def spread(lanes, at, start, first, row, target, to, new):
    """The start of every lane, target[to + i*BLOCK + c], from the first: each begins where the last one ends."""
    s = np.empty(STATES, lanes.dtype)
    for i in range(STATES):
        s[i] = start[first + i * row]
    for c in range(BLOCK):
        for i in range(STATES):
            target[to + i * BLOCK + c] = s[i]
        onward(lanes, at + c, 0, BLOCK, s, 0, 1, new)


def step_lanes(steps, at, work):
    """One step of every lane: work[S1 + i*BLOCK + c] = A s + b, with work[STEP] and work[NOW] as room."""
    wide()
    if STATES == 1:
        for c in range(BLOCK):
            work[S1 + c] = steps[at + c] * work[S1 + c] + steps[at + BLOCK + c]
        return
    copy(work, STEP, steps, at, PIECE)
    for j in range(STATES * BLOCK):
        work[NOW + j] = work[S1 + j]
    for i in range(STATES):
        for c in range(BLOCK):
            total = work[STEP + MATRIX + i * BLOCK + c]
            for j in range(STATES):
                total += work[STEP + (i * STATES + j) * BLOCK + c] * work[NOW + j * BLOCK + c]
            work[S1 + i * BLOCK + c] = total
