"""What follows from the sizes of a layer and a run alone: worked out once, and taken by all passes of these sizes.

Of a small network a pass forward and back took longer in Python than in its loops; what is not worked out anew, and
what is handed on as one plain tuple, is time saved for each of them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from ..sizes import Forward, Places
from .build import Kernels


class Plan(NamedTuple):
    """Counts of numbers, where nothing else is said; on the way back a row is a cotangent of a sequence at a time."""

    inputs: int
    units: int
    signals: int  # numbers that are sent at a time
    kept: int  # numbers that a step saves of a sequence
    staged: int
    most: int  # bytes of the largest array that a pass forward makes
    places: tuple[int, ...]
    forward: tuple[Any, ...]
    divided: Any  # what shares.of_steps takes of a pass forward
    back: tuple[int, ...]  # numbers of dr, of dx where that is another array, of da and of dq, ...
    rows: int  # the most of these
    back_bytes: int  # ... and bytes of all, without the room between rows
    beside: bool  # whether loops take more arrays than a plain cell's


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
    forward = Forward(steps=steps, batch=batch, inputs=inputs, units=units, places=places, reverse=int(reverse))
    per_row = units * (len(record.blocks) * units + record.gates * inputs)
    kept, staged = panels * record.saved * shape.block, record.staged * units
    counts = shape.first, 0 if shape.shared else shape.gates, shape.second, shape.parameters
    numbers, gap = panels * shape.block, shape.back // 2
    rooms = tuple([numbers * n + gap if n else 0 for n in counts])
    return Plan(
        inputs=inputs, units=units, signals=signals, kept=kept, staged=staged,
        most=(steps + 1) * batch * max(kept, staged, signals, record.states * units) * itemsize,
        places=places, forward=forward[:],
        # whole panels; where nothing is sent, nobody waits for anybody
        divided=(steps, batch, units, per_row, itemsize, shape.back, record.recurrent, record.gates),
        back=rooms, rows=max(rooms), back_bytes=numbers * sum(counts) * itemsize,
        beside=shape.beside,
    )  # fmt: skip
