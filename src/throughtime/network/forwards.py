"""Forward through time: what a run is made of.

Dimensions: T time steps, B sequences.
"""

from __future__ import annotations

from typing import Any

from ..cells.versions import in_force
from ..engine import stack
from ..refuse import checks
from . import handed_in
from .asked import asked_forward, asked_method
from .noise import checked, masks


def forwards(
    network: Any, x: Any, state: Any, lengths: Any, method: Any, noise: Any, checkpoint: Any
) -> dict[str, Any]:
    """The attributes of an `Unrolled`, from the arguments of `network.unroll`; TypeError or ValueError for what does
    not fit."""
    method = None if method is None else asked_method(network, method)
    forward = stack.forward if checkpoint is None else asked_forward(network, checkpoint)
    if (drawing := () if noise is None else checked(noise)) and method == "scan":
        raise ValueError('`noise` goes step by step: leave method="scan" out.')
    if network.device == "cpu":
        return _attributes(network, x, state, lengths, "loop" if drawing else method, drawing, forward, 0)
    arrays = network.engine.arrays
    stream = arrays.stream_of(x)
    with arrays.on(stream):
        return _attributes(network, x, state, lengths, method, drawing, forward, stream)


def _attributes(
    network: Any, x: Any, state: Any, lengths: Any, method: Any, drawing: Any, forward: Any, stream: Any
) -> dict[str, Any]:
    own, had_batch = handed_in.sequence(x, network, own=lengths is not None)
    T, B, _ = own.shape
    ends = None
    if lengths is not None:
        ends = checks.lengths(handed_in.lengths_of_all(lengths, network, B), T, B)
    if ends is not None:  # padding is never seen: NaN there would reach a weight's gradient as 0 * NaN
        arrays = network.engine.arrays
        arrays.pad(own, arrays.from_host(ends))
    initial = handed_in.state("state", state, network, B, had_batch)
    followed, patterns = (network.followed(), network.patterns()) if network._assignment else ({}, None)
    parameters, source = network.copies(forward is stack.forward)
    made, sent = forward(
        network.device, list(map(in_force, network.cells)), parameters, own, initial, ends,
        network.norms() if network.layer_norm else (), patterns, method,
        masks(drawing, network, int(T), int(B)) if drawing else None, **({} if source is None else {"source": source}),
    )  # fmt: skip
    return {
        "network": network, "stream": stream, "input": own, "lengths": ends, "_had_batch": had_batch,
        "_followed": followed, "_stack": made, "_sent": sent,
    }  # fmt: skip
