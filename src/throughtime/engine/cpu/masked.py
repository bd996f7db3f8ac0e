"""What loops do with the masks of a training step: zoneout, and dropout of what is sent to W_hh. Names as in loops.py.

    s' = s where z, otherwise c, the next state as the cell has it     z: `kept` (T, B, S*N), c: `candidates`, likewise
    r = W_hh (m e) + b_hh                                              m: `heard` (B, E*N)

The next layer and the output hear e of s', without m. Each function is of one block of units; `work` as in
pointwise.py.
"""

from ...jit import PLACEHOLDER
from .primitives import wide

BLOCK = STATES = SIGNALS = S0 = S1 = E = DS = DP = V = PLACEHOLDER


def zone(work, kept, candidates, place, N, count):
    """The next states: work[S0], work[S1] -> work[S1], and the candidates; `place` is where the block's masks begin."""
    wide()
    for j in range(STATES):
        for n in range(count):
            here, at = j * BLOCK + n, place + j * N + n
            candidates[at] = work[S1 + here]
            if kept[at]:
                work[S1 + here] = work[S0 + here]


def zone_back(work, kept, candidates, place, N, count):
    """The gradient of the next states divided: work[DS] -> work[DS] of the candidates, which go to work[S1], and
    work[V] of the states before."""
    wide()
    for j in range(STATES):
        for n in range(count):
            here, at = j * BLOCK + n, place + j * N + n
            work[S1 + here] = candidates[at]
            work[V + here] = 0
            if kept[at]:
                work[V + here] = work[DS + here]
                work[DS + here] = 0


def join_back(work):
    """work[V] added to work[DP]."""
    wide()
    for n in range(STATES * BLOCK):
        work[DP + n] += work[V + n]


def dampen(work, heard, place, N, count):
    """What is sent to W_hh: work[E] times its mask."""
    wide()
    for e in range(SIGNALS):
        for n in range(count):
            work[E + e * BLOCK + n] *= heard[place + e * N + n]
