"""The Jacobian of one step in the form in which it is cheap: dense, or a diagonal times the weights plus a diagonal.

Dimensions: B sequences, S state size, N units, K tangent vectors. Frames are Fortran-ordered (S, K), for BLAS.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import blas

from .arrays import Array


def gemm(a: Array, b: Array, **options: Any) -> Array:
    """BLAS's product in the precision of b; always SciPy's, because NumPy brings a second pool of threads."""
    return np.asarray((blas.dgemm if b.dtype == np.float64 else blas.sgemm)(1.0, a, b, **options))


@dataclass
class Dense:
    """J (B, S, S) itself. `units` is N where the columns beyond the first N are diagonal (the c of an LSTM), else S."""

    jacobian: Array
    units: int

    def columns(self, b: int, order: Array, dtype: Any) -> Array:
        """J[:, order], Fortran-ordered."""
        return np.take(self.jacobian[b].T, order, axis=0).astype(dtype, copy=False).T

    def times(self, b: int, frame: Array) -> Array:
        """J frame."""
        return gemm(self.jacobian[b].T.astype(frame.dtype, copy=False), frame, trans_a=1)

    def dense(self) -> Array:
        """J (B, S, S) in float64."""
        return self.jacobian.astype(np.float64, copy=False)

    def log_det(self) -> Array:
        """ln|det J| (B,), from LU; of an LSTM by Schur's complement of the diagonal blocks, an eighth of the work."""
        jacobian, n = self.dense(), self.units
        with np.errstate(all="ignore"):
            if jacobian.shape[1] == 2 * n:
                forget = np.diagonal(jacobian[:, n:, n:], axis1=1, axis2=2)
                if np.isfinite(forget).all() and np.abs(forget).min() > 1e-100:
                    ratio = np.diagonal(jacobian[:, :n, n:], axis1=1, axis2=2) / forget
                    rest = jacobian[:, :n, :n] - ratio[:, :, None] * jacobian[:, n:, :n]
                    return np.asarray(np.log(np.abs(forget)).sum(axis=1) + np.linalg.slogdet(rest)[1])
            return np.asarray(np.linalg.slogdet(jacobian)[1])


class Weights:
    """W_hh of a layer of one gate and one state, in the forms that its Jacobians are made of."""

    def __init__(self, matrix: Array) -> None:
        self.double = np.ascontiguousarray(matrix.T, dtype=np.float64)

    @cached_property
    def single(self) -> Array:
        """W^T in float32."""
        return self.double.astype(np.float32)

    def transposed(self, dtype: Any) -> Array:
        """W^T, C-ordered."""
        return self.double if dtype == np.float64 else self.single

    @cached_property
    def log_det(self) -> float:
        """ln|det W|."""
        with np.errstate(all="ignore"):
            return float(np.linalg.slogdet(self.double)[1])


@dataclass
class Diagonal:
    """J = diag(d) W diag(slope) + diag(own), each (B, S): vanilla, leaky and rate units."""

    weights: Weights
    d: Array
    slope: Array | None  # None: ones
    own: Array | None  # None: zeros

    def columns(self, b: int, order: Array, dtype: Any) -> Array:
        """J[:, order], Fortran-ordered."""
        rows = np.take(self.weights.transposed(dtype), order, axis=0)
        rows *= self.d[b].astype(dtype, copy=False)
        if self.slope is not None:
            rows *= self.slope[b, order].astype(dtype, copy=False)[:, None]
        if self.own is not None:
            rows[np.arange(order.size), order] += self.own[b, order].astype(dtype, copy=False)
        return rows.T

    def times(self, b: int, frame: Array) -> Array:
        """J frame."""
        inner = frame if self.slope is None else frame * self.slope[b].astype(frame.dtype, copy=False)[:, None]
        out = gemm(self.weights.transposed(frame.dtype).T, np.asfortranarray(inner), trans_a=0)
        rows = out.T
        rows *= self.d[b].astype(frame.dtype, copy=False)
        if self.own is not None:
            rows += frame.T * self.own[b].astype(frame.dtype, copy=False)
        return out

    def dense(self) -> Array:
        """J (B, S, S) in float64."""
        full = self.d[:, :, None] * self.weights.double.T
        if self.slope is not None:
            full = full * self.slope[:, None]
        if self.own is not None:
            place = np.arange(full.shape[1])
            full[:, place, place] += self.own
        return np.asarray(full)

    def log_det(self) -> Array:
        """ln|det J| (B,): that of W once and the sum of the logarithms of the slopes, where nothing is added."""
        with np.errstate(all="ignore"):
            if self.own is not None:
                return np.asarray(np.linalg.slogdet(self.dense())[1])
            total = self.weights.log_det + np.log(np.abs(self.d.astype(np.float64))).sum(axis=1)
            if self.slope is not None:
                total = total + np.log(np.abs(self.slope.astype(np.float64))).sum(axis=1)
            return np.asarray(total)
