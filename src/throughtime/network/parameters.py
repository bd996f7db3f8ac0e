"""The parameters of a network by PyTorch's names, and whether given ones fit them.

Per layer k and direction, with G gates, N units and I inputs (of layer k: N*directions from the layer below):

    weight_ih_l{k}  (G*N, I)      weight_hh_l{k}  (G*N, N)      bias_ih_l{k}, bias_hh_l{k}  (G*N,)

Rows are outputs, gate blocks one after another; the reverse direction has the suffix `_reverse`; without bias the
bias keys are absent. A cell that is not plain (cells/wiring.py) has in weight_hh a square block for each signal and
part of r that it feeds, in bias_hh one for each part, neither where nothing is sent, and its own parameters after
them, (N,) each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..cells.base import spec
from ..refuse import checks, room
from ..refuse.arguments import kind, shown

Shapes = dict[str, tuple[int, ...]]
MATRICES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
NAME_BYTES = 512  # of a name, a shape and an empty array, about
KEY = re.compile(r"(?P<kind>weight|bias)_(ih|hh)_l(?P<layer>\d+)(?P<reverse>_reverse)?")


def shapes(cell: Any, input_size: int, hidden_size: int, num_layers: int, bidirectional: bool, bias: bool) -> Shapes:
    """Name to shape, in PyTorch's order."""
    out: Shapes = {}
    for layer in range(num_layers):
        inputs = input_size if layer == 0 else hidden_size * (1 + bidirectional)
        own = shapes_of_layer(cell, inputs, hidden_size, bias)
        for suffix in ("", "_reverse")[: 1 + bidirectional]:
            out |= {f"{kind}_l{layer}{suffix}": shape for kind, shape in own.items()}
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


def room_for(cell: Any, input_size: int, hidden_size: int, num_layers: int, bidirectional: bool, bias: bool) -> None:
    """ValueError if this machine cannot hold the parameters, which are drawn in float64; before their shapes are made,
    for a million layers of one unit are a million names too."""
    record, directions = spec(cell), 1 + bidirectional
    rows = record.gates * hidden_size
    each = hidden_size * (len(record.blocks) * hidden_size + bias * (record.gates + record.parts))
    each += hidden_size * len(record.parameters)
    numbers = directions * (num_layers * each + rows * (input_size + (num_layers - 1) * hidden_size * directions))
    names = directions * num_layers * (4 if bias else 2) * NAME_BYTES // 8
    sizes = f"input_size={shown(input_size)}, hidden_size={shown(hidden_size)}, num_layers={shown(num_layers)}"
    room.check(f"A network of {sizes}", numbers + names)


def room_for_run(network: Any, steps: int, batch: int) -> None:
    """ValueError if this machine cannot hold what the way back needs: states, saved numbers, what the units send."""
    record = spec(network.cell)
    units = network.num_layers * network.num_directions * network.hidden_size
    numbers = (steps + 1) * batch * (network.input_size + units * (record.states + record.saved + 1 + record.staged))
    advice = "Unroll fewer sequences or time steps at once, with `state=run.final_state` for the next ones."
    room.check(f"A run of {steps} time steps of {batch} sequences", numbers, network.dtype.itemsize, advice)


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
    theirs = _read_off({name: tuple(getattr(given[name], "shape", ())) for name in names if KEY.fullmatch(name)})
    ours = _read_off(wanted)
    if theirs is None or ours is None or theirs == ours:
        return ""
    gates = theirs.pop("gates"), ours.pop("gates")
    different = ", ".join(f"{key}={value}" for key, value in theirs.items() if value != ours[key])
    hint = f" These are the parameters of a network with {different}." if different else ""
    if gates[0] != gates[1] and gates[0].is_integer():
        hint += f" Its cell has {gates[0]:g} gates (1: tanh, relu; 3: gru; 4: lstm), this network's has {gates[1]:g}."
    elif gates[0] != gates[1]:
        hint += " The rows of its weight_hh_l0 are no multiple of its columns: of no recurrent network known here."
    return hint


def _read_off(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The keyword arguments of the Network whose parameters these are; None if they do not look like any."""
    ih, hh = shapes.get("weight_ih_l0", ()), shapes.get("weight_hh_l0", ())
    if len(ih) != 2 or len(hh) != 2 or not hh[1]:
        return None
    keys = [match for match in map(KEY.fullmatch, shapes) if match]
    return {
        "input_size": ih[1],
        "hidden_size": hh[1],
        "num_layers": 1 + max(int(key["layer"]) for key in keys),
        "bidirectional": any(key["reverse"] for key in keys),
        "bias": any(key["kind"] == "bias" for key in keys),
        "gates": hh[0] / hh[1],
    }
