"""What the loops need and Numba does not offer: tuples in and out of arrays, copies."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...jit import intrinsic
from .register_tile import VECTOR_BYTES, number, place_of, total
from .spans import fetch

AHEAD = 1 << 11  # bytes


@intrinsic(prefer_literal=True)
def read(_, array, at, stride, count):
    """(array[at], array[at + stride], ...): `count` numbers, a literal."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    n = count.literal_value
    signature = types.UniTuple(array.dtype, n)(array, types.intp, types.intp, count)

    def codegen(context, builder, sig, args):
        base = place_of(context, builder, sig.args[0], args[0], args[1])
        values = [builder.load(builder.gep(base, [builder.mul(args[2], number(k))])) for k in range(n)]
        return context.make_tuple(builder, sig.return_type, values)

    return signature, codegen


@intrinsic(prefer_literal=True)
def write(_, array, at, stride, values, count):
    """array[at], array[at + stride], ... = values, a tuple of `count` real numbers, or of tuples of them one after
    another, cast to the array's type.

    Other counts do not compile: what a cell returns is seen here last, and more numbers would land on their neighbours.
    """
    if not isinstance(count, types.IntegerLiteral) or not isinstance(values, types.BaseTuple):
        return None
    kinds = [kind for _, kind in _leaves(values)]
    real = all(isinstance(kind, (types.Integer, types.Float, types.Boolean)) for kind in kinds)
    if len(kinds) != count.literal_value or not real:
        return None
    signature = types.void(array, types.intp, types.intp, values, count)

    def codegen(context, builder, sig, args):
        base = place_of(context, builder, sig.args[0], args[0], args[1])
        for k, (path, kind) in enumerate(_leaves(sig.args[3])):
            value = context.cast(builder, builder.extract_value(args[3], path), kind, sig.args[0].dtype)
            builder.store(value, builder.gep(base, [builder.mul(args[2], number(k))]))
        return context.get_dummy_value()

    return signature, codegen


def _leaves(kind, path=()):
    """The numbers of a tuple of numbers or tuples, each with the way to it."""
    for k, part in enumerate(kind):
        if isinstance(part, types.BaseTuple):
            yield from _leaves(part, (*path, k))
        else:
            yield (*path, k), part


@intrinsic(prefer_literal=True)
def one_hot(_, like, index, count):
    """(0, .., 1, .., 0): the unit cotangent of state `index` of `count`, a literal, in the type of the array `like`."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    n = count.literal_value
    signature = types.UniTuple(like.dtype, n)(like, types.intp, count)

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(sig.args[0].dtype)
        one, zero = ir.Constant(kind, 1), ir.Constant(kind, 0)
        values = [builder.select(builder.icmp_signed("==", args[1], number(k)), one, zero) for k in range(n)]
        return context.make_tuple(builder, sig.return_type, values)

    return signature, codegen


@intrinsic(prefer_literal=True)
def copy(_, target, to, source, at, count):
    """target[to : to + count] = source[at : at + count] for a literal count, never overlapping: a few vector moves."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    signature = types.void(target, types.intp, source, types.intp, count)

    def codegen(context, builder, sig, args):
        size = context.get_abi_sizeof(context.get_value_type(sig.args[0].dtype))
        to, at = (place_of(context, builder, sig.args[k], args[k], args[k + 1]) for k in (0, 2))
        cgutils.raw_memcpy(builder, to, at, number(count.literal_value), size, align=size)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def wide(_):
    """Let LLVM use the whole width of AVX-512 in the function around: left alone it keeps to half. 25-30 % faster.

    All functions that pass `work` to each other must agree: a load of a whole vector waits for two stores of halves.
    """

    def codegen(context, builder, sig, args):
        if VECTOR_BYTES == 64:  # llvmlite knows the names of few attributes, so this one goes in as to a plain set
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def disjoint(_):
    """Tell LLVM that the arrays given to the function around do not overlap."""

    def codegen(context, builder, sig, args):
        for argument in builder.function.args[2:]:  # behind where Numba returns a value and an error
            argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def clear(_, target, to, count):
    """target[to : to + count] = 0."""
    signature = types.void(target, types.intp, types.intp)

    def codegen(context, builder, sig, args):
        size = context.get_abi_sizeof(context.get_value_type(sig.args[0].dtype))
        place = place_of(context, builder, sig.args[0], args[0], args[1])
        cgutils.memset(builder, place, builder.mul(args[2], number(size)), 0)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def combine(_, target, to, row, factors, at, at_row, at_term, source, first, term, count, size, terms, rows):
    """target[to + i*row + m] = sum_g factors[at + i*at_row + g*at_term] source[first + g*term + m], 0 for m >= count.

    For m < size and literal numbers of `terms` g, summed in order, and of `rows` i, which share what is read of the
    source. The target overlaps neither of the others, which LLVM cannot see. A store asks for the place AHEAD of it:
    memory that other work has pushed out of the caches is written in 0.15 instead of 0.22 ms per 2 MB.
    """
    if not (isinstance(terms, types.IntegerLiteral) and isinstance(rows, types.IntegerLiteral)):
        return None
    n = types.intp
    signature = types.void(target, n, n, factors, n, n, n, source, n, n, n, n, terms, rows)
    G, I, item = terms.literal_value, rows.literal_value, np.dtype(target.dtype.name).itemsize

    def codegen(context, b, sig, args):
        i32, i64, kind = ir.IntType(32), ir.IntType(64), context.get_value_type(sig.args[0].dtype)
        targets, values, sources = (place_of(context, b, sig.args[k], args[k], args[k + 1]) for k in (0, 3, 7))
        _, _, row, _, _, at_row, at_term, _, _, term, count, size, _, _ = args

        def place(base, *steps):
            return b.gep(base, [total(b, [b.mul(stride, number(k)) for stride, k in steps])])

        factor = [[b.load(place(values, (at_row, i), (at_term, g))) for g in range(G)] for i in range(I)]
        ends = [place(targets, (row, i)) for i in range(I)]

        def columns(begin, end, lane, known):
            """The columns from begin to end, `lane` at once."""
            vector = ir.VectorType(kind, lane)
            fma_type = ir.FunctionType(vector, [vector] * 3)
            fma = cgutils.get_or_insert_function(b.module, fma_type, f"llvm.fma.v{lane}f{8 * item}")
            undefined, to_all = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(i32, lane), None)

            def spread(x):
                return b.shuffle_vector(b.insert_element(undefined, x, ir.Constant(i32, 0)), undefined, to_all)

            weights = [[spread(x) for x in line] for line in factor] if known else []
            with cgutils.for_range_slice(b, begin, end, number(lane), i64) as (m, _):
                totals = [ir.Constant(vector, None)] * I
                if known:
                    lines = [b.gep(place(sources, (term, g)), [m]) for g in range(G)]
                    read = [b.load(b.bitcast(line, vector.as_pointer()), align=item) for line in lines]
                    totals = [b.fmul(weights[i][0], read[0]) for i in range(I)]
                    for g in range(1, G):
                        totals = [b.call(fma, [weights[i][g], read[g], totals[i]]) for i in range(I)]
                for i in range(I):
                    here = b.gep(ends[i], [m])
                    b.store(totals[i], b.bitcast(here, vector.as_pointer()), align=item)
                    if lane > 1:
                        fetch(b, b.gep(here, [number(AHEAD // item)]))

        lanes = number(VECTOR_BYTES // item)
        whole = b.sub(count, b.urem(count, lanes))
        rest = b.sub(size, b.urem(b.sub(size, count), lanes))
        columns(number(0), whole, VECTOR_BYTES // item, True)
        columns(whole, count, 1, True)
        columns(count, rest, VECTOR_BYTES // item, False)
        columns(rest, size, 1, False)
        return context.get_dummy_value()

    return signature, codegen
