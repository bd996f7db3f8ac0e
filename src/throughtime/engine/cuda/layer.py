"""One direction of one layer on the GPU, and how a pass over it is launched.

Dimensions as in engine/cpu/loops.py, and K networks of one shape: their parameters have a leading axis K, and the batch
holds B = K * per sequences, one network after another.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...cells.base import Spec, spec
from . import device, pass_kernels, plans, weight_packing
from .pass_kernels import Pass

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
    arrivals: Array = field(default_factory=lambda: device.to_device(np.zeros(MOST_ROWS, np.uint32)))  # barrier.py

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

    def plan(self, which: Pass, copies: int = 1) -> plans.Plan:
        """The cut of a pass for this layer."""
        sums, columns = which.product(self.record.gates, self.units)
        itemsize = self.states.dtype.itemsize
        rows, room = self.per * copies, (device.multiprocessors(), device.clusters())
        found = plans.plan(self.units, sums, columns, rows, self.networks, itemsize, *room)
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

    def run(self, which: Pass, plan: plans.Plan, arrays: tuple, sizes: Any, copies: int = 1) -> None:
        """Launch a pass on these arrays and sizes, on as many rows at a time as the device holds where blocks meet."""
        cls: Any = type(self.cell)
        vector = 16 // self.states.dtype.itemsize
        aligned = all(number % vector == 0 for number in (self.units, *self.sends))
        far = any(array.size >= NEAR for array in arrays)
        kernel = pass_kernels.kernel(cls, self.states.dtype, which, self.units, plan, aligned, far)
        blocks, groups = plan.blocks(self.units), self.networks * -(-self.per * copies // plan.rows)
        given, numbers, together = (self.fields, *arrays, self.arrivals), sizes[:-1], MOST_BLOCKS
        if not (plan.alone or plan.cluster):
            together = min(MOST_ROWS, device.blocks_at_once(kernel, plan.threads, (*given, (*numbers, 0))) // blocks)
            if not together:
                raise ValueError(
                    f"hidden_size={self.units} needs {blocks} blocks at once, more than this GPU holds; take fewer "
                    'units, or the CPU: net.to("cpu")'
                )
        for first in range(0, groups, together):
            grid = (blocks, min(together, groups - first), 1)
            device.launch(kernel, grid, plan.threads, (*given, (*numbers, first)))


MOST_BLOCKS = 65535  # in the second dimension of a grid
NEAR = 2**32  # numbers in an array whose places are counted in 32 bits
MOST_ROWS = 1024  # of a grid, whose blocks meet row by row
