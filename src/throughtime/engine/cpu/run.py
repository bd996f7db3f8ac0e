"""The engine on the CPU: arrays in, arrays out, for one layer and direction.

The caller owns the states, (T+1, B, size), of all layers together; a layer works on the columns from `offset` on.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...cells.base import spec
from .. import memory
from ..sizes import Tangent
from . import scanned, threads
from .build import BACKWARD, TANGENT, kernels
from .flat_rows import base
from .layer_plan import plan
from .one_layer import Layer
from .operands import Masks, Perturbations, StagedBack, StagedTangent
from .panels import taken_up
from .sent_by_units import sent_tangent, slopes
from .sparse import Pattern

__all__ = ["Layer", "backprop", "sent_back", "tangent", "unroll"]

Array = np.ndarray


def unroll(
    cell: Any,
    parameters: tuple[Array, ...],
    x: Array,
    states: Array,
    offset: int,
    lengths: Array | None,
    reverse: bool,
    pattern: Pattern | None = None,
    method: str | None = None,
    masks: tuple[Array, Array] | None = None,
    like: Layer | None = None,
    source: tuple[Array, ...] | None = None,
) -> Layer:
    """Run one layer over x (T, B, I), from the states that stand at its first time, and fill in the others.

    method: "scan" by pieces of time, "loop" step by step, None as it is faster; ValueError for a scan that cannot be. x
    is C-contiguous, or a view of such an array that leaves out columns (the h of the layer below). masks: which part
    of each state is kept, (T, B, S*N), and how much W_hh hears of what is sent, (B, E*N), step by step; see masked.py.
    like: a layer of the run that these steps are a piece of, with the same weights. source: the weights and biases of
    which those of `parameters` are to become copies, C-contiguous and writeable.
    """
    steps, batch, inputs = x.shape
    units, dtype, row = parameters[1].shape[1], states.dtype, states.shape[2]
    if pattern is not None and (masks is not None or not pattern.pays(spec(cell), batch, dtype)):
        pattern = None
    kernel = kernels(cell, dtype, pattern is not None, masks is not None)
    flat, x_at, x_row = base(x)
    own = plan(kernel, steps, batch, inputs, units, x_at, x_row, offset, row, reverse)
    empty = np.empty if own.most < memory.SMALLEST else memory.empty
    if lengths is None:
        lengths = np.full(batch, steps, np.int64)
    if kernel.shape.emits:
        sent = empty((steps + 1, batch, own.signals), dtype)
    else:
        sent = states[:, :, offset : offset + own.signals]
    by_pieces = not (kernel.record.recurrent and method is None) and scanned.chosen(kernel, method, steps, units)
    saved = None if by_pieces else empty((steps * batch * own.kept,), dtype)
    staged = empty((steps, batch, own.staged), dtype) if own.staged else None
    whole = None if masks is None else Masks(masks[0], memory.empty(masks[0].shape, dtype), masks[1])
    layer = Layer(
        cell, parameters, flat, x_at, x_row, steps, batch, states, offset, lengths, reverse, sent, saved, staged,
        pattern, whole, None if like is None else like.whole, like,
    )  # fmt: skip
    layer.kernels, layer.plan = kernel, own
    if not by_pieces:
        layer.fill(source)
        return layer
    if source is not None:
        layer.take(source)
    if steps and batch:
        scanned.forward(layer, kernel)
    return layer


@dataclass
class Back:
    """What came back through one layer."""

    parameters: tuple[Array | None, ...] | None
    x: Array | None  # (steps, M, I)
    carry: Array  # (M, S*N): the gradient with respect to the states at the first time


def backprop(
    layer: Layer,
    carry: Array,
    grad_output: Array | None = None,
    *,
    start: int = 0,
    stop: int | None = None,
    copies: int = 1,
    grad_states: Array | None = None,
    apart: bool = False,
    to_weights: bool = True,
    to_input: bool = True,
    into: tuple[Array | None, ...] | None = None,
    each: bool = False,
) -> Back:
    """Back through the layer from states[stop], where the gradient is `carry` (B*copies, S*N), to states[start].

    grad_output (stop-start, B*copies, N) is the gradient of what the layer sends. grad_states (stop-start+1, B*copies,
    size), if given, receives the gradient of every state in the layer's columns: with what enters by grad_output at the
    same time, or `apart` from it. into: arrays to which the gradients of the parameters are added, None where one is
    not wanted; (B, ...) with `each`, for those of every sequence.
    """
    stop = layer.steps if stop is None else stop
    kernel, own = layer.kernels, layer.plan
    dtype, nothing, M, steps = kernel.dtype, kernel.nothing, layer.batch * copies, stop - start
    if into is None and to_weights:
        into = tuple([memory.zeros(p.shape, dtype) for p in layer.parameters])
    grads, wanted = [], 0
    for p in into or (None,) * len(layer.parameters):
        grads.append(nothing if p is None else p.reshape(-1))
        wanted += grads[-1].size
    to_weights = to_weights and wanted > 0
    empty = np.empty if steps * M * max(own.inputs, own.rows) * dtype.itemsize < memory.SMALLEST else memory.empty
    grad_x = empty((steps, M, own.inputs), dtype) if to_input else None
    carry = np.array(carry, dtype, order="C")
    if layer.kept is None and copies == 1 and steps and M:
        g_of = None if grad_output is None else base(grad_output)
        carry = scanned.backward(
            layer, kernel, carry, g_of, grad_states, apart, grad_x, into if to_weights else None, each, start, stop
        )
    elif steps and M:
        chunk = layer.summed(M, steps)
        rows = chunk * M
        dr = empty((rows * own.back[0],), dtype)
        beside: tuple = ()
        dx = dr if kernel.shape.shared else empty((rows * own.back[1],), dtype)
        g, g_at, g_row = base(grad_output) if grad_output is not None else (kernel.unread, 0, 0)
        o, o_row = (kernel.unread, 0) if grad_states is None else (grad_states.reshape(-1), grad_states.shape[2])
        known, x, sent, places = layer.given
        room = None if layer.like is not None or "packed_backward" in layer.__dict__ else own.room_backward
        size = (  # sizes.Backward
            start, stop, layer.batch, copies, own.inputs, own.units, places, g_at, g_row, layer.offset, o_row,
            int(layer.reverse), chunk, int(grad_output is not None), 0 if grad_states is None else 1 + apart,
            int(to_input), int(to_weights), int(each), int(room is not None),
        )  # fmt: skip
        gradients = (  # operands.Gradients
            g, o, nothing if grad_x is None else grad_x.reshape(-1), tuple(grads), carry.reshape(-1), dr, dx,
        )  # fmt: skip
        if room is None:
            (w_hh, w_ih, *w_a), unpacked = layer.packed_backward, kernel.packed_already[:2]
        else:
            (w_hh, w_ih, *w_a), unpacked = taken_up(room, dtype), layer.parameters[1::-1]
        if layer.pattern is not None:
            beside = layer.lists(back=True)
        elif own.beside:
            staged, rooms = nothing if layer.staged is None else layer.staged.reshape(-1), own.back[2:]
            da, dq = [empty((rows * n,), dtype) if n else nothing for n in rooms]
            beside = StagedBack(staged, w_a[0] if w_a else nothing, da, dq)[:]
        arguments = (kernel.addresses(*BACKWARD), (w_hh, w_ih), unpacked, known, x, sent, beside, gradients, size)
        threads.run(kernel.backprop, arguments, *layer.shares(M, steps, back=to_weights or to_input))
        if room is not None:
            layer.packed_backward = w_hh, w_ih  # for the next time
    elif grad_states is not None:
        grad_states[:, :, layer.offset : layer.offset + carry.shape[1]] = carry
    return Back(into, grad_x, carry)


def tangent(
    layer: Layer, v: Array, vx: Array | None = None, *, start: int, stop: int, copies: int, to_output: bool = False
) -> tuple[Array, Array | None]:
    """Perturbations v (B*copies, S*N) of states[start], and vx (stop-start, B*copies, I) of x, taken to states[stop].

    Returns the perturbations of states[stop] and, if asked, of what the layer sends, (stop-start, B*copies, N).
    """
    kernel, units, dtype = layer.kernels, layer.units, layer.states.dtype
    M, steps = layer.batch * copies, stop - start
    v = np.array(v, dtype, order="C")
    out = memory.empty((steps, M, units) if to_output else (0, M, units), dtype)
    if steps and M:
        record = kernel.record
        sends = memory.empty((2, M, record.signals * units), dtype)
        sends[0] = sent_tangent(layer, v, start, copies)
        w_ih, _, w_hh, _, *stage = layer.packed_forward
        beside = StagedTangent(memory.empty(M * record.staged * units, dtype), stage[0])[:] if stage else layer.lists()
        x = np.zeros(1, dtype) if vx is None else np.ascontiguousarray(vx).reshape(-1)
        known, _, _, places = layer.given
        size = Tangent(
            start=start, stop=stop, batch=layer.batch, copies=copies, inputs=layer.inputs, units=units,
            places=places, from_input=int(vx is not None), to_output=int(to_output),
        )  # fmt: skip
        perturbations = Perturbations(v=v.reshape(-1), sends=sends.reshape(-1), x=x, output=out.reshape(-1))
        arguments = (kernel.addresses(*TANGENT), (w_ih, w_hh), known, perturbations[:], beside, size[:])
        threads.run(kernel.tangent, arguments, *layer.shares(M, steps))
    return v, out if to_output else None


def sent_back(layer: Layer, g: Array, t: int = 0) -> Array:
    """What the gradient g (1, M, N) of what the next layer hears after step t brings into its states then, (M, S*N)."""
    n = layer.units
    found = np.zeros((g.shape[1], layer.kernels.record.states * n), g.dtype)
    for k, slope in enumerate(slopes(layer, t + 1)[0]):
        found[:, k * n : (k + 1) * n] = slope * g[0]
    if layer.padded:
        found[layer.lengths <= t] = 0
    return found
