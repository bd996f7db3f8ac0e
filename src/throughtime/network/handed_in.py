"""What a user hands to a run, in NumPy or on the device, as arrays of the run's machine; or an error in words.

Dimensions: T time steps, B sequences, I inputs, N units, D directions, S the state size of the whole network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..refuse import checks, numeric, states
from . import parameters

Array = Any  # of the machine
SMALL = 1 << 15  # numbers of the input and the states, below which any machine has room for a run


def sequence(x: Any, network: Any, own: bool) -> tuple[Array, bool]:
    """The input, (T, B, I), and whether results have a batch axis. A device array is not copied, unless an `own` one is
    wanted; a NumPy array for an ensemble on the device is the sequences of each of its networks."""
    if network.device == "cpu":
        if type(x) is np.ndarray and x.ndim == 3 and x.dtype == network.dtype and not network.batch_first:
            T, B, I = x.shape
            if network.input_size == I and (T + 1) * B * (I + network.state_size) <= SMALL:
                return x.copy(), True  # nothing else to be asked
        return checks.sequence(x, network, parameters.room_for_run)
    arrays = network.engine.arrays
    if not arrays.holds(x):
        host, had_batch = checks.sequence(x, network)
        if network.stacked:
            host, had_batch = np.concatenate([host] * network.networks, axis=1), True
        return arrays.from_host(host), had_batch
    found = arrays.wrap(x)
    shape = tuple(found.shape)
    if len(shape) not in (2, 3) or shape[-1] != network.input_size:
        raise ValueError(checks.wrong_sequence(shape, network))
    if found.dtype != network.dtype:
        raise TypeError(
            f"`x` is a device array of {found.dtype}; this network computes in {network.dtype}: convert it first, or "
            "pass a NumPy array."
        )
    if network.stacked and (len(shape) == 2 or shape[1 - network.batch_first] % network.networks):
        raise ValueError(
            f"`x` has shape {shape}; on the device the batch of an ensemble holds the sequences of its "
            f"{network.networks} networks one after another: pass as many for each, or a NumPy array for all."
        )
    had_batch = len(shape) == 3
    if had_batch and network.batch_first:
        return arrays.compact(found, (1, 0, 2)), True
    if own or not arrays.contiguous(found):
        found = arrays.compact(found)
    return (found if had_batch else arrays.shaped(found, (shape[0], 1, shape[1]))), had_batch


def lengths_of_all(lengths: Any, network: Any, batch: int) -> Any:
    """Lengths given for the sequences of one network, for all networks of an ensemble on the device."""
    if network.stacked and lengths is not None and np.shape(lengths) == (batch // network.networks,):
        return np.tile(np.asarray(lengths), network.networks)
    return lengths


def state(name: str, given: Any, network: Any, batch: int, had_batch: bool) -> Array:
    """A state as `states.state` takes it, its parts in NumPy or on the device: (B, S)."""
    if network.device == "cpu":
        if given is None:
            return np.zeros((batch, network.state_size), network.dtype)
        return states.state(given, network, batch, had_batch, name=name)
    arrays = network.engine.arrays
    if given is None:
        return arrays.zeros((batch, network.state_size), network.dtype)
    there = _state_there(given, network, batch, had_batch) if network.device == "cuda" else None
    if there is not None:
        return there
    return arrays.from_host(states.state(arrays.fetched(given), network, batch, had_batch, name=name))


def _state_there(given: Any, network: Any, batch: int, had_batch: bool) -> Array | None:
    """A state whose parts all lie on the device, put together there; None where it is another or does not fit."""
    arrays, units, states = network.engine.arrays, set(network.hidden_sizes), set(network.unit_states)
    parts = given if isinstance(given, tuple) else (given,)
    if len(units) != 1 or states != {len(parts)} or not all(map(arrays.holds, parts)):
        return None
    rows, N = len(network.cells) * network.num_directions, network.hidden_sizes[0]
    wanted, found = (rows, batch, N) if had_batch else (rows, N), list(map(arrays.wrap, parts))
    if any(tuple(part.shape) != wanted or part.dtype != network.dtype for part in found):
        return None
    out = arrays.empty((batch, rows, len(parts), N), network.dtype)
    for i, part in enumerate(found):
        own = arrays.dense(part).reshape((rows, batch, N))
        arrays.move(out[:, :, i], arrays.parted(own, (1, 0, 2)))
    return out.reshape((batch, network.state_size))


def output_gradient(given: Any, run: Any) -> Array | None:
    """dL/doutput, (T, B, N*D)."""
    if given is None:
        return None
    network = run.network
    if network.device == "cpu":
        own = run._sent  # what the user sees of it has this shape, where there is a batch and time comes first
        usual = run._had_batch and not network.batch_first
        return given if usual and numeric.ready(given, own.shape, own.dtype) else checks.output_gradient(given, run)
    arrays = run.engine.arrays
    if not arrays.holds(given):
        return arrays.from_host(checks.output_gradient(given, run))
    found = arrays.wrap(given)
    if tuple(found.shape) != tuple(run.output.shape) or found.dtype != network.dtype:
        raise ValueError(
            f"`grad_output` is {found.dtype} {tuple(found.shape)}; expected {network.dtype} "
            f"{tuple(run.output.shape)}, as `run.output`."
        )
    if len(found.shape) == 2:
        return arrays.dense(found).reshape((int(found.shape[0]), 1, int(found.shape[1])))
    return arrays.compact(found, (1, 0, 2)) if network.batch_first else arrays.dense(found)


def array(name: str, given: Any, shape: dict[str, int], network: Any) -> Array:
    """What was given, as an array of this shape and of the network's dtype."""
    arrays = network.engine.arrays
    if not arrays.holds(given):
        return arrays.from_host(numeric.array(name, given, shape, network.dtype))
    found = arrays.wrap(given)
    if tuple(found.shape) != tuple(shape.values()) or found.dtype != network.dtype:
        expected = f"{network.dtype} {numeric.symbolic(shape)}"
        raise ValueError(f"`{name}` is {found.dtype} {tuple(found.shape)}; expected {expected}.")
    return found


def perturbation(
    name: str, value: Any, stack: Any, network: Any, own: bool
) -> tuple[Array, int, Callable[[Array], Array]]:
    """Perturbations (B, S) or (B, S, K) as rows (B*K, S), K, and the way back to the shape in which they came. The rows
    may be the user's own numbers, unless an `own` array is wanted."""
    arrays, B, S = network.engine.arrays, stack.batch, stack.size
    if arrays.holds(value):
        given = arrays.wrap(value)
        had_copies = len(given.shape) == 3
        if tuple(given.shape[:2]) != (B, S) or given.dtype != network.dtype:
            raise ValueError(
                f"`{name}` is {given.dtype} {tuple(given.shape)}; expected {network.dtype} {(B, S)} or ({B}, {S}, K)."
            )
        given = given if had_copies else given.reshape((B, S, 1))
    else:
        host, had_copies = checks.perturbation(name, value, B, S, network.dtype)
        given = arrays.from_host(host)
    K = int(given.shape[2])
    rows = arrays.compact(given, (0, 2, 1)).reshape((B * K, S))

    def back(rows: Array) -> Array:
        if not had_copies:
            return arrays.shaped(rows, (B, S))
        return arrays.compact(rows.reshape((B, K, S)), (0, 2, 1))

    return arrays.copy(rows) if own else rows, K, back
