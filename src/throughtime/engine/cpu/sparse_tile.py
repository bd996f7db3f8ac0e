"""Two tiles for weights of which few are there, in LLVM's language as those of register_tile.py: one for a product,
whose rows lie across vectors, and one for sums over rows at the places of a pattern.

    strips   A in strips of as many rows as a vector has lanes: strips[s, k, l] = A[s*lanes + l, k]
"""

import numpy as np
from llvmlite import ir
from numba import types

from ...jit import intrinsic
from .register_tile import lanes, total


class _Emitter:
    """Vectors of the numbers of one array type, and where they lie."""

    def __init__(self, context, b, array):
        self.context, self.b = context, b
        self.L, self.size = lanes(np.dtype(array.dtype.name)), np.dtype(array.dtype.name).itemsize
        self.i64, self.i32 = ir.IntType(64), ir.IntType(32)
        self.vector = ir.VectorType(context.get_value_type(array.dtype), self.L)
        name = f"llvm.fma.v{self.L}f{8 * self.size}"
        self.fma = b.module.globals.get(name) or ir.Function(
            b.module, ir.FunctionType(self.vector, [self.vector] * 3), name
        )

    def number(self, k):
        return ir.Constant(self.i64, k)

    def base(self, kind, value, at):
        return self.b.gep(self.context.make_array(kind)(self.context, self.b, value).data, [at])

    def load(self, base, *terms):
        place = self.b.gep(base, [total(self.b, terms)])
        return self.b.load(self.b.bitcast(place, self.vector.as_pointer()), align=self.size)

    def store(self, value, base, k):
        place = self.b.gep(base, [self.number(k)])
        self.b.store(value, self.b.bitcast(place, self.vector.as_pointer()), align=self.size)

    def spread(self, x):
        undefined, to_all = ir.Constant(self.vector, ir.Undefined), ir.Constant(ir.VectorType(self.i32, self.L), None)
        return self.b.shuffle_vector(self.b.insert_element(undefined, x, ir.Constant(self.i32, 0)), undefined, to_all)

    def summed(self, x):
        """All lanes of a vector, halves by halves."""
        half = self.L // 2
        while half:
            mask = [k + half if k < half else k for k in range(self.L)]
            x = self.b.fadd(x, self.b.shuffle_vector(x, x, ir.Constant(ir.VectorType(self.i32, self.L), mask)))
            half //= 2
        return self.b.extract_element(x, ir.Constant(self.i32, 0))

    def over(self, count):
        """The blocks of a loop over n < count: its number, its beginning; `end` closes it."""
        before, loop, done = self.b.block, self.b.append_basic_block("n"), self.b.append_basic_block("done")
        self.b.cbranch(self.b.icmp_signed(">", count, self.number(0)), loop, done)
        self.b.position_at_end(loop)
        n = self.b.phi(self.i64)
        n.add_incoming(self.number(0), before)
        return before, loop, done, n

    def end(self, count, loop, done, n):
        following = self.b.add(n, self.number(1))
        n.add_incoming(following, loop)
        self.b.cbranch(self.b.icmp_signed("<", following, count), loop, done)
        self.b.position_at_end(done)


@intrinsic(prefer_literal=True)
def sparse_tile(_, vectors, values, index, at, count, strips, base, gap, start, out, to):
    """out[to + v*lanes + l] = start + sum_n values[at + n] strips[base + v*gap + index[at + n]*lanes + l].

    For a literal number of vectors: the rows of as many strips, and of the weights one row. The sum runs in the order
    of n, as a dense tile's in that of k: the same bits, but that 0 times infinity is not taken.
    """
    if not isinstance(vectors, types.IntegerLiteral):
        return None
    n = types.intp
    signature = types.void(vectors, values, index, n, n, strips, n, n, values.dtype, out, n)
    V = vectors.literal_value

    def codegen(context, b, sig, args):
        e = _Emitter(context, b, sig.args[1])
        _, values, index, at, count, strips, first, gap, start, out, to = args
        values, index = e.base(sig.args[1], values, at), e.base(sig.args[2], index, at)
        strips, out = e.base(sig.args[5], strips, first), e.base(sig.args[9], out, to)
        gaps = [b.mul(gap, e.number(v)) for v in range(V)]
        begin = e.spread(start)
        before, loop, done, k = e.over(count)
        sums = [b.phi(e.vector) for _ in range(V)]
        weight = e.spread(b.load(b.gep(values, [k]), align=e.size))
        place = b.mul(b.sext(b.load(b.gep(index, [k])), e.i64), e.number(e.L))
        new = [b.call(e.fma, [e.load(strips, place, gaps[v]), weight, sums[v]]) for v in range(V)]
        e.end(count, loop, done, k)
        for v in range(V):
            sums[v].add_incoming(begin, before)
            sums[v].add_incoming(new[v], loop)
            result = b.phi(e.vector)
            result.add_incoming(begin, before)
            result.add_incoming(new[v], loop)
            new[v] = result
        for v in range(V):
            e.store(new[v], out, v * e.L)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def sparse_sums(_, vectors, d, d_at, d_gap, index, at, count, strips, gap, out):
    """out[n] = sum over rows m of d[m] A[m, index[at + n]] for n < count, of a literal number of strips of rows.

    d lies in strips as A does, with its lanes at d_at + v*d_gap. First strip by strip, then lane by lane.
    """
    if not isinstance(vectors, types.IntegerLiteral):
        return None
    n = types.intp
    signature = types.void(vectors, d, n, n, index, n, n, strips, n, out)
    V = vectors.literal_value

    def codegen(context, b, sig, args):
        e = _Emitter(context, b, sig.args[1])
        _, d, d_at, d_gap, index, at, count, strips, gap, out = args
        d, index = e.base(sig.args[1], d, d_at), e.base(sig.args[4], index, at)
        strips, out = e.base(sig.args[7], strips, e.number(0)), e.base(sig.args[9], out, e.number(0))
        gaps = [b.mul(gap, e.number(v)) for v in range(V)]
        factors = [e.load(d, b.mul(d_gap, e.number(v))) for v in range(V)]
        _, loop, done, k = e.over(count)
        place = b.mul(b.sext(b.load(b.gep(index, [k])), e.i64), e.number(e.L))
        value = b.fmul(factors[0], e.load(strips, place, gaps[0]))
        for v in range(1, V):
            value = b.call(e.fma, [factors[v], e.load(strips, place, gaps[v]), value])
        b.store(e.summed(value), b.gep(out, [k]), align=e.size)
        e.end(count, loop, done, k)
        return context.get_dummy_value()

    return signature, codegen
