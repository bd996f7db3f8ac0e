"""How a compiled loop shares itself out, from within.

A pass is one compiled loop, called by Python with the share of one who works alone. At its head, `mine` looks for the
workers. Where they are awake, polling the board, and answer, it writes down its own arguments and the address of a
function that calls the same loop with them and another share, and goes on with the first share itself; where they are
not, it goes on alone. So nobody waits for one who does not come, a worker needs neither Python's lock nor to unpack
arguments once more, and begins after 2 microseconds in place of some 50 (two threads on two cores).
"""

from functools import cache

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...jit import address_of, intrinsic, register_jitable
from .board import (
    ANSWERS,
    APART,
    ARGUMENTS,
    AWAKE,
    FUNCTION,
    GATHER,
    GIVEN,
    MEMBERS,
    MONOTONIC,
    PATIENT,
    READY,
    ROOM,
    SEND,
    SHARES,
    SPINS,
    STATE,
    TOO_LARGE,
    WAITING,
    WORKERS,
    WORKING,
    now,
    put,
    swapped,
)  # fmt: skip
from .meeting import arrived, can_yield, pause, yield_processor

_WORD = ir.IntType(64)
_POINTER = types.CPointer(types.int64)


@intrinsic
def mine(_, share, board):
    """The share of this thread, in the function around, whose parameter `share` is, as the first thing that it does:
    where workers are there, the first, after all has been written down for them."""

    def codegen(context, builder, sig, args):
        function = builder.function
        own = [k for k, value in enumerate(function.args) if value.name.startswith("arg.share.")]
        if len(own) != sig.args[0].count or any(function.args[k].type != _WORD for k in own):
            raise TypeError("`mine` is called in a function of a `share` of whole numbers.")
        frame = ir.LiteralStructType([value.type for value in function.args[2:]])
        places = context.make_array(sig.args[1])(context, builder, args[1]).data
        values = [cgutils.alloca_once_value(builder, function.args[k]) for k in own]

        def at(number):
            return builder.gep(places, [_word(number) if isinstance(number, int) else number])

        def call(number, *given):
            """One of the functions below, which are compiled once for all loops."""
            kind = ir.FunctionType(_WORD, [value.type for value in given])
            return builder.call(builder.inttoptr(builder.load(at(number)), kind.as_pointer()), given)

        called = builder.icmp_signed(">", builder.load(at(MEMBERS)), _word(1))
        if context.get_abi_sizeof(frame) > 8 * ROOM:  # a cell of some 250 parameters; the caller works alone
            with builder.if_then(called):
                builder.store(_word(TOO_LARGE), at(FUNCTION))
            return context.make_tuple(builder, sig.return_type, [builder.load(value) for value in values])
        with builder.if_then(called):
            workers = call(GATHER, places)
            with builder.if_then(builder.icmp_signed(">", workers, _word(0))):
                room = builder.bitcast(at(builder.load(at(ARGUMENTS))), frame.as_pointer())
                for k, value in enumerate(_uncounted(function.args[2:])):
                    builder.store(value, cgutils.gep_inbounds(builder, room, 0, k))
                builder.store(builder.ptrtoint(_part(function, frame, own), _WORD), at(FUNCTION))
                first = builder.load(at(SHARES))
                for k, value in enumerate(values):
                    builder.store(builder.load(at(builder.add(first, _word(k)))), value)
                call(SEND, places, workers)
        return context.make_tuple(builder, sig.return_type, [builder.load(value) for value in values])

    return types.UniTuple(types.int64, share.count)(share, board), codegen


def _word(number):
    return ir.Constant(_WORD, number)


def _uncounted(given):
    """Arguments as a worker may have them: without who owns the memory of each array, two pointers before two numbers.
    The caller's owners are gone when its own part is over, and Numba counts nothing where there is none."""
    byte, word, values = ir.IntType(8).as_pointer(), ir.IntType(64), list(given)
    for k in range(len(values) - 3):
        if [value.type for value in values[k : k + 4]] == [byte, byte, word, word]:
            values[k : k + 2] = [ir.Constant(byte, None)] * 2
    return values


def _part(function, frame, own):
    """A function of (arguments, share) that calls `function` with the arguments as they were written, but the share."""
    kind = ir.FunctionType(ir.IntType(32), [_WORD.as_pointer()] * 2)
    part = ir.Function(function.module, kind, f"{function.name}.part")
    part.linkage = "internal"
    builder = ir.IRBuilder(part.append_basic_block())
    arguments, share = part.args
    room = builder.bitcast(arguments, frame.as_pointer())
    values = [builder.load(cgutils.gep_inbounds(builder, room, 0, k)) for k in range(len(frame.elements))]
    for n, k in enumerate(own):
        values[k - 2] = builder.load(builder.gep(share, [_word(n)]))
    returned = [builder.alloca(value.type.pointee) for value in function.args[:2]]
    builder.ret(builder.call(function, [*returned, *values]))
    return part


@cache
def addresses() -> tuple[int, int]:
    """Of `_gather` and `_send`, for a board."""
    word = types.int64
    return (
        address_of(_gather, "team", word(_POINTER)),
        address_of(_send, "team", word(_POINTER, word)),
    )


def _gather(board):
    """The workers of the team, who wait for what is to come; 0 where one of those who are wanted does not answer."""
    workers, begin, polls = board[MEMBERS] - 1, 0, 0
    for k in range(workers):
        while not swapped(board, WORKERS + k * APART + STATE, AWAKE, WAITING):
            pause()
            polls += 1
            if polls % SPINS == 0:
                time = now(board, GIVEN, MONOTONIC)
                begin = time if begin == 0 else begin
                if time - begin > board[PATIENT]:
                    return _let_go(board, k)
    begin, polls = 0, 0
    for k in range(workers):
        while arrived(board, WORKERS + k * APART + STATE) != READY:
            pause()
            polls += 1
            if polls % 16 == 0:
                time = now(board, GIVEN, MONOTONIC)
                begin = time if begin == 0 else begin
                if time - begin > board[ANSWERS]:
                    return _let_go(board, workers)
                if polls > SPINS and can_yield:  # the worker may want this processor
                    yield_processor()
    board[0] = board[MEMBERS] = 0  # who reads these next is a member
    board[GIVEN] = now(board, GIVEN, MONOTONIC)
    return workers


@register_jitable
def _let_go(board, workers):
    """The first workers are asked no more, whether they have answered or not; and all may sleep."""
    for k in range(workers):
        put(board, WORKERS + k * APART + STATE, AWAKE)
    put(board, MEMBERS, 0)
    return 0


def _send(board, workers):
    for k in range(workers):
        put(board, WORKERS + k * APART + STATE, WORKING)
    return 0
