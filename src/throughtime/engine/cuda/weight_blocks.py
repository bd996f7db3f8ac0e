"""The blocks of W_hh of a cell that is not plain (cells/wiring.py), put together for the products of a step.

The zeros between them are multiplied too: a signal that is not finite makes NaN of all parts, also of those that it
does not feed.
"""

from typing import Any

from ...cells.base import Spec
from . import arrays, device
from .plans import Plan
from .weight_packing import packed_rows


def pack_blocks(w: Any, record: Spec, plan: Plan, transposed: bool, stage: bool) -> Any:
    """w_hh as a pass reads it (weight_packing.py), for the product of the state's signals, or of the stage's."""
    units, whole = int(w.shape[2]), matrix(w, record, transposed, stage)
    if not blocks(record, stage):
        return whole.reshape(-1)
    return packed_rows(whole, whole.shape[1] // units, units, plan)


def matrix(w: Any, record: Spec, transposed: bool = False, stage: bool = False) -> Any:
    """(K, R0*N, E*N) of w_hh (K, W*N, N): each block where its part's rows and its signal's columns meet, 0 elsewhere;
    of the stage (K, (R-R0)*N, A*N). Transposed: (K, E*N, R0*N), rows for signals. A number where nothing is sent."""
    nets, _, n = (int(length) for length in w.shape)
    signals, parts = (record.staged, record.parts - record.first) if stage else (record.signals, record.first)
    if not parts:
        return arrays.zeros((1, 1, 1), w.dtype)
    down, across = (signals, parts) if transposed else (parts, signals)
    out = arrays.zeros((nets, down * n, across * n), w.dtype)
    for k, signal, part in blocks(record, stage):
        i, j = (signal, part) if transposed else (part, signal)
        block = w[:, k * n : (k + 1) * n]
        arrays.move(
            out[:, i * n : (i + 1) * n, j * n : (j + 1) * n],
            device.transposed(block, (0, 2, 1)) if transposed else block,
        )
    return out


def blocks(record: Spec, stage: bool) -> list[tuple[int, int, int]]:
    """(number of the block in w_hh, signal, part) of one product, whose signals and parts are numbered from 0."""
    E, first = record.signals, record.first
    found = [(k, signal, part) for k, (signal, part) in enumerate(record.blocks) if (signal >= E) == stage]
    return [(k, signal - E, part - first) if stage else (k, signal, part) for k, signal, part in found]
