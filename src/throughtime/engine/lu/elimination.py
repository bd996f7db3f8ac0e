"""What a triangular decomposition needs in registers beside products: pivots, elimination, small solutions."""

import numpy as np
from llvmlite import ir
from numba import types

from ...jit import intrinsic
from ..cpu.register_tile import lanes


def _types(context, array):
    scalar, lane = context.get_value_type(array.dtype), lanes(np.dtype(array.dtype.name))
    return scalar, ir.VectorType(scalar, lane), lane, np.dtype(array.dtype.name).itemsize


def _spread(b, scalar, kind):
    """A vector of one number."""
    undefined = ir.Constant(kind, ir.Undefined)
    mask = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None)
    return b.shuffle_vector(b.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0)), undefined, mask)


def _function(b, name, result, arguments):
    return b.module.globals.get(name) or ir.Function(b.module, ir.FunctionType(result, arguments), name)


def _number(k):
    return ir.Constant(ir.IntType(64), k)


@intrinsic(prefer_literal=True)
def solve(_, rows, strip, at, row, lower, l_at, l_row):
    """Rows y of one vector, of a strip, become U: y_i += sum_{k < i} (-L)_ik y_k, for a literal number of rows."""
    if not isinstance(rows, types.IntegerLiteral):
        return None
    n, count = types.intp, rows.literal_value
    signature = types.void(rows, strip, n, n, lower, n, n)

    def codegen(context, b, sig, args):
        _, vector, lane, size = _types(context, sig.args[1])
        fma = _function(b, f"llvm.fma.v{lane}f{8 * size}", vector, [vector] * 3)
        base = b.gep(context.make_array(sig.args[1])(context, b, args[1]).data, [args[2]])
        l_base = b.gep(context.make_array(sig.args[4])(context, b, args[4]).data, [args[5]])
        place = [b.bitcast(b.gep(base, [b.mul(args[3], _number(i))]), vector.as_pointer()) for i in range(count)]
        y = [b.load(p, align=size) for p in place]
        for k in range(count):
            for i in range(k + 1, count):
                x = b.load(b.gep(l_base, [b.add(b.mul(args[6], _number(i)), _number(k))]), align=size)
                y[i] = b.call(fma, [_spread(b, x, vector), y[k], y[i]])
        for p, value in zip(place[1:], y[1:], strict=True):
            b.store(value, p, align=size)
        return context.get_dummy_value()

    return signature, codegen


class _Largest:
    """The search for the first of the largest numbers of a column, vector by vector, lane by lane."""

    def __init__(self, b, scalar, vector, size):
        self.b, self.vector, self.lane, self.size = b, vector, vector.count, size
        self.places = ir.VectorType(ir.IntType(32), self.lane)
        self.magnitude = _function(b, f"llvm.fabs.v{self.lane}f{8 * size}", vector, [vector])
        self.none = ir.Constant(vector, [ir.Constant(scalar, -1.0)] * self.lane)
        self.steps = ir.Constant(self.places, list(range(self.lane)))
        self.zeros = ir.Constant(self.places, None)

    def beyond(self, at):
        """Which lanes lie at `at` or after it."""
        at = self.b.trunc(at, ir.IntType(32))
        return self.b.icmp_signed(">=", self.steps, _spread(self.b, at, self.places))

    def first(self, x, mask):
        x = self.b.select(mask, self.b.call(self.magnitude, [x]), self.none)
        return self.b.select(self.b.fcmp_ordered(">", x, self.none), x, self.none), self.steps

    def next(self, found, x, at):
        b, x = self.b, self.b.call(self.magnitude, [x])
        more = b.fcmp_ordered(">", x, found[0])
        where = b.add(_spread(b, b.trunc(at, ir.IntType(32)), self.places), self.steps)
        return b.select(more, x, found[0]), b.select(more, where, found[1])

    def phis(self):
        return self.b.phi(self.vector), self.b.phi(self.places)

    def result(self, found):
        b, (best, where) = self.b, found
        i32, kind = ir.IntType(32), best.type.element
        lane, bits = self.lane, 8 * self.size
        top = b.call(_function(b, f"llvm.vector.reduce.fmax.v{lane}f{bits}", kind, [best.type]), [best])
        far = ir.Constant(self.places, [2**31 - 1] * lane)
        where = b.select(b.fcmp_ordered("==", best, _spread(b, top, best.type)), where, far)
        at = b.call(_function(b, f"llvm.vector.reduce.smin.v{lane}i32", i32, [where.type]), [where])
        return b.zext(at, ir.IntType(64))


def _loop(b, count, lane, carried, body):
    """for i in range(lane, count, lane): carried = body(i, carried), lists of pairs (phi maker, first values)."""
    i64 = ir.IntType(64)
    before, loop, done = b.block, b.append_basic_block("i"), b.append_basic_block("done")
    b.cbranch(b.icmp_signed(">", count, _number(lane)), loop, done)
    b.position_at_end(loop)
    i = b.phi(i64)
    phis = [b.phi(value.type) for value in carried]
    new = body(i, phis)
    following = b.add(i, _number(lane))
    for phi, first, then in ((i, _number(lane), following), *zip(phis, carried, new, strict=True)):
        phi.add_incoming(first, before)
        phi.add_incoming(then, loop)
    b.cbranch(b.icmp_signed("<", following, count), loop, done)
    b.position_at_end(done)
    results = [b.phi(value.type) for value in carried]
    for phi, first, then in zip(results, carried, new, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(then, loop)
    return results


@intrinsic
def largest(_, array, at, first, count):
    """The index i of the first of the largest |array[at + i]|, first <= i < count, in whole vectors from `at` on.

    `first` lies in the first vector; NaN is never the largest.
    """
    signature = types.intp(array, types.intp, types.intp, types.intp)

    def codegen(context, b, sig, args):
        scalar, vector, lane, size = _types(context, sig.args[0])
        base = b.gep(context.make_array(sig.args[0])(context, b, args[0]).data, [args[1]])

        def load(i):
            return b.load(b.bitcast(b.gep(base, [i]), vector.as_pointer()), align=size)

        search = _Largest(b, scalar, vector, size)
        found = search.first(load(_number(0)), search.beyond(args[2]))
        found = _loop(b, args[3], lane, found, lambda i, found: search.next(found, load(i), i))
        return search.result(found)

    return signature, codegen


@intrinsic(prefer_literal=True)
def eliminate(_, others, t, at, row, first, count, factor):
    """t[at + i] *= factor for first <= i < count; the `others` next rows of t, a literal, add their multiple of it.

    Row d adds t[at + d*row + first - 1] times the new row. `first` lies in the first of the whole vectors that are
    gone through. Returns the index of the first of the largest numbers, first <= i, of the next row.
    """
    if not isinstance(others, types.IntegerLiteral):
        return None
    n, more = types.intp, others.literal_value
    signature = types.intp(others, t, n, n, n, n, t.dtype)

    def codegen(context, b, sig, args):
        scalar, vector, lane, size = _types(context, sig.args[1])
        fma = _function(b, f"llvm.fma.v{lane}f{8 * size}", vector, [vector] * 3)
        base = b.gep(context.make_array(sig.args[1])(context, b, args[1]).data, [args[2]])
        rows = [b.gep(base, [b.mul(args[3], _number(d))]) for d in range(more + 1)]
        above = b.sub(args[4], _number(1))
        u = [_spread(b, b.load(b.gep(row, [above]), align=size), vector) for row in rows]
        scale = _spread(b, args[6], vector)
        search = _Largest(b, scalar, vector, size)

        def go(i, mask):
            at = [b.bitcast(b.gep(row, [i]), vector.as_pointer()) for row in rows]
            old = b.load(at[0], align=size)
            x = b.fmul(old, scale)
            b.store(x if mask is None else b.select(mask, x, old), at[0], align=size)
            if mask is not None:
                x = b.select(mask, x, ir.Constant(vector, None))
            new = []
            for d in range(1, more + 1):
                new.append(b.call(fma, [x, u[d], b.load(at[d], align=size)]))
                b.store(new[-1], at[d], align=size)
            return new[0] if new else x

        mask = search.beyond(args[4])
        found = search.first(go(_number(0), mask), mask)
        found = _loop(b, args[5], lane, found, lambda i, found: search.next(found, go(i, None), i))
        return search.result(found)

    return signature, codegen


@intrinsic(prefer_literal=True)
def exchange(_, strip, first, second, count):
    """strip[first : first + count] and strip[second : second + count] change places; count is a literal."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    signature = types.void(strip, types.intp, types.intp, count)

    def codegen(context, b, sig, args):
        scalar, _, _, size = _types(context, sig.args[0])
        pointer = ir.VectorType(scalar, count.literal_value).as_pointer()
        data = context.make_array(sig.args[0])(context, b, args[0]).data
        one, two = (b.bitcast(b.gep(data, [at]), pointer) for at in args[1:3])
        x, y = b.load(one, align=size), b.load(two, align=size)
        b.store(y, one, align=size)
        b.store(x, two, align=size)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def scaled(_, target, to, source, at, by, by_at, factor, count):
    """target[to + i] = source[at + i] * by[by_at + i] * factor for i < count, a literal."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    n = types.intp
    signature = types.void(target, n, source, n, by, n, target.dtype, count)

    def codegen(context, b, sig, args):
        scalar, _, _, size = _types(context, sig.args[0])
        kind = ir.VectorType(scalar, count.literal_value)

        def place(k):
            data = context.make_array(sig.args[k])(context, b, args[k]).data
            return b.bitcast(b.gep(data, [args[k + 1]]), kind.as_pointer())

        x = b.fmul(b.load(place(2), align=size), b.load(place(4), align=size))
        b.store(b.fmul(x, _spread(b, args[6], kind)), place(0), align=size)
        return context.get_dummy_value()

    return signature, codegen
