"""What a saved model's header says, and its parameters, in the archive of network/archive.py.

    "model": {"throughtime.Chain": {"classes": true, "pieces": [
        {"throughtime.Embedding": {"tokens": 256, "size": 16, "dtype": "float64"}},
        {"throughtime.Network": {"cell": {"name": "throughtime.gru", "fields": {}}, "input_size": 16, …}},
        {"throughtime.last": {}},
        {"throughtime.Readout": {"inputs": 32, "outputs": 5, "bias": true, "dtype": "float64"}}]}},
    "generators": [{"bit_generator": "PCG64", …}]

A piece is said by the arguments of its class, each of which it has under the argument's own name; pieces stand in
pieces. A `seed` is left out, but for the generator of a piece that draws while it trains, which goes on where it was.
The arrays are the parameters by their names. A kind of the library is throughtime.NAME, a user's own goes by the name
of its class.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..network import archive, on_disk, parametrised_on_disk
from ..network.network import Network
from ..refuse.called import told
from .kinds import KINDS, arguments_of, name_of_kind

FORMAT = archive.Format("throughtime.model", 2, "model", "parameter", "Model.save", "throughtime.load")
NETWORK, GENERATOR = "throughtime.Network", "numpy.Generator"  # no kinds of KINDS, each said in its own way
NEWER = (
    '"parametrise"',
    '"layer_norm"',
    '"noise"',
    '"checkpoint"',
    '"cell": [',
    '"hidden_size": [',
)  # what version 1 has not
PLAIN = (bool, int, float, str, type(None))


def write(model: Any, path: Any) -> None:
    """Write a model to `path`. TypeError for one that cannot be told by the arguments of its class."""
    generators, fixed = list[np.random.Generator](), list[np.ndarray]()
    said = _told(model, generators, fixed)
    states = [_listed(generator.bit_generator.state) for generator in generators]
    made = _made(said, [_generator(state) for state in states], fixed)
    if made.shapes != model.shapes or made.dtype != model.dtype:
        raise TypeError(
            f"`{type(model).__name__}` made again with the same arguments has other parameters; a model that is to be "
            "saved follows from its arguments."
        )
    header = {"model": said, "generators": states, **parametrised_on_disk.announced(fixed)}
    text = json.dumps(said)
    plain = not any(word in text for word in NEWER)
    arrays = {**model.parameters, **parametrised_on_disk.named(fixed)}
    archive.write(path, FORMAT, {"version": 1, **header} if plain else header, arrays)


def read(path: Any) -> Any:
    """The model in a file. ValueError, in words, for one that is damaged or of kinds that are not known here."""
    found: list[Any] = []

    def made(header: archive.Header, fixed: list[Any]) -> Any:
        return _made(header["model"], [_generator(state) for state in header["generators"]], fixed)

    def layout(header: archive.Header, there: list[str]) -> archive.Layout:
        try:
            model = made(header, parametrised_on_disk.stand_ins(header))
            wanted = {name: (shape, model.dtype) for name, shape in model.shapes.items()}
            found.append((model, wanted | parametrised_on_disk.layout(header)))
        except archive.Refused:
            raise
        except Exception as error:
            words = f"has a header that does not describe a model ({type(error).__name__}: {error})."
            raise archive.Refused(words) from error
        return found[0][1]

    header, arrays = archive.read(path, FORMAT, layout)
    fixed = [arrays.pop(name) for name in parametrised_on_disk.layout(header)]
    model = made(header, fixed) if fixed else found[0][0]
    for name, value in arrays.items():
        model.parameters[name][...] = value
    return model


def _told(piece: Any, generators: list[np.random.Generator], fixed: list[Any]) -> dict[str, Any]:
    """What a file says of a piece; generators that it draws from come into the list, each once, and fixed arrays."""
    if isinstance(piece, Network):
        return {NETWORK: on_disk.described(piece, fixed)}
    if inspect.isfunction(piece):
        return {name_of_kind(piece): {}}
    words: dict[str, Any] = {}
    for name, argument in arguments_of(type(piece)).items():
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            raise TypeError(
                f"`{type(piece).__name__}` takes any number of `{name}`; to be saved, a piece names its arguments."
            )
        if name == "seed":
            if hasattr(piece, "generator"):
                words["seed"] = {GENERATOR: _place(piece.generator, generators)}
            continue
        if not hasattr(piece, name):
            raise TypeError(
                f"`{type(piece).__name__}` takes the argument `{name}` and does not keep it: to be saved, a piece has "
                f"each argument under its own name, `self.{name} = {name}`."
            )
        held = getattr(piece, name)
        given = held if isinstance(held, tuple) else name != "checkpoint" or held
        if argument.default is None and not given:  # none was given, such as `noise`
            continue
        words[name] = _value(f"{type(piece).__name__}.{name}", held, generators, fixed)
    return {name_of_kind(type(piece)): words}


def _value(name: str, value: Any, generators: list[np.random.Generator], fixed: list[Any]) -> Any:
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, (np.dtype, np.generic)):
        return value.name if isinstance(value, np.dtype) else value.item()
    if isinstance(value, (tuple, list)):
        return [_value(name, own, generators, fixed) for own in value]
    own = value if inspect.isfunction(value) else type(value)
    if isinstance(value, Network) or KINDS.get(name_of_kind(own)) is own:
        return _told(value, generators, fixed)
    raise TypeError(
        f"`{name}` is {told(value)}; a file takes numbers, words, pieces and lists of them as a model's arguments."
    )


def _made(words: Any, generators: Sequence[np.random.Generator], fixed: Sequence[Any]) -> Any:
    """The piece of which a file says this."""
    if isinstance(words, list):
        return [_made(own, generators, fixed) for own in words]
    if not isinstance(words, dict):
        return words
    ((name, options),) = words.items()
    if name == GENERATOR:
        return generators[options]
    if name == NETWORK:
        return Network(**on_disk.options(options, fixed), init=on_disk.blank)
    if name not in KINDS:
        raise archive.Refused(
            f'holds a piece of the kind "{name}", which is not known here; import the module that defines it before '
            "loading."
        )
    if inspect.isfunction(KINDS[name]):
        return KINDS[name]
    return KINDS[name](**{key: _made(own, generators, fixed) for key, own in options.items()})


def _place(generator: np.random.Generator, generators: list[np.random.Generator]) -> int:
    for k, known in enumerate(generators):
        if known is generator:
            return k
    generators.append(generator)
    return len(generators) - 1


def _listed(state: Any) -> Any:
    """A generator's state as JSON takes it."""
    if isinstance(state, dict):
        return {name: _listed(value) for name, value in state.items()}
    return state.tolist() if isinstance(state, (np.ndarray, np.generic)) else state


def _generator(state: Any) -> np.random.Generator:
    known = {cls.__name__: cls for cls in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.SFC64,
                                           np.random.Philox)}  # fmt: skip
    own = known[state["bit_generator"]](0)
    own.state = _arrays(state)
    return np.random.Generator(own)


def _arrays(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _arrays(value) for name, value in state.items()}
    return np.array(state, np.uint64) if isinstance(state, list) else state
