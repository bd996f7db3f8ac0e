"""One direction of one layer on the GPU, and how a pass over it is launched.

Dimensions as in engine/cpu/loops.py, and K networks of one shape: their parameters have a leading axis K, and the batch
holds B = K * per sequences, one network after another. Signals and parts as in cells/wiring.py.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...cells import array_fields
from ...cells.base import Spec, spec
from . import arrays, compiler, device, pass_kernels, plans, weight_blocks, weight_packing
from .pass_kernels import Pass
from .shared import share, taken

Array = Any  # of the device


@dataclass
class Layer:
    """One direction of one layer unrolled over its input: what the way back needs. Weights are packed at first use."""

    cell: Any
    # w_ih (K, G*N, I), w_hh (K, W*N, N) for W blocks, b_ih (K, G*N), b_hh (K, R*N), parameters of units (K, N)
    parameters: tuple[Array, ...]
    x: Array  # flat; row (t, b) begins at (t*B + b) * x_row
    x_row: int
    steps: int
    batch: int
    states: Array  # (T+1, B, size)
    offset: int
    lengths: Array
    reverse: bool
    sent: Array  # flat, (T+1, B, E*N); the states where those are sent
    saved: Array  # flat (T, B, K, N)
    staged: Array | None = None  # flat (T, B, A*N): what the stage of each step sent
    step_rows: int = 0  # rows of the states from one time to the next; 0: the batch
    # Shared with copies of the layer for other batches, which go through the same stream.
    packed: dict[tuple, Array] = field(default_factory=dict)

    @property
    def arrivals(self) -> Array:
        """For barrier.py: the same for all layers of a stream, whose launches come one after another."""
        return device.constant(("arrivals",), lambda: arrays.zeros((MOST_ROWS,), np.uint32))

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
        return (0, self.record.signals * self.units) if self.record.emits else (self.offset, self.size)

    @cached_property
    def per_unit(self) -> bool:
        """Whether the fields of the cell are arrays, a number for each unit."""
        return array_fields.has_arrays(self.cell)

    @cached_property
    def fields(self) -> Any:
        """The cell with its hyper-parameters in the precision of the computation, as cell_parts.py takes it: a pair
        with the numbers of the units where these have some of their own."""
        real, n = self.states.dtype.type, self.units
        own: Any = tuple.__new__(type(self.cell), (real(0 if np.ndim(value) else value) for value in self.cell))
        if not (self.per_unit or self.record.parameters):
            return own
        fields = [np.broadcast_to(np.asarray(value, real), n) for value in self.cell if self.per_unit]
        count, first = len(self.record.parameters), len(fields) * n
        numbers = device.empty(first + self.networks * count * n, real)
        if fields:
            arrays.move(numbers[:first], device.to_device(np.concatenate(fields)))
        for k, parameter in enumerate(self.parameters[4:]):
            there = device.shaped(numbers[first:], (self.networks, count, n))
            arrays.move(there[:, k], parameter)
        return own, numbers

    def weights(self, plan: plans.Plan, transposed: bool = False, stage: bool = False) -> Array:
        """The blocks of W_hh of one product packed for a plan, once."""
        w, record = self.parameters[1], self.record
        key = (plan.lanes, plan.blocks(self.units) * plan.groups * plan.units, transposed, stage)
        found = self.packed.get(key)
        if found is not None:
            return found
        shared, whole = device.made_of(w), (record.blocks, *key)
        if shared is not None and whole in shared:
            found = taken(shared[whole])
        else:
            if record.plain:
                found = weight_packing.pack(w, record.gates, plan, transposed)
            else:
                found = weight_blocks.pack_blocks(w, record, plan, transposed, stage)
            if shared is not None:
                shared[whole] = share(found)
        self.packed[key] = found
        return found

    def plan(self, which: Pass, copies: int = 1) -> plans.Plan:
        """The cut of a pass for this layer."""
        record = self.record
        if not record.recurrent:
            return plans.without_product(self.units)
        (sums, columns), stage = which.products(record, self.units)
        itemsize = self.states.dtype.itemsize
        rows, room = self.per * copies, (device.multiprocessors(), device.clusters())
        found = plans.plan(self.units, sums, columns, rows, self.networks, itemsize, *room, stage)
        if found is None:
            size = f"{record.gates} gates" if record.plain else f"{record.parts} parts of r"
            raise ValueError(
                f"hidden_size={self.units} with {size} is more than the GPU's kernels hold for "
                f'{self.record.name}; take fewer, or the CPU: net.to("cpu")'
            )
        return found

    def apart(self, start: int, alive: Array) -> "Layer":
        """The layer with the rows (t, b) from step `start` on as a batch of a single step, of one network; alive: 1,
        and 0 after a sequence's end."""
        first = start * self.batch
        whole = {"states": self.states[start:], "saved": self.saved[first * self.record.saved * self.units :]}
        given = {"x": self.x[first * self.x_row :], "sent": self.sent[first * self.sends[1] :]}
        if self.staged is not None:
            whole["staged"] = self.staged[first * self.record.staged * self.units :]
        return replace(self, steps=1, batch=int(alive.shape[0]), lengths=alive, step_rows=self.batch, **whole, **given)

    def saved_by_unit(self, start: int, stop: int) -> tuple[np.ndarray, ...]:
        """What the steps start ... stop-1 saved, as the cell's K numbers of each unit: K arrays (stop-start, B, N),
        in NumPy."""
        kept, step = self.record.saved, self.batch * self.record.saved * self.units
        saved = device.to_host(self.saved[start * step : stop * step]) if kept else np.empty(0, self.states.dtype)
        return tuple(np.moveaxis(saved.reshape(stop - start, self.batch, kept, self.units), 2, 0))

    def sent_at_all_times(self) -> Array:
        """What the layer sends to the next one, (T+1, B, N), a view."""
        e, row = self.sends
        return device.shaped(self.sent, (self.steps + 1, self.batch, row))[:, :, e : e + self.units]

    def output(self) -> Array:
        """The same after each step, (T, B, N), a view."""
        e, row = self.sends
        if not self.steps * self.batch:  # where Numba's views have other shapes than NumPy's
            return device.empty((self.steps, self.batch, self.units), self.states.dtype)
        whole = device.shaped(self.sent, (self.steps + 1, self.batch, row))
        return (whole[:-1] if self.reverse else whole[1:])[:, :, e : e + self.units]

    def run(self, which: Pass, plan: plans.Plan, given: tuple, sizes: Any, copies: int = 1) -> None:
        """Launch a pass on these arrays and sizes, on as many rows at a time as the device holds where blocks meet."""
        cls: Any = type(self.cell)
        vector = 16 // self.states.dtype.itemsize
        aligned = all(number % vector == 0 for number in (self.units, *self.sends))
        flat = [each for array in given for each in (array if isinstance(array, tuple) else (array,))]
        far = any(array.size >= NEAR for array in flat)
        kernel = pass_kernels.kernel(cls, self.states.dtype, which, self.units, plan, aligned, far, self.per_unit)
        blocks, groups = plan.blocks(self.units), self.networks * -(-self.per * copies // plan.rows)
        given, numbers, together = (self.fields, *given, self.arrivals), sizes[:-1], MOST_BLOCKS
        if self.record.recurrent and not (plan.alone or plan.cluster):
            with compiler.in_words(self.record.name):
                at_once = device.blocks_at_once(kernel, plan.threads, (*given, (*numbers, 0)))
            together = min(MOST_ROWS, at_once // blocks)
            if not together:
                raise ValueError(
                    f"hidden_size={self.units} needs {blocks} blocks at once, more than this GPU holds; take fewer "
                    'units, or the CPU: net.to("cpu")'
                )
        for first in range(0, groups, together):
            grid = (blocks, min(together, groups - first), 1)
            with compiler.in_words(self.record.name):
                device.launch(kernel, grid, plan.threads, (*given, (*numbers, first)))


MOST_BLOCKS = 65535  # in the second dimension of a grid
NEAR = 2**32  # numbers in an array whose places are counted in 32 bits
MOST_ROWS = 1024  # of a grid, whose blocks meet row by row
