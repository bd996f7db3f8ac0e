"""A state that a user hands in, in one of its forms, as the engine wants it; or an error in words.

Dimensions: B sequences, L layers, D directions, N hidden units, S state_size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .arguments import kind
from .checks import Sizes, for_all
from .numeric import Array, array, numbers


def state(state: Any, network: Sizes, batch: int, had_batch: bool, *, name: str = "state") -> Array:
    """A state in PyTorch's shapes as an array (B, S): layer 0 (h, then c), [layer 0 reverse], layer 1, ...

    `state` is h, for a cell of several states the tuple (h, c, ...); each is (L*D, B, N), or (L*D, N) where the input
    had no batch axis. None, or None in the tuple, stands for zeros. Or one array (B, S), or (S,) where the input had no
    batch axis: all numbers of the state, as a run has them in `states[t]`. Of layers of unlike sizes or states it is a
    list with an entry for each, which is what that layer alone would take.
    """
    if state is None:
        return np.zeros((batch, network.state_size), network.dtype)
    whole = _flat(name, state, network, batch, had_batch) if name == "state" else None
    if whole is not None:
        return whole
    if not _alike(network):
        return _layer_by_layer(name, state, network, batch, had_batch)
    rows, units, count = len(network.cells) * network.num_directions, network.hidden_sizes[0], network.unit_states[0]
    out = np.zeros((batch, rows, count, units), network.dtype)
    if state is not None:
        for i, (part, value) in enumerate(_parts(name, state, count, network)):
            if value is not None:
                out[:, :, i] = _state_part(part, value, network, batch, had_batch).swapaxes(0, 1)
    return out.reshape(batch, rows * count * units)


def _alike(network: Sizes) -> bool:
    """Whether the states of all layers have one shape."""
    return len(set(network.hidden_sizes)) == len(set(network.unit_states)) == 1


@dataclass
class _Layer:
    """One layer of a network as a network of its own; it has what `Sizes` says."""

    cells: tuple[Any, ...]
    hidden_sizes: tuple[int, ...]
    unit_states: tuple[int, ...]
    state_size: int
    input_size: int
    num_directions: int
    batch_first: bool
    dtype: np.dtype[Any]
    networks: int
    stacked: bool


def _layer_by_layer(name: str, given: Any, network: Any, batch: int, had_batch: bool) -> Array:
    """The state of a network whose layers' states differ in shape, from a list of those of each; (B, S)."""
    depth, listed = len(network.cells), isinstance(given, (list, tuple))
    if given is not None and (not listed or len(given) != depth):
        what = f"has {len(given)} entries" if listed else f"is {kind(given)}"
        raise ValueError(
            f"`{name}` {what}; the layers of this network differ, and its state is a list with an entry for each of "
            f"the {depth}, as `run.final_state` is."
        )
    found = []
    for k in range(depth):
        one, size = slice(k, k + 1), network.num_directions * network.hidden_sizes[k] * network.unit_states[k]
        layer = _Layer(
            network.cells[one], network.hidden_sizes[one], network.unit_states[one], size, network.input_size,
            network.num_directions, network.batch_first, network.dtype, getattr(network, "networks", 1),
            getattr(network, "stacked", False),
        )  # fmt: skip
        found.append(state(None if given is None else given[k], layer, batch, had_batch, name=f"{name}[{k}]"))
    return np.concatenate(found, axis=1)


def _flat(name: str, state: Any, network: Sizes, batch: int, had_batch: bool) -> Array | None:
    """A state that came as one array (B, S), or (S,), as an array (B, S); None for one in PyTorch's shapes."""
    size, of_parts = network.state_size, not _alike(network) or network.unit_states[0] > 1
    parts = (tuple, list) if of_parts else tuple  # of a cell of one state a list is an array
    if state is None or isinstance(state, parts) or getattr(network, "stacked", False):
        return None
    alone = size == network.hidden_sizes[0]
    found = numbers(name, state)
    if found.ndim not in (1, 2) or found.shape[-1] != size or (alone and found.ndim == 2 and not had_batch):
        return None  # with one layer of one state (L*D, N) and (B, S) are the same, and stay the former
    if network.num_directions == 2:
        raise ValueError(
            f"`{name}` has shape {found.shape}, as `run.states[t]`, but the two directions of a bidirectional network "
            "do not end at the same entry of it; pass `run.final_state`."
        )
    if not had_batch and found.shape == (size,):
        found = found[None]
    hint = "These are all numbers of a state, as in `run.states[t]`."
    return array(name, found, {"batch": batch, "state_size": size}, network.dtype, hint=hint)


def _parts(name: str, state: Any, count: int, network: Sizes) -> list[tuple[str, Any]]:
    """The arrays of a state with the names under which an error speaks of them."""
    cell_name = type(network.cells[0]).__name__
    if count == 1:
        if isinstance(state, tuple):
            raise ValueError(
                f"`{name}` is a tuple of {len(state)}, but the cell {cell_name} has one state: pass the array h alone."
            )
        return [(name, state)]
    wanted = "(h, c)" if count == 2 else f"of its {count} states"
    if not isinstance(state, (tuple, list)):
        raise ValueError(
            f"`{name}` is an object of type {type(state).__name__}, but the "
            f"cell {cell_name} has {count} states: pass the tuple {wanted}."
        )
    if len(state) != count:
        raise ValueError(
            f"`{name}` has {len(state)} parts, but the cell {cell_name} has {count} states: pass the tuple {wanted}."
        )
    return [(f"{name}[{i}]", value) for i, value in enumerate(state)]


def _state_part(name: str, value: Any, network: Sizes, batch: int, had_batch: bool) -> Array:
    """One state as an array (L*D, B, N)."""
    rows, units = len(network.cells) * network.num_directions, network.hidden_sizes[0]
    shape: dict[str, int | None] = {"layers*directions": rows, "batch": batch, "hidden_size": units}
    found = for_all(numbers(name, value), network, 1, batch)
    hint = ""
    if had_batch:
        if found.shape == (batch, rows, units):
            hint = f"If yours is (batch, layers*directions, hidden_size), pass `np.swapaxes({name}, 0, 1)`"
            hint += ": `batch_first` does not touch states." if network.batch_first else "."
        return array(name, found, shape, network.dtype, hint=hint)
    if found.ndim == 3:
        hint = "The input `x` has no batch axis, so neither has its state."
    del shape["batch"]
    return array(name, found, shape, network.dtype, hint=hint)[:, None, :]


def state_gradient(gradient: Any, run: Any, *, name: str = "grad_final_state") -> Array | None:
    """dL/dfinal_state, given as run.final_state is, as an array (B, S); None stays None."""
    if gradient is None:
        return None
    return state(gradient, run.network, run.input.shape[1], run.output.ndim == 3, name=name)
