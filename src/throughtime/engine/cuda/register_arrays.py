"""Arrays of a thread's own that stay in registers, and tuples: what Numba cannot be asked for, in LLVM's language.

An array is kept in registers if every index is a constant. Numba's loops are unrolled only while they are short, so
these primitives write the loops out. Loads are 16 bytes wide. Indices never wrap around at negative numbers, which
saves Numba's check.

    w     weights of one thread   w[o*depth + k]    o = 0 .. out-1, k = 0 .. depth-1
    sums  of one thread           sums[m*out + o]   m = 0 .. rows-1

A thread meets every `lanes`-th vector of a row: number k of its weights belongs to column
(k // vec * lanes + lane) * vec + k % vec.
"""

from typing import Any

from llvmlite import ir
from numba import types

from .compiler import primitive
from .toolkit import cuda

I32, I64 = ir.IntType(32), ir.IntType(64)
ALIGNED = 16  # bytes of a load; shared arrays have to be declared so aligned, or they may lie anywhere


def vec(itemsize: int) -> int:
    """Numbers in one load."""
    return ALIGNED // itemsize


def data(context: Any, b: Any, sig: Any, args: Any, k: int) -> Any:
    """Where the numbers of argument k, an array, begin."""
    return context.make_array(sig.args[k])(context, b, args[k]).data


def plus(b: Any, at: Any, constant: int) -> Any:
    """at + constant, without an instruction where that is 0."""
    return b.add(at, ir.Constant(at.type, constant)) if constant else at


def load_vector(b: Any, base: Any, at: Any, count: int) -> list:
    """`count` numbers in one aligned load."""
    kind = ir.VectorType(base.type.pointee, count)
    value = b.load(b.bitcast(b.gep(base, [at]), ir.PointerType(kind, addrspace=base.type.addrspace)), align=ALIGNED)
    return [b.extract_element(value, ir.Constant(I32, j)) for j in range(count)]


def load(b: Any, base: Any, count: int) -> list:
    """The first `count` numbers of a thread's own array."""
    return [b.load(b.gep(base, [ir.Constant(I32, i)])) for i in range(count)]


def assembly(b: Any, line: str) -> None:
    """An instruction of PTX without operands that no access to memory may be moved across."""
    kind = ir.FunctionType(ir.VoidType(), [])
    b.call(ir.InlineAsm(kind, line, "~{memory}", side_effect=True), [])


def literal(*numbers: Any) -> bool:
    """Whether these are constants, which a primitive asks for by returning None."""
    return all(isinstance(number, types.IntegerLiteral) for number in numbers)


def _fill(w, source, at, row, out, depth, lanes):
    width = vec(source.itemsize)
    for o in range(out):
        for k in range(depth):
            w[o * depth + k] = source[at + o * row + k // width * lanes * width + k % width]


@primitive(_fill)
def fill(_, w, source, at, row, out, depth, lanes):
    """w[o, k] = the thread's k-th number of row o: rows are `row` apart, the first vector of row 0 begins at `at`."""
    if not literal(out, depth, lanes):
        return None
    O, D, L, width = out.literal_value, depth.literal_value, lanes.literal_value, vec(source.dtype.bitwidth // 8)
    signature = types.void(w, source, at, row, out, depth, lanes)

    def codegen(context, b, sig, args):
        target, base, at, row = data(context, b, sig, args, 0), data(context, b, sig, args, 1), args[2], args[3]
        for o in range(O):
            line = b.add(at, b.mul(row, ir.Constant(row.type, o)))
            for k in range(0, D, width):
                for j, value in enumerate(load_vector(b, base, plus(b, line, k * L), width)):
                    b.store(value, b.gep(target, [ir.Constant(I32, o * D + k + j)]))
        return context.get_dummy_value()

    return signature, codegen


def _add(sums, w, h, at, row, rows, out, depth, lanes):
    width = vec(h.itemsize)
    for m in range(rows):
        for k in range(depth):
            value = h[at + m * row + k // width * lanes * width + k % width]
            for o in range(out):
                sums[m * out + o] += w[o * depth + k] * value


@primitive(_add)
def add(_, sums, w, h, at, row, rows, out, depth, lanes):
    """sums[m, o] += sum_k w[o, k] h[m, k], where the thread's k-th number of row m lies in h as in `fill`."""
    if not literal(rows, out, depth, lanes):
        return None
    M, O, D, L = (number.literal_value for number in (rows, out, depth, lanes))
    width = vec(h.dtype.bitwidth // 8)
    signature = types.void(sums, w, h, at, row, rows, out, depth, lanes)

    def codegen(context, b, sig, args):
        (total, weights, base), at, row = (data(context, b, sig, args, k) for k in range(3)), args[3], args[4]
        place = [[b.gep(total, [ir.Constant(I32, m * O + o)]) for o in range(O)] for m in range(M)]
        for m in range(M):
            line = b.add(at, b.mul(row, ir.Constant(row.type, m)))
            found = [b.load(p) for p in place[m]]
            for k in range(0, D, width):
                for j, value in enumerate(load_vector(b, base, plus(b, line, k * L), width)):
                    for o in range(O):
                        weight = b.load(b.gep(weights, [ir.Constant(I32, o * D + k + j)]))
                        found[o] = b.fma(weight, value, found[o])
            for p, value in zip(place[m], found):
                b.store(value, p)
        return context.get_dummy_value()

    return signature, codegen


def _outer(sums, a, b, rows, columns):
    for i in range(rows):
        for j in range(columns):
            sums[i * columns + j] += a[i] * b[j]


@primitive(_outer)
def outer(_, sums, a, b, rows, columns):
    """sums[i, j] += a[i] b[j]."""
    if not literal(rows, columns):
        return None
    M, N = rows.literal_value, columns.literal_value
    signature = types.void(sums, a, b, rows, columns)

    def codegen(context, b, sig, args):
        total, left, right = (data(context, b, sig, args, k) for k in range(3))
        across = load(b, right, N)
        for i in range(M):
            value = b.load(b.gep(left, [ir.Constant(I32, i)]))
            for j in range(N):
                place = b.gep(total, [ir.Constant(I32, i * N + j)])
                b.store(b.fma(value, across[j], b.load(place)), place)
        return context.get_dummy_value()

    return signature, codegen


def _read(array, at, step, count):
    return tuple(array[at + k * step] for k in range(count))


def _reader(bits: int) -> Any:
    @primitive(_read)
    def read(_, array, at, step, count):
        """(array[at], array[at + step], ...), `count` numbers."""
        if not literal(count):
            return None
        number = count.literal_value
        signature = types.UniTuple(array.dtype, number)(array, at, step, count)

        def codegen(context, b, sig, args):
            base, places = data(context, b, sig, args, 0), _places(b, args[1], args[2], number, bits)
            return context.make_tuple(b, sig.return_type, [b.load(b.gep(base, [place])) for place in places])

        return signature, codegen

    return read


def _write(array, at, step, values):
    for k, value in enumerate(values):
        array[at + k * step] = value


def _writer(bits: int) -> Any:
    @primitive(_write)
    def write(_, array, at, step, values):
        """array[at], array[at + step], ... = values, in the array's precision."""
        signature = types.void(array, at, step, values)

        def codegen(context, b, sig, args):
            base, places = data(context, b, sig, args, 0), _places(b, args[1], args[2], len(values), bits)
            for k, place in enumerate(places):
                value = context.cast(b, b.extract_value(args[3], k), values[k], array.dtype)
                b.store(value, b.gep(base, [place]))
            return context.get_dummy_value()

        return signature, codegen

    return write


# Near: for arrays of less than 2^32 numbers. What leads to `at` is then computed in 32 bits, in half the instructions.
read, read_near = _reader(64), _reader(32)
write, write_near = _writer(64), _writer(32)


def _one_hot(array, i, count):
    return tuple(array.dtype.type(k == i) for k in range(count))


@primitive(_one_hot)
def one_hot(_, array, i, count):
    """`count` numbers of the array's type, 1 at place i and 0 elsewhere."""
    if not literal(count):
        return None
    number = count.literal_value
    signature = types.UniTuple(array.dtype, number)(array, i, count)

    def codegen(context, b, sig, args):
        real = context.get_value_type(array.dtype)
        hot = [b.icmp_signed("==", args[1], ir.Constant(args[1].type, k)) for k in range(number)]
        values = [b.select(bit, ir.Constant(real, 1.0), ir.Constant(real, 0.0)) for bit in hot]
        return context.make_tuple(b, sig.return_type, values)

    return signature, codegen


def _put(array, i, value, count):
    array[i] = value


@primitive(_put)
def put(_, array, i, value, count):
    """array[i] = value for a thread's own array of `count` numbers and an i that need not be a constant."""
    if not literal(count):
        return None
    number = count.literal_value
    signature = types.void(array, i, value, count)

    def codegen(context, b, sig, args):
        base = data(context, b, sig, args, 0)
        for k, kept in enumerate(load(b, base, number)):
            here = b.icmp_signed("==", args[1], ir.Constant(args[1].type, k))
            b.store(b.select(here, args[2], kept), b.gep(base, [ir.Constant(I32, k)]))
        return context.get_dummy_value()

    return signature, codegen


def _places(b: Any, at: Any, step: Any, count: int, bits: int) -> list:
    at, step = index(b, at, bits), index(b, step, 64)
    return [b.add(at, b.mul(step, ir.Constant(I64, k))) for k in range(count)]


def index(b: Any, at: Any, bits: int) -> Any:
    """A place in an array as 64 bits, of which the lowest `bits` count: below 64 it is a number without sign."""
    if bits < at.type.width and not isinstance(
        at, ir.Constant
    ):  # LLVM would make a mask of its own truncation and compute the rest in 64 bits
        low = ir.InlineAsm(ir.FunctionType(I32, [I64]), "cvt.u32.u64 $0, $1;", "=r,l")
        return b.zext(b.call(low, [at]), I64)
    return b.sext(at, I64) if at.type.width < I64.width else at


def _thread():
    return cuda.threadIdx.x


@primitive(cuda.jit(device=True)(_thread))
def thread(_):
    """threadIdx.x, read anew wherever it stands.

    A kernel of many parts in a loop would else begin with the addresses of all its parts, which do not change in the
    loop, and keep them in registers: 254 of them where 128 are enough.
    """

    return types.uint32(), lambda context, b, sig, args: read_thread(b)


def read_thread(b: Any) -> Any:
    return b.call(ir.InlineAsm(ir.FunctionType(I32, []), "mov.u32 $0, %tid.x;", "=r", side_effect=True), [])
