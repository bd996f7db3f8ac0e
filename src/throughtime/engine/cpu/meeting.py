"""Where the threads of a team wait for each other: a counter that only grows, polled and then yielded to."""

import ctypes
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...jit import intrinsic, register_jitable, specialise

_is_x86 = llvm.get_process_triple().startswith(("x86_64", "i686"))
_can_yield = hasattr(ctypes.CDLL(None), "sched_yield")
_yield_processor = types.ExternalFunction("sched_yield", types.int32())
SPINS = 100  # polls, some 5 microseconds, before a waiting thread offers its processor to others: they may share one
GRACE = 100  # polls after the last mark


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
def _marked(_, array, at):
    """Whether the number at a place is not 0, read anew."""

    def codegen(context, builder, sig, args):
        place = builder.gep(context.make_array(sig.args[0])(context, builder, args[0]).data, [args[1]])
        return builder.icmp_signed("!=", builder.load_atomic(place, "acquire", 8), ir.Constant(ir.IntType(64), 0))

    return types.boolean(array, types.intp), codegen


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

    The counter only grows, so no thread can miss a round; a count beyond reach, set when a thread could not start, lets
    all pass.
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


@cache
def waiting() -> Any:
    """The compiled wait for workers that end, (ended, polls): it looks at their marks, holding no lock of Python's."""
    return specialise(_wait, "team")


def _wait(ended, polls):
    """Poll until all are 1, for a while; then for as long as it takes a worker to give Python's lock back."""
    k = 0
    for _ in range(polls):
        while k < ended.size and _marked(ended, k):
            k += 1
        if k == ended.size:
            for _ in range(GRACE):
                _pause()
            break
        _pause()


def new_meeting() -> np.ndarray:
    """A counter alone on its cache line."""
    return np.zeros(16, np.int64)
