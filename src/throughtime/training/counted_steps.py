"""Which steps of a batch count in a loss, and with what share: padding and what is masked do not.

Dimensions: T time steps, B sequences, O outputs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..models.machines import engine_of
from ..refuse import checks, numeric

Array = numeric.Array


def shares(output: Array, lengths: Any, weights: Any) -> Array | float:
    """The share of every row of an output (T, B, O) or (B, O) in a mean, (T, B) or (B,), 1 in all; where all count
    alike one number.

    lengths: (B,); step t of sequence b counts where t < lengths[b]. Of an output (B, O), one for a whole sequence,
    those count that have a step. weights: what each step counts, at least 0, in the shape of the shares.
    """
    rows = tuple(output.shape)[:-1]
    counts: Any = None if weights is None else _weights(weights, rows)
    if lengths is not None:
        real = _real(lengths, rows)
        counts = real.astype(np.float64) if counts is None else np.where(real, counts, 0.0)
    if counts is None and output.size:
        return 1.0 / math.prod(rows)
    total = 0.0 if counts is None else float(counts.sum())
    if not total > 0.0:
        why = "the batch is empty" if counts is None or not counts.size else "all are padding or have weight 0"
        raise ValueError(f"No step counts in this loss: {why}; a mean of nothing is no number. Leave the batch out.")
    return np.asarray(counts / total)


def spread(share: Array | float) -> Array | float:
    """The shares of rows as those of their numbers, with an axis more."""
    return share[..., None] if isinstance(share, np.ndarray) else share


def only(share: Array | float, values: Array) -> Array:
    """`values` with 0 in the rows that do not count, where anything may stand, NaN too."""
    if not isinstance(share, np.ndarray) or share.all():
        return values
    counts = share > 0.0
    return np.where(counts[..., None] if values.ndim > share.ndim else counts, values, values.dtype.type(0))


def given_output(output: Any) -> Any:
    """The output of a model as an array (…, O) of float32 or float64; one on the GPU C-contiguous there."""
    arrays = engine_of(output).arrays
    found = arrays.dense(arrays.wrap(output)) if arrays.holds(output) else numeric.numbers("output", output)
    if found.ndim not in (2, 3):
        raise ValueError(
            f"`output` has shape {tuple(found.shape)}; a loss takes that of every step, (time, batch, outputs), or of "
            "a whole sequence, (batch, outputs)."
        )
    return found if found.dtype in (np.float32, np.float64) else found.astype(np.float64)


def given_targets(targets: Any, output: Array) -> Array:
    """Targets that are numbers, in NumPy, in shape and type of the output."""
    found, shape = numeric.numbers("targets", targets), tuple(output.shape)
    if found.shape != shape:
        hint = " They have no axis of outputs: pass `targets[..., None]`." if found.shape == shape[:-1] else ""
        if found.ndim == 2 and len(shape) == 3 and found.shape == shape[1:]:
            hint = " There is one target for each sequence: take the output of its last step, or `batch.aligned()`."
        raise ValueError(f"`targets` has shape {found.shape}; expected that of the output, {shape}.{hint}")
    return found.astype(output.dtype, copy=False)


def _real(lengths: Any, rows: tuple[int, ...]) -> Array:
    if len(rows) == 2:
        real: Any = checks.lengths(lengths, *rows)
        return np.asarray(np.arange(rows[0])[:, None] < real)
    found = numeric.numbers("lengths", lengths)
    if found.shape != rows:
        raise ValueError(f"`lengths` has shape {found.shape}; expected one length for each of {rows[0]} sequences.")
    return np.asarray(found > 0)


def _weights(weights: Any, rows: tuple[int, ...]) -> Array:
    found = numeric.numbers("weights", weights)
    if found.shape != rows:
        axes = "(time, batch)" if len(rows) == 2 else "(batch,)"
        raise ValueError(f"`weights` has shape {found.shape}; expected {axes} = {rows}, one for each target.")
    if not ((found >= 0) & (found < np.inf)).all():
        raise ValueError("`weights` holds numbers that are negative, infinite or NaN; a weight is at least 0.")
    return found.astype(np.float64)
