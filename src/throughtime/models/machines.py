"""Models on a GPU: on which machine an array lies, what is handed in there, and which models go there."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import engine
from ..network.network import Network
from ..refuse import arguments, checks, numeric
from ..refuse.called import told

Array = Any  # of the machine
PIECES = "networks, embeddings, readouts, dropouts, LayerNorm, Residual, last and mean"


def engine_of(array: Array) -> Any:
    """The engine of the machine on which an array of a run lies."""
    return engine.of("cuda" if hasattr(array, "copy_to_host") else "cpu")


def gradient_there(given: Any, output: Array) -> Array:
    """dL/doutput for an output on the GPU, C-contiguous there."""
    arrays = engine_of(output).arrays
    if not arrays.holds(given):
        shape = {f"axis {k}": int(n) for k, n in enumerate(output.shape)}
        hint = "It is dL/doutput, in the shape of `run.output`."
        return arrays.from_host(numeric.array("grad_output", given, shape, output.dtype, hint=hint))
    found = arrays.wrap(given)
    if tuple(found.shape) != tuple(output.shape) or found.dtype != output.dtype:
        raise ValueError(
            f"`grad_output` is {found.dtype} {tuple(found.shape)}; expected {output.dtype} {tuple(output.shape)}, as "
            "`run.output`."
        )
    return arrays.dense(found)


def steps_there(x: Any, size: int, what: str, dtype: Any, lengths: Any) -> tuple[Array, Any]:
    """x (T, B, N), (B, N) or (N,) on the GPU, whose padding is 0, and the lengths of its sequences, in NumPy."""
    arrays = engine.of("cuda").arrays
    found = arrays.wrap(x) if arrays.holds(x) else numeric.numbers("x", x)
    shape = tuple(int(n) for n in found.shape)
    if not 1 <= len(shape) <= 3 or shape[-1] != size:
        raise ValueError(f"`x` has shape {shape}; {what}={size} takes (time, batch, {size}), or (batch, {size}).")
    if isinstance(found, np.ndarray):
        with np.errstate(all="ignore"):  # a number too large for float32 becomes inf, as it would by arithmetic
            found = arrays.from_host(np.asarray(found, dtype, order="C"))
    elif found.dtype != dtype:
        raise TypeError(f"`x` is a device array of {found.dtype}; this model computes in {dtype}: convert it first.")
    if lengths is None:
        return found, None
    if len(shape) == 1:
        raise ValueError("`lengths` belong to an `x` with a time axis, and this one has none; leave them out.")
    held = checks.lengths(lengths, shape[0], shape[1] if len(shape) == 3 else 1)
    return padded(arrays.copy(found), held), held


def padded(own: Array, lengths: Any) -> Array:
    """0 in `own` (T, B, n), or (T, n), C-contiguous, beyond each sequence's end; returns it. lengths: in NumPy."""
    arrays = engine_of(own).arrays
    if lengths is not None:
        shape = tuple(int(n) for n in own.shape)
        whole = arrays.shaped(own, shape if len(shape) == 3 else (shape[0], 1, shape[1]))
        arrays.pad(whole, arrays.from_host(np.asarray(lengths, np.int64)))
    return own


def may_go(model: Any, place: str = "") -> None:
    """ValueError with the name of the piece for a model that does not run on the GPU."""
    here = f"piece {place}" if place else "it"
    if not getattr(model, "on_gpu", False):
        raise ValueError(
            f"{told(model).capitalize()} of the kind {type(model).__name__} works on the CPU only, and {here} would go "
            f"to the GPU; there models are made of {PIECES}. Leave the model on the CPU, or make it of these."
        )
    for name in ("noise", "checkpoint"):
        if getattr(model, name, None):
            raise ValueError(
                f"`{name}` of a chain works on the CPU only, and {here} would go to the GPU: leave the model on the "
                f"CPU, or make it without `{name}`."
            )
    for k, piece in enumerate(getattr(model, "pieces", ())):
        name = f"{place}.{k}".lstrip(".")
        if isinstance(piece, Network):
            if piece.layer_norm:
                raise ValueError(
                    f"The network of piece {name} has `layer_norm`, which works on the CPU only: leave the model on "
                    "the CPU, or make it without."
                )
            continue
        if not getattr(piece, "on_gpu", False):
            kind = getattr(piece, "__name__", type(piece).__name__)
            raise ValueError(
                f"Piece {name}, {kind}, works on the CPU only; on the GPU models are made of "
                f"{PIECES}: leave the model on the CPU, or make it of these."
            )
        if hasattr(piece, "flat"):
            may_go(piece, name)


def device_of(value: Any) -> str:
    """The argument `device` of `to`, "cpu" or "cuda"; RuntimeError where there is no GPU."""
    device = arguments.device(value)
    if device == "cuda":
        engine.of(device).arrays.require()
    return device
