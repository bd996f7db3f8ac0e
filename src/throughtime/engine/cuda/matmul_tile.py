"""What a tiled product needs and Numba cannot be asked for, in LLVM's language: sums in registers.

Threads of a block stand in a grid over a tile of the result. Each keeps I x J sums, sums[i*J + j], in registers; its
i-th row of the tile is place(i) from its own first row on, columns likewise:

    along == 0   a slab holds term after term, as long as the tile: a thread takes 16 bytes of neighbouring rows, then
                 skips those of all others, i // vec * vec * step + i % vec, where step threads share the rows
    along == 1   a slab holds row after row, of `depth` terms: a thread takes 16 bytes of terms, of every step-th row

In both, what the threads of a warp read at once lies in different banks.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .compiler import primitive
from .register_arrays import I32, data, literal, load_vector, plus, vec

I64 = ir.IntType(64)


def _place(i: int, width: int, step: int, along: int) -> int:
    return i * step if along else i // width * width * step + i % width


def _begin(sums, start, at, left, rows, columns, step, along):
    for j in range(columns):
        n = _place(j, vec(start.itemsize), step, along)
        value = start[at + n] if n < left else start.dtype.type(0)
        for i in range(rows):
            sums[i * columns + j] = value


@primitive(_begin)
def begin(_, sums, start, at, left, rows, columns, step, along):
    """sums[i, j] = start[at + place(j)], or 0 from place `left` on."""
    if not literal(rows, columns, step, along):
        return None
    I, J, S, A = (number.literal_value for number in (rows, columns, step, along))
    width, signature = vec(start.dtype.bitwidth // 8), types.void(sums, start, at, left, rows, columns, step, along)

    def codegen(context, b, sig, args):
        (total, base), at, left = (data(context, b, sig, args, k) for k in range(2)), args[2], args[3]
        zero = ir.Constant(base.type.pointee, 0.0)
        for j in range(J):
            place = _place(j, width, S, A)
            value = cgutils.alloca_once_value(b, zero)
            with b.if_then(b.icmp_signed("<", ir.Constant(left.type, place), left)):
                b.store(b.load(b.gep(base, [plus(b, at, place)])), value)
            value = b.load(value)
            for i in range(I):
                b.store(value, b.gep(total, [ir.Constant(I32, i * J + j)]))
        return context.get_dummy_value()

    return signature, codegen


def _outer(sums, a, a_at, a_pitch, a_step, a_along, b, b_at, b_pitch, b_step, b_along, depth, rows, columns):
    width = vec(a.itemsize)
    found = [sums[n] for n in range(rows * columns)]
    for k in range(depth):
        x, y = (
            [
                slab[at + (place * pitch + k if along else k * pitch + place)]
                for place in (_place(i, width, step, along) for i in range(count))
            ]
            for slab, at, pitch, step, along, count in (
                (a, a_at, a_pitch, a_step, a_along, rows),
                (b, b_at, b_pitch, b_step, b_along, columns),
            )
        )
        found = [value + x[n // columns] * y[n % columns] for n, value in enumerate(found)]
    for n, value in enumerate(found):
        sums[n] = value


@primitive(_outer)
def outer(_, sums, a, a_at, a_pitch, a_step, a_along, b, b_at, b_pitch, b_step, b_along, depth, rows, columns):
    """sums[i, j] += sum_k a[k, place(i)] b[k, place(j)], 16 bytes at a time; `pitch` from line to line of a slab."""
    constants = (a_pitch, a_step, a_along, b_pitch, b_step, b_along, depth, rows, columns)
    if not literal(*constants):
        return None
    *shapes, D, I, J = (number.literal_value for number in constants)
    width = vec(a.dtype.bitwidth // 8)
    signature = types.void(
        sums, a, a_at, a_pitch, a_step, a_along, b, b_at, b_pitch, b_step, b_along, depth, rows, columns
    )

    def codegen(context, build, sig, args):
        total, left, right = (data(context, build, sig, args, k) for k in (0, 1, 6))
        places = [build.gep(total, [ir.Constant(I32, k)]) for k in range(I * J)]
        found = [build.load(place) for place in places]
        for k in range(0, D, width):
            x = _terms(build, left, args[2], k, width, I, *shapes[:3])
            y = _terms(build, right, args[7], k, width, J, *shapes[3:])
            for t in range(width):
                found = [build.fma(x(n // J, t), y(n % J, t), value) for n, value in enumerate(found)]
        for place, value in zip(places, found):
            build.store(value, place)
        return context.get_dummy_value()

    return signature, codegen


def _terms(b: Any, slab: Any, at: Any, k: int, width: int, count: int, pitch: int, step: int, along: int) -> Any:
    """Loads terms k ... k + width - 1 of `count` rows; gives row i's t-th by (i, t)."""
    if along:
        lines = [load_vector(b, slab, plus(b, at, i * step * pitch + k), width) for i in range(count)]
        return lambda i, t: lines[i][t]
    lines = []
    for t in range(width):
        whole = [load_vector(b, slab, plus(b, at, (k + t) * pitch + i * step), width) for i in range(0, count, width)]
        lines.append([value for vector in whole for value in vector])
    return lambda i, t: lines[t][i]


def _spread(sums, out, where, height, breadth, i_step, i_along, j_step, j_along):
    at, row, per, batch, m, rows, n, columns, _ = where
    width = vec(out.itemsize)
    for i in range(height):
        line = m + _place(i, width, i_step, i_along)
        for j in range(breadth):
            column = n + _place(j, width, j_step, j_along)
            if line < rows and column < columns:
                out[at + (line // per * batch + line % per) * row + column] = sums[i * breadth + j]


@primitive(_spread)
def spread(_, sums, out, where, height, breadth, i_step, i_along, j_step, j_along):
    """out[at + (r // per * batch + r % per) * row + c] = sums[i, j] for r = m + place(i) < rows, c = n + place(j).

    where: at, row, per, batch, m, rows, n, columns (c stays below), aligned (rows begin at multiples of 16 bytes).
    """
    constants = (height, breadth, i_step, i_along, j_step, j_along)
    if not literal(*constants):
        return None
    I, J, i_next, i_kind, j_next, j_kind = (number.literal_value for number in constants)
    width = vec(out.dtype.bitwidth // 8)
    signature = types.void(sums, out, where, *constants)

    def codegen(context, b, sig, args):
        total, base = data(context, b, sig, args, 0), data(context, b, sig, args, 1)
        at, row, per, batch, m, rows, n, columns, aligned = (
            context.cast(b, value, kind, types.int64) for value, kind in zip(cgutils.unpack_tuple(b, args[2]), where)
        )
        vectors = ir.PointerType(ir.VectorType(base.type.pointee, width), addrspace=base.type.addrspace)
        left = b.sub(columns, n)

        def apart(first, j, values):
            for k, value in enumerate(values):
                place = _place(j + k, width, j_next, j_kind)
                with b.if_then(b.icmp_signed("<", ir.Constant(left.type, place), left)):
                    b.store(value, b.gep(base, [plus(b, first, place)]))

        for i in range(I):
            line = plus(b, m, _place(i, width, i_next, i_kind))
            with b.if_then(b.icmp_signed("<", line, rows)):
                there = b.add(b.mul(b.udiv(line, per), batch), b.urem(line, per))
                first = b.add(b.add(at, b.mul(there, row)), n)
                for j in range(0, J, width):
                    values = [b.load(b.gep(total, [ir.Constant(I32, i * J + j + k)])) for k in range(width)]
                    if j_kind:
                        apart(first, j, values)
                        continue
                    place = _place(j, width, j_next, j_kind)
                    whole = b.icmp_signed("<=", ir.Constant(left.type, place + width), left)
                    whole = b.and_(whole, b.icmp_signed("!=", aligned, ir.Constant(aligned.type, 0)))
                    with b.if_else(whole) as (together, one_by_one):
                        with together:
                            value = ir.Constant(vectors.pointee, ir.Undefined)
                            for k in range(width):
                                value = b.insert_element(value, values[k], ir.Constant(I32, k))
                            b.store(value, b.bitcast(b.gep(base, [plus(b, first, place)]), vectors), align=16)
                        with one_by_one:
                            apart(first, j, values)
        return context.get_dummy_value()

    return signature, codegen
