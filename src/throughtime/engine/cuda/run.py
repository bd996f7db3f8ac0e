"""The engine on the GPU: names and signatures of cpu.py, with device arrays, and ensembles in one launch.

Dimensions as in engine/loops.py, and K networks of one shape: their parameters have a leading axis K, and the batch
holds B = K * per sequences, one network after another.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...cells.base import Spec, spec
from ..cpu.run import Back
from . import arrays, build, device, jacobians, plans, projections, weight_packing

Array = Any  # of the device


@dataclass
class Layer:
    """One direction of one layer unrolled over its input: what the way back needs. Weights are packed at first use."""

    cell: Any
    parameters: tuple[Array, Array, Array, Array]  # w_ih (K, G*N, I), w_hh (K, G*N, N), b_ih (K, G*N), b_hh (K, G*N)
    x: Array  # flat; row (t, b) begins at (t*B + b) * x_row
    x_row: int
    steps: int
    batch: int
    states: Array  # (T+1, B, size)
    offset: int
    lengths: Array
    reverse: bool
    sent: Array  # flat, (T+1, B, N); the states where that is h
    saved: Array  # flat (T, B, K, N)
    step_rows: int = 0  # rows of the states from one time to the next; 0: the batch
    # Shared with copies of the layer for other batches, which go through the same stream.
    packed: dict[tuple, Array] = field(default_factory=dict)
    meetings: Array = field(default_factory=lambda: device.to_device(np.zeros(MEETINGS, np.uint32)))  # barrier.py

    @property
    def record(self) -> Spec:
        return spec(self.cell)

    @property
    def networks(self) -> int:
        return int(self.parameters[1].shape[0])

    @property
    def per(self) -> int:
        """Sequences of each network."""
        return self.batch // self.networks

    @property
    def inputs(self) -> int:
        return int(self.parameters[0].shape[2])

    @property
    def units(self) -> int:
        return int(self.parameters[1].shape[2])

    @property
    def size(self) -> int:
        """Numbers from one row of the states to the next."""
        return int(self.states.shape[2])

    @property
    def sends(self) -> tuple[int, int]:
        """Where what is sent begins, and from one row of it to the next."""
        return (0, self.units) if self.record.emits else (self.offset, self.size)

    @cached_property
    def fields(self) -> Any:
        """The cell with its hyper-parameters in the precision of the computation."""
        cls: Any = type(self.cell)
        return cls(*(self.states.dtype.type(value) for value in self.cell))

    def weights(self, plan: plans.Plan, transposed: bool = False) -> Array:
        """W_hh packed for a plan, once."""
        key = (plan.lanes, plan.blocks(self.units) * plan.groups * plan.units, transposed)
        if key not in self.packed:
            self.packed[key] = weight_packing.pack(self.parameters[1], self.record.gates, plan, transposed)
        return self.packed[key]

    def plan(self, name: str, copies: int = 1) -> plans.Plan:
        """The cut of a kernel of loops.py for this layer."""
        gates, columns = build.shape(type(self.cell), name, self.units)
        itemsize = self.states.dtype.itemsize
        rows, room = self.per * copies, (device.multiprocessors(), device.clusters())
        found = plans.plan(self.units, gates, columns, rows, self.networks, itemsize, *room)
        if found is None:
            raise ValueError(
                f"hidden_size={self.units} with {spec(self.cell).gates} gates is more than the GPU's kernels hold for "
                f'{self.record.name}; take fewer, or the CPU: net.to("cpu")'
            )
        return found

    def apart(self, start: int, alive: Array) -> "Layer":
        """The layer with the rows (t, b) from step `start` on as a batch of a single step, of one network; alive: 1,
        and 0 after a sequence's end."""
        first = start * self.batch
        whole = {"states": self.states[start:], "saved": self.saved[first * self.record.saved * self.units :]}
        given = {"x": self.x[first * self.x_row :], "sent": self.sent[first * self.sends[1] :]}
        return replace(self, steps=1, batch=int(alive.shape[0]), lengths=alive, step_rows=self.batch, **whole, **given)

    def saved_by_unit(self, start: int, stop: int) -> tuple[np.ndarray, ...]:
        """What the steps start ... stop-1 saved, as the cell's K numbers of each unit: K arrays (stop-start, B, N),
        in NumPy."""
        kept, step = self.record.saved, self.batch * self.record.saved * self.units
        saved = device.to_host(self.saved[start * step : stop * step]) if kept else np.empty(0, self.states.dtype)
        return tuple(np.moveaxis(saved.reshape(stop - start, self.batch, kept, self.units), 2, 0))

    def sent_at_all_times(self) -> Array:
        """What the layer sends, (T+1, B, N), a view."""
        e, row = self.sends
        return device.shaped(self.sent, (self.steps + 1, self.batch, row))[:, :, e : e + self.units]

    def output(self) -> Array:
        """What the layer sends after each step, (T, B, N), a view."""
        e, row = self.sends
        if not self.steps * self.batch:  # where Numba's views have other shapes than NumPy's
            return device.empty((self.steps, self.batch, self.units), self.states.dtype)
        whole = device.shaped(self.sent, (self.steps + 1, self.batch, row))
        return (whole[:-1] if self.reverse else whole[1:])[:, :, e : e + self.units]

    def run(self, name: str, given: tuple, shape: tuple, copies: int, plan: plans.Plan) -> None:
        """Launch a kernel of loops.py, on as many rows at a time as the device holds where blocks meet."""
        cls: Any = type(self.cell)
        vector = 16 // self.states.dtype.itemsize
        aligned = all(number % vector == 0 for number in (self.units, *self.sends))
        far = any(array.size >= NEAR for array in given)
        kernel = build.kernel(cls, self.states.dtype, name, self.units, plan, aligned, far)
        blocks, groups = plan.blocks(self.units), self.networks * -(-self.per * copies // plan.rows)
        together = MOST_BLOCKS
        if not (plan.alone or plan.cluster):
            example = (self.fields, *given, self.meetings, (*shape, 0))
            together = min(MEETINGS, device.blocks_at_once(kernel, plan.threads, example) // blocks)
            if not together:
                raise ValueError(
                    f"hidden_size={self.units} needs {blocks} blocks at once, more than this GPU holds; take fewer "
                    'units, or the CPU: net.to("cpu")'
                )
        for first in range(0, groups, together):
            grid = (blocks, min(together, groups - first), 1)
            device.launch(kernel, grid, plan.threads, (self.fields, *given, self.meetings, (*shape, first)))


MOST_BLOCKS = 65535  # in the second dimension of a grid
NEAR = 2**32  # numbers in an array whose places are counted in 32 bits
MEETINGS = 1024  # rows of a grid whose blocks meet, at most


def unroll(
    cell: Any,
    parameters: tuple[Array, Array, Array, Array],
    x: Array,
    states: Array,
    offset: int,
    lengths: Array,
    reverse: bool,
) -> Layer:
    """Run one layer over x (T, B, I), from the states that stand at its first time, and fill in the others."""
    steps, batch, _ = x.shape
    flat, row = device.rows(x)
    record, units, dtype = spec(cell), int(parameters[1].shape[2]), states.dtype
    own = device.shaped(states, (-1,))
    sent = device.empty((steps + 1) * batch * units, dtype) if record.emits else own
    saved = device.empty(max(1, steps * batch * record.saved * units), dtype)
    layer = Layer(cell, parameters, flat, row, steps, batch, states, offset, lengths, reverse, sent, saved)
    if steps and batch:
        w_ih, _, b_ih, b_hh = parameters
        xs = projections.input_part(flat, row, w_ih, b_ih, steps, batch)
        plan = layer.plan("unroll")
        shape = (steps, batch, layer.per, offset, layer.size, *layer.sends, int(reverse))
        layer.run("unroll", (xs, layer.weights(plan), b_hh.reshape(-1), own, sent, saved, lengths), shape, 1, plan)
    return layer


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

    Arguments as in cpu.py; `carry` is overwritten.
    """
    stop = layer.steps if stop is None else stop
    record, units, dtype, M = layer.record, layer.units, layer.states.dtype, layer.batch * copies
    steps, gates = stop - start, record.gates
    kept = to_weights or to_input
    slots = max(1, steps if kept else min(2, steps))
    dr = device.empty(slots * M * gates * units, dtype)
    dx = dr if record.shared or not kept else device.empty(slots * M * gates * units, dtype)
    if steps and M:
        g, g_row = (carry.reshape(-1), 0) if grad_output is None else device.rows(grad_output)
        o, o_row = (g, 0) if grad_states is None else (grad_states.reshape(-1), int(grad_states.shape[2]))
        to_states = 0 if grad_states is None else 1 + apart
        plan = layer.plan("backprop", copies)
        weights = layer.weights(plan, transposed=True)
        flags = (int(layer.reverse), int(grad_output is not None), to_states, int(kept))
        s_step = layer.step_rows or layer.batch
        places = (layer.offset, layer.size, s_step, 0, g_row, layer.offset, o_row)
        shape = (start, stop, layer.batch, copies, layer.per, *places, *flags)
        given = (weights, layer.states.reshape(-1), layer.saved, g, o, carry.reshape(-1), dx, dr, layer.lengths)
        layer.run("backprop", given, shape, copies, plan)
    elif grad_states is not None:
        for t in range(steps + 1):
            arrays.move(grad_states[t][:, layer.offset : layer.offset + int(carry.shape[1])], carry)
    grads = projections.weight_gradients(layer, dx, dr, start, stop) if to_weights else None
    grad_x = projections.input_gradients(layer, dx, steps, copies) if to_input else None
    return Back(grads, grad_x, carry)


def tangent(
    layer: Layer, v: Array, vx: Array | None = None, *, start: int, stop: int, copies: int, to_output: bool = False
) -> tuple[Array, Array | None]:
    """Perturbations v (B*copies, S*N) of states[start], and vx (stop-start, B*copies, I) of x, taken to states[stop].

    Returns v, overwritten, and, if asked, the perturbations of what the layer sends, (stop-start, B*copies, N).
    """
    units, dtype, M, steps = layer.units, layer.states.dtype, layer.batch * copies, stop - start
    out = device.empty((max(1, steps), M, units) if to_output else (1, 1, 1), dtype)
    if steps and M:
        sends = device.empty(2 * M * units, dtype)
        xs = sends
        if vx is not None:
            flat, row = device.rows(vx)
            xs = projections.input_part(flat, row, layer.parameters[0], None, steps, M)
        plan = layer.plan("tangent", copies)
        weights = layer.weights(plan)
        flags = (int(vx is not None), int(to_output))
        shape = (start, stop, layer.batch, copies, layer.per, layer.offset, layer.size, *flags)
        states = layer.states.reshape(-1)
        given = (weights, xs, states, layer.saved, v.reshape(-1), sends, out.reshape(-1), layer.lengths)
        layer.run("tangent", given, shape, copies, plan)
    return v, out[:steps] if to_output else None


def sent_back(layer: Layer, g: Array, t: int = 0) -> Array:
    """What the gradient g (1, M, N) of what the layer sends after step t brings into its states then, (M, S*N)."""
    units = layer.record.states * layer.units
    states = device.empty((2, layer.batch, layer.size), layer.states.dtype)
    nothing = arrays.zeros((layer.batch, units), layer.states.dtype)
    backprop(layer, nothing, g, start=t, stop=t + 1, grad_states=states, to_weights=False, to_input=False)
    return states[1][:, layer.offset : layer.offset + units]


def jacobian(layer: Layer, t: int) -> Array:
    """ds_t/ds_{t-1} of the layer by itself, (B, S*N, S*N)."""
    return jacobians.jacobians(layer, t - 1, t)[0]
