"""The Jacobians of some steps in the form in which they are cheap: dense, or a diagonal times the weights plus another.

Dimensions: T steps, B sequences, S state size, N units.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...engine.lu import DENSE, OWN, SLOPE, Jacobians, padded
from ...engine.once import once
from ...results import Array


@dataclass
class Dense:
    """J (B, S, S) of one step. `units` is N where the columns beyond the first N are diagonal (an LSTM's c), else S."""

    jacobian: Array
    units: int
    steps: int = 1

    def for_engine(self, b: int, dtype: Any) -> Jacobians:
        """J of sequence b for the engine."""
        size, unused = self.jacobian.shape[1], np.ones(1, dtype)
        matrix = np.ascontiguousarray(self.jacobian[b], dtype=dtype).reshape(-1)
        return Jacobians(matrix, size, unused, unused, unused, DENSE, 0, 1, size * size)

    def dense(self, step: int) -> Array:
        """J (B, S, S) in float64."""
        return self.jacobian.astype(np.float64, copy=False)

    def log_det(self) -> Array:
        """ln|det J| (B,), from LU; of an LSTM by Schur's complement of the diagonal blocks, an eighth of the work."""
        jacobian, n = self.dense(0), self.units
        with np.errstate(all="ignore"):
            if jacobian.shape[1] == 2 * n:
                forget = np.diagonal(jacobian[:, n:, n:], axis1=1, axis2=2)
                if np.isfinite(forget).all() and np.abs(forget).min() > 1e-100:
                    ratio = np.diagonal(jacobian[:, :n, n:], axis1=1, axis2=2) / forget
                    rest = jacobian[:, :n, :n] - ratio[:, :, None] * jacobian[:, n:, :n]
                    return np.asarray(np.log(np.abs(forget)).sum(axis=1) + np.linalg.slogdet(rest)[1])
            return np.asarray(np.linalg.slogdet(jacobian)[1])


class Weights:
    """W_hh (N, N) of a layer of one gate and one state, in the forms that its Jacobians are made of; for log_det alone
    also (B, N, N), one for each sequence."""

    def __init__(self, matrix: Array) -> None:
        self.matrix = matrix.astype(np.float64)
        self._flat: dict[Any, Array] = {}

    def flat(self, dtype: Any) -> Array:
        """W^T for the engine, its rows padded with zeros."""
        dtype = np.dtype(dtype)
        if dtype not in self._flat:
            size = len(self.matrix)
            rows = np.zeros((size, padded(size)), dtype)
            rows[:, :size] = self.matrix.T
            self._flat[dtype] = rows.reshape(-1)
        return self._flat[dtype]

    @once
    def log_det(self) -> Array:
        """ln|det W|."""
        with np.errstate(all="ignore"):
            return np.asarray(np.linalg.slogdet(self.matrix)[1])


@dataclass
class Diagonal:
    """J = diag(d) W diag(slope) + diag(own) of T steps, each (T, B, S): vanilla, leaky and rate units."""

    weights: Weights
    d: Array
    slope: Array | None  # None: ones
    own: Array | None  # None: zeros
    steps: int = field(init=False)

    def __post_init__(self) -> None:
        self.steps = len(self.d)

    def part(self, start: int, stop: int) -> "Diagonal":
        """Those of some of the steps."""
        parts = (None if values is None else values[start:stop] for values in (self.d, self.slope, self.own))
        return Diagonal(self.weights, *parts)  # type: ignore[arg-type]

    def for_engine(self, b: int, dtype: Any) -> Jacobians:
        """J of sequence b for the engine."""
        line, unused = padded(self.d.shape[2]), np.ones(1, dtype)

        def flat(values: Array | None) -> Array:
            if values is None:
                return unused
            rows = np.zeros((self.steps, line), dtype)
            rows[:, : values.shape[2]] = values[:, b]
            return rows.reshape(-1)

        flags = (self.slope is not None) * SLOPE + (self.own is not None) * OWN
        parts = flat(self.d), flat(self.slope), flat(self.own)
        return Jacobians(self.weights.flat(dtype), line, *parts, flags, 0, self.steps, line)

    def dense(self, step: int) -> Array:
        """J (B, S, S) of one of the steps in float64."""
        full = self.d[step, :, :, None] * self.weights.matrix
        if self.slope is not None:
            full = full * self.slope[step, :, None]
        if self.own is not None:
            place = np.arange(full.shape[1])
            full[:, place, place] += self.own[step]
        return np.asarray(full)

    def log_det(self) -> Array:
        """ln|det J| (B,) of all steps: that of W once and the sum of the logarithms of the slopes, if that is all."""
        with np.errstate(all="ignore"):
            if self.own is not None:
                return np.asarray(sum(np.linalg.slogdet(self.dense(step))[1] for step in range(self.steps)))
            total = self.steps * self.weights.log_det + np.log(np.abs(self.d.astype(np.float64))).sum(axis=(0, 2))
            if self.slope is not None:
                total = total + np.log(np.abs(self.slope.astype(np.float64))).sum(axis=(0, 2))
            return np.asarray(total)
