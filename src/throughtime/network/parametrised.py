"""Which weights of a network follow from free parameters (throughtime.parametrise): how they begin, what the weights
are, and the way back from these.

    "weight_hh_l0"  ->  "weight_hh_l0.skew", or whatever the parametrisation calls its own
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ..engine.cpu.sparse import Pattern
from ..parametrise.form import Parametrisation, Size, Values
from ..refuse import arguments, numeric
from . import parameters
from .parameters import KEY, Shapes

EXAMPLE = '{"weight_hh": tt.parametrise.orthogonal()}'


class Assigned(NamedTuple):
    """How one array of weights is parametrised."""

    way: Parametrisation
    size: Size
    shapes: Shapes  # of the free parameters, by their whole names

    def own(self, held: Mapping[str, Any]) -> dict[str, Any]:
        """The free parameters by the names that the parametrisation has for them, of those of a network."""
        return {full.rpartition(".")[2]: held[full] for full in self.shapes}

    def named(self, values: Values) -> dict[str, Any]:
        """The same back: by whole names."""
        return dict(zip(self.shapes, values.values(), strict=True))


class Followed(NamedTuple):
    """Weights and what they followed from: the free parameters then, and what the way back wants."""

    free: Values
    weight: np.ndarray
    kept: Any


Assignment = dict[str, Assigned]
_patterns: WeakKeyDictionary[Parametrisation, dict[Size, Pattern | None]] = WeakKeyDictionary()
_latest: WeakKeyDictionary[Any, dict[str, list[Followed]]] = WeakKeyDictionary()  # of each network


def assigned(given: Any, shapes: Shapes, units: Sequence[int]) -> Assignment:
    """What `parametrise` of a network asks for, by the names of weights. units : of each layer."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(
            f"`parametrise` is {arguments.kind(given)}; expected a dict from names of weights to parametrisations, "
            f"{EXAMPLE}."
        )
    matrices = [name for name in shapes if name.startswith("weight_")]
    kinds = dict.fromkeys(name.partition("_l")[0] for name in matrices)
    for key, way in given.items():
        arguments.known("array of weights", key, [*kinds, *matrices])
        if not isinstance(way, Parametrisation):
            call = f"; call it: tt.parametrise.{way.__name__}(…)" if _of_ours(way) else f", such as {EXAMPLE}"
            raise TypeError(
                f'`parametrise["{key}"]` is {arguments.kind(way)}; expected a parametrisation of tt.parametrise{call}.'
            )
    found: Assignment = {}
    for name in matrices:
        way = given.get(name, given.get(name.partition("_l")[0]))
        if way is None:
            continue
        layer = KEY.fullmatch(name)
        rows, columns = units[int(layer["layer"]) if layer else 0], shapes[name][1]
        if way.square and rows != columns:
            raise ValueError(
                f"parametrise.{way.name}(…) is for square weights; those of {name} are {rows} rows and {columns} "
                "columns in each block: take low_rank, masked, sparse or dale for these."
            )
        size = Size(shapes[name][0] // rows, rows, columns)
        try:
            own = way.shapes(size)
        except ValueError as error:
            raise ValueError(f"Of {name}: {error}") from None
        found[name] = Assigned(way, size, {f"{name}.{part}": shape for part, shape in own.items()})
    return found


def _of_ours(value: Any) -> bool:
    return callable(value) and str(getattr(value, "__module__", "")).startswith(f"{Parametrisation.__module__[:-5]}.")


def free_shapes(assignment: Assignment, shapes: Shapes) -> Shapes:
    """Name to shape of what the network holds: free parameters in place of the weights that follow from them."""
    found: Shapes = {}
    for name, shape in shapes.items():
        found |= assignment[name].shapes if name in assignment else {name: shape}
    return found


def begun(initial: Any, assignment: Assignment, shapes: Shapes, dtype: np.dtype[Any]) -> dict[str, np.ndarray]:
    """The first parameters, from what an initialiser returned: weights, or in their place free parameters."""
    what = "What `init` returned"
    if not assignment:
        return parameters.fitting(initial, shapes, dtype, what)
    wanted: Shapes = {}
    for name, shape in shapes.items():
        own = assignment[name].shapes if name in assignment else {}
        free = isinstance(initial, Mapping) and name not in initial and any(full in initial for full in own)
        wanted |= own if free else {name: shape}
    values = parameters.fitting(initial, wanted, np.dtype(float), what)
    found: dict[str, np.ndarray] = {}
    for name in wanted:
        if name in assignment:
            way, size, _ = assignment[name]
            found |= assignment[name].named(way.start(size.split(values[name])))
        else:
            found[name] = values[name]
    with np.errstate(all="ignore"):  # a number too large for float32 becomes inf, as of other weights
        return {name: np.array(found[name], dtype) for name in free_shapes(assignment, shapes)}


def blank(network: Any) -> dict[str, np.ndarray]:
    """Zeros for all that a network is to hold, as an initialiser returns it."""
    return {name: np.zeros(shape) for name, shape in free_shapes(network._assignment, network.weight_shapes).items()}


def followed(network: Any, held: Mapping[str, Any]) -> dict[str, list[Followed]]:
    """The weights that follow from these free parameters, of each of the network's K networks; those of the last time
    where nothing has changed, for an orthogonal matrix takes longer than a step."""
    before, found = _latest.get(network, {}), dict[str, list[Followed]]()
    for name, own in network._assignment.items():
        free = own.own(held)
        if network.device != "cpu":
            free = {part: network.engine.arrays.to_host(value) for part, value in free.items()}
        each = [free]
        if network.stacked:
            each = [{part: value[k] for part, value in free.items()} for k in range(network.networks)]
        last = before.get(name, [])
        found[name] = [
            last[k] if k < len(last) and _same(last[k].free, one) else _follow(own, one, network.dtype)
            for k, one in enumerate(each)
        ]
    _latest[network] = found
    return found


def pattern(network: Any, name: str) -> Pattern | None:
    """Where weights are, of those that are 0 elsewhere whatever is free."""
    own = network._assignment.get(name)
    if own is None:
        return None
    known = _patterns.setdefault(own.way, {})
    if own.size not in known:
        places = own.way.places(own.size)
        known[own.size] = None if places is None else Pattern(places)
    return known[own.size]


def _same(one: Values, other: Values) -> bool:
    return all(np.array_equal(value, other[part]) for part, value in one.items())


def _follow(own: Assigned, free: Values, dtype: np.dtype[Any]) -> Followed:
    copies = {part: np.array(value) for part, value in free.items()}
    with np.errstate(all="ignore"):  # of NaN and infinity, which come out as such
        weight, kept = own.way.weight(own.size, copies)
        whole = np.ascontiguousarray(weight, dtype).reshape(-1, own.size.columns)
    whole.setflags(write=False)
    return Followed(copies, whole, kept)


def weights(network: Any, held: Mapping[str, Any]) -> dict[str, Any]:
    """All weights by PyTorch's names: those that follow, and the parameters that are weights themselves."""
    made = {name: [one.weight for one in each] for name, each in followed(network, held).items()}
    found = {}
    for name in network.weight_shapes:
        if name not in made:
            found[name] = held[name]
            continue
        found[name] = np.stack(made[name]) if network.stacked else made[name][0]
        if network.device != "cpu":
            found[name] = network.engine.arrays.from_host(found[name])
    return found


def to_parameters(network: Any, made: dict[str, list[Followed]], gradients: Mapping[str, Any]) -> dict[str, Any]:
    """Gradients by weights, each with any axes before its own, as those by parameters. made: with the run."""
    if not isinstance(gradients, Mapping):
        raise TypeError(
            f"`gradients` is {arguments.kind(gradients)}; expected a dict of arrays by the names of weights, as "
            "`run.made_with()` is."
        )
    found: dict[str, Any] = {}
    for name, given in gradients.items():
        own = network._assignment.get(arguments.known("array of weights", name, network.weight_shapes))
        if own is None:
            found[name] = given
            continue
        g = _of_weights(network, name, given)
        on_host = g if isinstance(g, np.ndarray) else network.engine.arrays.to_host(g)
        each = [_sent_back(own, one, on_host[k] if network.stacked else on_host) for k, one in enumerate(made[name])]
        for full in own.shapes:
            value = np.stack([one[full] for one in each]) if network.stacked else each[0][full]
            found[full] = value if g is on_host else network.engine.arrays.from_host(value)
    return found


def _of_weights(network: Any, name: str, given: Any) -> Any:
    """The gradient of these weights, on either machine, in their shape after any other axes."""
    g, wanted = given, network.held_shape(name)
    if network.device == "cpu" or not network.engine.arrays.holds(given):
        g = numeric.numbers(f"gradients[{name}]", given).astype(network.dtype, copy=False)
    if tuple(g.shape[-len(wanted) :]) != wanted:
        raise ValueError(f"`gradients[{name}]` has shape {tuple(g.shape)}; expected that of the weights, {wanted}.")
    return g


def _sent_back(own: Assigned, one: Followed, g: np.ndarray) -> dict[str, Any]:
    with np.errstate(all="ignore"):
        back = own.way.pullback(one.free, one.kept, own.size.split(g))
        return own.named({part: np.ascontiguousarray(value, g.dtype) for part, value in back.items()})
