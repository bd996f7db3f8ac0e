"""The Jacobians of steps: matrices written in one pass, for layers one above the other.

    ds^k_{t+1} = (D_s + D_r W_hh slope) ds^k_t + D_x W_ih (what the layer below sends at t+1, by all states at t)

Dimensions: B sequences, S states of a unit, N units, size = that of the state of all layers.
"""

import numpy as np

from .. import memory
from ..blas import single_blas
from . import threads
from .build import TANGENT
from .run import Array, Layer, flat_states, sent_slopes

AT_ONCE = 1 << 24  # bytes of products with what a layer receives, held while its part of the matrices is written
LARGE = 1 << 22  # bytes of matrices under which a second thread that writes them costs more than it saves


@single_blas
def jacobian(layers: list[Layer], start: int, stop: int) -> Array:
    """ds_{t+1}/ds_t of layers one above the other for t = start ... stop-1, (stop-start, B, size, size).

    Layer by layer, from below: the block of a layer's own states, and those of the layers below, by what it receives.
    """
    size, batch = layers[0].states.shape[2], layers[0].batch
    out = memory.empty((stop - start, batch, size, size), layers[0].states.dtype)
    for k, layer in enumerate(layers if out.size else ()):
        own = layer.offset
        _block(layer, layer.parameters[1], out, start, (own, layer.units, size - own, 0, 0))
        if k:
            per_step = batch * layer.parameters[0].shape[0] * own
            piece = max(1, AT_ONCE // (per_step * out.itemsize))
            for a in range(start, stop, piece):
                part = out[a - start : min(a + piece, stop) - start]
                room = memory.empty((*part.shape[:2], layer.parameters[0].shape[0], own), out.dtype)
                with np.errstate(all="ignore"):  # NaN and infinity are for the result to show
                    w = np.matmul(layer.parameters[0], _received(layers[k - 1], part, a)[..., :own], out=room)
                _block(layer, w, part, a, (0, own, own, w[0, 0].size, 1))
    return out


def _received(below: Layer, out: Array, start: int) -> Array:
    """The rows (..., N, size) of what the layer below sends, from those of its states."""
    units, own = below.units, below.offset
    if not below.kernels.record.emits:
        return out[:, :, own : own + units]
    after = below.states[start + 1 : start + 1 + len(out)]
    parts = [slice(own + i * units, own + (i + 1) * units) for i in range(below.kernels.record.states)]
    slopes = sent_slopes(below, tuple(after[:, :, part] for part in parts))
    return sum(np.asarray(slope)[..., None] * out[:, :, part] for slope, part in zip(slopes, parts, strict=True))


def _block(layer: Layer, w: Array, out: Array, start: int, how: tuple[int, int, int, int, int]) -> None:
    """A layer's rows of the matrices, in the columns from the first of `how` on; see the kernel."""
    kernel, units, size = layer.kernels, layer.units, out.shape[3]
    states, _ = flat_states(layer)
    column, rows = how[0], out.shape[0] * layer.batch
    where = (start, layer.batch, units, layer.offset, layer.states.shape[2])
    shape = (*where, size, layer.offset * size + column, *how[1:])
    known = (layer.fields, kernel.pointwise(*TANGENT), w.reshape(-1), states, layer.saved)
    written = rows * kernel.record.states * units * how[2] * out.itemsize
    parts, whole = _divide_matrices(rows, units, kernel.shape.block, written)
    threads.run(kernel.jacobian, (*known, out.reshape(-1), layer.lengths, shape), parts, whole)


def _divide_matrices(rows: int, units: int, block: int, size: int) -> tuple[list[tuple], tuple]:
    """The parts of a team that writes matrices: some whole ones each, or their rows where there are few."""
    whole = (0, rows, 0, units, 0, 1, 0)
    blocks = -(-units // block)
    team = min(threads.get_num_threads(), max(rows, blocks))
    if team == 1 or size < LARGE:
        return [whole], whole
    if rows >= 2 * team:
        cuts = [rows * k // team for k in range(team + 1)]
        return [(cuts[k], cuts[k + 1], 0, units, k, team, 0) for k in range(team)], whole
    team = min(team, blocks)
    cuts = [min(units, blocks * k // team * block) for k in range(team + 1)]
    return [(0, rows, cuts[k], cuts[k + 1], k, team, 0) for k in range(team)], whole
