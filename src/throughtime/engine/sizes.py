"""The sizes of a pass, by name: what a compiled loop is told beside its arrays.

A loop is handed plain tuples, `record[:]`, and makes a record of each in its first line, `size = Forward(*sizes)`: from
there on all is read by name. Handed the records themselves, a call took 1.6 microseconds longer (2.9 instead of 1.3),
for Numba looks at the class of every such argument; made inside, they cost nothing, compilation included.

Letters as in cpu/loops.py. `at` is where the rows of an array begin, counted in numbers, `row` how far apart they are.
"""

from typing import NamedTuple


class Share(NamedTuple):
    """What one thread of a team does: some rows of the batch, and some units of the layer.

    A team divides either the rows, and each thread goes its own way through time, or, in lockstep, the units, and all
    meet once per step.
    """

    first_row: int
    end_row: int  # the first that is no longer its own, as everywhere
    first_unit: int
    end_unit: int
    member: int  # which thread of the team it is
    team: int  # threads in all
    lockstep: int  # 1 if all meet once per step


class Places(NamedTuple):
    """Where the rows (t, b) of a layer's arrays lie."""

    x_at: int
    x_row: int
    s_at: int  # of the states
    s_row: int
    e_at: int  # of what the units send
    e_row: int


class Forward(NamedTuple):
    """Of a pass forward over all steps."""

    steps: int
    batch: int
    inputs: int
    units: int
    places: tuple[int, ...]
    reverse: int
    packs: int  # 1 if the weights are packed at first, 2 if they are copied too


class Backward(NamedTuple):
    """Of a pass back from `stop` to `start`; flags say what is wanted beside the gradient of the first states."""

    start: int
    stop: int
    batch: int
    copies: int  # rows of a gradient for each sequence
    inputs: int
    units: int
    places: tuple[int, ...]
    g_at: int  # of the gradient of the output
    g_row: int
    o_at: int  # of the gradients of the states, which are written
    o_row: int
    reverse: int
    chunk: int  # steps after which the products with the weights of the input, and their gradients, are made
    from_output: int  # 1 if a gradient of the output comes in
    to_states: int  # 1: every state's gradient, with what enters at its own time; 2: without
    to_input: int
    to_weights: int  # with copies = 1
    each: int  # 1: the parameters' gradients of every sequence, one after another, in place of their sum
    packs: int  # 1 if the weights are packed at first


class Tangent(NamedTuple):
    """Of perturbations taken from `start` to `stop`."""

    start: int
    stop: int
    batch: int
    copies: int  # perturbations of each sequence
    inputs: int
    units: int
    places: tuple[int, ...]
    from_input: int  # 1 if the input is perturbed
    to_output: int  # 1 if the perturbation of the output is wanted


class JacobianBlock(NamedTuple):
    """Of some columns of a layer's rows in the matrices ds_{t+1}/ds_t from `start` on."""

    start: int
    batch: int
    units: int
    places: tuple[int, ...]
    size: int  # of the matrices: of the states of all layers
    corner: int  # where the block begins in each of them
    columns: int  # of w
    width: int  # columns that are written, 0 beyond those of w
    w_gap: int  # from the w of one matrix to that of the next
    between: int  # 1 for the block between two layers, 0 for a layer's own states


class Scan(NamedTuple):
    """Of a pass forward by pieces of time."""

    steps: int
    batch: int
    inputs: int
    units: int
    places: tuple[int, ...]
    reverse: int
    length: int  # of a piece, which one lane takes
    sections: int  # of as many pieces as there are lanes


class ScanBack(NamedTuple):
    """Of a pass back by pieces of time, from `stop` to `start`; what is wanted as in Backward."""

    start: int
    stop: int
    batch: int
    inputs: int
    units: int
    places: tuple[int, ...]
    g_at: int
    g_row: int
    o_at: int
    o_row: int
    reverse: int
    length: int
    sections: int
    from_output: int
    to_states: int
    to_input: int
    to_weights: int
    each: int
