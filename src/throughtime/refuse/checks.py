"""What a user hands to a network: sequences, lengths, states, gradients. Out comes what the engine wants, or an error
in words: what arrived, what was expected, the likely cause, the call to write.

Dimensions: T time steps, B sequences (batch), I inputs, N hidden units, L layers, D directions, S state_size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .numeric import Array, array, converted, numbers, ready, symbolic


class Sizes(Protocol):
    """What the checks need to know of a network (a Network has it)."""

    cells: tuple[Any, ...]
    input_size: int
    hidden_sizes: tuple[int, ...]
    unit_states: tuple[int, ...]
    num_directions: int
    state_size: int
    batch_first: bool
    dtype: np.dtype[Any]


def sequence(x: Any, network: Sizes, room_for: Callable[[Any, int, int], None] | None = None) -> tuple[Array, bool]:
    """The input as an own array (T, B, I) of the network's dtype, and whether it came with a batch axis. `room_for` is
    called with the network, T and B before anything is copied."""
    found = numbers("x", x)
    if found.ndim not in (2, 3) or found.shape[-1] != network.input_size:
        raise ValueError(wrong_sequence(found.shape, network, _largest_token(found)))
    had_batch = found.ndim == 3
    if not had_batch:
        found = found[:, None, :]
    elif network.batch_first:
        found = found.swapaxes(0, 1)
    if room_for is not None:
        room_for(network, *found.shape[:2])
    return converted("x", found, network.dtype, copy=True), had_batch


def lengths(lengths: Any, steps: int, batch: int) -> Array | None:
    """The lengths of the sequences as an own int64 array (B,), each from 0 to T; None stays None."""
    if lengths is None:
        return None
    found = numbers("lengths", lengths)
    if found.dtype.kind == "b":
        raise TypeError(
            "`lengths` holds True and False; of a mask (time, batch) of valid steps pass `mask.sum(axis=0)`."
        )
    if found.shape != (batch,):
        raise ValueError(
            f"`lengths` has shape {found.shape}; expected {symbolic({'batch': batch})}: one length for each sequence."
        )
    for what, wrong in (
        ("a whole number", found != np.floor(found)),  # NaN is unequal to itself
        (f"between 0 and the {steps} time steps of the input", (found < 0) | (found > steps)),
    ):
        if wrong.any():
            first = int(wrong.argmax())
            more = f" ({int(wrong.sum())} of them are wrong)" if wrong.sum() > 1 else ""
            raise ValueError(f"`lengths[{first}]` is {found[first]}, but a length is {what}{more}.")
    return found.astype(np.int64)


def output_gradient(gradient: Any, run: Any) -> Array | None:
    """dL/doutput, given in the shape of run.output, as an array (T, B, N*D); None stays None."""
    if gradient is None:
        return None
    output = run.output.shape
    swapped = len(output) == 3 and run.network.batch_first
    if len(output) == 3 and not swapped and ready(gradient, output, run.network.dtype):
        return gradient
    gradient = for_all(numbers("grad_output", gradient), run.network, 0 if swapped else 1, run.input.shape[1])
    outer = ["time"] if len(output) == 2 else ["batch", "time"] if swapped else ["time", "batch"]
    shape = dict(zip([*outer, "hidden_size*directions"], output, strict=True))
    hint = "It is dL/doutput, in the shape of `run.output`: for L = output.sum() pass `np.ones_like(run.output)`."
    found = array("grad_output", gradient, shape, run.network.dtype, hint=hint)
    if len(output) == 2:
        return found[:, None, :]
    return np.ascontiguousarray(found.swapaxes(0, 1)) if swapped else found


def for_all(given: Array, network: Any, axis: int, batch: int) -> Array:
    """What is given for one network, with or without the axis of the batch, for all of an ensemble on the GPU, whose
    batch holds the sequences of one network after another; anything else as it is."""
    if not getattr(network, "stacked", False):
        return given
    found = np.expand_dims(given, axis) if given.ndim == 2 else given
    once = found.ndim == 3 and found.shape[axis] * network.networks == batch
    return np.concatenate([found] * network.networks, axis=axis) if once else given


def some_gradient(*given: Any) -> None:
    """ValueError if there is none at all."""
    for gradient in given:
        if gradient is not None:
            return
    raise ValueError(
        "There is no gradient to send back: pass `grad_output` in the shape of `run.output`, `grad_final_state`, or "
        "both."
    )


def perturbation(name: str, value: Any, batch: int, state_size: int, dtype: np.dtype[Any]) -> tuple[Array, bool]:
    """Tangent or cotangent vectors (B, S) or (B, S, K) as an array (B, S, K), and whether they came with the axis K."""
    found = numbers(name, value)
    shape: dict[str, int | None] = {"batch": batch, "state_size": state_size}
    if found.ndim == 3:
        return array(name, found, shape | {"vectors": None}, dtype), True
    hint = "Several vectors at once are (batch, state_size, vectors)."
    return array(name, found, shape, dtype, hint=hint)[:, :, None], False


def wrong_sequence(shape: tuple[int, ...], network: Sizes, largest_token: int | None = None) -> str:
    wanted, inputs = network.input_size, f"input_size={network.input_size}"
    names: tuple[str, ...] = ("batch", "time", "inputs") if network.batch_first else ("time", "batch", "inputs")
    other = (
        "this network has `batch_first=True`"
        if network.batch_first
        else "(batch, time, inputs) with `batch_first=True`"
    )
    layout = f"Sequences are ({', '.join(names)}), {other}, or (time, inputs) for a single one."
    if len(shape) not in (2, 3):
        axes = f"{len(shape)} axes" if len(shape) > 1 else ("1 axis" if shape else "a single number")
        if len(shape) == 1 and wanted == 1:
            cause = " For one sequence of one input pass `x[:, None]`."
        elif shape == (wanted,):
            cause = " For one sequence of a single time step pass `x[None, :]`."
        elif largest_token is not None:
            cause = " " + _one_hot(largest_token, wanted)
        else:
            cause = ""
        return f"`x` has shape {shape}: {axes}. {layout}{cause}"
    if len(shape) == 2:
        names = ("time", "inputs")
    read = ", ".join(f"{n} {k}" for n, k in zip(names, shape, strict=True))
    if len(shape) == 2 and wanted == 1:
        outer = "batch, time" if network.batch_first else "time, batch"
        cause = f"If yours is ({outer}), pass `x[:, :, None]`."
    elif len(shape) == 2 and shape[0] == wanted:
        cause = "If yours is (inputs, time), pass `x.T`."
    elif len(shape) == 3 and shape[1] == wanted:
        cause = f"If yours is ({names[0]}, inputs, {names[1]}), pass `np.swapaxes(x, 1, 2)`."
    elif len(shape) == 3 and shape[0] == wanted:
        cause = f"If yours is (inputs, {names[0]}, {names[1]}), pass `np.moveaxis(x, 0, 2)`."
    elif largest_token is not None:
        cause = _one_hot(largest_token, wanted)
    else:
        cause = f"For inputs of this size build the network with `input_size={shape[-1]}`."
    return f"`x` has shape {shape}: {read}, but this network has {inputs}. {layout} {cause}"


def _largest_token(found: Array) -> int | None:
    """The largest of whole numbers of at least 0 without an axis of inputs, as those of words or bytes are."""
    if found.dtype.kind not in "iu" or found.ndim not in (1, 2) or not found.size or found.min() < 0:
        return None
    return int(found.max())


def _one_hot(largest: int, inputs: int) -> str:
    if largest < inputs:
        return f"If these are numbers of tokens, pass each as one of the inputs: `np.eye({inputs})[x]`."
    return (
        "If these are numbers of tokens, build the network with an input for each of them "
        f"(`input_size={largest + 1}` or more) and pass `np.eye(net.input_size)[x]`."
    )
