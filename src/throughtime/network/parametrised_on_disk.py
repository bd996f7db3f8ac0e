"""What a file says of parametrisations: names and numbers in its header, patterns and fixed matrices as arrays.

    "parametrise": {"weight_hh_l0": {"name": "sparse", "fields": {"pattern": {"array": 0}}}},
    "fixed": [{"shape": [64, 64], "dtype": "bool", "ones": 410}]        and the array fixed.0.npy

Shapes of parameters follow from shape and count of a pattern, so that a reader knows them before it reads an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import parametrise
from ..refuse import arguments
from . import archive

Array = np.ndarray


def told(network: Any, fixed: list[Array]) -> dict[str, Any]:
    """What a header says of a network's parametrisations; their arrays come into the list, each once."""

    def said(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        place = next((k for k, known in enumerate(fixed) if known is value), len(fixed))
        fixed[place:] = fixed[place:] or [value]
        return {"array": place}

    if not network.parametrise:
        return {}
    ways = {
        name: {"name": way.name, "fields": {key: said(value) for key, value in way.fields().items()}}
        for name, way in network.parametrise.items()
    }
    return {"parametrise": ways}


def announced(fixed: Sequence[Array]) -> dict[str, Any]:
    """What a header says of these arrays; nothing where there are none."""
    each = [
        {"shape": list(value.shape), "dtype": value.dtype.name, "ones": int(np.count_nonzero(value))} for value in fixed
    ]
    return {"fixed": each} if each else {}


def named(fixed: Sequence[Array]) -> dict[str, Array]:
    """The arrays by the names that they have in the file."""
    return {f"fixed.{k}": value for k, value in enumerate(fixed)}


def layout(header: archive.Header) -> archive.Layout:
    """The arrays of which a header says that they are there."""
    return {name: (value.shape, value.dtype) for name, value in named(stand_ins(header)).items()}


def stand_ins(header: archive.Header) -> list[Array]:
    """Arrays of these shapes and counts, in whose place the right ones come once they are read."""
    try:
        return [_stand_in(said) for said in header.get("fixed", [])]
    except (KeyError, TypeError, ValueError) as error:
        words = f"has a header that does not describe its patterns ({type(error).__name__}: {error})."
        raise archive.Refused(words) from error


def _stand_in(said: Any) -> Array:
    shape, dtype = tuple(arguments.step("shape", n, 0) for n in said["shape"]), np.dtype(said["dtype"])
    if dtype.kind != "b":
        return np.ones(shape, dtype)
    found = np.zeros(shape, bool)
    found.reshape(-1)[: arguments.step("ones", said["ones"], 0, found.size)] = True
    return found


def ways(said: Any, fixed: Sequence[Array]) -> dict[str, Any]:
    """The parametrisations of which a header says this; `archive.Refused` for one unknown here."""
    found = {}
    for weights, one in said.items():
        if one["name"] not in parametrise.__all__:
            raise archive.Refused(f'holds weights of the parametrisation "{one["name"]}", which is not known here.')
        fields = {
            key: fixed[value["array"]] if isinstance(value, dict) else value for key, value in one["fields"].items()
        }
        found[weights] = getattr(parametrise, one["name"])(**fields)
    return found
