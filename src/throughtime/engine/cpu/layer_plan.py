"""What follows from the sizes of a layer and a run alone: worked out once, and taken by all passes of these sizes.

Of a small network a pass forward and back took longer in Python than in its loops; what is not worked out anew, and
what is handed on as one plain tuple, is time saved for each of them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from ..sizes import Forward, Places
from .build import Kernels
from .panels import Room, room_backward, room_forward


class Plan(NamedTuple):
    """Counts of numbers, where nothing else is said; on the way back a row is a cotangent of a sequence at a time."""

    inputs: int
    units: int
    signals: int  # numbers that are sent at a time
    kept: int  # numbers that a step saves of a sequence
    staged: int
    most: int  # bytes of the largest array that a pass forward makes
    places: tuple[int, ...]
    forward: tuple[Any, ...]  # without `packs`
    divided: Any  # what shares.of_steps takes of a pass forward
    back: tuple[int, ...]  # numbers of dr, of dx where that is another array, of da and of dq, ...
    rows: int  # the most of these
    back_bytes: int  # ... and bytes of all, without the room between rows
    beside: bool  # whether loops take more arrays than a plain cell's
    room_forward: Room | None  # for weights that loops pack themselves
    room_backward: Room | None


@lru_cache(maxsize=1024)
def plan(
    kernel: Kernels, steps: int, batch: int, inputs: int, units: int, x_at: int, x_row: int, offset: int, row: int,
    reverse: bool,
) -> Plan:  # fmt: skip
    """Of a layer of `kernel` whose states begin at `offset` in rows of `row` numbers."""
    shape, record, itemsize = kernel.shape, kernel.record, kernel.dtype.itemsize
    panels, signals = -(-units // shape.block), record.signals * units
    e_at, e_row = (0, signals) if shape.emits else (offset, row)
    places = Places(x_at=x_at, x_row=x_row, s_at=offset, s_row=row, e_at=e_at, e_row=e_row)[:]
    forward = Forward(steps, batch, inputs, units, places, int(reverse), packs=0)
    per_row = units * (len(record.blocks) * units + record.gates * inputs)
    handed = (inputs + record.states * units) * itemsize
    kept, staged = panels * record.saved * shape.block, record.staged * units
    counts = shape.first, 0 if shape.shared else shape.gates, shape.second, shape.parameters
    numbers, gap = panels * shape.block, shape.back // 2
    rooms = tuple([numbers * n + gap if n else 0 for n in counts])
    return Plan(
        inputs=inputs, units=units, signals=signals, kept=kept, staged=staged,
        most=(steps + 1) * batch * max(kept, staged, signals, record.states * units) * itemsize,
        places=places, forward=forward[:-1],
        # whole panels; where nothing is sent, nobody waits for anybody
        divided=(
            steps, batch, units, per_row, itemsize, shape.back, record.recurrent, record.gates, shape.packs, handed
        ),
        back=rooms, rows=max(rooms), back_bytes=numbers * sum(counts) * itemsize,
        beside=shape.beside,
        room_forward=room_forward(shape, inputs, units) if shape.packs else None,
        room_backward=room_backward(shape, inputs, units) if shape.packs else None,
    )  # fmt: skip
