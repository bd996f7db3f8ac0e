"""What a tiled product needs and Numba cannot be asked for, in LLVM's language: sums in registers, copies ahead of use.

Threads of a block stand in a grid over a tile of the result. Each keeps I x J sums, sums[i*J + j], in registers: its
i-th row of the tile is i // vec * step + i % vec from its own first row on, with `step` the rows that all threads take
with one vector each, so that neighbours read neighbouring vectors; columns likewise.
"""

from typing import Any

from llvmlite import ir
from numba import types

from .device import primitive
from .registers import I32, _data, _literal, _load, _plus, vec


def _place(i: int, width: int, step: int) -> int:
    return i // width * step + i % width


def _begin(sums, start, at, left, rows, columns, step):
    width = vec(start.itemsize)
    for j in range(columns):
        n = _place(j, width, step)
        value = start[at + n] if n < left else start.dtype.type(0)
        for i in range(rows):
            sums[i * columns + j] = value


@primitive(_begin)
def begin(_, sums, start, at, left, rows, columns, step):
    """sums[i, j] = start[at + place of j], or 0 from place `left` on."""
    if not _literal(rows, columns, step):
        return None
    I, J, S = (number.literal_value for number in (rows, columns, step))
    width, signature = vec(start.dtype.bitwidth // 8), types.void(sums, start, at, left, rows, columns, step)

    def codegen(context, b, sig, args):
        (total, base), at, left = (_data(context, b, sig, args, k) for k in range(2)), args[2], args[3]
        for j in range(J):
            n = ir.Constant(left.type, _place(j, width, S))
            with b.if_else(b.icmp_signed("<", n, left)) as (inside, outside):
                with inside:
                    found, source = b.load(b.gep(base, [_plus(b, at, _place(j, width, S))])), b.block
                with outside:
                    zero, other = ir.Constant(found.type, 0.0), b.block
            value = b.phi(found.type)
            value.add_incoming(found, source)
            value.add_incoming(zero, other)
            for i in range(I):
                b.store(value, b.gep(total, [ir.Constant(I32, i * J + j)]))
        return context.get_dummy_value()

    return signature, codegen


def _outer(sums, a, a_at, a_row, a_step, b, b_at, b_row, b_step, depth, rows, columns):
    width = vec(a.itemsize)
    for k in range(depth):
        for i in range(rows):
            value = a[a_at + k * a_row + _place(i, width, a_step)]
            for j in range(columns):
                sums[i * columns + j] += value * b[b_at + k * b_row + _place(j, width, b_step)]


@primitive(_outer)
def outer(_, sums, a, a_at, a_row, a_step, b, b_at, b_row, b_step, depth, rows, columns):
    """sums[i, j] += sum_k a[k, place of i] b[k, place of j], row k of a at a_at + k*a_row; 16 bytes at a time."""
    if not _literal(a_row, a_step, b_row, b_step, depth, rows, columns):
        return None
    constants = (a_row, a_step, b_row, b_step, depth, rows, columns)
    a_gap, a_next, b_gap, b_next, D, I, J = (number.literal_value for number in constants)
    width = vec(a.dtype.bitwidth // 8)
    signature = types.void(sums, a, a_at, a_row, a_step, b, b_at, b_row, b_step, depth, rows, columns)

    def codegen(context, build, sig, args):
        total, left, right = (_data(context, build, sig, args, k) for k in (0, 1, 5))
        places = [build.gep(total, [ir.Constant(I32, k)]) for k in range(I * J)]
        found = [build.load(place) for place in places]
        for k in range(D):
            x, y = [], []
            for i in range(0, I, width):
                x += _load(build, left, _plus(build, args[2], k * a_gap + i // width * a_next), width)
            for j in range(0, J, width):
                y += _load(build, right, _plus(build, args[6], k * b_gap + j // width * b_next), width)
            found = [build.fma(x[n // J], y[n % J], value) for n, value in enumerate(found)]
        for place, value in zip(places, found):
            build.store(value, place)
        return context.get_dummy_value()

    return signature, codegen


def _spread(sums, out, at, row, per, batch, m, rows, n, columns, aligned, height, breadth, i_step, j_step):
    width = vec(out.itemsize)
    for i in range(height):
        line = m + _place(i, width, i_step)
        for j in range(breadth):
            column = n + _place(j, width, j_step)
            if line < rows and column < columns:
                out[at + (line // per * batch + line % per) * row + column] = sums[i * breadth + j]


@primitive(_spread)
def spread(_, sums, out, at, row, per, batch, m, rows, n, columns, aligned, height, breadth, i_step, j_step):
    """out[at + (r // per * batch + r % per) * row + c] = sums[i, j], r = m + place of i < rows, c = n + place of j.

    Columns c < columns. aligned: every fourth number (second, of 8 bytes) of a row of `out` begins 16 bytes.
    """
    if not _literal(height, breadth, i_step, j_step):
        return None
    I, J, i_next, j_next = (number.literal_value for number in (height, breadth, i_step, j_step))
    width = vec(out.dtype.bitwidth // 8)
    numbers = (at, row, per, batch, m, rows, n, columns, aligned)
    signature = types.void(sums, out, *numbers, height, breadth, i_step, j_step)

    def codegen(context, b, sig, args):
        total, base = _data(context, b, sig, args, 0), _data(context, b, sig, args, 1)
        at, row, per, batch, m, rows, n, columns, aligned = (
            context.cast(b, value, kind, types.int64) for value, kind in zip(args[2:11], numbers)
        )
        vectors = ir.PointerType(ir.VectorType(base.type.pointee, width), addrspace=base.type.addrspace)
        with b.if_then(b.icmp_signed("<", n, columns)):
            for i in range(I):
                line = _plus(b, m, _place(i, width, i_next))
                with b.if_then(b.icmp_signed("<", line, rows)):
                    there = b.add(b.mul(b.udiv(line, per), batch), b.urem(line, per))
                    first = b.add(b.add(at, b.mul(there, row)), n)
                    for j in range(0, J, width):
                        values = [b.load(b.gep(total, [ir.Constant(I32, i * J + j + k)])) for k in range(width)]
                        place, left = j // width * j_next, b.sub(columns, n)
                        whole = b.icmp_signed("<=", ir.Constant(left.type, place + width), left)
                        whole = b.and_(whole, b.icmp_signed("!=", aligned, ir.Constant(aligned.type, 0)))
                        with b.if_else(whole) as (together, apart):
                            with together:
                                value = ir.Constant(vectors.pointee, ir.Undefined)
                                for k in range(width):
                                    value = b.insert_element(value, values[k], ir.Constant(I32, k))
                                b.store(value, b.bitcast(b.gep(base, [_plus(b, first, place)]), vectors), align=16)
                            with apart:
                                for k in range(width):
                                    inside = b.icmp_signed("<", ir.Constant(left.type, place + k), left)
                                    with b.if_then(inside):
                                        b.store(values[k], b.gep(base, [_plus(b, first, place + k)]))
        return context.get_dummy_value()

    return signature, codegen


def _bring(target, t, source, s, inside):
    target[t] = source[s] if inside else target.dtype.type(0)


@primitive(_bring)
def bring(_, target, t, source, s, inside):
    """target[t] = source[s] or, if not inside, 0: begun now, there after `arrived`. target lies in shared memory."""
    bytes_ = source.dtype.bitwidth // 8
    signature = types.void(target, t, source, s, inside)

    def codegen(context, b, sig, args):
        to, base = _data(context, b, sig, args, 0), _data(context, b, sig, args, 2)
        shared = b.addrspacecast(b.gep(to, [args[1]]), ir.PointerType(to.type.pointee, addrspace=3))
        here = b.ptrtoint(shared, I32)
        inside = context.cast(b, args[4], sig.args[4], types.boolean)
        there = b.select(inside, b.gep(base, [args[3]]), base)
        count = b.select(inside, ir.Constant(I32, bytes_), ir.Constant(I32, 0))
        kind = ir.FunctionType(ir.VoidType(), [I32, ir.IntType(64), I32])
        text = f"cp.async.ca.shared.global [$0], [$1], {bytes_}, $2;"
        b.call(
            ir.InlineAsm(kind, text, "r,l,r,~{memory}", side_effect=True),
            [here, b.ptrtoint(there, ir.IntType(64)), count],
        )
        return context.get_dummy_value()

    return signature, codegen


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
    if not _literal(but):
        return None
    return types.void(but), _assembly(f"cp.async.wait_group {but.literal_value};")


def _assembly(text: str) -> Any:
    def codegen(context, b, sig, args):
        kind = ir.FunctionType(ir.VoidType(), [])
        b.call(ir.InlineAsm(kind, text, "~{memory}", side_effect=True), [])
        return context.get_dummy_value()

    return codegen
