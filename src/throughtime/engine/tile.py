"""The register tile: the only place where the engine speaks to the machine's vector unit.

A tile is a small block of a matrix product that stays in registers while it runs over the inner dimension:

    C[r, :] = start[r, :] + sum_k A[r, k] * panel[k, :]        r = 0 .. rows-1,  panel rows of `vectors` vectors

Every product of the engine (input, recurrence, its transpose, weight gradients) is made of tiles. The sum over k runs in the
order of k in every tile, whatever its number of rows: an element of C has the same bits however the work is divided.

Numba cannot be asked for vector registers, so the loop is written in LLVM's language. It reaches 85-95 % of the peak where
OpenBLAS, which packs its operands anew in every call, reaches 30-60 % at the row counts of a recurrent step.
"""

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic


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
    """The tallest tile whose accumulators leave registers for one row of the panel."""
    return max(1, (REGISTERS - 8 if REGISTERS == 32 else REGISTERS - 4) // vectors)


@intrinsic(prefer_literal=True)
def tile(_, rows, vectors, a, a_at, a_row, a_step, panel, panel_at, panel_step, depth, start, start_at, start_row, c, c_at, c_row):
    """C[r, :] = start[r, :] + sum_k A[r, k] panel[k, :]; every operand is (flat array, offset, strides in elements).

    `rows` and `vectors` must be literal integers. A[r, k] lies at a_at + r*a_row + k*a_step, panel[k] at panel_at +
    k*panel_step, start[r] at start_at + r*start_row (stride 0: the same row, a bias, for all), C[r] at c_at + r*c_row.
    """
    if not (isinstance(rows, types.IntegerLiteral) and isinstance(vectors, types.IntegerLiteral)):
        return None
    R, V, L = rows.literal_value, vectors.literal_value, lanes(np.dtype(a.dtype.name))
    index = types.intp
    signature = types.void(rows, vectors, a, index, index, index, panel, index, index, index, start, index, index, c, index, index)

    def codegen(context, b, sig, args):
        def pointer(k):
            return context.make_array(sig.args[k])(context, b, args[k]).data

        def at(base, *terms):
            return b.gep(base, [_sum(b, terms)])

        i64, i32 = ir.IntType(64), ir.IntType(32)
        scalar = context.get_value_type(a.dtype)
        vector = ir.VectorType(scalar, L)
        size = np.dtype(a.dtype.name).itemsize
        name = f"llvm.fma.v{L}f{8 * size}"
        fma = b.module.globals.get(name) or ir.Function(b.module, ir.FunctionType(vector, [vector] * 3), name)
        undefined, to_all = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(i32, L), None)

        def load(p):
            value = b.load(b.bitcast(p, vector.as_pointer()), align=size)
            return value

        def number(k):
            return ir.Constant(i64, k)

        _, _, _, a_at, a_row, a_step, _, panel_at, panel_step, depth, _, start_at, start_row, _, c_at, c_row = args
        a_base, panel_base, start_base, c_base = at(pointer(2), a_at), at(pointer(6), panel_at), at(pointer(10), start_at), at(pointer(13), c_at)
        first = [[load(at(start_base, b.mul(start_row, number(r)), number(v * L))) for v in range(V)] for r in range(R)]
        row_offset = [b.mul(a_row, number(r)) for r in range(R)]
        before, loop, done = b.block, b.append_basic_block("k"), b.append_basic_block("done")
        b.cbranch(b.icmp_signed(">", depth, number(0)), loop, done)
        b.position_at_end(loop)
        k = b.phi(i64)
        k.add_incoming(number(0), before)
        sums = [[b.phi(vector) for _ in range(V)] for _ in range(R)]
        line = at(panel_base, b.mul(k, panel_step))
        w = [load(at(line, number(v * L))) for v in range(V)]
        column = at(a_base, b.mul(k, a_step))
        new = []
        for r in range(R):
            x = b.load(at(column, row_offset[r]), align=size)
            x = b.shuffle_vector(b.insert_element(undefined, x, ir.Constant(i32, 0)), undefined, to_all)
            new.append([b.call(fma, [x, w[v], sums[r][v]]) for v in range(V)])
        following = b.add(k, number(1))
        k.add_incoming(following, loop)
        b.cbranch(b.icmp_signed("<", following, depth), loop, done)
        b.position_at_end(done)
        for r in range(R):
            for v in range(V):
                sums[r][v].add_incoming(first[r][v], before)
                sums[r][v].add_incoming(new[r][v], loop)
                result = b.phi(vector)
                result.add_incoming(first[r][v], before)
                result.add_incoming(new[r][v], loop)
                first[r][v] = result
        for r in range(R):
            for v in range(V):
                out = b.bitcast(at(c_base, b.mul(c_row, number(r)), number(v * L)), vector.as_pointer())
                b.store(first[r][v], out, align=size)
        return context.get_dummy_value()

    return signature, codegen


def _sum(b, terms):
    total = terms[0]
    for term in terms[1:]:
        total = b.add(total, term)
    return total
