"""Pieces of arrays, a few whole vectors long or the beginning of one: moved, added up, cut off, asked for."""

from functools import partial

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...jit import intrinsic
from .register_tile import VECTOR_BYTES, number, place_of


class _Vectors:
    """Vectors of numbers, as long as a register or as `full` numbers, at any address."""

    def __init__(self, context, builder, kind, full):
        self.builder, self.size, element = builder, np.dtype(kind.name).itemsize, context.get_value_type(kind)
        self.lanes = min(full, VECTOR_BYTES // self.size)
        self.vector, self.flags = (ir.VectorType(part, self.lanes) for part in (element, ir.IntType(1)))
        self.zero, self.align = ir.Constant(self.vector, None), ir.Constant(ir.IntType(32), self.size)

    def _at(self, place):
        return self.builder.bitcast(place, self.vector.as_pointer())

    def load(self, place):
        return self.builder.load(self._at(place), align=self.size)

    def store(self, value, place):
        self.builder.store(value, self._at(place), align=self.size)

    def mask(self, count, n):
        """Which of the numbers from n on are among the first `count`."""
        b, kind = self.builder, ir.VectorType(count.type, self.lanes)
        undefined, to_all = (
            ir.Constant(kind, ir.Undefined),
            ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None),
        )
        left = b.shuffle_vector(b.insert_element(undefined, b.sub(count, n), number(0)), undefined, to_all)
        return b.icmp_signed("<", ir.Constant(kind, [number(k) for k in range(self.lanes)]), left)

    def _masked(self, name, returned, *given):
        name = f"llvm.masked.{name}.v{self.lanes}f{8 * self.size}.p0v{self.lanes}f{8 * self.size}"
        kind = ir.FunctionType(returned, [value.type for value in given])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), given)

    def load_some(self, place, mask):
        return self._masked("load", self.vector, self._at(place), self.align, mask, self.zero)

    def store_some(self, value, place, mask):
        self._masked("store", ir.VoidType(), value, self._at(place), self.align, mask)


def _pieces(context, builder, kind, count, full, work):
    """Call work(load, store, n) for the pieces of `count` numbers, of at most `full`: whole vectors where count is
    `full`, as it nearly always is, otherwise masked ones, or number by number where masks are slow.

    n: the piece's first number; load(pointer) and store(value, pointer) take pointers to it.
    """
    vectors = _Vectors(context, builder, kind, full)
    places = [number(n) for n in range(0, full, vectors.lanes)]
    with builder.if_else(builder.icmp_signed("==", count, number(full))) as (usual, last):
        with usual:
            for n in places:
                work(vectors.load, vectors.store, n)
        with last:
            if VECTOR_BYTES >= 32:
                for n in places:
                    mask = vectors.mask(count, n)
                    load, store = partial(vectors.load_some, mask=mask), partial(vectors.store_some, mask=mask)
                    work(load, store, n)
            else:
                with cgutils.for_range(builder, count) as loop:
                    work(builder.load, builder.store, loop.index)


@intrinsic(prefer_literal=True)
def move(_, target, to, to_stride, source, at, at_stride, blocks, count, full):
    """target[to + j*to_stride : ... + count] = source[at + j*at_stride : ... + count] for j < blocks.

    The two never overlap; blocks and full are literals, full some whole vectors. Calls of memcpy where count is not
    `full` took 4 of 33 us of a step back of 12 rows and 200 units, of which one block in 13 is such.
    """
    if not (isinstance(blocks, types.IntegerLiteral) and isinstance(full, types.IntegerLiteral)):
        return None
    index = types.intp
    signature = types.void(target, index, index, source, index, index, blocks, index, full)
    times, whole = blocks.literal_value, full.literal_value

    def codegen(context, builder, sig, args):
        targets = place_of(context, builder, sig.args[0], args[0], args[1])
        sources = place_of(context, builder, sig.args[3], args[3], args[4])

        def piece(load, store, n):
            for j in range(times):
                at, to = (builder.add(n, builder.mul(stride, number(j))) for stride in (args[5], args[2]))
                store(load(builder.gep(sources, [at])), builder.gep(targets, [to]))

        _pieces(context, builder, sig.args[0].dtype, args[7], whole, piece)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def add(_, target, to, source, at, count, full):
    """target[to : to + count] += source[at : at + count], never overlapping; full, a literal, as in `move`.

    A loop over numbers stays one over numbers: their count is short and not known, or LLVM cannot see where they lie.
    """
    if not isinstance(full, types.IntegerLiteral):
        return None
    signature = types.void(target, types.intp, source, types.intp, types.intp, full)

    def codegen(context, builder, sig, args):
        targets = place_of(context, builder, sig.args[0], args[0], args[1])
        sources = place_of(context, builder, sig.args[2], args[2], args[3])

        def piece(load, store, n):
            place = builder.gep(targets, [n])
            store(builder.fadd(load(place), load(builder.gep(sources, [n]))), place)

        _pieces(context, builder, sig.args[0].dtype, args[4], full.literal_value, piece)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def trim(_, array, at, blocks, count, full):
    """array[at + j*full + count : at + (j + 1)*full] = 0 for j < blocks; blocks and full are literals."""

    def emit(builder, vectors, base, times, count, whole):
        for n in range(0, whole, vectors.lanes):
            mask = vectors.mask(count, number(n))
            for j in range(times):
                place = builder.gep(base, [number(j * whole + n)])
                vectors.store(builder.select(mask, vectors.load(place), vectors.zero), place)

    return _in_blocks(array, blocks, full, emit)


@intrinsic(prefer_literal=True)
def spread_blocks(_, array, at, blocks, count, full):
    """array[at + j*full : ... + count] = array[at + j*count : ... + count] for j < blocks, the last first, as they lie
    over each other; blocks and full are literals, full one vector. What follows the `count` numbers is nobody's."""

    def emit(builder, vectors, base, times, count, whole):
        for j in range(times - 1, 0, -1):
            source = builder.gep(base, [builder.mul(count, number(j))])
            vectors.store(vectors.load(source), builder.gep(base, [number(j * whole)]))

    return _in_blocks(array, blocks, full, emit)


def _in_blocks(array, blocks, full, emit):
    """The signature of an intrinsic of (array, at, blocks, count, full), and its code: what `emit` makes in place."""
    if not (isinstance(blocks, types.IntegerLiteral) and isinstance(full, types.IntegerLiteral)):
        return None
    signature = types.void(array, types.intp, blocks, types.intp, full)
    times, whole = blocks.literal_value, full.literal_value

    def codegen(context, builder, sig, args):
        base = place_of(context, builder, sig.args[0], args[0], args[1])
        emit(builder, _Vectors(context, builder, sig.args[0].dtype, whole), base, times, args[3], whole)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def turn(_, target, to, to_row, to_step, source, at, at_row, at_step, rows, numbers):
    """target[to + r*to_row + i*to_step] = source[at + r*at_row + i*at_step] for r < rows, i < numbers, few of them.

    Atomic, which costs nothing and keeps LLVM from making vectors of it: three times the code, in every caller.
    """
    n = types.intp

    def codegen(context, builder, sig, args):
        targets, sources = (place_of(context, builder, sig.args[k], args[k], args[k + 1]) for k in (0, 4))
        align = np.dtype(sig.args[0].dtype.name).itemsize
        with cgutils.for_range(builder, args[8]) as row, cgutils.for_range(builder, args[9]) as column:
            here, there = (
                builder.gep(base, [builder.add(builder.mul(row.index, across), builder.mul(column.index, step))])
                for base, across, step in ((targets, *args[2:4]), (sources, *args[6:8]))
            )
            builder.store_atomic(builder.load_atomic(there, "unordered", align), here, "unordered", align)
        return context.get_dummy_value()

    return types.void(target, n, n, n, source, n, n, n, n, n), codegen


@intrinsic(prefer_literal=True)
def fetch_to_write(_, array, at, count):
    """Ask for the lines of array[at : at + count], a literal count, which is soon read and written."""
    if not isinstance(count, types.IntegerLiteral):
        return None

    def codegen(context, builder, sig, args):
        base = place_of(context, builder, sig.args[0], args[0], args[1])
        step = 64 // np.dtype(sig.args[0].dtype.name).itemsize
        for n in (*range(0, count.literal_value, step), count.literal_value - 1):
            fetch(builder, builder.gep(base, [number(n)]))
        return context.get_dummy_value()

    return types.void(array, types.intp, count), codegen


def fetch(builder, place):
    """Ask for a line of memory, to be written, in the caches of the data."""
    byte, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32])
    fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    builder.call(fetch, [builder.bitcast(place, byte), *(ir.Constant(i32, k) for k in (1, 3, 1))])
