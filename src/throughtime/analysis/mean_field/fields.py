"""The fields W_k e of a population: products with large random matrices that are never written down.

A Gaussian matrix with entries of variance 1/M is W = U Σ V with independent, uniformly distributed orthogonal U and V,
and singular values that for M → ∞ fill the quarter circle √(4 − σ²)/π on [0, 2]. Here Σ holds the quantiles of that
law, and U and V are products of random signs, cosine transforms and a random permutation, which mix as uniform ones do:
a product costs M log M in place of M², and what was sent and felt before need not be kept.

Source: Marchenko & Pastur, Math. USSR Sb. 1, 1967 (Σ); Ailon & Chazelle, SIAM J. Comput. 39, 2009 (signs and fast
transforms); Dudeja, Lu & Sen, Ann. Probab. 51, 2023 (the same dynamics with random signs as with uniform matrices).

Dimensions: M units, G gates, n vectors.
"""

import numpy as np
from scipy.fft import dct, idct

from ...results import Array


class Fields:
    """g_k W_k e for M units and all gates; with `tied` False the W_k are others at every call."""

    def __init__(self, rng: np.random.Generator, gains: Array, units: int, tied: bool) -> None:
        self.rng, self.gains, self.units, self.tied = rng, gains[:, None, None], units, tied
        if tied:
            gates = len(gains)
            self.signs = rng.choice([-1.0, 1.0], (4, gates, 1, units))
            self.stretch = np.stack([rng.permutation(quarter_circle(units)) for _ in range(gates)])[:, None]
            self.order = np.stack([rng.permutation(units) for _ in range(gates)])[:, None]

    def of(self, vectors: Array) -> Array:
        """(G, n, M): g_k W_k e of the vectors e (n, M)."""
        if not self.tied:
            size = np.sqrt((vectors**2).mean(axis=1))[:, None]
            return self.gains * size * self.rng.standard_normal((len(self.gains), *vectors.shape))
        one, two, three, four = self.signs
        mixed = dct(two * dct(one * vectors, norm="ortho"), norm="ortho") * self.stretch
        mixed = idct(four * idct(three * mixed, norm="ortho"), norm="ortho")
        return self.gains * np.take_along_axis(mixed, self.order, axis=2)


def quarter_circle(units: int) -> Array:
    """The singular values (M,) of a Gaussian matrix: quantiles of √(4 − σ²)/π, with mean square exactly one.

    >>> round(float(quarter_circle(1000).mean()), 3)  # 8/(3π)
    0.849
    """
    angle = np.linspace(0.0, np.pi / 2, 4001)  # σ = 2 sin α, of which the part (2α + sin 2α)/π lies below
    below = (2.0 * angle + np.sin(2.0 * angle)) / np.pi
    values = 2.0 * np.sin(np.interp((np.arange(units) + 0.5) / units, below, angle))
    return values / np.sqrt((values**2).mean())
