"""What a compiled loop of the CPU is given beside its sizes, by name; handed over as those are (sizes.py).

Arrays are flat. Letters as in loops.py. Loops take the arrays of a tuple in the order of its record: made into a record
inside, every array is counted once more, and the LSTM's loops took 5 to 9 % longer to compile.
"""

from typing import Any, NamedTuple


class Addresses(NamedTuple):
    """Of compiled functions, 0 where one is not needed: those of pointwise.py; those of matmul.py, for panels of the
    input's weights (x), of the state's (r) and of the stage's (a), and for all of the way back; that of
    weight_gradients.py for each of the three; and those that pack weights (panels.py)."""

    forward_block: int
    backward_block: int
    tangent_block: int
    slope_block: int
    apply_block: int
    emit_block: int
    stage_block: int
    stage_backward_block: int
    stage_tangent_block: int
    stage_apply_block: int
    affine_block: int
    product_x: int
    product_r: int
    product_a: int
    product_back: int
    strips_x: int
    strips_r: int
    strips_a: int
    strips_back: int
    rows_back: int
    accumulate_back: int
    gradients_x: int
    gradients_r: int
    gradients_a: int
    pack_gates: int
    pack_transposed: int


class Unpacked(NamedTuple):
    """The weights of a plain cell as they are given, for the loop that packs them at its head; what it does not read is
    empty. (G*N, I), (R0*N, N), (G*N,) and (R0*N,)."""

    w_ih: Any
    w_hh: Any
    b_ih: Any
    b_hh: Any
    to_w_ih: Any  # where they are copied to
    to_w_hh: Any
    to_b_ih: Any
    to_b_hh: Any


class Steps(NamedTuple):
    """What is known of a layer's steps."""

    fields: Any  # the cell's hyper-parameters; by unit, and with unit parameters, a panel for each block
    states: Any
    saved: Any
    lengths: Any


class Masks(NamedTuple):
    """Known too of a layer's steps, where some states are kept and some of what is sent is not heard (masked.py)."""

    kept: Any  # (T, B, S*N), of bytes: 1 for what stays as it was
    candidates: Any  # (T, B, S*N), filled forward
    heard: Any  # (B, E*N)


class Gradients(NamedTuple):
    """What goes back through a layer. Rows m belong to sequence m // copies."""

    output: Any  # (steps, M, N), of what the layer sends, given
    states: Any  # (steps+1, M, S*N) of every state, filled
    x: Any  # (steps, M, I), filled
    parameters: Any  # of w_ih, w_hh, b_ih, b_hh and those of the units, to which is added; empty if not wanted
    carry: Any  # (M, S*N): of the last states, then of the first
    dr: Any  # (chunk, M, R0*N), of the parts of r that the state feeds
    dx: Any  # (chunk, M, G*N), of the input part; dr itself where the two are the same


class Perturbations(NamedTuple):
    """What goes forward through a layer beside its states, `copies` for each sequence."""

    v: Any  # (M, S*N), of the first states, then of the last
    sends: Any  # (2, M, E*N), of what the units send, at this step and the next
    x: Any  # (steps, M, I)
    output: Any  # (steps, M, N), filled: the next layer's x


class Staged(NamedTuple):
    """Beside the rest, of a cell with a stage; other cells have (), and code that does not read it."""

    sent: Any  # (T, B, A*N): the stage's signals, filled
    weights: Any
    biases: Any


class StagedBack(NamedTuple):
    """Beside the rest, of a cell with a stage or unit parameters."""

    sent: Any
    weights: Any  # transposed
    da: Any  # (chunk, M, R1*N), of the parts of r that the stage feeds
    dq: Any  # (chunk, M, P*N), of the units' parameters


class StagedTangent(NamedTuple):
    """Beside the rest, of a cell with a stage."""

    sent: Any  # (M, A*N), the perturbation of the stage's signals
    weights: Any
