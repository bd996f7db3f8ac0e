"""Tuples of a unit's numbers in one precision, and sums with them: what Numba cannot be asked for, in LLVM's language.

A cell may return whole numbers among others, or tuples of tuples, and may have none of a kind; a kernel's arrays have
one type, and an empty tuple cannot be asked for its k-th number even in a loop that never runs.
"""

from typing import Any

from llvmlite import ir
from numba import types

from .compiler import primitive
from .register_arrays import I64, data


def _alike(like, values):
    return values


@primitive(_alike)
def alike(_, like, values):
    """The numbers of a tuple, each in the type of `like`."""
    if not isinstance(values, types.BaseTuple):
        return None
    signature = types.UniTuple(like, len(values))(like, values)

    def codegen(context, b, sig, args):
        return context.make_tuple(b, sig.return_type, _numbers(context, b, args[1], values, like))

    return signature, codegen


def _flattened(like, rows):
    return tuple(value for row in rows for value in row)


@primitive(_flattened)
def flattened(_, like, rows):
    """The numbers of a tuple of tuples, row after row, each in the type of `like`."""
    if not isinstance(rows, types.BaseTuple) or not all(isinstance(row, types.BaseTuple) for row in rows):
        return None
    signature = types.UniTuple(like, sum(map(len, rows)))(like, rows)

    def codegen(context, b, sig, args):
        found = []
        for k, row in enumerate(rows):
            found += _numbers(context, b, b.extract_value(args[1], k), row, like)
        return context.make_tuple(b, sig.return_type, found)

    return signature, codegen


def _in_place_of(cell, values):
    return tuple.__new__(type(cell), values)


@primitive(_in_place_of)
def in_place_of(_, cell, values):
    """A cell of the same class with these values as its fields."""
    signature = cell(cell, values)

    def codegen(context, b, sig, args):
        found = [
            context.cast(b, b.extract_value(args[1], k), values[k], kind) for k, kind in enumerate(sig.return_type)
        ]
        return context.make_tuple(b, sig.return_type, found)

    return signature, codegen


def _increase(array, at, values):
    for k, value in enumerate(values):
        array[at + k] += value


@primitive(_increase)
def increase(_, array, at, values):
    """array[at], array[at + 1], ... += values."""
    signature = types.void(array, at, values)

    def codegen(context, b, sig, args):
        base = data(context, b, sig, args, 0)
        first = b.sext(args[1], I64) if args[1].type.width < 64 else args[1]
        for k, value in enumerate(_numbers(context, b, args[2], values, array.dtype)):
            place = b.gep(base, [b.add(first, ir.Constant(first.type, k))])
            b.store(b.fadd(b.load(place), value), place)
        return context.get_dummy_value()

    return signature, codegen


def _numbers(context: Any, b: Any, value: Any, kinds: Any, real: Any) -> list:
    return [context.cast(b, b.extract_value(value, k), kind, real) for k, kind in enumerate(kinds)]
