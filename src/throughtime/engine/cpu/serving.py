"""What the workers of a team do, and how a caller waits for them.

A worker sleeps in Python, in a queue's `get`. Called, it polls the board, takes its part of what is written down there
(own_share.py), and goes back to sleep when it has waited for LINGER, as the next pass is often near.
"""

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types

from ...jit import intrinsic, specialise
from .board import (
    APART,
    ARGUMENTS,
    ASLEEP,
    AWAKE,
    CLOCK,
    FAILED,
    FREE,
    FUNCTION,
    GIVEN,
    LINGERS,
    MEMBERS,
    MONOTONIC,
    NOBODY,
    PARTS,
    PROCESSOR,
    RAN,
    READY,
    SHARES,
    SPINS,
    STATE,
    STOP,
    TAKEN,
    TOO_LARGE,
    WAITING,
    WORKERS,
    WORKING,
    now,
    put,
    swapped,
)  # fmt: skip
from .meeting import arrived, can_yield, pause, yield_processor
from .spans import place_of

NAP = 50  # microseconds
_usleep = types.ExternalFunction("usleep", types.intc(types.uintc))


@intrinsic
def _called(_, array, at, arguments, share):
    """The status of the function at the address array[at], of the places of its arguments and of its share."""

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(ir.IntType(32), [args[1].type.as_pointer()] * 2)
        address = builder.load(place_of(context, builder, sig.args[0], args[0], args[1]))
        places = [place_of(context, builder, sig.args[0], args[0], at) for at in args[2:]]
        status = builder.call(builder.inttoptr(address, kind.as_pointer()), places)
        return builder.sext(status, ir.IntType(64))

    return types.int64(array, types.intp, types.intp, types.intp), codegen


@cache
def serving() -> Any:
    """The compiled life of a worker, (board, k): it does what is written down, and returns when it has waited for
    LINGER; with k < 0, at once."""
    return specialise(_serve, "team")


def _serve(board, k):
    if k < 0:
        return
    place, polls, begin = WORKERS + k * APART, 0, 0
    state, clock = place + STATE, place + CLOCK
    put(board, state, AWAKE)
    while True:
        if arrived(board, state) == WORKING:
            before = now(board, clock, PROCESSOR)
            failed = _called(board, FUNCTION, board[ARGUMENTS], board[SHARES] + PARTS * (k + 1))
            if failed:
                put(board, 0, FREE)
            board[place + FAILED] = failed
            board[place + RAN] = now(board, clock, PROCESSOR) - before
            board[place + TAKEN] = now(board, clock, MONOTONIC) - board[GIVEN]
            put(board, state, AWAKE)
            polls = 0
        elif arrived(board, state) == WAITING and swapped(board, state, WAITING, READY):
            polls = 0
        pause()
        polls += 1
        if polls > SPINS:
            if can_yield:
                yield_processor()
            time = now(board, clock, MONOTONIC)
            begin = time if polls == SPINS + 1 else begin
            if time - begin > board[LINGERS] or board[STOP]:
                if arrived(board, MEMBERS) > 0:  # a pass is about to begin, at once or when it is compiled
                    if time - begin > 2 * board[LINGERS] and swapped(board, state, AWAKE, ASLEEP):
                        _usleep(NAP)  # who is asleep is waited for
                        swapped(board, state, ASLEEP, AWAKE)
                elif swapped(board, state, AWAKE, ASLEEP) and arrived(board, MEMBERS) == 0:
                    return
                else:
                    swapped(board, state, ASLEEP, AWAKE)


@cache
def joining() -> Any:
    """The compiled wait for workers, (board, workers): NOBODY or TOO_LARGE where they had nothing to do; else the
    status of one that failed or 0, and nanoseconds until its part was over, and that it ran, of who lost most."""
    return specialise(_join, "team")


def _join(board, workers):
    if board[FUNCTION] == 0 or board[FUNCTION] == TOO_LARGE:
        return NOBODY if board[FUNCTION] == 0 else TOO_LARGE, 0, 0
    failed, taken, ran = 0, 0, 0
    for k in range(workers):
        place, polls = WORKERS + k * APART, 0
        while arrived(board, place + STATE) >= WAITING:
            pause()
            polls += 1
            if polls > SPINS and can_yield:
                yield_processor()
        failed = max(failed, abs(board[place + FAILED]))
        if k == 0 or board[place + TAKEN] - board[place + RAN] > taken - ran:
            taken, ran = board[place + TAKEN], board[place + RAN]
    return failed, taken, ran
