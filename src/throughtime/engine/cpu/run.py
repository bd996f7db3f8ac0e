"""The engine on the CPU: arrays in, arrays out, for one layer and direction.

The caller owns the states, (T+1, B, size), of all layers together; a layer works on the columns from `offset` on.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...cells import base
from .. import memory
from . import threads
from .build import BACKWARD, FORWARD, TANGENT, Kernels, kernels
from .matmul import packers

Array = np.ndarray
# Multiply-adds under which a second thread costs more than it saves: in all, as waking it takes some 20 microseconds,
# and per step, as meeting once per step takes some 0.3 microseconds.
SMALL = 200_000
STEP = 30_000
RESIDENT = 1 << 20  # bytes of weights that a core keeps near while it walks through time


@dataclass
class Layer:
    """One direction of one layer unrolled over its input: what the way back needs. Weights are packed at first use."""

    cell: Any
    parameters: tuple[Array, Array, Array, Array]  # w_ih (G*N, I), w_hh (G*N, N), b_ih (G*N,), b_hh (G*N,)
    x: Array  # flat; row (t, b) begins at x_at + (t*B + b) * x_row
    x_at: int
    x_row: int
    steps: int
    batch: int
    states: Array  # (T+1, B, size)
    offset: int
    lengths: Array
    reverse: bool
    sent: Array  # (T+1, B, N): what the units send, a view of the states where that is h
    saved: Array  # flat (T, P, B, K*BLOCK): what is saved together lies together

    @property
    def kernels(self) -> Kernels:
        return kernels(self.cell, self.states.dtype)

    @cached_property
    def fields(self) -> Array:
        """The cell's hyper-parameters in the precision of the computation."""
        return fields(self.cell, self.states.dtype)

    @property
    def inputs(self) -> int:
        return self.parameters[0].shape[1]

    @property
    def units(self) -> int:
        return self.parameters[1].shape[1]

    @cached_property
    def packed_forward(self) -> tuple[Array, Array, Array, Array]:
        return pack_forward(self.kernels, self.parameters)

    @cached_property
    def packed_backward(self) -> tuple[Array, Array]:
        return pack_backward(self.kernels, self.parameters)

    def saved_by_unit(self, start: int, stop: int) -> tuple[Array, ...]:
        """What the steps start ... stop-1 saved, as the cell's K numbers of each unit: K arrays (stop-start, B, N)."""
        count, block = self.kernels.record.saved, self.kernels.shape.block
        panels = -(-self.units // block)
        kept = self.saved.reshape(self.steps, panels, self.batch, count, block)[start:stop].transpose(3, 0, 2, 1, 4)
        return tuple(part.reshape(stop - start, self.batch, panels * block)[:, :, : self.units] for part in kept)

    @property
    def places(self) -> tuple[int, ...]:
        """Where the rows of x, of this layer's states and of what it sends begin, and how far apart they are."""
        size = self.states.shape[2]
        sent = (0, self.units) if self.kernels.record.emits else (self.offset, size)
        return (self.x_at, self.x_row, self.offset, size, *sent)


def fields(cell: Any, dtype: Any) -> Array:
    """A cell's hyper-parameters as the compiled functions take them."""
    return np.array([*cell, 0.0], dtype)  # never empty


def flat_states(layer: Layer) -> tuple[Array, Array]:
    """states and sent as flat arrays, without a copy."""
    states = layer.states.reshape(-1)
    return states, layer.sent.reshape(-1) if layer.kernels.record.emits else states


def unroll(
    cell: Any,
    parameters: tuple[Array, Array, Array, Array],
    x: Array,
    states: Array,
    offset: int,
    lengths: Array | None,
    reverse: bool,
) -> Layer:
    """Run one layer over x (T, B, I), from the states that stand at its first time, and fill in the others.

    x is C-contiguous, or a view of such an array that leaves out columns (the h of the layer below).
    """
    steps, batch, inputs = x.shape
    units = parameters[1].shape[1]
    kernel = kernels(cell, states.dtype)
    record, size = kernel.record, kernel.shape
    panels = -(-units // size.block)
    if lengths is None:
        lengths = np.full(batch, steps, np.int64)
    if record.emits:
        sent = memory.empty((steps + 1, batch, units), states.dtype)
    else:
        sent = states[:, :, offset : offset + units]
    saved = memory.empty(steps * batch * panels * record.saved * size.block, states.dtype)
    flat, x_at, x_row = _base(x)
    layer = Layer(cell, parameters, flat, x_at, x_row, steps, batch, states, offset, lengths, reverse, sent, saved)
    if steps and batch:
        weights = pack_forward(kernel, layer.parameters)
        own_states, own_sent = flat_states(layer)
        shape = (steps, batch, inputs, units, *layer.places, int(reverse))
        parts, whole = _divide(layer, batch, steps)
        pointwise = kernel.pointwise(*FORWARD)
        arguments = (layer.fields, pointwise, weights, flat, own_states, own_sent, saved, lengths, shape)
        threads.run(kernel.unroll, arguments, parts, whole)
    return layer


def _base(x: Array) -> tuple[Array, int, int]:
    """A flat array, an offset and a row stride that describe x (T, B, I); a view of some columns is not copied."""
    base = x.base
    if not x.flags.c_contiguous and isinstance(base, np.ndarray) and base.flags.c_contiguous and base.dtype == x.dtype:
        step, row, item = (stride // x.itemsize for stride in x.strides)
        if item == 1 and step == row * x.shape[1]:
            first, origin = x.__array_interface__["data"][0], base.__array_interface__["data"][0]
            return base.reshape(-1), (first - origin) // x.itemsize, row
    return np.ascontiguousarray(x).reshape(-1), 0, x.shape[2]


def pack_forward(kernel: Kernels, parameters: tuple) -> tuple[Array, Array, Array, Array]:
    """(w_ih, b_ih, w_hh, b_hh) in panels: blocks of units, all gates side by side, 0 beyond the last unit."""
    block, gates, units = kernel.shape.block, kernel.record.gates, parameters[1].shape[1]
    panels, pack_gates = -(-units // block), packers(kernel.dtype)["pack_gates"]
    packed = []
    for matrix in parameters[:2]:
        depth = matrix.shape[1]
        out = _room(panels * depth * kernel.shape.width, kernel.dtype, padded=units % block > 0)
        arguments = (matrix.reshape(-1), gates, units, depth, block, out)
        threads.run(pack_gates, arguments, *_divide_packing(units, kernel.shape.back, out.size))
        packed.append(out)
    biases = []
    for bias in parameters[2:]:
        padded = np.zeros((gates, panels * block), bias.dtype)
        padded[:, :units] = bias.reshape(gates, units)
        biases.append(padded.reshape(gates, panels, block).transpose(1, 0, 2).reshape(-1))
    return packed[0], biases[0], packed[1], biases[1]


def pack_backward(kernel: Kernels, parameters: tuple) -> tuple[Array, Array]:
    """(w_hh, w_ih) transposed, in panels of `back` columns."""
    block, gates, back, units = kernel.shape.block, kernel.record.gates, kernel.shape.back, parameters[1].shape[1]
    depth = -(-units // block) * kernel.shape.width
    packed = []
    for matrix in (parameters[1], parameters[0]):
        columns = matrix.shape[1]
        out = _room(-(-columns // back) * depth * back, kernel.dtype, padded=units % block > 0 or columns % back > 0)
        arguments = (matrix.reshape(-1), gates, units, columns, block, out)
        threads.run(packers(kernel.dtype)["pack_transposed"], arguments, *_divide_packing(units, back, out.size))
        packed.append(out)
    return packed[0], packed[1]


def _room(size: int, dtype: np.dtype, padded: bool) -> Array:
    return memory.zeros(size, dtype) if padded else memory.empty(size, dtype)


def _divide_packing(units: int, grain: int, size: int) -> tuple[list[tuple], tuple]:
    team, whole = threads.get_num_threads(), (0, 0, 0, units, 0, 1, 0)
    if size < SMALL or units < team * grain:
        return [whole], whole
    cuts = [units * k // team // grain * grain for k in range(team)] + [units]
    return [(0, 0, cuts[k], cuts[k + 1], k, team, 0) for k in range(team)], whole


def _divide(layer: Layer, rows: int, steps: int) -> tuple[list[tuple], tuple]:
    """The parts of a team: by rows, or, where the weights are large or the rows few, by units in lockstep."""
    gates, units, inputs = layer.kernels.record.gates, layer.units, layer.inputs
    whole = (0, rows, 0, units, 0, 1, 0)
    team = threads.get_num_threads()
    per_row = gates * units * (units + inputs)
    if team == 1 or steps * rows * per_row < SMALL:
        return [whole], whole
    heavy = per_row * layer.states.itemsize > RESIDENT
    grain = layer.kernels.shape.back  # whole panels, forward and back
    blocks = -(-units // grain)
    if rows >= 2 * team and not (heavy and blocks >= team):
        cuts = [rows * k // team for k in range(team + 1)]
        return [(cuts[k], cuts[k + 1], 0, units, k, team, 0) for k in range(team)], whole
    team = min(team, blocks)
    if team > 1 and rows * per_row > STEP:
        cuts = [min(units, blocks * k // team * grain) for k in range(team + 1)]
        return [(0, rows, cuts[k], cuts[k + 1], k, team, 1) for k in range(team)], whole
    return [whole], whole


@dataclass
class Back:
    """What came back through one layer."""

    parameters: tuple[Array, Array, Array, Array] | None
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
) -> Back:
    """Back through the layer from states[stop], where the gradient is `carry` (B*copies, S*N), to states[start].

    grad_output (stop-start, B*copies, N) is the gradient of what the layer sends. grad_states (stop-start+1, B*copies,
    size), if given, receives the gradient of every state in the layer's columns: with what enters by grad_output at the
    same time, or `apart` from it.
    """
    stop = layer.steps if stop is None else stop
    kernel, units, inputs = layer.kernels, layer.units, layer.inputs
    dtype, M = layer.states.dtype, layer.batch * copies
    steps = stop - start
    w_ih, w_hh, b_ih, b_hh = (memory.zeros(p.shape if to_weights else 0, dtype) for p in layer.parameters)
    grads = (w_ih, w_hh, b_ih, b_hh)
    grad_x = memory.empty((steps, M, inputs) if to_input else (0, M, inputs), dtype)
    carry = np.array(carry, dtype, order="C")
    if steps and M:
        depth = -(-units // kernel.shape.block) * kernel.shape.width
        one = M * depth * dtype.itemsize * (1 if kernel.record.shared else 2)
        held = layer.saved.nbytes + layer.states.nbytes
        chunk = max(1, min(steps, max(1 << 20, held // 16) // one, -(-1024 // M)))
        dr = memory.empty(chunk * M * (depth + kernel.shape.back // 2), dtype)
        dx = dr if kernel.record.shared else memory.empty(dr.shape, dtype)
        g, g_at, g_row = _base(grad_output) if grad_output is not None else (np.zeros(1, dtype), 0, 0)
        o, o_row = (np.zeros(1, dtype), 0) if grad_states is None else (grad_states.reshape(-1), grad_states.shape[2])
        to_states = 0 if grad_states is None else 1 + apart
        shape = (start, stop, layer.batch, copies, inputs, units, *layer.places, g_at, g_row, layer.offset, o_row)
        shape += (int(layer.reverse), chunk, int(grad_output is not None), to_states, int(to_input), int(to_weights))
        states, sent = flat_states(layer)
        parts, whole = _divide(layer, M, steps)
        pointwise, weights = kernel.pointwise(*BACKWARD), layer.packed_backward
        flat_x, flat_grads, flat_carry = grad_x.reshape(-1), tuple(p.reshape(-1) for p in grads), carry.reshape(-1)
        known = (layer.fields, pointwise, weights, layer.x, states, sent, layer.saved)
        arguments = (*known, g, o, flat_x, flat_grads, flat_carry, dr, dx, layer.lengths, shape)
        threads.run(kernel.backprop, arguments, parts, whole)
    elif grad_states is not None:
        grad_states[:, :, layer.offset : layer.offset + carry.shape[1]] = carry
    return Back(grads if to_weights else None, grad_x if to_input else None, carry)


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
        sends = memory.empty((2, M, units), dtype)
        sends[0] = sent_tangent(layer, v, start, copies)
        w_ih, _, w_hh, _ = layer.packed_forward
        states, _ = flat_states(layer)
        x = np.zeros(1, dtype) if vx is None else np.ascontiguousarray(vx).reshape(-1)
        flags = (int(vx is not None), int(to_output))
        shape = (start, stop, layer.batch, copies, layer.inputs, units, layer.offset, layer.states.shape[2], *flags)
        parts, whole = _divide(layer, M, steps)
        known = (layer.fields, kernel.pointwise(*TANGENT), (w_ih, w_hh), states, layer.saved)
        arguments = (*known, v.reshape(-1), sends.reshape(-1), x, out.reshape(-1), layer.lengths, shape)
        threads.run(kernel.tangent, arguments, parts, whole)
    return v, out if to_output else None


def slopes(layer: Layer, t: int) -> tuple:
    """de/ds of every unit at time t: S arrays (B, N), or numbers where the unit sends h."""
    units, own = layer.units, layer.states[t, :, layer.offset :]
    return sent_slopes(layer, tuple(own[:, k * units : (k + 1) * units] for k in range(layer.kernels.record.states)))


def sent_slopes(layer: Layer, states: tuple[Array, ...]) -> tuple:
    """de/ds for given states of the units; 1, 0, ... where the unit sends h."""
    return base.sent_slopes(layer.cell, states)


def sent_tangent(layer: Layer, v: Array, t: int, copies: int) -> Array:
    """The perturbation (M, N) of what the units send at time t, for perturbations v (M, S*N) of their states."""
    units, M = layer.units, len(v)
    total = np.zeros((layer.batch, copies, units), v.dtype)
    for k, slope in enumerate(slopes(layer, t)):
        part = v[:, k * units : (k + 1) * units].reshape(layer.batch, copies, units)
        total += (slope[:, None] if isinstance(slope, np.ndarray) else np.asarray(slope, v.dtype)) * part
    return total.reshape(M, units)
