"""Rows of numbers brought to mean 0 and variance 1, and the ways through: layer normalisation, on the CPU.

    y = w n + b,   n = (x − μ)/σ,   σ² = the variance of x + ε
    ∂n/∂x = (P − n nᵀ/I)/σ, which is symmetric; P v = v − the mean of v

Source: Ba, Kiros & Hinton (2016), arXiv:1607.06450.

Dimensions: T time steps, B sequences, I numbers of a row; M = B·K rows of K perturbations of each sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray
EPSILON = 1e-5  # as of PyTorch


def normal(x: Array, epsilon: float = EPSILON) -> tuple[Array, Array]:
    """n, and 1/σ with an axis of one number, of the rows x (…, I)."""
    with np.errstate(all="ignore"):  # NaN and infinity are for the result to show
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + x.dtype.type(epsilon))
        return centred * scale, scale


def through(v: Array, n: Array, scale: Array, axis: int = -1) -> Array:
    """∂n/∂x v, forward and back, along an axis of v; n and scale, of v's shape or one number long, have it likewise."""
    with np.errstate(all="ignore"):
        along = (v * n).mean(axis=axis, keepdims=True)
        return scale * (v - v.mean(axis=axis, keepdims=True) - n * along)


def of_parameters(g: Array, n: Array) -> tuple[Array, Array]:
    """dL/dw and dL/db from dL/dy (…, I), summed over the first axis in float64."""
    with np.errstate(all="ignore"):
        return (g * n).sum(axis=0, dtype=np.float64).astype(g.dtype), g.sum(axis=0, dtype=np.float64).astype(g.dtype)


@dataclass
class Normalised:
    """What a layer reads, and the input that it is made of."""

    weight: Array  # w (I,)
    bias: Array  # b (I,)
    normal: Array  # n (T, B, I)
    scale: Array  # 1/σ (T, B, 1)
    output: Array  # y (T, B, I)

    @classmethod
    def of(cls, x: Array, weight: Array, bias: Array) -> Normalised:
        """That of the input x (T, B, I)."""
        n, scale = normal(np.ascontiguousarray(x))
        with np.errstate(all="ignore"):
            return cls(weight, bias, n, scale, weight * n + bias)

    def apart(self, start: int, stop: int) -> Normalised:
        """That of the rows (t, b) of some steps as a batch of a single step."""
        parts = {name: getattr(self, name)[start:stop] for name in ("normal", "scale", "output")}
        return replace(self, **{name: own.reshape(1, -1, own.shape[2]) for name, own in parts.items()})

    def tangent(self, dx: Array, start: int) -> Array:
        """What perturbations of the input from step `start` on, (steps, M, I), make of y."""
        with np.errstate(all="ignore"):
            return self.weight * self._through(dx, start)

    def tangent_of_rows(self, dx: Array, start: int) -> Array:
        """The same for matrices (steps, B, I, S), column by column."""
        at = slice(start, start + len(dx))
        with np.errstate(all="ignore"):
            return self.weight[:, None] * through(dx, self.normal[at][..., None], self.scale[at][..., None], axis=-2)

    def back(self, g: Array, start: int, into: Sequence[Any] | None = None, each: bool = False) -> Array:
        """dL/dx from dL/dy of the steps from `start` on, (steps, M, I); dL/dw and dL/db are added to the arrays `into`,
        None where one is not wanted, with `each` (B, I), those of every sequence."""
        if into is not None:
            n = self.normal[start : start + len(g)]
            rows = (g, n) if each else (own.reshape(-1, own.shape[2]) for own in (g, n))
            for target, found in zip(into, of_parameters(*rows), strict=True):
                if target is not None:
                    target += found
        with np.errstate(all="ignore"):
            return self._through(self.weight * g, start)

    def _through(self, v: Array, start: int) -> Array:
        n, scale = (own[start : start + len(v)] for own in (self.normal, self.scale))
        steps, B, I = n.shape
        found = through(v.reshape(steps, B, -1, I), n[:, :, None], scale[:, :, None])
        return found.reshape(steps, -1, I)
