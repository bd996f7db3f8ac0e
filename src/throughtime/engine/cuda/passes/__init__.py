"""The passes over time: a file for each, and a line of this list. tests/gpu_sim/test_passes.py adds one.

The file of a pass holds

    its kernel   kernel(cell, *arrays, arrivals, sizes), of the parts in pass_parts.py and the names in kernel_names.py,
                 each of which pass_kernels.py gives a value for a cell, a size and a cut; without one it is refused. An
                 array may be a tuple of arrays: those that only some cells have, and () for the others
    its sizes    a NamedTuple of whole numbers, of which the launch fills in the last one, `first`. The kernel is given
                 a plain tuple and makes the record of it: Numba takes 15 microseconds more for a record at each launch
    PASS         Pass(kernel, example): how many registers and how much shared memory it takes follows from the cut
    run          its launch for a layer, layer.run(PASS, layer.plan(PASS), arrays, sizes); run.py offers it to others
    example      a launch on arrays that nobody fills, by which tests/gpu_compile lists what the pass takes
"""

from .backprop import BACKPROP
from .pushforward import PUSHFORWARD
from .unroll import UNROLL

PASSES = (
    UNROLL,
    BACKPROP,
    PUSHFORWARD,
)
