"""The names that kernels and their parts use and that every compiled copy of them replaces by its own (compiler.py).

Here for readers and for tools: a copy that is made without one of them is refused.
"""

from ...jit import PLACEHOLDER

# The cell and the size of a layer.
N = PLACEHOLDER  # units
GATES = STATES = SAVED = PLACEHOLDER  # numbers of a unit
SIGNALS = PARTS = FIRST = STAGED = PLACEHOLDER  # E, R, R0, A of cells/wiring.py
PARAMETERS = FIELDS = PLACEHOLDER  # numbers of a unit's own: parameters, and fields where those are of each unit
SLOPES = PLACEHOLDER  # E * S numbers, the slopes of what a unit sends where those are states
EMITS = PLACEHOLDER  # whether it sends something else than states
SHARED = PLACEHOLDER  # whether its two gradients of the gates are one
PART_ROOM = PARAMETER_ROOM = PLACEHOLDER  # R and P, but 1 for 0: no array has no number
cell_forward = cell_backward = cell_emit = cell_emit_slope = PLACEHOLDER  # its functions
cell_stage = cell_stage_backward = PLACEHOLDER
of_unit = forward = backward = emit = emit_slope = stage = stage_backward = PLACEHOLDER  # as kernels call them

# The cut of a pass over time (pass_parts.py).
LANES = GROUPS = UNITS = ROWS = OUT = COLUMNS = WIDE = CHUNK = DEPTH = VEC = WIDTH = PLACEHOLDER
THREADS = WEIGHTS = SUMS = OWNERS = SHARE = SHARED_SIZE = BLOCKS = PLACEHOLDER
TILE = SLAB = WARPS = MATES = PARTIALS = PLACEHOLDER
LOCAL = RESIDENT = AHEAD = PRIVATE = PLACEHOLDER
position = prepare = product = sent_tangent = PLACEHOLDER  # thread_position, own_weights, rows_times_weights
bring_rows = partial_sum = PLACEHOLDER  # of the product

# The second product of a step with a stage: parts with the sizes of its own.
SECOND = STAGE_OUT = STAGE_WIDE = STAGE_WEIGHTS = STAGE_SUMS = STAGE_AT = PLACEHOLDER
stage_prepare = stage_product = PLACEHOLDER
arrive = wait = PLACEHOLDER  # barrier.py

# Batched QR (batched_qr.py) has some of the same, and
SIDE = PITCH = SQUARE = RIGHT = EXCHANGE = PLACEHOLDER
ROUNDING = DEVIATION = HUGE = ZERO = ONE = NAN = INFINITY = PLACEHOLDER
added = greatest = greatest_of_block = one_pass = reflect = PLACEHOLDER
ACROSS = CORNER = HALF = LINE = PAIR = PANEL = SLABS = STRIPS = PLACEHOLDER  # wide_cholesky.py
column_of = corner_of = divided = fetch_lines = fetch_rows = moved = PLACEHOLDER

# Jacobians of single steps (jacobians.py).
D_R = D_S = PLACEHOLDER

# Products of all steps (tiled_matmul.py).
TALL = BROAD = DEEP = HEIGHT = BREADTH = I_STEP = J_STEP = TOGETHER = PLACEHOLDER
A_ALONG = A_FIRST = A_NEXT = A_PITCH = A_SLAB = A_SIZE = PLACEHOLDER
B_ALONG = B_FIRST = B_NEXT = B_PITCH = B_SLAB = B_SIZE = PLACEHOLDER
ALONG = OF_BATCH = OVER_BATCH = PLACEHOLDER
fetch_left = fetch_right = PLACEHOLDER

# Losses and steps of optimisers (sums.py, loss_kernels.py, update_rows.py).
add_block = add_lanes = greatest_of_lanes = norm_of_parts = PLACEHOLDER
