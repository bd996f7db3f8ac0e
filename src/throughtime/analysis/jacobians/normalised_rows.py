"""The normalisation of what a layer reads, and how products with its derivatives depend on what it is made of.

    φ = a · (∂n/∂x) v  has  ∂φ/∂x = −(φ n + (n·v) (∂n/∂x) a + (n·a) (∂n/∂x) v)/(σ I)

with y = w n + b, n and σ as in engine/normalised.py.

Dimensions: M rows = times × sequences, K vectors a row, I numbers that the layer reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...engine.normalised import through
from ...network.parameters import NORM
from ...results import Array


class NormalisedRows:
    """That of layer k of a run, of the steps `times`; rows: brings (n, B, …) to rows in float64."""

    def __init__(self, run: Any, k: int, times: slice, rows: Callable) -> None:
        own, self.names = run.norms[k], [f"{kind}_l{k}" for kind in NORM]
        self.weight = own.weight.astype(np.float64)
        self.normal, self.scale = rows(own.normal[times]), rows(own.scale[times])
        self.tangents: Array | None = None  # of what the layer is given, where that moves

    def ahead(self, given: Array) -> Array:
        """What tangents (M, K, I) of what the layer is given make of what it reads."""
        self.tangents = given
        return self.weight * through(given, self.normal[:, None], self.scale[:, None])

    def back(self, by_value: Array | None, by_tangents: Array) -> tuple[tuple, dict[str, Array]]:
        """The gradient by what the layer reads, (M, I), or None where derivatives are held, and those by its tangents,
        (M, K, I), as those by what it is given and by its tangents; and those by w and b, by name."""
        n, scale, I = self.normal, self.scale, self.normal.shape[1]
        value = np.zeros_like(n) if by_value is None else by_value
        of_w, of_b = (value * n).sum(axis=0), value.sum(axis=0)
        if self.tangents is not None:
            n_, scale_, v, a = n[:, None], scale[:, None], self.tangents, self.weight * by_tangents
            moved, back = through(v, n_, scale_), through(a, n_, scale_)
            of_w = of_w + (by_tangents * moved).sum(axis=(0, 1))
            if by_value is not None:
                pairs = (a, moved), (n_, v), (n_, a)
                phi, along_v, along_a = ((one * other).sum(axis=2, keepdims=True) for one, other in pairs)
                bent = -(phi * n_ + along_v * back + along_a * moved).sum(axis=1) * scale / I
                by_value = through(self.weight * by_value, n, scale) + bent
            by_tangents = back
        return (by_value, by_tangents), dict(zip(self.names, (of_w, of_b), strict=True))
