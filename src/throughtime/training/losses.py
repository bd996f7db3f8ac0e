"""Losses: the mean over the steps that count, and its gradient by the output.

A loss is any function loss(output, targets, lengths=None, weights=None) -> (value, gradient), gradient in the shape of
the output. Of an output on the GPU, targets, lengths and weights are in NumPy, the gradient is there too, and the value
is fetched when it is read, `float(value)`. Dimensions: T time steps, B sequences, O outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.cpu.softmax_losses import softmax_cross_entropy
from ..models.machines import engine_of
from ..refuse import numeric
from ..refuse.expected import checking
from .counted_steps import Array, given_output, given_targets, only, shares, spread


@checking
def cross_entropy(output: Any, targets: Any, lengths: Any = None, weights: Any = None) -> tuple[float, Array]:
    """Cross-entropy of classes under softmax(output), in nats, averaged over the steps that count.

        L = Σ w (ln Σ_c exp y_c − y_target) / Σ w,    dL/dy = w (softmax(y) − onehot(target)) / Σ w

    output: logits y, (T, B, O), or (B, O) where a sequence has one; −inf is a class that cannot be.
    targets: whole numbers below O, (T, B) or (B,); what stands at steps that do not count is not looked at.
    lengths: (B,) real steps; those behind them do not count. weights: (T, B) or (B,), numbers of at least 0 or a mask;
    1 by default. Over ln 2 the value is in bits.
    Returns (value, gradient in shape and dtype of `output`). NaN in a step that counts makes the value NaN.

    TypeError for targets that are no whole numbers, ValueError for a wrong shape, a class that there is not, and where
    no step counts. As torch.nn.functional.cross_entropy(reduction="mean") of the steps that count.

    >>> import numpy as np, throughtime as tt
    >>> value, gradient = tt.training.cross_entropy(np.zeros((5, 2, 4)), np.ones((5, 2), int), lengths=[5, 3])
    >>> round(value, 5), gradient.shape, gradient[0, 0] * 8
    (1.38629, (5, 2, 4), array([ 0.25, -0.75,  0.25,  0.25]))
    """
    y = given_output(output)
    share = shares(y, lengths, weights)
    found = _classes(targets, y, share)
    if not isinstance(y, np.ndarray):
        return engine_of(y).loss_kernels.cross_entropy(y, found, share)
    rows = y[..., 0].size
    place, weight = found.reshape(-1), np.empty(rows, y.dtype)
    weight[...] = np.reshape(share, -1)
    flat = numeric.compact(y).reshape(rows, y.shape[-1])
    total, own, gradient = softmax_cross_entropy(flat, numeric.compact(place), weight)
    with np.errstate(all="ignore"):  # NaN is for the value to show
        each = np.log(total) - own
    return float((each * np.reshape(share, -1)).sum(dtype=np.float64)), gradient.reshape(y.shape)


@checking
def binary_cross_entropy(output: Any, targets: Any, lengths: Any = None, weights: Any = None) -> tuple[float, Array]:
    """Cross-entropy of yes and no under sigmoid(output), in nats, averaged over the steps that count and the outputs.

        L = mean of max(y, 0) − y t + ln(1 + exp −|y|),    dL/dy = (σ(y) − t)/n

    output: logits y, (T, B, O), or (B, O) where a sequence has one. targets: t from 0 to 1, in the same shape.
    lengths: (B,) real steps. weights: (T, B) or (B,), numbers of at least 0 or a mask; 1 by default.
    Returns (value, gradient in shape and dtype of `output`). NaN in a step that counts makes the value NaN.

    ValueError for a wrong shape, a target outside 0 … 1, and where no step counts. As
    torch.nn.functional.binary_cross_entropy_with_logits(reduction="mean") of the steps that count.

    >>> import numpy as np, throughtime as tt
    >>> value, gradient = tt.training.binary_cross_entropy(np.zeros((5, 2, 1)), np.ones((5, 2, 1)))
    >>> round(value, 5), round(float(gradient.sum()), 12)
    (0.69315, -0.5)
    """
    y = given_output(output)
    share = shares(y, lengths, weights)
    t = only(share, given_targets(targets, y))
    if ((t < 0) | (t > 1)).any():
        wrong = t[(t < 0) | (t > 1)][0]
        raise ValueError(f"`targets` holds {wrong:g}; a target of binary_cross_entropy is from 0 to 1.")
    if not isinstance(y, np.ndarray):
        return engine_of(y).loss_kernels.binary_cross_entropy(y, engine_of(y).arrays.from_host(t), share)
    y = only(share, y)
    with np.errstate(over="ignore", invalid="ignore"):  # inf and NaN go through
        small = np.exp(-np.abs(y))
        each = np.maximum(y, 0) - y * t + np.log1p(small)
        gradient = np.where(y >= 0, 1, small) / (1 + small) - t
        return _mean(each, gradient, share)


@checking
def mean_squared_error(output: Any, targets: Any, lengths: Any = None, weights: Any = None) -> tuple[float, Array]:
    """The mean of (output − target)² over the steps that count and the outputs.

        L = Σ w (y − t)²/(O Σ w),    dL/dy = 2 w (y − t)/(O Σ w)

    output: y, (T, B, O), or (B, O) where a sequence has one. targets: t in the same shape.
    lengths: (B,) real steps. weights: (T, B) or (B,), numbers of at least 0 or a mask; 1 by default.
    Returns (value, gradient in shape and dtype of `output`). NaN in a step that counts makes the value NaN.

    ValueError for a wrong shape, and where no step counts. As torch.nn.functional.mse_loss(reduction="mean") of the
    steps that count.

    >>> import numpy as np, throughtime as tt
    >>> value, gradient = tt.training.mean_squared_error(np.zeros((5, 2, 1)), np.full((5, 2, 1), 3.0))
    >>> value, round(float(gradient.sum()), 12)
    (9.0, -6.0)
    """
    y = given_output(output)
    share = shares(y, lengths, weights)
    t = given_targets(targets, y)
    if not isinstance(y, np.ndarray):
        return engine_of(y).loss_kernels.mean_squared_error(y, engine_of(y).arrays.from_host(t), share)
    with np.errstate(over="ignore", invalid="ignore"):  # inf and NaN go through
        error = only(share, y) - only(share, t)
        return _mean(error * error, 2 * error, share)


def _mean(each: Array, gradient: Array, share: Any) -> tuple[float, Array]:
    """Value and gradient of the mean over rows of these shares, and over the outputs."""
    outputs = each.shape[-1]
    value = float((each * spread(share)).sum(dtype=np.float64)) / outputs
    return value, gradient * _as(gradient, spread(share) / outputs)


def _as(y: Array, share: Any) -> Any:
    return np.asarray(share, y.dtype)


def _classes(targets: Any, y: Array, share: Any) -> Array:
    found = numeric.numbers("targets", targets)
    *shape, classes = map(int, y.shape)
    rows = tuple(shape)
    if found.shape == (*rows, classes) and classes > 1:
        raise ValueError(
            f"`targets` has shape {found.shape}, that of the output; cross_entropy takes the number of the class: of "
            "one-hot targets pass `targets.argmax(axis=-1)`."
        )
    if found.shape != rows:
        hint = ""
        if len(rows) == 2 and found.shape == rows[1:]:
            hint = " There is one target for each sequence: take the output of its last step, or `batch.aligned()`."
        elif found.shape == rows[::-1]:
            hint = " If yours are (batch, time), pass `targets.T`."
        elif found.shape == (*rows, 1):
            hint = " They have an axis too many: pass `targets[..., 0]`."
        raise ValueError(f"`targets` has shape {found.shape}; for an output {(*rows, classes)} expected {rows}.{hint}")
    if found.dtype.kind not in "iu":
        raise TypeError(
            f"`targets` has dtype {found.dtype}; cross_entropy takes classes, whole numbers below {classes}."
        )
    found = only(share, found)
    if found.size and not 0 <= int(found.min()) <= int(found.max()) < classes:
        wrong = int(found.min()) if found.min() < 0 else int(found.max())
        raise ValueError(f"`targets` holds the class {wrong}; an output of {classes} numbers has 0 to {classes - 1}.")
    return found.astype(np.int64, copy=False)
