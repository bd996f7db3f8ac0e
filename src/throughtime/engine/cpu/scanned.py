"""Passes over a layer whose step is linear in the state, by pieces of time (scan.py): where they pay, and made ready.

Dimensions as in scan.py.
"""

from functools import cache
from typing import Any

import numpy as np

from ...cells.linear import is_linear
from ...jit import named_in, specialise
from .. import memory
from ..sizes import Scan, ScanBack, Share
from . import lanes_of_time, scan, threads
from .build import Kernels
from .machine import now
from .matmul import addresses
from .operands import Addresses
from .register_tile import lanes
from .shape import Shape
from .shares import pays

Array = np.ndarray
LONGEST = 64  # steps of a piece
ELEMENT = 600  # multiply-adds of a product that take as long as the scan of one number
SLOTS = 16  # places for the sums over sections, and the largest team: a place is one thread's


def chosen(kernel: Kernels, method: str | None, steps: int, units: int) -> bool:
    """Whether a layer is scanned: as asked, or where it is faster; ValueError where it cannot be."""
    record = kernel.record
    if method == "loop" or (method is None and (record.recurrent or not _pays(kernel, steps, units))):
        return False
    possible = not record.recurrent and is_linear(record.cls)
    if method == "scan" and not possible:
        why = (
            f"the units of {record.name} hear each other through W_hh"
            if record.recurrent
            else f"that of {record.name} is not, as far as its code shows: what `backward` returns for s comes from s "
            "or s_next, or what `forward` saves comes from s"
        )
        raise ValueError(
            'method="scan" takes pieces of time side by side, for cells that send nothing and whose step is linear in '
            f'the state (min_gru, min_lstm, lru); {why}. Leave `method` out, or write method="loop".'
        )
    return possible


def _pays(kernel: Kernels, steps: int, units: int) -> bool:
    """Whether it is faster than step by step, by what each costs.

    Measured for min_gru of two inputs in float32, one thread, nanoseconds per step of a sequence: the loop 31 forward
    and 90 back for each panel of 32 units, however many there are; the scan 5 and 4 more for each unit, 8 and 20 back.
    """
    return steps >= 256 and units * 6 <= 31 * -(-units // kernel.shape.block)


@cache
def loop(shape: Shape, name: str) -> Any:
    """A function of scan.py or lanes_of_time.py, compiled for a shape."""
    function: Any = getattr(lanes_of_time, name, None) or getattr(scan, name)
    names = _constants(shape)
    called = set(function.__code__.co_names)
    parts = {part for part in ("inputs_of", "compose", "onward", "together", "spread", "step_lanes") if part in called}
    used = named_in(function, names) | {part: loop(shape, part) for part in parts if part != name}
    return specialise(function, shape.name, **used)


def _constants(shape: Shape) -> dict[str, Any]:
    """The upper-case names of both files; work has room for three pieces, what one step or many do, behind its end."""
    S, found = shape.states, shape.constants
    piece, end = S * (S + 1) * shape.block, found["END"]
    sizes = {"COEF": S * (S + 1), "PIECE": piece, "MATRIX": S * S * shape.block, "COLUMN": S * shape.block}
    return (
        found
        | sizes
        | {"STEP": end, "NOW": end + piece, "THEN": end + 2 * piece, "ROOM": end + 3 * piece, "SLOTS": SLOTS}
    )


def cut(shape: Shape, steps: int) -> tuple[int, int]:
    """(the length of a piece, the number of sections)."""
    length = max(1, min(LONGEST, -(-steps // shape.block)))
    return length, -(-steps // (length * shape.block))


def team(items: int, work: int) -> tuple[list[tuple], tuple]:
    """Shares for so many sections, `work` numbers in all; a power of two, so that a place of SLOTS is always the same
    thread's."""
    most = min(threads.get_num_threads(), items, SLOTS)
    if most > 1 and not pays(ELEMENT * work / (on := now()).rate, most, on):
        most = 1
    count = 1 << max(0, most.bit_length() - 1)
    of = [Share(0, 0, 0, 0, member=k, team=count, lockstep=1)[:] for k in range(count)]
    return of, Share(0, 0, 0, 0, member=0, team=1, lockstep=0)[:]


def fields(layer: Any, kernel: Kernels) -> Array:
    """The fields and parameters of every unit, a panel of equal lanes for each."""
    shape, units = kernel.shape, layer.units
    if not shape.by_unit:
        return layer.fields
    count = shape.fields + shape.parameters
    by_unit = layer.fields.reshape(-1, count, shape.block).swapaxes(1, 2).reshape(-1, count)[:units]
    return np.repeat(by_unit, shape.block, axis=1).reshape(-1)


def _of_products(shape: Shape) -> tuple[int, ...]:
    """The addresses of the product of the weights with a block's lanes of time, and of what packs the weights."""
    vectors = shape.block // lanes(shape.dtype)
    return addresses(vectors, shape.dtype, "product", "strips")


def forward(layer: Any, kernel: Kernels) -> None:
    """Fill the states of a layer, and what it sends."""
    shape, B, T, N = kernel.shape, layer.batch, layer.steps, layer.units
    length, sections = cut(shape, T)
    x, (states, sent), places = layer.x, layer.sending(), layer.plan.places
    size = Scan(T, B, layer.inputs, N, places, int(layer.reverse), length, sections)
    shares, whole = team(B * sections, T * B * N)
    ends = np.empty(2 * len(shares) * N * shape.states * (shape.states + 1), layer.states.dtype)
    blocks = Addresses(*kernel.addresses("affine_block", "emit_block"))
    weights = np.column_stack([layer.parameters[2], layer.parameters[0]]).reshape(-1)
    called = blocks.affine_block, blocks.emit_block, *_of_products(shape)
    arguments = (called, weights, (fields(layer, kernel), states, layer.lengths), x, sent, ends, size[:])
    threads.run(loop(shape, "scan_forward"), arguments, shares, whole)


def backward(
    layer: Any,
    kernel: Kernels,
    carry: Array,
    g: tuple | None,
    grad_states: Array | None,
    apart: bool,
    grad_x: Array | None,
    into: Any,
    each: bool,
    start: int,
    stop: int,
) -> Array:
    """Back from stop to start; returns the gradient of the states there, and fills what is wanted."""
    shape, B, T, N, I = kernel.shape, layer.batch, stop - start, layer.units, layer.inputs
    dtype = layer.states.dtype
    length, sections = cut(shape, T)
    x, (states, _), places = layer.x, layer.sending(), layer.plan.places
    nothing = np.zeros(1, dtype)
    rows = shape.gates * N
    sums = rows * I + rows + shape.parameters * N
    first = np.empty_like(carry)
    to_weights = into is not None and any(own is not None and own.size for own in into)
    groups = B if each else 1
    parts = memory.zeros(groups * SLOTS * sums if to_weights else 1, dtype)
    out, g_at, g_row = g or (nothing, 0, 0)
    o, o_row = (nothing, 0) if grad_states is None else (grad_states.reshape(-1), grad_states.shape[2])
    size = ScanBack(
        start, stop, B, I, N, places, g_at, g_row, layer.offset, o_row, int(layer.reverse), length, sections,
        int(g is not None), 0 if grad_states is None else 1 + apart, int(grad_x is not None), int(to_weights),
        int(each),
    )  # fmt: skip
    shares, whole = team(B * sections, T * B * N)
    ends = np.empty(2 * len(shares) * N * shape.states * (shape.states + 1), dtype)
    blocks = Addresses(*kernel.addresses("affine_block", "backward_block", "slope_block"))
    weights = np.column_stack([layer.parameters[2], layer.parameters[0]]).reshape(-1)
    gradient = (out, o, nothing if grad_x is None else grad_x.reshape(-1), parts, carry.reshape(-1), first.reshape(-1))
    called = blocks.affine_block, blocks.backward_block, blocks.slope_block, *_of_products(shape)
    arguments = (
        called, weights, (fields(layer, kernel), states, layer.lengths), x, gradient, ends, size[:],
    )  # fmt: skip
    threads.run(loop(shape, "scan_backward"), arguments, shares, whole)
    if grad_states is not None:
        time = stop - start if layer.reverse else 0
        grad_states[time, :, layer.offset : layer.offset + carry.shape[1]] = first
    if to_weights:
        total = parts.reshape(groups, SLOTS, sums).sum(axis=1)
        pieces = np.split(total, np.cumsum([rows * I, rows] + [N] * shape.parameters)[:-1], axis=1)
        for own, piece in zip((into[0], into[2], *into[4:]), pieces, strict=True):
            if own is not None and own.size:
                own += piece.reshape(own.shape)
    return first
