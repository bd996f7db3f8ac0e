"""Copies from global into shared memory that go on while something else is computed, in LLVM's language.

bring, bring_rows   begin copies
sent_off()          ends a group of them
arrived(but)        waits for the thread's own, all groups but the latest `but`
"""

from typing import Any

from llvmlite import ir
from numba import types

from .compiler import primitive
from .register_arrays import I32, I64, assembly, data, literal


def _bring(target, t, source, s, left, count):
    assert t % count == s % count == 0, "a copy of 16 bytes is not aligned"
    for k in range(count):
        target[t + k] = source[s + k] if k < left else target.dtype.type(0)


@primitive(_bring)
def bring(_, target, t, source, s, left, count):
    """target[t + k] = source[s + k] for k < count, 0 for k >= left: begun now, there after `arrived`.

    target lies in shared memory; count numbers are 4, 8 or 16 bytes, and begin at a multiple of that.
    """
    if not literal(count):
        return None
    item, number = source.dtype.bitwidth // 8, count.literal_value
    signature = types.void(target, t, source, s, left, count)

    def codegen(context, b, sig, args):
        to, base, left = data(context, b, sig, args, 0), data(context, b, sig, args, 2), args[4]
        shared = b.addrspacecast(b.gep(to, [args[1]]), ir.PointerType(to.type.pointee, addrspace=3))
        zero, most = ir.Constant(left.type, 0), ir.Constant(left.type, number)
        left = b.select(b.icmp_signed("<", left, most), left, most)
        some = b.icmp_signed(">", left, zero)
        size = b.mul(b.trunc(b.select(some, left, zero), I32), ir.Constant(I32, item))
        there = b.ptrtoint(b.select(some, b.gep(base, [args[3]]), base), I64)
        begin_copy(b, item * number, b.ptrtoint(shared, I32), there, size)
        return context.get_dummy_value()

    return signature, codegen


def begin_copy(b: Any, room: int, to: Any, source: Any, size: Any) -> None:
    """Of `room` bytes to an address in shared memory, the first `size` of them from `source` and the others 0; all 16
    past the first-level cache."""
    text = f"cp.async.{'cg' if room == 16 else 'ca'}.shared.global [$0], [$1], {room}, $2;"
    kind = ir.FunctionType(ir.VoidType(), [I32, I64, I32])
    b.call(ir.InlineAsm(kind, text, "r,l,r,~{memory}", side_effect=True), [to, source, size])


def _sent_off():
    """Nothing: in the simulator copies are made at once."""


@primitive(_sent_off)
def sent_off(_):
    """Ends a group of copies."""
    return types.void(), _assembly("cp.async.commit_group;")


def _arrived(but):
    """Nothing, as above."""


@primitive(_arrived)
def arrived(_, but):
    """Waits for the thread's own copies, all groups but the latest `but`; others' are there after the block met."""
    if not literal(but):
        return None
    return types.void(but), _assembly(f"cp.async.wait_group {but.literal_value};")


def _assembly(text: str) -> Any:
    def codegen(context, b, sig, args):
        assembly(b, text)
        return context.get_dummy_value()

    return codegen
