"""One direction of one layer on the CPU, unrolled over its input, and how compiled loops are given it."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ...cells.on_arrays import emitted
from .. import memory
from ..once import once
from . import shares, threads
from .build import FORWARD, Kernels, kernels
from .layer_plan import Plan, plan
from .operands import Masks, Staged
from .panels import pack_backward, pack_forward, taken_up
from .sparse import Pattern
from .unit_numbers import fields

Array = np.ndarray
SUMMED = 1024  # rows, times and sequences, whose weight gradients are summed at once, at most
LARGE = 1 << 20  # bytes of what these sums are made of, or a part of what the run keeps


@dataclass
class Layer:
    """One direction of one layer unrolled over its input: what the way back needs. Weights are packed at first use."""

    cell: Any
    parameters: tuple[Array, ...]  # w_ih (G*N, I), w_hh (W*N, N), b_ih (G*N,), b_hh (R*N,), of the units (N,) each
    x: Array  # flat; row (t, b) begins at x_at + (t*B + b) * x_row
    x_at: int
    x_row: int
    steps: int
    batch: int
    states: Array  # (T+1, B, size)
    offset: int
    lengths: Array
    reverse: bool
    sent: Array  # (T+1, B, E*N): what the units send, a view of the states where it is the first of them
    kept: Array | None  # what the steps saved, see there; None after a scan, which keeps nothing
    staged: Array | None  # (T, B, A*N): the signals of the stage, where there is one
    pattern: Pattern | None = None  # of the recurrent weights, where few are there
    masks: Masks | None = None  # of (T, B, S*N), likewise, and (B, E*N); `sent` then is what W_hh hears
    whole: int | None = None  # steps of the run that the layer is of, where it is of some of them, or of none
    like: "Layer | None" = None  # one of the same run and weights, which keeps them packed
    networks: ClassVar[int] = 1

    @once
    def saved(self) -> Array:
        """What the steps saved, flat (T, P, B, K*BLOCK): what is saved together lies together."""
        return self._saved_again() if self.kept is None else self.kept

    @once
    def kernels(self) -> Kernels:
        return kernels(self.cell, self.states.dtype, self.pattern is not None, self.masks is not None)

    @once
    def plan(self) -> Plan:
        kernel, inputs, units = self.kernels, self.parameters[0].shape[1], self.parameters[1].shape[1]
        at = self.x_at, self.x_row, self.offset, self.states.shape[2]
        return plan(kernel, self.steps, self.batch, inputs, units, *at, self.reverse)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is compiled, which is of this process, and without views, of which there would be copies."""
        return {name: value for name, value in vars(self).items() if name not in ("kernels", "plan", "given")}

    @once
    def fields(self) -> Array:
        """The cell's hyper-parameters and the units' parameters in the precision of the computation."""
        return fields(self.kernels, self.cell, self.parameters)

    @once
    def padded(self) -> bool:
        """Whether any sequence ends early."""
        return bool((self.lengths < self.steps).any())

    @property
    def inputs(self) -> int:
        return self.parameters[0].shape[1]

    @property
    def units(self) -> int:
        return self.parameters[1].shape[1]

    @property
    def held(self) -> int:
        """Bytes that the whole run keeps of the layer's steps, and of all states."""
        steps, size = self.whole or self.steps, self.states.shape[2] if self.like is None else self.like.states.shape[2]
        return self.batch * (steps * self.plan.kept + (steps + 1) * size) * self.states.itemsize

    def summed(self, rows: int, steps: int) -> int:
        """How many of the steps, of so many rows each, have their weight gradients summed at once."""
        one, rows = max(1, rows * self.plan.back_bytes), max(1, rows)
        if 0 < steps <= SUMMED // rows and steps * one <= LARGE:
            return steps
        return max(1, min(steps, max(LARGE, self.held // 16) // one, -(-SUMMED // rows)))

    @once
    def packed_forward(self) -> tuple[Array, ...]:
        if self.like is not None:
            return self.like.packed_forward
        return pack_forward(self.kernels, self.parameters, self.pattern)

    @once
    def packed_backward(self) -> tuple[Array, ...]:
        if self.like is not None:
            return self.like.packed_backward
        return pack_backward(self.kernels, self.parameters, self.pattern)

    def unpack(self) -> None:
        """Let go of the packed weights; they are packed again at the next use."""
        self.__dict__.pop("packed_forward", None)
        self.__dict__.pop("packed_backward", None)

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
        e = record.signals * n
        sent = memory.empty((2, rows, e), states.dtype) if shape.emits else states[:, :, own][:, :, :e]
        for side, times in enumerate((slice(start, stop), slice(start + 1, stop + 1))):
            states[side, :, own] = self.states[times, :, own].reshape(rows, record.states * n)
            if shape.emits:
                sent[side] = self.sent[times].reshape(rows, e)
        by_panel = (self.steps, -(-n // shape.block), B, record.saved * shape.block)
        saved = np.ascontiguousarray(self.saved.reshape(by_panel)[start:stop].swapaxes(0, 1)).reshape(-1)
        masks, staged = self.masks, self.staged
        if staged is not None:
            staged = staged[start:stop].reshape(1, rows, record.staged * n)
        if masks is not None:
            kept, candidates = (part[start:stop].reshape(1, rows, -1) for part in (masks.kept, masks.candidates))
            masks = Masks(kept, candidates, np.tile(masks.heard, (stop - start, 1)))
        return replace(
            self, x_at=self.x_at + start * B * self.x_row, steps=1, batch=rows, states=states, lengths=alive,
            sent=sent, kept=saved, masks=masks, staged=staged,
        )  # fmt: skip

    def take(self, source: tuple[Array, ...]) -> None:
        """Make the weights and biases copies of these."""
        for own, values in zip(self.parameters[: len(source)], source, strict=True):
            own[...] = values

    def fill(self, source: tuple[Array, ...] | None = None) -> None:
        """Run the layer, from the states that stand at its first time, and fill in all else. source: the weights and
        biases of which the layer's are to become copies."""
        kernel, own = self.kernels, self.plan
        something = bool(self.steps and self.batch)
        room = own.room_forward if something and self.like is None else None  # for the loop, which copies and packs
        if source is not None and room is None:
            self.take(source)
        if not something:
            return
        beside: tuple = ()
        if room is not None:
            packed, ours = taken_up(room, kernel.dtype), self.parameters[:4]
            unpacked, packs = (ours + ours, 1) if source is None else (source + ours, 2)
        else:
            unpacked, packs = kernel.packed_already, 0
            packed = pack_forward(kernel, self.parameters, self.pattern) if self.like is None else self.packed_forward
            beside = () if self.pattern is None else self.lists()
            if self.staged is not None:
                beside = Staged(self.staged.reshape(-1), *packed[4:])[:]
        known, x, sent, _ = self.given
        addresses, size = kernel.addresses(*FORWARD), (*own.forward, packs)
        arguments = (addresses, packed[:4], unpacked, known, x, sent, beside, size)
        threads.run(kernel.unroll, arguments, *shares.of_steps(*own.divided))

    def _saved_again(self) -> Array:
        """The same from the states, every row (t, b) a sequence of one step; of a layer without stages."""
        record, shape, n, T = self.kernels.record, self.kernels.shape, self.units, self.steps
        rows = T * self.batch
        own, panels = slice(self.offset, self.offset + record.states * n), -(-n // shape.block)
        states = memory.empty((2, rows, self.states.shape[2]), self.states.dtype)
        before = self.states[1:] if self.reverse else self.states[:-1]
        states[0, :, own] = before[:, :, own].reshape(rows, record.states * n)
        e = record.signals * n
        sent = memory.empty((2, rows, e), states.dtype) if record.emits else states[:, :, own][:, :, :e]
        alive = (np.arange(T)[:, None] < self.lengths).astype(np.int64).reshape(-1)
        kept = memory.empty(rows * panels * record.saved * shape.block, states.dtype)
        replace(self, steps=1, batch=rows, states=states, lengths=alive, reverse=False, sent=sent, kept=kept).fill()
        return np.ascontiguousarray(kept.reshape(panels, T, -1).swapaxes(0, 1)).reshape(-1)

    def output(self) -> Array:
        """What the layer sends after each step, (T, B, N), a view."""
        sent = self.sent if self.masks is None else self.sent_at_all_times()
        return sent[:-1, :, : self.plan.units] if self.reverse else sent[1:, :, : self.plan.units]

    def sent_at_all_times(self) -> Array:
        """What the layer above hears, (T+1, B, N)."""
        if self.masks is None:
            return self.sent[:, :, : self.units]
        if not self.kernels.record.emits:
            return self.states[:, :, self.offset : self.offset + self.units]
        return self._emitted

    @once
    def _emitted(self) -> Array:
        """What the units send, (T+1, B, N), before any mask."""
        n, own = self.units, self.states[:, :, self.offset :]
        with np.errstate(all="ignore"):
            return emitted(self.cell, tuple(own[:, :, k * n : (k + 1) * n] for k in range(self.kernels.record.states)))[
                0
            ]

    @once
    def given(self) -> tuple[tuple[Array, ...], Array, Array, tuple[int, ...]]:
        """What compiled loops read of the layer: what is known of its steps, x, what it sends, and their places."""
        states, sent = self.sending()
        saved = self.saved if self.kept is None else self.kept
        known: tuple = (self.fields, states, saved, self.lengths)  # of operands.Steps
        if self.masks is not None:
            known += tuple(part.reshape(-1) for part in self.masks)
        return known, self.x, sent, self.plan.places

    def sending(self) -> tuple[Array, Array]:
        """The states and what the layer sends, flat."""
        states = self.states.reshape(-1)
        return states, self.sent.reshape(-1) if self.kernels.shape.emits else states

    def lists(self, back: bool = False) -> tuple[Array, ...]:
        """What loops take beside the rest where few weights are there: indices and ends of their lists."""
        if self.pattern is None:
            return ()
        forward, backward = self.pattern.lists(self.kernels.shape)
        own = forward.rows, forward.ends
        return (backward.rows, backward.ends, *own, forward.place) if back else own

    def shares(self, rows: int, steps: int, back: bool = False) -> shares.Shares:
        """A pass of so many rows divided among threads; back: whether gradients of weights or input are made."""
        return shares.of_steps(steps, rows, *self.plan.divided[2:], back)  # type: ignore[call-arg]
