"""The Jacobians of the steps of a run one after another, worked out many at a time."""

from collections.abc import Iterator
from typing import Any

from ...results import Array

AT_ONCE = 1 << 22  # bytes of them, which stay in the cache: more are slower for an LSTM of 64 units


def in_order(run: Any, start: int, stop: int, back: bool = False) -> Iterator[Array]:
    """ds_{t+1}/ds_t (B, S, S) for t = start … stop−1, or backwards, from stop−1 to start."""
    batch, size = run.states.shape[1:]
    each = max(1, AT_ONCE // max(1, batch * size * size * run.states.dtype.itemsize))
    edges = range(start, stop, each)
    for a in reversed(edges) if back else edges:
        found = run.jacobians(a, min(a + each, stop))
        yield from found[::-1] if back else found
