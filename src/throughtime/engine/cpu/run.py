"""The engine on the CPU: arrays in, arrays out, for one layer and direction.

The caller owns the states, (T+1, B, size), of all layers together; a layer works on the columns from `offset` on.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...cells import on_arrays
from .. import memory
from ..sizes import Backward, Forward, Places, Tangent
from . import shares, threads
from .build import BACKWARD, FORWARD, TANGENT, Kernels, kernels
from .operands import Gradients, Perturbations, Steps
from .panels import pack_backward, pack_forward

__all__ = ["Layer", "backprop", "sent_back", "tangent", "unroll"]

Array = np.ndarray


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

    @cached_property
    def padded(self) -> bool:
        """Whether any sequence ends early."""
        return bool((self.lengths < self.steps).any())

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

    def apart(self, start: int, alive: Array) -> "Layer":
        """The layer with the rows (t, b) from step `start` on as a batch of a single step, in copies; alive: 1, and 0
        after a sequence's end."""
        record, shape, n, B, rows = self.kernels.record, self.kernels.shape, self.units, self.batch, len(alive)
        stop, own = start + rows // max(1, B), slice(self.offset, self.offset + record.states * n)
        states = memory.empty((2, rows, self.states.shape[2]), self.states.dtype)  # nobody looks at those of others
        sent = memory.empty((2, rows, n), states.dtype) if record.emits else states[:, :, own][:, :, :n]
        for side, times in enumerate((slice(start, stop), slice(start + 1, stop + 1))):
            states[side, :, own] = self.states[times, :, own].reshape(rows, record.states * n)
            if record.emits:
                sent[side] = self.sent[times].reshape(rows, n)
        by_panel = (self.steps, -(-n // shape.block), B, record.saved * shape.block)
        saved = np.ascontiguousarray(self.saved.reshape(by_panel)[start:stop].swapaxes(0, 1)).reshape(-1)
        return replace(
            self, x_at=self.x_at + start * B * self.x_row, steps=1, batch=rows, states=states, lengths=alive,
            sent=sent, saved=saved,
        )  # fmt: skip

    def output(self) -> Array:
        """What the layer sends after each step, (T, B, N), a view."""
        return self.sent[:-1] if self.reverse else self.sent[1:]

    def sent_at_all_times(self) -> Array:
        """What the layer sends, (T+1, B, N)."""
        return self.sent

    def given(self, kernel: Kernels) -> tuple[tuple[Array, ...], Array, Array, tuple[int, ...]]:
        """What compiled loops read of the layer: what is known of its steps, x, what it sends, and their places."""
        emits, size, states = kernel.record.emits, self.states.shape[2], self.states.reshape(-1)
        sent, e_at, e_row = (self.sent.reshape(-1), 0, self.units) if emits else (states, self.offset, size)
        known = Steps(fields=self.fields, states=states, saved=self.saved, lengths=self.lengths)
        places = Places(x_at=self.x_at, x_row=self.x_row, s_at=self.offset, s_row=size, e_at=e_at, e_row=e_row)
        return known[:], self.x, sent, places[:]

    def shares(self, kernel: Kernels, rows: int, steps: int) -> shares.Shares:
        """A pass of so many rows divided among threads."""
        shape, units = kernel.shape, self.units
        per_row = shape.gates * units * (units + self.inputs)
        return shares.of_steps(steps, rows, units, per_row, self.states.itemsize, grain=shape.back)  # whole panels


def fields(cell: Any, dtype: Any) -> Array:
    """A cell's hyper-parameters as the compiled functions take them."""
    return np.array([*cell, 0.0], dtype)  # never empty


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
    record, shape = kernel.record, kernel.shape
    panels = -(-units // shape.block)
    if lengths is None:
        lengths = np.full(batch, steps, np.int64)
    if record.emits:
        sent = memory.empty((steps + 1, batch, units), states.dtype)
    else:
        sent = states[:, :, offset : offset + units]
    saved = memory.empty(steps * batch * panels * record.saved * shape.block, states.dtype)
    flat, x_at, x_row = _base(x)
    layer = Layer(cell, parameters, flat, x_at, x_row, steps, batch, states, offset, lengths, reverse, sent, saved)
    if steps and batch:
        known, flat, flat_sent, places = layer.given(kernel)
        size = Forward(steps=steps, batch=batch, inputs=inputs, units=units, places=places, reverse=int(reverse))
        weights = pack_forward(kernel, parameters)
        arguments = (kernel.pointwise(*FORWARD), weights, known, flat, flat_sent, size[:])
        threads.run(kernel.unroll, arguments, *layer.shares(kernel, batch, steps))
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
    same time, or `apart` from it. into: four arrays to which the gradients of the parameters are added, None where one
    is not wanted; (B, ...) with `each`, for those of every sequence.
    """
    stop = layer.steps if stop is None else stop
    kernel, units, inputs = layer.kernels, layer.units, layer.inputs
    dtype, M = layer.states.dtype, layer.batch * copies
    steps = stop - start
    nothing = np.zeros(0, dtype)
    if into is None and to_weights:
        into = tuple(memory.zeros(p.shape, dtype) for p in layer.parameters)
    grads = tuple(nothing if own is None else own.reshape(-1) for own in into or (None,) * 4)
    to_weights = to_weights and any(own.size for own in grads)
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
        known, flat, flat_sent, places = layer.given(kernel)
        size = Backward(
            start=start, stop=stop, batch=layer.batch, copies=copies, inputs=inputs, units=units, places=places,
            g_at=g_at, g_row=g_row, o_at=layer.offset, o_row=o_row, reverse=int(layer.reverse), chunk=chunk,
            from_output=int(grad_output is not None), to_states=0 if grad_states is None else 1 + apart,
            to_input=int(to_input), to_weights=int(to_weights), each=int(each),
        )  # fmt: skip
        gradients = Gradients(
            output=g, states=o, x=grad_x.reshape(-1), parameters=grads, carry=carry.reshape(-1), dr=dr, dx=dx
        )  # fmt: skip
        given = (known, flat, flat_sent, gradients[:])
        arguments = (kernel.pointwise(*BACKWARD), layer.packed_backward, *given, size[:])
        threads.run(kernel.backprop, arguments, *layer.shares(kernel, M, steps))
    elif grad_states is not None:
        grad_states[:, :, layer.offset : layer.offset + carry.shape[1]] = carry
    return Back(into, grad_x if to_input else None, carry)


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
        x = np.zeros(1, dtype) if vx is None else np.ascontiguousarray(vx).reshape(-1)
        known, _, _, places = layer.given(kernel)
        size = Tangent(
            start=start, stop=stop, batch=layer.batch, copies=copies, inputs=layer.inputs, units=units,
            places=places, from_input=int(vx is not None), to_output=int(to_output),
        )  # fmt: skip
        perturbations = Perturbations(v=v.reshape(-1), sends=sends.reshape(-1), x=x, output=out.reshape(-1))
        arguments = (kernel.pointwise(*TANGENT), (w_ih, w_hh), known, perturbations[:], size[:])
        threads.run(kernel.tangent, arguments, *layer.shares(kernel, M, steps))
    return v, out if to_output else None


def sent_back(layer: Layer, g: Array, t: int = 0) -> Array:
    """What the gradient g (1, M, N) of what the layer sends after step t brings into its states then, (M, S*N)."""
    n = layer.units
    found = np.zeros((g.shape[1], layer.kernels.record.states * n), g.dtype)
    for k, slope in enumerate(slopes(layer, t + 1)):
        found[:, k * n : (k + 1) * n] = slope * g[0]
    if layer.padded:
        found[layer.lengths <= t] = 0
    return found


def slopes(layer: Layer, t: int) -> tuple:
    """de/ds of every unit at time t: S arrays (B, N), or numbers where the unit sends h."""
    if not layer.kernels.record.emits:
        return sent_slopes(layer, ())
    units, own = layer.units, layer.states[t, :, layer.offset :]
    return sent_slopes(layer, tuple(own[:, k * units : (k + 1) * units] for k in range(layer.kernels.record.states)))


def sent_slopes(layer: Layer, states: tuple[Array, ...]) -> tuple:
    """de/ds for given states of the units; 1, 0, ... where the unit sends h."""
    return on_arrays.sent_slopes(layer.cell, states)


def sent_tangent(layer: Layer, v: Array, t: int, copies: int) -> Array:
    """The perturbation (M, N) of what the units send at time t, for perturbations v (M, S*N) of their states."""
    units, M = layer.units, len(v)
    total = np.zeros((layer.batch, copies, units), v.dtype)
    for k, slope in enumerate(slopes(layer, t)):
        part = v[:, k * units : (k + 1) * units].reshape(layer.batch, copies, units)
        total += (slope[:, None] if isinstance(slope, np.ndarray) else v.dtype.type(slope)) * part
    return total.reshape(M, units)
