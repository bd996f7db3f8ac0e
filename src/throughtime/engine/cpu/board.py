"""The board of a team, on which a pass is written down for its workers: what stands where, and who may write it."""

import time

import numpy as np
from llvmlite import ir
from numba import types

from ...jit import intrinsic, register_jitable
from .spans import place_of

# Numbers of a board: the count of a meeting (meeting.py), then
MEMBERS, FUNCTION, GIVEN, STOP = 16, 17, 18, 20  # GIVEN: when the pass was written down
SHARES, ARGUMENTS = 21, 22  # where these are, behind the workers
PATIENT, LINGERS, ANSWERS = 23, 24, 25  # what stands below
GATHER, SEND = 26, 27  # addresses of functions (own_share.py)
WORKERS, APART = 32, 32  # of each, on lines of its own, its state, how its last part went, and room for a clock
STATE, FAILED, TAKEN, RAN, CLOCK = 0, 16, 17, 18, 20
PARTS = 8  # numbers of a share at most
ROOM = 2048  # numbers of 8 bytes, of a pass's arguments at most
ALONE = 32  # numbers of a board without workers

ASLEEP, AWAKE, WAITING, READY, WORKING = 0, 1, 2, 3, 4  # a worker, AWAKE, polls; it is asked, answers, has been told
FREE = 1 << 62  # a meeting's count that lets every thread pass
NOBODY, TOO_LARGE = -1, -2  # how a pass of one thread ended: workers did not come, its arguments do not fit the board
SPINS = 200  # polls, some 10 microseconds, before a thread offers its processor to others between polls
# Nanoseconds that a worker polls for the next pass. Between two of a training step there are some 100 microseconds of
# Python, and up to 600 of copies of weights. OpenBLAS's threads poll for 100 milliseconds.
LINGER = 1_000_000
PATIENCE = 300_000  # nanoseconds that a caller waits for a worker that has just been woken
# Nanoseconds, or a part of a long pass, in which a worker that polls answers: who does not has lost its processor, say
# to threads of PyTorch, which spin for some 6 ms after its work. Unasked, 65 us of Jacobians took 800 there, now 130.
ANSWER, PART = 10_000, 8

MONOTONIC, PROCESSOR = time.CLOCK_MONOTONIC, time.CLOCK_THREAD_CPUTIME_ID
_clock_gettime = types.ExternalFunction("clock_gettime", types.intc(types.intc, types.intp))


def board(workers: int, processors: int) -> np.ndarray:
    """A board for so many workers, all asleep. Where there are fewer processors than threads, nobody polls for long."""
    behind = WORKERS + APART * workers
    made = np.zeros(behind + PARTS * (workers + 1) + ROOM, np.int64)
    made[SHARES], made[ARGUMENTS] = behind, behind + PARTS * (workers + 1)
    made[PATIENT], made[LINGERS] = PATIENCE, LINGER if workers < processors else 0
    return made


def is_asleep(board: np.ndarray, worker: int) -> bool:
    """Whether a worker has to be called."""
    return bool(board[WORKERS + APART * worker + STATE] == ASLEEP)


def prepare(board: np.ndarray, shares: np.ndarray, members: int, answer: int) -> None:
    """Write down the shares (members * PARTS,) of a pass that is near, and the nanoseconds workers have to answer."""
    behind = board[SHARES]
    board[behind : behind + shares.size] = shares
    board[FUNCTION], board[ANSWERS] = 0, answer
    board[MEMBERS] = members  # until the pass has begun, hardly a worker goes to sleep


def put_to_sleep(board: np.ndarray, worker: int) -> None:
    """As it is before it is called."""
    board[WORKERS + APART * worker + STATE] = ASLEEP


def leave(board: np.ndarray, workers: int) -> None:
    """The workers are not there any more; their parts of a pass that is under way fail."""
    for k in range(workers):
        place = WORKERS + APART * k
        board[place + FAILED] = int(board[place + STATE] >= WAITING)
        board[place + STATE] = ASLEEP
    board[0] = FREE


@intrinsic
def swapped(_, array, at, old, new):
    """Whether array[at] was `old`, and is `new` from now on."""
    n = types.intp

    def codegen(context, builder, sig, args):
        place = place_of(context, builder, sig.args[0], args[0], args[1])
        return builder.extract_value(builder.cmpxchg(place, args[2], args[3], "seq_cst", "seq_cst"), 1)

    return types.boolean(array, n, n, n), codegen


@intrinsic
def put(_, array, at, value):
    """array[at] = value, for others to see, after all that was written before."""

    def codegen(context, builder, sig, args):
        builder.store_atomic(args[2], place_of(context, builder, sig.args[0], args[0], args[1]), "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), codegen


@intrinsic
def _address(_, array, at):
    def codegen(context, builder, sig, args):
        return builder.ptrtoint(place_of(context, builder, sig.args[0], args[0], args[1]), ir.IntType(64))

    return types.intp(array, types.intp), codegen


@register_jitable
def now(board, at, clock):
    """Nanoseconds by a clock; `at` is room for two numbers."""
    _clock_gettime(clock, _address(board, at))
    return board[at] * 1_000_000_000 + board[at + 1]
