"""The register tile: the only place where the engine speaks to the machine's vector unit.

A tile is a small block of a matrix product that stays in registers while it runs over the inner dimension:

    C[r, :] = start[r, :] + sum_k A[r, k] * panel[k, :]        r = 0 .. rows-1,  panel rows of `vectors` vectors

Every product of the engine (input, recurrence, its transpose, weight gradients) is made of tiles. The sum over k runs
in the order of k in every tile, whatever its number of rows: an element of C has the same bits however the work is
divided.

Numba cannot be asked for vector registers, so the loop is written in LLVM's language. It reaches 85-95 % of the peak
where OpenBLAS, which packs its operands anew in every call, reaches 30-60 % at the row counts of a recurrent step.
"""

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types

from ...jit import intrinsic


def _vector_unit() -> tuple[int, int]:
    """(bytes of a vector register, number of registers) of this machine."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 32
    if features.get("avx"):
        return 32, 16
    return 16, 32 if llvm.get_process_triple().startswith(("aarch64", "arm64")) else 16


VECTOR_BYTES, REGISTERS = _vector_unit()


def lanes(dtype: np.dtype) -> int:
    """Numbers of this type in a vector register."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def most_rows(vectors: int) -> int:
    """The tallest tile whose sums leave registers for one row of the panel and one number of A; 24 sums are enough."""
    return max(1, min((REGISTERS - 1) // vectors - 1, 24 // vectors))


def place_of(context, builder, kind, value, at):
    """The place `at` of an array, or of a bare pointer."""
    base = value if isinstance(kind, types.CPointer) else context.make_array(kind)(context, builder, value).data
    return builder.gep(base, [at])


def number(value):
    return ir.Constant(ir.IntType(64), value)


@intrinsic(prefer_literal=True)
def tile(_, rows, vectors, panels, a, a_place, panel, panel_place, depth, start, start_place, c, c_place):
    """C[r, :] = start[r, :] + sum_k A[r, k] panel[k, :] for literal numbers of rows, vectors and panels.

    An operand is a flat array or a bare pointer, and a tuple of an offset and strides, in elements (the array in the
    tuple would be counted once more, by an instruction that waits for all cores: 5 % of a step of 12 rows and 200
    units):

        a      (at, row, step)   A[r, k] at  at + r*row + k*step
        panel  (at, gap, step)   panel[k] at  at + k*step
        start  (at, gap, row)    start[r] at  at + r*row; row = 0: the same, a bias, for all
        c      (at, gap, row)    C[r] at  at + r*row

    Several panels side by side, the next one a `gap` further on in each operand, keep the multipliers busy where there
    is a single row.
    """
    if not all(isinstance(number, types.IntegerLiteral) for number in (rows, vectors, panels)):
        return None
    signature = types.void(rows, vectors, panels, *_operands(a, panel, start, c))
    return signature, _products(rows.literal_value, vectors.literal_value, panels.literal_value, 0)


@intrinsic(prefer_literal=True)
def deep_tile(_, rows, vectors, width, a, a_place, panel, panel_place, depth, start, start_place, c, c_place):
    """A tile whose A lies in strips of `width` columns, one after another at the distance `step` of a:

    A[r, k] at  at + r*row + (k // width)*step + k % width. The width is a literal.
    """
    if not all(isinstance(number, types.IntegerLiteral) for number in (rows, vectors, width)):
        return None
    signature = types.void(rows, vectors, width, *_operands(a, panel, start, c))
    return signature, _products(rows.literal_value, vectors.literal_value, 1, width.literal_value)


def _operands(a, panel, start, c):
    place = types.UniTuple(types.intp, 3)
    return a, place, panel, place, types.intp, start, place, c, place


def _products(R, V, panels, width):
    """What emits a tile; width: of the strips in which A lies, 0 where one step leads from each column to the next."""
    columns = [divmod(v, V) for v in range(V * panels)]

    def codegen(context, b, sig, args):
        array = sig.args[3]
        L = lanes(np.dtype(array.dtype.name))

        def place(k):
            """The address at which operand k begins, and its two strides."""
            at, first, second = (b.extract_value(args[k + 1], i) for i in range(3))
            return place_of(context, b, sig.args[k], args[k], at), first, second

        def at(base, *terms):
            return b.gep(base, [total(b, terms)])

        def load(p):
            return b.load(b.bitcast(p, vector.as_pointer()), align=size)

        def beginning(r, p, v):
            return load(at(start_base, b.mul(start_row, number(r)), b.mul(start_gap, number(p)), number(v * L)))

        i64, i32 = ir.IntType(64), ir.IntType(32)
        scalar = context.get_value_type(array.dtype)
        vector, size = ir.VectorType(scalar, L), np.dtype(array.dtype.name).itemsize
        name = f"llvm.fma.v{L}f{8 * size}"
        fma = b.module.globals.get(name) or ir.Function(b.module, ir.FunctionType(vector, [vector] * 3), name)
        undefined, to_all = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(i32, L), None)
        (a_base, a_row, a_step), (panel_base, panel_gap, panel_step), depth = place(3), place(5), args[7]
        (start_base, start_gap, start_row), (c_base, c_gap, c_row) = place(8), place(10)

        first = [[beginning(r, p, v) for p, v in columns] for r in range(R)]
        line_offset = [b.add(b.mul(panel_gap, number(p)), number(v * L)) for p, v in columns]
        row_offset = [b.mul(a_row, number(r)) for r in range(R)]
        before, loop, done = b.block, b.append_basic_block("k"), b.append_basic_block("done")
        b.cbranch(b.icmp_signed(">", depth, number(0)), loop, done)

        b.position_at_end(loop)
        k = b.phi(i64)
        k.add_incoming(number(0), before)
        sums = [[b.phi(vector) for _ in columns] for _ in range(R)]
        line, column = at(panel_base, b.mul(k, panel_step)), at(a_base, b.mul(k, a_step))
        if width:
            inside, strip = b.and_(k, number(width - 1)), b.lshr(k, number(width.bit_length() - 1))
            column = at(a_base, b.mul(strip, a_step), inside)
        w = [load(at(line, offset)) for offset in line_offset]
        new = []
        for r in range(R):
            x = b.load(at(column, row_offset[r]), align=size)
            x = b.shuffle_vector(b.insert_element(undefined, x, ir.Constant(i32, 0)), undefined, to_all)
            new.append([b.call(fma, [x, w[v], sums[r][v]]) for v in range(len(columns))])
        following = b.add(k, number(1))
        k.add_incoming(following, loop)
        b.cbranch(b.icmp_signed("<", following, depth), loop, done)

        b.position_at_end(done)
        results = []
        for r in range(R):
            for v in range(len(columns)):
                sums[r][v].add_incoming(first[r][v], before)
                sums[r][v].add_incoming(new[r][v], loop)
                results.append(b.phi(vector))
                results[-1].add_incoming(first[r][v], before)
                results[-1].add_incoming(new[r][v], loop)
        for r in range(R):
            for n, (p, v) in enumerate(columns):
                out = at(c_base, b.mul(c_row, number(r)), b.mul(c_gap, number(p)), number(v * L))
                b.store(results[r * len(columns) + n], b.bitcast(out, vector.as_pointer()), align=size)
        return context.get_dummy_value()

    return codegen


def total(b, terms):
    """The sum of whole numbers in LLVM's language."""
    found = terms[0]
    for term in terms[1:]:
        found = b.add(found, term)
    return found


@intrinsic
def transpose(_, source, at, row, target, to, target_row):
    """target[j, i] = source[i, j] for a block of as many rows and columns as a vector has lanes.

    Row i of the source lies at at + i*row, row j of the target at to + j*target_row. It takes log2(lanes) rounds of
    shuffles in registers; element by element it takes five times longer.
    """
    n = types.intp
    return types.void(source, n, n, target, n, n), _transposition(clamped=False)


@intrinsic
def transpose_some(_, source, at, row, last, target, to, target_row):
    """The same of a source whose rows end with row `last`, which stands for those behind it too."""
    n = types.intp
    return types.void(source, n, n, n, target, n, n), _transposition(clamped=True)


def _transposition(clamped):
    def codegen(context, b, sig, args):
        scalar, i32 = sig.args[0].dtype, ir.IntType(32)
        L, size = lanes(np.dtype(scalar.name)), np.dtype(scalar.name).itemsize
        vector = ir.VectorType(context.get_value_type(scalar), L)
        target = 4 if clamped else 3

        def place(k, offset, stride, line):
            at = b.add(offset, b.mul(stride, line))
            return b.bitcast(place_of(context, b, sig.args[k], args[k], at), vector.as_pointer())

        def line(i):
            return b.select(b.icmp_signed("<", number(i), args[3]), number(i), args[3]) if clamped else number(i)

        lines = [b.load(place(0, args[1], args[2], line(i)), align=size) for i in range(L)]
        half = L // 2
        while half:  # exchange the off-diagonal quarters of every square of 2*half lines
            low = [k if k % (2 * half) < half else L + k - half for k in range(L)]
            high = [k + half if k % (2 * half) < half else L + k for k in range(L)]
            masks = [ir.Constant(ir.VectorType(i32, L), mask) for mask in (low, high)]
            exchanged = []
            for i in range(L):
                k = i - i % (2 * half) + i % half
                exchanged.append(b.shuffle_vector(lines[k], lines[k + half], masks[i % (2 * half) >= half]))
            lines, half = exchanged, half // 2
        for j in range(L):
            b.store(lines[j], place(target, args[target + 1], args[target + 2], number(j)), align=size)
        return context.get_dummy_value()

    return codegen
