"""Loops over the units of a block that LLVM turns into vectors, whatever is in them.

LLVM writes a loop of few turns out before it sees what the functions called in it do, and what it has written out it
no longer turns into vectors: on AVX2 no tanh network and no LSTM in float64 used more than one lane of its registers.
So the loop is told to stay one until it is turned into vectors of the machine's width, by what LLVM calls loop
metadata, on the branch that closes the loop. Numba writes that branch after the loop's body: `lane` in the body marks
the loop, and `vectors` at the end of the function finds the branches.
"""

from llvmlite import ir
from numba import types
from numba.core.controlflow import CFGraph

from ...jit import intrinsic
from .register_tile import VECTOR_BYTES


@intrinsic
def lane(_):
    """At the beginning of a loop's body: a turn of this loop is a lane of a vector."""

    def codegen(context, builder, sig, args):
        builder.block.is_lane = True
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic(prefer_literal=True)
def vectors(_, like, turns):
    """At the end of a function: its loops of `lane`, of so many turns, become vectors of numbers like those of `like`.

    turns is a literal, some whole vectors; all are worked on at once, so that one hides what the other waits for.
    """
    if not isinstance(turns, types.IntegerLiteral):
        return None

    def codegen(context, builder, sig, args):
        count = VECTOR_BYTES // context.get_abi_sizeof(context.get_value_type(sig.args[0].dtype))
        wishes = {"vectorize.width": count, "interleave.count": turns.literal_value // count}
        for branches in _closing(builder.function):
            name = _loop_name(builder.module, wishes)
            for branch in branches:
                branch.set_metadata("llvm.loop", name)
        return context.get_dummy_value()

    return types.void(like, turns), codegen


def _closing(function):
    """Of every loop that is marked by `lane`, the branches back to its beginning."""
    blocks = function.basic_blocks
    index = {block.name: k for k, block in enumerate(blocks)}
    graph = CFGraph()
    for k in range(len(blocks)):
        graph.add_node(k)
    for k, block in enumerate(blocks):
        for target in getattr(block.terminator, "operands", ()):
            if isinstance(target, ir.Block):
                graph.add_edge(k, index[target.name])
    graph.set_entry_point(1)  # the block before it, of the variables, is closed last
    graph.process()
    loops = graph.loops()
    for k, block in enumerate(blocks):
        if getattr(block, "is_lane", False) and k in graph.nodes():
            loop = loops[graph.in_loops(k)[0].header]
            yield [blocks[j].terminator for j, _ in graph.predecessors(loop.header) if j in loop.body]


class _Distinct(ir.values.MDValue):
    """Metadata that is itself the first of its operands: the name of a loop."""

    def descr(self, buf):
        parts = ", ".join(part.get_reference() for part in (self, *self.operands))
        buf += (f"distinct !{{ {parts} }}", "\n")


def _loop_name(module, wishes):
    """A name for one loop that tells LLVM what is wished of it."""
    words = [[ir.MetaDataString(module, "llvm.loop.unroll.disable")]]
    for wish, value in wishes.items():
        words.append([ir.MetaDataString(module, f"llvm.loop.{wish}"), ir.Constant(ir.IntType(32), value)])
    operands = [module.add_metadata(word) for word in words]
    return _Distinct(module, operands, name=str(len(module.metadata)))
