"""What goes back through layers, and how: all time at once, or a piece of time after another, which takes less memory.

Dimensions: B sequences, I inputs, S numbers of a state; M = B·K rows of K cotangents of each sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Array = Any  # of the machine
PIECES = 16
LARGE = 1 << 22  # bytes of what passes between layers; more goes in pieces, each of which costs a call


@dataclass
class Back:
    """What came back through all layers."""

    carry: Array  # (M, S): the gradient with respect to the states at the first time
    parameters: list[list[Any]]  # of layer k, direction d: those of its parameters in their order, or None
    x: Array | None  # (steps, M, I)
    norms: Sequence[Sequence[Array]] = ()  # of layer k: those of w and b of its normalisation


@dataclass
class Into:
    """Where the gradients of parameters are added: `arrays[k][d]` those of layer k and direction d in their order, None
    where one is not wanted; with `each` they are (B, ...), those of every sequence. norms[k]: of w and b of the
    normalisation of what layer k reads, where there is one."""

    arrays: list[list[tuple[Array | None, ...]]]
    each: bool
    norms: Sequence[Sequence[Array | None]] = ()

    def of(self, k: int, d: int) -> dict[str, Any]:
        """What the engine of a layer is told of them."""
        return {"into": self.arrays[k][d], "each": self.each}


def piece_of(layers: Sequence[Any], rows: int, steps: int, width: int) -> int:
    """The steps that go back at once where (steps, rows, width) numbers pass between layers: whole groups of those
    whose weight gradients are summed at once, so that the sums are those of all steps together."""
    if steps * rows * width * layers[0].states.itemsize < LARGE:
        return steps
    group = max(layer.summed(rows, steps) for layer in layers)
    return -(-steps // (PIECES * group)) * group


def in_pieces(
    through: Callable[..., Any],
    carry: Array,
    g: Array | None,
    grad_states: Array | None,
    x: Array | None,
    *,
    start: int,
    stop: int,
    piece: int,
    onward: bool = False,
    add: bool = False,
) -> Array:
    """`through(carry, g, start=, stop=, grad_states=)` one piece of time after another, from the last or, `onward`,
    from the first; what it gives of x is written, or added, to x (stop-start, M, I). Returns the last carry."""
    low = range(start, stop, piece) if onward else [max(b - piece, start) for b in range(stop, start, -piece)]
    ends = [min(a + piece, stop) for a in low] if onward else range(stop, start, -piece)
    for a, b in zip(low, ends, strict=True):
        here, times = slice(a - start, b - start), slice(a - start, b - start + 1)
        of_g, of_states = None if g is None else g[here], None if grad_states is None else grad_states[times]
        found = through(carry, of_g, start=a, stop=b, grad_states=of_states)
        carry = found.carry
        if x is not None and add:
            x[here] += found.x
        elif x is not None:
            x[here] = found.x
    return carry
