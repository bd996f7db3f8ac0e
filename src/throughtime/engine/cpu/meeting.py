"""Where the threads of a team wait for each other: a counter that only grows, polled and then yielded to."""

import ctypes

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...jit import intrinsic, register_jitable
from .spans import place_of

_is_x86 = llvm.get_process_triple().startswith(("x86_64", "i686"))
can_yield = hasattr(ctypes.CDLL(None), "sched_yield")
yield_processor = types.ExternalFunction("sched_yield", types.int32())
SPINS = 100  # polls, some 5 microseconds, before a waiting thread offers its processor to others: they may share one


@intrinsic
def _arrive(_, meeting):
    def codegen(context, builder, sig, args):
        place = context.make_array(sig.args[0])(context, builder, args[0]).data
        builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "acq_rel")
        return context.get_dummy_value()

    return types.void(meeting), codegen


@intrinsic
def arrived(_, board, at):
    """board[at], read anew, and before all that is read after it."""

    def codegen(context, builder, sig, args):
        return builder.load_atomic(place_of(context, builder, sig.args[0], args[0], args[1]), "acquire", 8)

    return types.int64(board, types.intp), codegen


@intrinsic
def pause(_):
    def codegen(context, builder, sig, args):
        if _is_x86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@register_jitable
def meet(meeting, threads, round_):
    """Wait until all threads of the team have come here for the `round_`-th time; returns the number of the next round.

    The counter only grows, so no thread can miss a round; a count beyond reach, set when a thread could not start, lets
    all pass.
    """
    if threads > 1:
        _arrive(meeting)
        polls = 0
        while arrived(meeting, 0) < threads * (round_ + 1):
            pause()
            polls += 1
            if polls > SPINS and can_yield:
                yield_processor()
    return round_ + 1
