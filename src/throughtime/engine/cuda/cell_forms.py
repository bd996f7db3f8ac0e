"""The functions of a cell as kernels call them: in one form, whatever the cell's own take and give.

    of_unit(cell, net, unit)                -> the cell of one unit, its numbers p
    forward(cell, x, r, s, p)               -> s_next, saved
    backward(cell, ds, s, s_next, saved, p) -> dx, dr, ds, dp
    stage(cell, x, r, s, p)                 -> A numbers
    stage_backward(cell, da, s, saved, p)   -> dx, dr, ds, dp
    emit(cell, s)                           -> E numbers
    emit_slope(cell, s)                     -> E * S numbers, signal after signal

All tuples hold numbers of one type, the precision of the computation, and may be empty. A plain cell comes into the
kernel as it is; one whose units have numbers of their own as a pair: the cell and one flat array, of which the first
FIELDS * N are the fields of each unit, field after field, and then, network after network, its parameters.
"""

from .register_arrays import read
from .unit_tuples import alike, flattened, in_place_of

from .kernel_names import (  # isort: skip
    FIELDS, N, PARAMETERS, SIGNALS, SLOPES, cell_backward, cell_emit, cell_emit_slope, cell_forward, cell_stage,
    cell_stage_backward,
)  # fmt: skip


def whole_cell(cell, net, unit):
    return cell, ()


def cell_of_unit(cell, net, unit):
    fields, numbers = cell
    unit = min(unit, N - 1)  # beyond the last unit nothing is computed, and nothing may be read
    if FIELDS:
        fields = in_place_of(fields, read(numbers, unit, N, FIELDS))
    return fields, read(numbers, (FIELDS + net * PARAMETERS) * N + unit, N, PARAMETERS)


def forward(cell, x, r, s, p):
    s_next, saved = cell_forward(cell, x, r, s)
    return alike(s[0], s_next), alike(s[0], saved)


def forward_with(cell, x, r, s, p):
    s_next, saved = cell_forward(cell, x, r, s, p)
    return alike(s[0], s_next), alike(s[0], saved)


def backward(cell, ds, s, s_next, saved, p):
    dx, dr, own = cell_backward(cell, ds, s, s_next, saved)
    return alike(s[0], dx), alike(s[0], dr), alike(s[0], own), ()


def backward_with(cell, ds, s, s_next, saved, p):
    dx, dr, own, dp = cell_backward(cell, ds, s, s_next, saved, p)
    return alike(s[0], dx), alike(s[0], dr), alike(s[0], own), alike(s[0], dp)


def stage(cell, x, r, s, p):
    return alike(s[0], cell_stage(cell, x, r, s))


def stage_with(cell, x, r, s, p):
    return alike(s[0], cell_stage(cell, x, r, s, p))


def stage_backward(cell, da, s, saved, p):
    dx, dr, own = cell_stage_backward(cell, da, s, saved)
    return alike(s[0], dx), alike(s[0], dr), alike(s[0], own), ()


def stage_backward_with(cell, da, s, saved, p):
    dx, dr, own, dp = cell_stage_backward(cell, da, s, saved, p)
    return alike(s[0], dx), alike(s[0], dr), alike(s[0], own), alike(s[0], dp)


def emit(cell, s):
    return s[:SIGNALS]


def emit_of_one(cell, s):
    return alike(s[0], (cell_emit(cell, s),))


def emit_of_several(cell, s):
    return alike(s[0], cell_emit(cell, s))


def emit_slope(cell, s):
    return SLOPES


def emit_slope_of_one(cell, s):
    return alike(s[0], cell_emit_slope(cell, s))


def emit_slope_of_several(cell, s):
    return flattened(s[0], cell_emit_slope(cell, s))
