"""What the loops need and Numba does not offer: tuples of a unit's numbers in and out of an array, and a place to meet."""

import ctypes

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

_is_x86 = llvm.get_process_triple().startswith(("x86_64", "i686"))
_can_yield = hasattr(ctypes.CDLL(None), "sched_yield")
_yield_processor = types.ExternalFunction("sched_yield", types.int32())
SPINS = 4000  # polls, some 20-50 microseconds, before a waiting thread offers its processor to others


@intrinsic(prefer_literal=True)
def read(_, array, at, stride, count):
    """(array[at], array[at + stride], ...): `count` numbers, a literal."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    n = count.literal_value
    signature = types.UniTuple(array.dtype, n)(array, types.intp, types.intp, count)

    def codegen(context, builder, sig, args):
        base = builder.gep(context.make_array(sig.args[0])(context, builder, args[0]).data, [args[1]])
        places = [builder.mul(args[2], ir.Constant(ir.IntType(64), k)) for k in range(n)]
        return context.make_tuple(builder, sig.return_type, [builder.load(builder.gep(base, [place])) for place in places])

    return signature, codegen


@intrinsic
def write(_, array, at, stride, values):
    """array[at], array[at + stride], ... = values, cast to the array's type."""
    signature = types.void(array, types.intp, types.intp, values)

    def codegen(context, builder, sig, args):
        base = builder.gep(context.make_array(sig.args[0])(context, builder, args[0]).data, [args[1]])
        for k, kind in enumerate(sig.args[3].types if hasattr(sig.args[3], "types") else [sig.args[3].dtype] * len(sig.args[3])):
            value = context.cast(builder, builder.extract_value(args[3], k), kind, sig.args[0].dtype)
            builder.store(value, builder.gep(base, [builder.mul(args[2], ir.Constant(ir.IntType(64), k))]))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def one_hot(_, like, index, count):
    """(0, .., 1, .., 0): the unit cotangent of state `index` out of `count` (a literal), in the type of the array `like`."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    n = count.literal_value
    signature = types.UniTuple(like.dtype, n)(like, types.intp, count)

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(sig.args[0].dtype)
        values = [
            builder.select(builder.icmp_signed("==", args[1], ir.Constant(ir.IntType(64), k)), ir.Constant(kind, 1), ir.Constant(kind, 0))
            for k in range(n)
        ]
        return context.make_tuple(builder, sig.return_type, values)

    return signature, codegen


@intrinsic
def _arrive(_, meeting):
    def codegen(context, builder, sig, args):
        place = context.make_array(sig.args[0])(context, builder, args[0]).data
        builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "acq_rel")
        return context.get_dummy_value()

    return types.void(meeting), codegen


@intrinsic
def _arrived(_, meeting):
    def codegen(context, builder, sig, args):
        place = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(meeting), codegen


@intrinsic
def _pause(_):
    def codegen(context, builder, sig, args):
        if _is_x86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@register_jitable
def meet(meeting, threads, round_):
    """Wait until all threads of the team have come here for the `round_`-th time; returns the number of the next round.

    The counter only grows, so no thread can miss a round; a count beyond reach (set when a thread could not start) lets all pass.
    """
    if threads > 1:
        _arrive(meeting)
        polls = 0
        while _arrived(meeting) < threads * (round_ + 1):
            _pause()
            polls += 1
            if polls > SPINS and _can_yield:
                _yield_processor()
    return round_ + 1


def new_meeting() -> np.ndarray:
    """A counter alone on its cache line."""
    return np.zeros(16, np.int64)
