"""Where threads meet: those of a block, of the blocks of a cluster, or of all blocks of a row of the grid.

The barrier across the grid is our own. Numba's `this_grid().sync()` calls a function that is not inlined, and what
lives across a call has to fit half of the registers: weights beyond some 70 numbers were spilled at every step
(compiled for sm_90a: LSTM, N = 1024, 255 registers and 620 bytes spilled with the call, 232 and 0 without). It also
makes rows of blocks wait for each other that have nothing to do with each other.

arrivals[y] counts those of row y. One arrival adds 2^31 - (blocks - 1), the others 1: when all have come, the
highest bit has changed and the low bits are 0 again, ready for the next time, whatever the next grid is.
"""

from typing import Any

from llvmlite import ir
from numba import types

from .compiler import part, primitive
from .register_arrays import I32, assembly
from .toolkit import cuda

HIGHEST = 1 << 31


@cuda.jit(device=True)
def _arrive(arrivals, row, count):
    return cuda.atomic.add(arrivals, row, count)


@primitive(_arrive)
def arrive(_, arrivals, row, count):
    """Add to arrivals[row]; what the block did before is seen by all who look later. Returns the number before."""
    signature = types.uint32(arrivals, row, count)

    def codegen(context, b, sig, args):
        context.active_code_library.use_cooperative = True  # all blocks have to be on the device at the same time
        count = b.trunc(args[2], I32) if args[2].type.width > 32 else args[2]
        return _assembly(b, "atom.add.release.gpu.global.u32 $0, [$1], $2;", _place(context, b, sig, args), count)

    return signature, codegen


@cuda.jit(device=True)
def _look(arrivals, row):
    return cuda.atomic.add(arrivals, row, 0)


@primitive(_look)
def look(_, arrivals, row):
    """arrivals[row], and all that those did before who have added to it."""
    signature = types.uint32(arrivals, row)

    def codegen(context, b, sig, args):
        return _assembly(b, "ld.acquire.gpu.global.u32 $0, [$1];", _place(context, b, sig, args))

    return signature, codegen


def _place(context: Any, b: Any, sig: Any, args: Any) -> Any:
    return b.gep(context.make_array(sig.args[0])(context, b, args[0]).data, [args[1]])


def _assembly(b: Any, line: str, *arguments: Any) -> Any:
    kind = ir.FunctionType(I32, [argument.type for argument in arguments])
    constraints = ",".join(["=r", "l", "r"][: len(arguments) + 1]) + ",~{memory}"
    return b.call(ir.InlineAsm(kind, line, constraints, side_effect=True), arguments)


def _arrive_in_row(arrivals):
    cuda.syncthreads()
    before = arrivals.dtype.type(0)
    if cuda.threadIdx.x == 0:
        count = HIGHEST + 1 - cuda.gridDim.x if cuda.blockIdx.x == 0 else 1
        before = arrive(arrivals, cuda.blockIdx.y, count)
    return before


def _wait_in_row(arrivals, before):
    if cuda.threadIdx.x == 0:
        while (before ^ look(arrivals, cuda.blockIdx.y)) & HIGHEST == 0:
            pass
    cuda.syncthreads()


def _arrive_in_block(arrivals):
    return arrivals.dtype.type(0)


def _wait_in_block(arrivals, before):
    cuda.syncthreads()


def _wait_for_nobody(arrivals, before):
    pass


@primitive(cuda.jit(device=True)(_arrive_in_row))
def arrive_in_cluster(_, arrivals):
    """What the thread wrote before, into others' shared memory too, is seen by all of the cluster who have waited."""

    def codegen(context, b, sig, args):
        assembly(b, "barrier.cluster.arrive.release;")
        return ir.Constant(I32, 0)

    return types.uint32(arrivals), codegen


@primitive(cuda.jit(device=True)(_wait_in_row))
def wait_in_cluster(_, arrivals, before):
    """Until all threads of the cluster have arrived."""

    def codegen(context, b, sig, args):
        assembly(b, "barrier.cluster.wait.acquire;")
        return context.get_dummy_value()

    return types.void(arrivals, before), codegen


# (arrive, wait): arrive(arrivals) returns what wait(arrivals, that) needs. Across blocks, arriving waits for all that
# was written before on its way into memory; what is written between the two has a whole step's time for that.
BLOCK: Any = part(_arrive_in_block, "threads", {}), part(_wait_in_block, "threads", {})
NOBODY: Any = part(_arrive_in_block, "nobody", {}), part(_wait_for_nobody, "nobody", {})
CLUSTER: Any = arrive_in_cluster, wait_in_cluster
ROW: Any = part(_arrive_in_row, "blocks", {}), part(_wait_in_row, "blocks", {})  # which must fit on the device together
