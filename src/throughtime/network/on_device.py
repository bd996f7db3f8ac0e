"""Several networks of one shape on the GPU, as one."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import engine
from ..refuse import in_place


def together(members: Sequence[Any], axes: Mapping[str, list] | None) -> Any:
    """Networks of one shape on the GPU as one, whose parameters have a leading axis for them; `axes` are those of the
    ensemble. One alone, without axes, has no such axis."""
    arrays, stacked = engine.of("cuda").arrays, axes is not None
    arrays.require()
    if members[0].layer_norm:
        raise ValueError(
            "`layer_norm` works on the CPU, and this network is to go to the GPU: leave it there, or make it without."
        )
    for network in members:
        in_place.parameters(network.parameters, network.shapes, network.dtype)
    made, first = copy.copy(members[0]), members[0]
    for network in members:
        if network.parametrise != first.parametrise:
            raise ValueError(
                "Networks that run together on the GPU have one way of making weights, and `parametrise` is "
                f"{first.parametrise} of one and {network.parametrise} of another: leave the ensemble on the CPU, or "
                "take one for each."
            )
        if network.cells != first.cells:
            raise ValueError(
                "Networks that run together on the GPU share their cells, fields and all, and these have "
                f"{first.cell!r} and {network.cell!r}: leave the ensemble on the CPU, or take one for each."
            )
    held = {}
    for name in first.shapes:
        each = [network.parameters[name] for network in members]
        held[name] = arrays.from_host(np.stack(each) if stacked else np.asarray(each[0]))
    made.__dict__.update(device="cuda", networks=len(members), stacked=stacked, axes=axes, parameters=held)
    return made
