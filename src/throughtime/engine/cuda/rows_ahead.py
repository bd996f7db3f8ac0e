"""Rows on their way into shared memory while others are multiplied (copies_ahead.py), in LLVM's language."""

from contextlib import nullcontext
from typing import Any

from llvmlite import ir
from numba import types

from .compiler import primitive
from .copies_ahead import begin_copy
from .register_arrays import ALIGNED, I32, I64, data, index, literal, plus, read_thread
from .thread_exchange import below
from .toolkit import cuda


@cuda.jit(device=True)
def _bring_rows(h, to, source, at, row, rows, columns, chunk, together, threads):
    width = ALIGNED // h.itemsize
    for i in range(cuda.threadIdx.x * width, together * chunk, threads * width):
        m, first = i // chunk, i % chunk
        for k in range(first, first + width):
            inside = m < rows and k < columns
            h[to + m * chunk + k] = cuda.ldcg(source, at + m * row + k) if inside else h.dtype.type(0)


def _bringer(bits: int) -> Any:
    @primitive(_bring_rows)
    def bring_rows(_, h, to, source, at, row, rows, columns, chunk, together, threads):
        """h[to + m*chunk + k] = source[at + m*row + k], as `fetch` of thread_exchange.py does, but only begun.

        Vectors of 16 bytes: `to`, `at`, `row` and `columns` are multiples of it. Where `chunk` is a multiple of what
        all threads bring at once, column k comes by thread k / vec % threads.
        """
        if not literal(chunk, together, threads):
            return None
        C, M, L = (number.literal_value for number in (chunk, together, threads))
        item = source.dtype.bitwidth // 8
        V, vectors = ALIGNED // item, -(-M * C * item // ALIGNED)
        signature = types.void(h, to, source, at, row, rows, columns, chunk, together, threads)

        def codegen(context, b, sig, args):
            (target, base), (at, row, rows, columns) = (data(context, b, sig, args, k) for k in (0, 2)), args[3:7]
            own = b.mul(read_thread(b), _whole(V))
            shared = b.ptrtoint(b.addrspacecast(target, ir.PointerType(target.type.pointee, addrspace=3)), I32)
            shared = b.add(shared, b.mul(b.add(b.trunc(index(b, args[1], 64), I32), own), _whole(item)))
            for done in range(0, vectors * V, L * V):
                i = plus(b, own, done)
                if C % (L * V) == 0:
                    m, k = _whole(done // C), plus(b, own, done % C)
                else:
                    m, k = b.udiv(i, _whole(C)), b.urem(i, _whole(C))
                inside = b.and_(below(b, m, rows), below(b, k, columns))
                place = index(b, b.add(b.mul(b.zext(m, I64), index(b, row, 64)), b.zext(k, I64)), bits)
                place = b.select(inside, b.add(index(b, at, bits), place), ir.Constant(I64, 0))
                there, size = b.ptrtoint(b.gep(base, [place]), I64), b.select(inside, _whole(ALIGNED), _whole(0))
                with nullcontext() if done + L * V <= M * C else b.if_then(b.icmp_unsigned("<", i, _whole(M * C))):
                    begin_copy(b, ALIGNED, plus(b, shared, done * item), there, size)
            return context.get_dummy_value()

        return signature, codegen

    return bring_rows


bring_rows, bring_rows_near = _bringer(64), _bringer(32)


def _whole(number: int) -> Any:
    return ir.Constant(I32, number)
