"""What a saved network's header says, and its parameters, in the archive of archive.py.

    "cell": {"name": "throughtime.leaky_tanh", "fields": {"leak": 0.1}},
    "input_size": 8, "hidden_size": 64, "num_layers": 1, "bidirectional": false, "bias": true,
    "batch_first": false, "dtype": "float64"

A field with a value for each unit is a list. The arrays are the parameters, by PyTorch's names and in PyTorch's order.
A cell of the library is throughtime.NAME, a user's own goes by the name of its class. Where layers differ, "cell" or
"hidden_size" is a list with an entry for each; "layer_norm": true is said where it is so. Of parametrised weights the
free parameters are there, and how they are parametrised stands in the header (parametrised_on_disk.py). Of all these
the version of the format is 2: a reader of version 1 says that it does not read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..cells import CELLS
from ..cells.base import registered
from ..cells.by_name import cell_of
from ..refuse import arguments, in_place
from . import archive, parameters, parametrised, parametrised_on_disk
from .each_layer import alike, each_layer

FORMAT = archive.Format(
    "throughtime.network", 2, "network", "parameter", "Network.save or Model.save", "throughtime.load"
)
PLAIN = 1  # the version of a network whose layers are alike
LAYERS = ("cell", "hidden_size")  # of each layer, or of all
FLAGS = ("bidirectional", "bias", "batch_first")


def write(network: Any, path: Any) -> None:
    """Write a network, whose parameters lie in NumPy's arrays, to `path`."""
    in_place.parameters(network.parameters, network.shapes, network.dtype)
    plain = alike(network.cells) and alike(network.hidden_sizes) and not (network.layer_norm or network.parametrise)
    fixed: list[Any] = []
    header = described(network, fixed) | parametrised_on_disk.announced(fixed) | ({"version": PLAIN} if plain else {})
    arrays = {name: network.parameters[name] for name in network.shapes} | parametrised_on_disk.named(fixed)
    archive.write(path, FORMAT, header, arrays)


def read(path: Any) -> tuple[dict[str, Any], archive.Arrays]:
    """The keyword arguments of the network in a file, and its parameters."""
    found: dict[str, Any] = {}
    whole: archive.Header = {}

    def layout(header: archive.Header, there: list[str]) -> archive.Layout:
        whole.update(header)
        found.update(options(header, parametrised_on_disk.stand_ins(header)))
        own = {name: (shape, found["dtype"]) for name, shape in shapes(found, len(there)).items()}
        return own | parametrised_on_disk.layout(header)

    _, arrays = archive.read(path, FORMAT, layout)
    fixed = [arrays.pop(name) for name in parametrised_on_disk.layout(whole)]
    return options(whole, fixed), arrays


def described(network: Any, fixed: list[Any]) -> dict[str, Any]:
    """What a header says of a network. Arrays of its parametrisations come into the list."""
    cells, sizes = network.cells, network.hidden_sizes
    written = [{"name": _name(cell), "fields": _fields(cell)} for cell in (cells[:1] if alike(cells) else cells)]
    return {
        "cell": written[0] if alike(cells) else written,
        "input_size": network.input_size,
        "hidden_size": sizes[0] if alike(sizes) else list(sizes),
        "num_layers": network.num_layers,
        **{name: getattr(network, name) for name in FLAGS},
        **({"layer_norm": True} if network.layer_norm else {}),
        "dtype": network.dtype.name,
        **parametrised_on_disk.told(network, fixed),
    }


def options(header: archive.Header, fixed: Sequence[Any]) -> dict[str, Any]:
    """The keyword arguments of the network of which a header says this; `archive.Refused` if it says no network.
    fixed : the arrays of its parametrisations."""
    try:
        found: dict[str, Any] = {key: arguments.size(key, header[key]) for key in ("input_size", "num_layers")}
        each = {key: header[key] if isinstance(header[key], list) else [header[key]] for key in LAYERS}
        for key in LAYERS:
            if isinstance(header[key], list) and len(header[key]) != found["num_layers"]:
                raise ValueError(f"{key} has {len(header[key])} entries for {found['num_layers']} layers")
        named = [(own["name"], dict(own["fields"])) for own in each["cell"]]
        sizes = [arguments.size("hidden_size", own) for own in each["hidden_size"]]
        found |= {key: arguments.flag(key, header[key]) for key in FLAGS}
        found["layer_norm"] = arguments.flag("layer_norm", header.get("layer_norm", False))
        dtype = arguments.float_type(header["dtype"])
        ways = parametrised_on_disk.ways(header.get("parametrise", {}), fixed)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        words = f"has a header that does not describe a network ({type(error).__name__}: {error})."
        raise archive.Refused(words) from error
    of_layers = {"cell": [_cell(*own) for own in named], "hidden_size": sizes}
    each_or_one = {key: own if isinstance(header[key], list) else own[0] for key, own in of_layers.items()}
    return {**each_or_one, **found, "dtype": dtype, "parametrise": ways}


def shapes(options: dict[str, Any], arrays: int) -> parameters.Shapes:
    """The shapes of the parameters of the network with these options, in a file of so many arrays."""
    if options["num_layers"] > arrays:
        raise archive.Refused("lacks parameters: its header speaks of more layers than there are arrays.")
    cells, sizes = each_layer(options["cell"], options["hidden_size"], options["num_layers"])
    flags = (options[name] for name in ("bidirectional", "bias", "layer_norm"))
    wanted = parameters.shapes(cells, options["input_size"], sizes, *flags)
    return parametrised.free_shapes(parametrised.assigned(options["parametrise"], wanted, sizes), wanted)


def blank(network: Any, rng: Any) -> dict[str, Any]:
    """An initialiser for a network whose parameters are read later: zeros, also of what is free."""
    return parametrised.blank(network)


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
