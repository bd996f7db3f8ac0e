"""What threads hand each other in every step: rows of a product's right-hand side, and parts of sums.

All is written out for constant sizes, as in register_arrays.py. Read off the machine code for an LSTM of 512 units and
8 rows to a block: a loop over what is fetched waits for the cache 16 times in a row, one after another, and a sum over
32 lanes for each of 32 numbers takes 160 shuffles. Fetched at once it waits once, and the sums take 36.
"""

from typing import Any

from llvmlite import ir
from numba import types

from .compiler import primitive
from .register_arrays import I32, I64, data, index, literal, load
from .toolkit import cuda

I1 = ir.IntType(1)
AT_ONCE = 8  # vectors on their way to a thread at the same time: 32 registers


@cuda.jit(device=True)
def _fetch(h, source, at, row, rows, columns, chunk, together, width, threads):
    for i in range(cuda.threadIdx.x * width, together * chunk, threads * width):
        m, first = i // chunk, i % chunk
        for k in range(first, first + width):
            inside = m < rows and k < columns
            h[m * chunk + k] = cuda.ldcg(source, at + m * row + k) if inside else h.dtype.type(0)


def _fetcher(bits: int) -> Any:
    @primitive(_fetch)
    def fetch(_, h, source, at, row, rows, columns, chunk, together, width, threads):
        """h[m*chunk + k] = source[at + m*row + k], past the first-level cache, by all threads of the block.

        For m < `together` and k < `chunk`; zeros from row `rows` and column `columns` on. `width` numbers make one
        load: `at`, `row` and `columns` are multiples of it, and of 16 bytes if it is not 1. The caller lets the threads
        meet.
        """
        if not literal(chunk, together, width, threads):
            return None
        C, M, V, L = (number.literal_value for number in (chunk, together, width, threads))
        signature = types.void(h, source, at, row, rows, columns, chunk, together, width, threads)

        def codegen(context, b, sig, args):
            (target, base), (at, row, rows, columns) = (data(context, b, sig, args, k) for k in range(2)), args[2:6]
            thread = b.call(_declared(b, "llvm.nvvm.read.ptx.sreg.tid.x", ir.FunctionType(I32, [])), [])
            turns = range(-(-M * C // V // L))
            first = b.gep(base, [index(b, at, bits)])
            for group in range(0, len(turns), AT_ONCE):
                loaded = []
                for j in turns[group : group + AT_ONCE]:
                    i = b.mul(b.add(thread, ir.Constant(I32, j * L)), ir.Constant(I32, V))
                    m, k = b.udiv(i, ir.Constant(I32, C)), b.urem(i, ir.Constant(I32, C))
                    inside = b.and_(below(b, m, rows), below(b, k, columns))
                    place = index(b, b.add(b.mul(b.zext(m, I64), index(b, row, 64)), b.zext(k, I64)), bits)
                    there = b.gep(first, [b.select(inside, place, ir.Constant(I64, 0))])
                    zero = ir.Constant(base.type.pointee, 0.0)
                    values = [b.select(inside, value, zero) for value in _load_cached(b, there, V)]
                    always = ir.Constant(I1, (j + 1) * L * V <= M * C)
                    loaded.append((b.or_(always, b.icmp_unsigned("<", i, ir.Constant(I32, M * C))), i, values))
                for given, i, values in loaded:
                    with b.if_then(given):
                        _store(b, values, target, i)
            return context.get_dummy_value()

        return signature, codegen

    return fetch


fetch, fetch_near = _fetcher(64), _fetcher(32)


def _side_by_side(blocks):
    pass


@primitive(_side_by_side)
def side_by_side(_, blocks):
    """Neighbouring `blocks` of the kernel in which this stands start together, as a cluster; nothing where that is 1.

    A cluster whose size is written into the kernel needs nothing else at its launch.
    """
    if not literal(blocks):
        return None

    def codegen(context, b, sig, args):
        if blocks.literal_value > 1:
            notes = b.module.add_named_metadata("nvvm.annotations")
            for axis, count in (("x", blocks.literal_value), ("y", 1), ("z", 1)):
                name = ir.MetaDataString(b.module, f"cluster_dim_{axis}")
                notes.add(b.module.add_metadata((b.function, name, ir.Constant(I32, count))))
        return context.get_dummy_value()

    return types.void(blocks), codegen


@cuda.jit(device=True)
def _give(h, at, step, values, blocks):
    for k, value in enumerate(values):
        if blocks == 1:
            h[at + k * step] = value
        else:
            cuda.to_cluster(h, at + k * step, value)


@primitive(_give)
def give(_, h, at, step, values, blocks):
    """h[at], h[at + step], ... = values in the shared array of every block of the cluster."""
    if not literal(blocks):
        return None
    signature = types.void(h, at, step, values, blocks)

    def codegen(context, b, sig, args):
        base, step = data(context, b, sig, args, 0), index(b, args[2], 64)
        for k in range(len(values)):
            place = b.gep(base, [b.add(index(b, args[1], 64), b.mul(step, ir.Constant(I64, k)))])
            value = context.cast(b, b.extract_value(args[3], k), values[k], h.dtype)
            if blocks.literal_value == 1:
                b.store(value, place)
                continue
            own = b.ptrtoint(b.addrspacecast(place, ir.PointerType(place.type.pointee, addrspace=3)), I32)
            letter, bits = ("f", 32) if isinstance(value.type, ir.FloatType) else ("d", 64)
            there = ir.InlineAsm(ir.FunctionType(I32, [I32, I32]), "mapa.shared::cluster.u32 $0, $1, $2;", "=r,r,r")
            store = ir.InlineAsm(
                ir.FunctionType(ir.VoidType(), [I32, value.type]), f"st.shared::cluster.f{bits} [$0], $1;",
                f"r,{letter},~{{memory}}", side_effect=True,
            )  # fmt: skip
            for block in range(blocks.literal_value):
                b.call(store, [b.call(there, [own, ir.Constant(I32, block)]), value])
        return context.get_dummy_value()

    return signature, codegen


def below(b: Any, number: Any, limit: Any) -> Any:
    return b.icmp_signed("<", b.zext(number, I64), index(b, limit, 64))


def _load_cached(b: Any, pointer: Any, count: int) -> list:
    """`count` numbers in one load that does not look into the first-level cache, where old ones may lie."""
    real = pointer.type.pointee
    letter, bits = ("f", 32) if isinstance(real, ir.FloatType) else ("d", 64)
    if count == 1:
        kind, line, out = real, f"ld.global.cg.f{bits} $0, [$1];", f"={letter}"
    else:
        kind = ir.LiteralStructType([real] * count)
        names = ", ".join(f"${j}" for j in range(count))
        line, out = f"ld.global.cg.v{count}.f{bits} {{{names}}}, [${count}];", ",".join([f"={letter}"] * count)
    code = ir.InlineAsm(ir.FunctionType(kind, [pointer.type]), line, f"{out},l", side_effect=True)
    value = b.call(code, [pointer])
    return [value] if count == 1 else [b.extract_value(value, j) for j in range(count)]


def _store(b: Any, values: list, base: Any, at: Any) -> None:
    """Numbers that lie side by side, in one aligned store."""
    kind = ir.VectorType(values[0].type, len(values))
    vector = ir.Constant(kind, ir.Undefined)
    for j, value in enumerate(values):
        vector = b.insert_element(vector, value, ir.Constant(I32, j))
    pointer = b.bitcast(b.gep(base, [at]), ir.PointerType(kind, addrspace=base.type.addrspace))
    b.store(vector, pointer, align=len(values) * (4 if isinstance(values[0].type, ir.FloatType) else 8))


@cuda.jit(device=True)
def _collect(mine, sums, lane, owners, each, lanes):
    count, width = owners * each, owners
    while width > 1:
        width //= 2
        count //= 2
        upper = lane & width
        for i in range(count):
            low, high = sums[i], sums[count + i]
            keep, send = (high, low) if upper else (low, high)
            sums[i] = keep + cuda.shfl_xor_sync(0xFFFFFFFF, send, width)
    for i in range(each):
        total, other = sums[i], owners
        while other < lanes:
            total += cuda.shfl_xor_sync(0xFFFFFFFF, total, other)
            other *= 2
        mine[i] = total


@primitive(_collect)
def collect(_, mine, sums, lane, owners, each, lanes):
    """mine[i] = the sum over all `lanes` neighbouring threads of their sums[p*each + i], in every lane whose number
    leaves p when divided by `owners`, a power of 2. What is in `sums` is used up.

    While there is more than one owner, a thread keeps the half that belongs to its own and gives the other away.
    """
    if not literal(owners, each, lanes):
        return None
    P, E, L = (number.literal_value for number in (owners, each, lanes))
    signature = types.void(mine, sums, lane, owners, each, lanes)

    def codegen(context, b, sig, args):
        target, total = (data(context, b, sig, args, k) for k in range(2))
        lane, width = args[2], P
        values = load(b, total, P * E)
        while width > 1:
            width //= 2
            half = len(values) // 2
            bit = b.and_(lane, ir.Constant(lane.type, width))
            upper = b.icmp_unsigned("!=", bit, ir.Constant(lane.type, 0))
            pairs = list(zip(values[:half], values[half:], strict=True))
            kept = [b.select(upper, high, low) for low, high in pairs]
            sent = [_shuffle(b, b.select(upper, low, high), width) for low, high in pairs]
            values = [b.fadd(own, other) for own, other in zip(kept, sent, strict=True)]
        width = P
        while width < L:
            values = [b.fadd(value, _shuffle(b, value, width)) for value in values]
            width *= 2
        for i, value in enumerate(values):
            b.store(value, b.gep(target, [ir.Constant(I32, i)]))
        return context.get_dummy_value()

    return signature, codegen


def _shuffle(b: Any, value: Any, other: int) -> Any:
    """The value of the lane whose number differs in the bits of `other`; eight bytes go in two halves."""
    if isinstance(value.type, ir.FloatType):
        return b.bitcast(_exchange(b, b.bitcast(value, I32), other), value.type)
    whole = b.bitcast(value, I64)
    low = _exchange(b, b.trunc(whole, I32), other)
    high = _exchange(b, b.trunc(b.lshr(whole, ir.Constant(I64, 32)), I32), other)
    joined = b.or_(b.zext(low, I64), b.shl(b.zext(high, I64), ir.Constant(I64, 32)))
    return b.bitcast(joined, value.type)


def _exchange(b: Any, bits: Any, other: int) -> Any:
    kind = ir.FunctionType(ir.LiteralStructType([I32, I1]), [I32] * 5)
    mask, xor, lanes = 0xFFFFFFFF, 3, 31
    numbers = [ir.Constant(I32, mask), ir.Constant(I32, xor), bits, ir.Constant(I32, other), ir.Constant(I32, lanes)]
    return b.extract_value(b.call(_declared(b, "llvm.nvvm.shfl.sync.i32", kind), numbers), 0)


def _declared(b: Any, name: str, kind: Any) -> Any:
    found = b.module.globals.get(name)
    return found if found is not None else ir.Function(b.module, kind, name)
