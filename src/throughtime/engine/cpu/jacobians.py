"""The Jacobians of steps: matrices written in one pass, for layers one above the other.

    ds^k_{t+1} = (D_s + D_r W_hh slope) ds^k_t + D_x W_ih (what the layer below sends at t+1, by all states at t)

Dimensions: B sequences, S states of a unit, N units, size = that of the state of all layers.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ...cells.base import Spec
from ...cells.on_arrays import sent_slopes
from .. import memory
from ..blas import single_blas
from ..sizes import JacobianBlock
from . import shares, threads
from .build import JACOBIAN
from .one_layer import Array, Layer
from .panels import squares

AT_ONCE = 1 << 24  # bytes of products with what a layer receives, held while its part of the matrices is written


@single_blas
def of_layers(layers: list[Layer], start: int, stop: int, between: Sequence[Callable] = ()) -> Array | None:
    """ds_{t+1}/ds_t of layers one above the other for t = start ... stop-1, (stop-start, B, size, size).

    between[k](rows, t): what perturbations (steps, B, inputs, own) of what layer k is given from step t on make of what
    it reads, where that is not the same.

    Layer by layer, from below: the block of a layer's own states, and those of the layers below, by what it receives.
    None for cells with a stage, or with several signals of their own.
    """
    if not all(_in_one_pass(layer.kernels.record) for layer in layers):
        return None
    size, batch = layers[0].states.shape[2], layers[0].batch
    out = memory.empty((stop - start, batch, size, size), layers[0].states.dtype)
    for k, layer in enumerate(layers if out.size else ()):
        own = layer.offset
        w_hh, _ = squares(layer.kernels.shape, layer.parameters[1])
        _block(layer, w_hh, out, start, column=own, columns=w_hh.shape[1], width=size - own, w_gap=0, between=0)
        if k:
            per_step = batch * layer.parameters[0].shape[0] * own
            piece = max(1, AT_ONCE // (per_step * out.itemsize))
            for a in range(start, stop, piece):
                part = out[a - start : min(a + piece, stop) - start]
                room = memory.empty((*part.shape[:2], layer.parameters[0].shape[0], own), out.dtype)
                with np.errstate(all="ignore"):  # NaN and infinity are for the result to show
                    received = _received(layers[k - 1], part, a)[..., :own]
                    received = between[k](received, a) if between else received
                    w = np.matmul(layer.parameters[0], received, out=room)
                _block(layer, w, part, a, column=0, columns=own, width=own, w_gap=w[0, 0].size, between=1)
    return out


def _in_one_pass(record: Spec) -> bool:
    return not record.stage and (record.signals == 1 or not record.emits)


def _received(below: Layer, out: Array, start: int) -> Array:
    """The rows (..., N, size) of what the layer below sends, from those of its states."""
    units, own = below.units, below.offset
    if not below.kernels.record.emits:
        return out[:, :, own : own + units]
    after = below.states[start + 1 : start + 1 + len(out)]
    parts = [slice(own + i * units, own + (i + 1) * units) for i in range(below.kernels.record.states)]
    slopes = sent_slopes(below.cell, tuple(after[:, :, part] for part in parts))
    return sum(np.asarray(slope)[..., None] * out[:, :, part] for slope, part in zip(slopes, parts, strict=True))


def _block(
    layer: Layer, w: Array, out: Array, start: int, *, column: int, columns: int, width: int, w_gap: int, between: int
) -> None:
    """A layer's rows of the matrices, in the columns from `column` on; see the kernel."""
    kernel, units, size, rows = layer.kernels, layer.units, out.shape[3], out.shape[0] * layer.batch
    known, _, _, places = layer.given
    block = JacobianBlock(
        start=start, batch=layer.batch, units=units, places=places, size=size,
        corner=layer.offset * size + column, columns=columns, width=width, w_gap=w_gap, between=between,
    )  # fmt: skip
    arguments = (kernel.addresses(*JACOBIAN), w.reshape(-1), known, out.reshape(-1), block[:])
    written = rows * kernel.record.states * units * width * out.itemsize
    threads.run(kernel.jacobian, arguments, *shares.of_matrices(rows, units, kernel.shape.block, written))
