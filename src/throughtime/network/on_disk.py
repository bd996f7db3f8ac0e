"""What a saved network's header says, and its parameters, in the archive of archive.py.

    "cell": {"name": "throughtime.leaky_tanh", "fields": {"leak": 0.1}},
    "input_size": 8, "hidden_size": 64, "num_layers": 1, "bidirectional": false, "bias": true,
    "batch_first": false, "dtype": "float64"

A field with a value for each unit is a list. The arrays are the parameters, by PyTorch's names and in PyTorch's order.
A cell of the library is throughtime.NAME, a user's own goes by the name of its class.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..cells import CELLS
from ..cells.base import registered
from ..cells.by_name import cell_of
from ..refuse import arguments, in_place
from . import archive, parameters

FORMAT = archive.Format(
    "throughtime.network", 1, "network", "parameter", "Network.save or Model.save", "throughtime.load"
)
SIZES = ("input_size", "hidden_size", "num_layers")
FLAGS = ("bidirectional", "bias", "batch_first")


def write(network: Any, path: Any) -> None:
    """Write a network, whose parameters lie in NumPy's arrays, to `path`."""
    in_place.parameters(network.parameters, network.shapes, network.dtype)
    archive.write(path, FORMAT, described(network), {name: network.parameters[name] for name in network.shapes})


def read(path: Any) -> tuple[dict[str, Any], archive.Arrays]:
    """The keyword arguments of the network in a file, and its parameters."""
    found: dict[str, Any] = {}

    def layout(header: archive.Header, there: list[str]) -> archive.Layout:
        found.update(options(header))
        if found["num_layers"] > len(there):
            raise archive.Refused("lacks parameters: its header speaks of more layers than there are arrays.")
        sizes = {name: value for name, value in found.items() if name not in ("batch_first", "dtype")}
        return {name: (shape, found["dtype"]) for name, shape in parameters.shapes(**sizes).items()}

    _, arrays = archive.read(path, FORMAT, layout)
    return found, arrays


def described(network: Any) -> dict[str, Any]:
    """What a header says of a network."""
    return {
        "cell": {"name": _name(network.cell), "fields": _fields(network.cell)},
        **{name: getattr(network, name) for name in (*SIZES, *FLAGS)},
        "dtype": network.dtype.name,
    }


def options(header: archive.Header) -> dict[str, Any]:
    """The keyword arguments of the network of which a header says this; `archive.Refused` if it says no network."""
    try:
        name, fields = header["cell"]["name"], dict(header["cell"]["fields"])
        found = {key: arguments.size(key, header[key]) for key in SIZES}
        found |= {key: arguments.flag(key, header[key]) for key in FLAGS}
        dtype = arguments.float_type(header["dtype"])
    except (KeyError, TypeError, ValueError) as error:
        words = f"has a header that does not describe a network ({type(error).__name__}: {error})."
        raise archive.Refused(words) from error
    return {"cell": _cell(name, fields), **found, "dtype": dtype}


def _name(cell: Any) -> str:
    """throughtime.lstm for a cell of the library, the name of its class for another."""
    return next((f"throughtime.{name}" for name, cls in CELLS.items() if type(cell) is cls), type(cell).__name__)


def _fields(cell: Any) -> dict[str, int | float | list[float]]:
    return {
        name: value.tolist() if np.ndim(value) else value if type(value) is int else float(value)
        for name, value in cell._asdict().items()
    }


def _cell(name: str, fields: dict[str, Any]) -> Any:
    cls: Any = ({f"throughtime.{key}": value for key, value in CELLS.items()} | registered()).get(name)
    if cls is None:
        raise archive.Refused(
            f'holds a network of the cell "{name}", which is not registered here; import the module that defines it '
            "(its class with the decorator @throughtime.cell) before loading."
        )
    if set(fields) != set(cls._fields):
        raise archive.Refused(
            f'holds a cell "{name}" with the fields {_listed(fields)}, but the one registered here under this name has '
            f"{_listed(cls._fields)}; import the version of it that was saved."
        )
    return cell_of(cls(**fields))


def _listed(names: Iterable[str]) -> str:
    return f"({', '.join(names)})"
