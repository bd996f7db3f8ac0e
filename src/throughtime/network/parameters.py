"""The parameters of a network by PyTorch's names, and whether given ones fit them.

Per layer k and direction, with its own G gates and N units, and I inputs (of layer k > 0: N*directions of the layer
below):

    norm_weight_l{k}, norm_bias_l{k}  (I,), with layer_norm, first of all
    weight_ih_l{k}  (G*N, I)      weight_hh_l{k}  (G*N, N)      bias_ih_l{k}, bias_hh_l{k}  (G*N,)

Rows are outputs, gate blocks one after another; the reverse direction has the suffix `_reverse`; without bias the
bias keys are absent. A cell that is not plain (cells/wiring.py) has in weight_hh a square block for each signal and
part of r that it feeds, in bias_hh one for each part, neither where nothing is sent, and its own parameters after
them, (N,) each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..cells.base import spec
from ..refuse import checks, room
from ..refuse.arguments import kind, shown
from .each_layer import NAME_BYTES, one_or_all

Shapes = dict[str, tuple[int, ...]]
MATRICES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
NORM = {"norm_weight": 1.0, "norm_bias": 0.0}  # of the normalisation of what a layer reads, and what they begin with
OF_LAYER = re.compile(r"_l(\d+)(?:_reverse)?$")
KEY = re.compile(r"(?P<kind>weight|bias)_(ih|hh)_l(?P<layer>\d+)(?P<reverse>_reverse)?")


def shapes(
    cells: Sequence[Any], input_size: int, sizes: Sequence[int], bidirectional: bool, bias: bool, layer_norm: bool
) -> Shapes:
    """Name to shape, in PyTorch's order; `cells` and `sizes` (units) have an entry for each layer."""
    out: Shapes = {}
    inputs = input_size
    for layer, (cell, units) in enumerate(zip(cells, sizes, strict=True)):
        if layer_norm:
            out |= {f"{kind}_l{layer}": (inputs,) for kind in NORM}
        own = shapes_of_layer(cell, inputs, units, bias)
        for suffix in ("", "_reverse")[: 1 + bidirectional]:
            out |= {f"{kind}_l{layer}{suffix}": shape for kind, shape in own.items()}
        inputs = units * (1 + bidirectional)
    return out


def shapes_of_layer(cell: Any, inputs: int, units: int, bias: bool) -> Shapes:
    """The same for one layer and direction, by kinds."""
    record = spec(cell)
    rows, parts, square = record.gates * units, record.parts * units, len(record.blocks) * units
    out: Shapes = {"weight_ih": (rows, inputs)}
    if record.recurrent:
        out["weight_hh"] = (square, units)
    if bias:
        out["bias_ih"] = (rows,)
    if bias and record.recurrent:
        out["bias_hh"] = (parts,)
    return out | dict.fromkeys(record.parameters, (units,))


def kinds(cell: Any) -> tuple[str, ...]:
    """The names of a layer's arrays in the order in which engines take them, without the layer's suffix."""
    return (*MATRICES, *spec(cell).parameters)


def room_for(
    cells: Sequence[Any], input_size: int, sizes: Sequence[int], bidirectional: bool, bias: bool, layer_norm: bool
) -> None:
    """ValueError if this machine cannot hold the parameters, which are drawn in float64; before their shapes are made,
    for a million layers of one unit are a million names too."""
    directions, inputs, numbers = 1 + bidirectional, input_size, 0
    for record, units in zip(map(spec, cells), sizes, strict=True):
        each = record.gates * inputs + len(record.blocks) * units + len(record.parameters)
        numbers += directions * units * (each + bias * (record.gates + record.parts)) + 2 * layer_norm * inputs
        inputs = units * directions
    names = directions * len(sizes) * (4 if bias else 2) * NAME_BYTES // 8
    units = one_or_all(sizes)
    told = shown(units) if isinstance(units, int) else f"[{', '.join(map(shown, units))}]"
    what = f"input_size={shown(input_size)}, hidden_size={told}, num_layers={shown(len(sizes))}"
    room.check(f"A network of {what}", numbers + names)


def room_for_run(network: Any, steps: int, batch: int) -> None:
    """ValueError if this machine cannot hold what the way back needs: states, saved numbers, what the units send."""
    each = 0
    for cell, units in zip(network.cells, network.hidden_sizes, strict=True):
        record = spec(cell)
        each += units * (record.states + record.saved + 1 + record.staged)
    each = network.input_size + network.num_directions * each
    if network.layer_norm:
        each += 2 * (network.input_size + network.num_directions * sum(network.hidden_sizes[:-1]))
    numbers = (steps + 1) * batch * each
    if room.small(numbers, network.dtype.itemsize):
        return
    advice = "Unroll fewer sequences or time steps at once, with `state=run.final_state` for the next ones."
    room.check(f"A run of {steps} time steps of {batch} sequences", numbers, network.dtype.itemsize, advice)


def first_of_norm(name: str) -> float | None:
    """What a parameter of a normalisation begins with; None for any other."""
    return next((first for kind, first in NORM.items() if name.startswith(f"{kind}_l")), None)


def layer_of(name: str) -> int:
    """The number of the layer that a parameter of this name belongs to."""
    found = OF_LAYER.search(name)
    assert found is not None, name
    return int(found[1])


def fitting(given: Any, wanted: Shapes, dtype: np.dtype[Any], what: str) -> dict[str, np.ndarray]:
    """Own arrays of `dtype` from the mapping `given`, if its names and shapes are those of `wanted`.

    Otherwise one ValueError names everything that is wrong, and the keyword arguments of Network or the call that would
    put it right. `what` begins the sentence.
    """
    if not isinstance(given, Mapping):
        call = "; pass its `.state_dict()`" if hasattr(given, "state_dict") else ""
        raise TypeError(f"{what} is {kind(given)}; expected a mapping from names to arrays{call}.")
    found: dict[str, np.ndarray] = {}
    wrong, said = [], dict[str, list[str]]()
    if missing := [name for name in wanted if name not in given]:
        wrong.append(f"missing: {', '.join(missing)}")
    if extra := [str(name) for name in given if name not in wanted]:
        wrong.append(f"unexpected: {', '.join(extra)}")
    for name in (name for name in wanted if name in given):
        try:
            found[name] = checks.numbers(name, given[name])
        except (TypeError, ValueError) as error:
            said.setdefault(str(error).rstrip(".").replace(name, "{}"), []).append(name)
    for sentence, names in said.items():  # of sixteen tensors that require grad it is said once
        if getattr(given[names[0]], "requires_grad", False) is True:
            sentence = (
                "`{}` is a torch.Parameter that requires grad; pass the `.state_dict()` of its module, or `{}.detach()`"
            )
        more = f" (and {len(names) - 1} more: {', '.join(names[1:])})" if names[1:] else ""
        wrong.append(sentence.replace("{}", names[0]) + more)
    if bad := [f"{n} {a.shape} instead of {wanted[n]}" for n, a in found.items() if a.shape != wanted[n]]:
        wrong.append(f"misshaped: {', '.join(bad)}")
    if wrong:
        told = f"{what} does not fit this network, and nothing was changed; {'; '.join(wrong)}."
        raise ValueError(told + _hint(given, wanted))
    return {name: checks.array(name, a, dict.fromkeys("krc"[-a.ndim :]), dtype, copy=True) for name, a in found.items()}


def _hint(given: Mapping[Any, Any], wanted: Shapes) -> str:
    names = [name for name in given if isinstance(name, str)]
    first = "weight_ih_l0"
    if prefixes := [name.removesuffix(first) for name in names if name.endswith(first) and name != first]:
        others = f" (or {', '.join(map(repr, prefixes[1:]))})" if prefixes[1:] else ""
        p = prefixes[0]
        return (
            f" The names carry the prefix {p!r}{others} of a module inside a module; strip it: "
            f"`{{k.removeprefix({p!r}): v for k, v in state_dict.items() if k.startswith({p!r})}}`."
        )
    if any(name.startswith("weight_hr_l") for name in names):
        return (
            " weight_hr_l0 is the projection of an LSTM with `proj_size`, which throughtime does not have; use the "
            "parameters of one without."
        )
    known = [name for name in names if KEY.fullmatch(name) or first_of_norm(name) is not None]
    theirs = _read_off({name: tuple(getattr(given[name], "shape", ())) for name in known})
    ours = _read_off(wanted)
    if theirs is None or ours is None or theirs == ours:
        return ""
    gates = theirs.pop("gates"), ours.pop("gates")
    different = ", ".join(f"{key}={value}" for key, value in theirs.items() if value != ours[key])
    hint = f" These are the parameters of a network with {different}." if different else ""
    if gates[0] != gates[1] and any(isinstance(own, tuple) for own in gates):
        each = [" and ".join(f"{g:g}" for g in (own if isinstance(own, tuple) else (own,))) for own in gates]
        hint += f" Its layers' cells have {each[0]} gates, this network's {each[1]}."
    elif gates[0] != gates[1] and gates[0].is_integer():
        hint += f" Its cell has {gates[0]:g} gates (1: tanh, relu; 3: gru; 4: lstm), this network's has {gates[1]:g}."
    elif gates[0] != gates[1]:
        hint += " The rows of its weight_hh_l0 are no multiple of its columns: of no recurrent network known here."
    return hint


def _read_off(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The keyword arguments of the Network whose parameters these are; None if they do not look like any."""
    keys = [match for match in map(KEY.fullmatch, shapes) if match]
    layers = 1 + max((int(key["layer"]) for key in keys), default=0)
    if layers > len(keys):
        return None
    ih, each = shapes.get("weight_ih_l0", ()), [shapes.get(f"weight_hh_l{k}", ()) for k in range(layers)]
    if len(ih) != 2 or not all(len(hh) == 2 and hh[1] for hh in each):
        return None
    units = one_or_all([hh[1] for hh in each])
    return {
        "input_size": ih[1],
        "hidden_size": list(units) if isinstance(units, tuple) else units,
        "num_layers": layers,
        "bidirectional": any(key["reverse"] for key in keys),
        "bias": any(key["kind"] == "bias" for key in keys),
        "layer_norm": any(first_of_norm(name) is not None for name in shapes),
        "gates": one_or_all([hh[0] / hh[1] for hh in each]),
    }
