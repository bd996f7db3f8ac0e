"""Calls of compiled functions by their addresses, as C calls functions.

What a loop calls so is compiled once for all loops, cells and passes: Numba links what is called by name into every
caller, optimises it there again and makes machine code of it once more. The addresses belong to a process, so a loop is
handed them at each call (operands.py); machine code that is kept on disk holds none.

Arrays go as pointers to their first numbers, or to a place in them; all else are whole numbers.
"""

from inspect import signature

import numpy as np
from llvmlite import ir
from numba import from_dtype, types

from ...jit import intrinsic
from .register_tile import number, place_of

# Of the arguments of what is called so; the others are whole numbers.
ARRAYS = {"a", "d", "x", "y", "strips", "panels", "start", "out", "edge", "weights", "own", "bias", "room"}


def as_called(function, dtype):
    """The signature of a function that is called so, but for those of pointwise.py, which take arrays alone."""
    pointer = types.CPointer(from_dtype(np.dtype(dtype)))
    return types.void(*[pointer if name in ARRAYS else types.intp for name in signature(function).parameters])


def _call(*kinds):
    """The signature of (address, operands), arrays among them, and its code."""
    given = [kind if isinstance(kind, types.Array | types.CPointer) else types.intp for kind in kinds]

    def codegen(context, builder, sig, args):
        operands = []
        for kind, value in zip(sig.args[1:], args[1:], strict=True):
            is_whole = isinstance(kind, types.Integer)
            operands.append(value if is_whole else place_of(context, builder, kind, value, number(0)))
        _call_at(builder, args[0], operands)
        return context.get_dummy_value()

    return types.void(types.intp, *given), codegen


def _call_at(builder, address, operands):
    kind = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
    builder.call(builder.inttoptr(address, kind.as_pointer()), operands)


@intrinsic
def product(
    _, address, a, a_at, a_row, strips, rows, depth, panels, first, last, start, start_panel, out, out_at, narrow
):  # fmt: skip
    """_product of matmul.py."""
    return _call(a, a_at, a_row, strips, rows, depth, panels, first, last, start, start_panel, out, out_at, narrow)


@intrinsic
def pack_strips(_, address, a, at, row, rows, depth, strips):
    """_pack_strips of matmul.py."""
    return _call(a, at, row, rows, depth, strips)


@intrinsic
def pack_rows(_, address, x, at, row, rows, columns, panels, to):
    """_pack_rows of matmul.py."""
    return _call(x, at, row, rows, columns, panels, to)


@intrinsic
def accumulate(_, address, d, d_at, d_row, count, y, y_at, depth, out, out_at, out_row, columns, edge):
    """_accumulate of matmul.py."""
    return _call(d, d_at, d_row, count, y, y_at, depth, out, out_at, out_row, columns, edge)


@intrinsic
def add_gradients(
    _, address, of_rows, of_sums, d, d_at, d_row, y, y_at, y_row, columns, weights, to_weights, w_at, bias, to_bias,
    b_at, rows, N, index, threads, room,
):  # fmt: skip
    """weight_gradients.py."""
    return _call(
        of_rows, of_sums, d, d_at, d_row, y, y_at, y_row, columns, weights, to_weights, w_at, bias, to_bias, b_at, rows,
        N, index, threads, room,
    )  # fmt: skip


@intrinsic
def pack_gates(_, address, weights, own, keep, gates, units, depth, block, ragged, panels, at, first, last):
    """_pack_gates of panels.py."""
    return _call(weights, own, keep, gates, units, depth, block, ragged, panels, at, first, last)


@intrinsic
def pack_transposed(_, address, weights, gates, units, columns, signals, block, ragged, panels, at, first, last):
    """_pack_transposed of panels.py."""
    return _call(weights, gates, units, columns, signals, block, ragged, panels, at, first, last)


@intrinsic
def call(_, address, fields, at, work):
    """Call the compiled pointwise function at `address` with (fields from `at` on, work)."""
    signature = types.void(types.intp, fields, types.intp, work)

    def codegen(context, builder, sig, args):
        own = place_of(context, builder, sig.args[1], args[1], args[2])
        _call_at(builder, args[0], [own, place_of(context, builder, sig.args[3], args[3], number(0))])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def call_beside(_, address, fields, at, work, x, x_at, r, r_at, saved, saved_at):
    """The same with (fields, work, x from x_at on, r likewise, saved likewise): what is not copied into `work`."""
    n = types.intp
    signature = types.void(n, fields, n, work, x, n, r, n, saved, n)

    def codegen(context, builder, sig, args):
        places = [place_of(context, builder, sig.args[k], args[k], args[k + 1]) for k in (1, 4, 6, 8)]
        places.insert(1, place_of(context, builder, sig.args[3], args[3], number(0)))
        _call_at(builder, args[0], places)
        return context.get_dummy_value()

    return signature, codegen
