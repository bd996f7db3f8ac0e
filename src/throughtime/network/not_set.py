"""What to write in place of setting an attribute of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..refuse import words

ARGUMENTS = (
    "cell", "input_size", "hidden_size", "num_layers", "bidirectional", "bias", "layer_norm", "batch_first", "dtype",
    "init", "parametrise", "seed", "device",
)  # fmt: skip
FOLLOWING = (
    "cells", "hidden_sizes", "unit_states", "num_directions", "state_size", "shapes", "weight_shapes",
    "networks", "stacked", "axes",
)  # fmt: skip


def advice(network: Any, name: str, defined: Sequence[str], own_class: bool) -> str:
    """A sentence; empty for what may be set. defined: the names of the class; own_class: whether it is a user's."""
    if name == "parameters":
        return ""
    if name in network.shapes:
        return f'The parameters are in a dict: write `net.parameters["{name}"][...] = …`, not `net.{name} = …`.'
    if name in ARGUMENTS:
        return (
            f"`net.{name}` says what the network is, and setting it would change nothing; make another, "
            f"`tt.Network(…, {name}=…)`."
        )
    if name in defined or name in FOLLOWING:
        return f"`net.{name}` follows from the arguments of `tt.Network`; it cannot be set."
    if own_class:  # which has attributes of its own
        return ""
    near = words.ATTRIBUTES.get(name) or words.near(name, [*network.shapes, *ARGUMENTS, *dir(network)])
    return f"A network has no attribute `{name}` to set{near and '; ' + near}."
