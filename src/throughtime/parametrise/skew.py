"""Weights that are given by one half of them: antisymmetric and symmetric ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..refuse import arguments, words
from .form import Array, Parametrisation, Size, Values


def lower(n: int, k: int) -> Array:
    """(n, n), True below the diagonal (k = -1), or also on it (k = 0)."""
    return np.tri(n, k=k, dtype=bool)


def to_skew(half: Array, size: Size) -> Array:
    """A − Aᵀ (G, N, N) with the numbers of `half` below the diagonal, row by row."""
    a = np.zeros(size, half.dtype)
    a[:, lower(size.rows, -1)] = half.reshape(size.blocks, -1)
    return a - a.swapaxes(1, 2)


def from_skew(g: Array) -> Array:
    """The gradient of A − Aᵀ as that of the numbers below the diagonal: (…, G, N, N) -> (…, G*N(N−1)/2)."""
    return (g - g.swapaxes(-1, -2))[..., lower(g.shape[-1], -1)].reshape(*g.shape[:-3], -1)


def half_of(size: Size, k: int = -1) -> int:
    """How many numbers there are below the diagonals of all blocks."""
    return size.blocks * size.rows * (size.rows + 2 * k + 1) // 2


@dataclass(frozen=True, eq=False, repr=False)
class Antisymmetric(Parametrisation):
    name = "antisymmetric"
    gamma: float

    def shapes(self, size: Size) -> dict[str, tuple[int, ...]]:
        return {"skew": (half_of(size),)}

    def start(self, w: Array) -> Values:
        return {"skew": w[:, lower(w.shape[-1], -1)].ravel()}

    def weight(self, size: Size, free: Values) -> tuple[Array, Any]:
        w = to_skew(free["skew"], size)
        w[:, range(size.rows), range(size.rows)] = 0.0 - self.gamma
        return w, None

    def pullback(self, free: Values, kept: Any, g: Array) -> Values:
        return {"skew": from_skew(g)}


@dataclass(frozen=True, eq=False, repr=False)
class Symmetric(Parametrisation):
    name = "symmetric"

    def shapes(self, size: Size) -> dict[str, tuple[int, ...]]:
        return {"lower": (half_of(size, 0),)}

    def start(self, w: Array) -> Values:
        return {"lower": w[:, lower(w.shape[-1], 0)].ravel()}

    def weight(self, size: Size, free: Values) -> tuple[Array, Any]:
        w = np.zeros(size, free["lower"].dtype)
        w[:, lower(size.rows, 0)] = free["lower"].reshape(size.blocks, -1)
        above = np.triu_indices(size.rows, 1)
        w[:, *above] = w[:, above[1], above[0]]
        return w, None

    def pullback(self, free: Values, kept: Any, g: Array) -> Values:
        n = g.shape[-1]
        both = g + g.swapaxes(-1, -2)
        both[..., range(n), range(n)] = g[..., range(n), range(n)]
        return {"lower": both[..., lower(n, 0)].reshape(*g.shape[:-3], -1)}


@words.explained
def antisymmetric(gamma: float = 0.0) -> Parametrisation:
    """Every square block is W = V − Vᵀ − γ·1, V strictly lower triangular: all eigenvalues have the real part −γ.

    Free are the N(N−1)/2 numbers of V in each of the G blocks, row by row: "weight_hh_l0.skew", (G*N(N−1)/2,). They
    begin as what the initialiser draws below the diagonal. gamma : γ, the damping, any finite number; not trained.

    It makes the differential equation dh/dt = tanh(W h + …) stable for every γ ≥ 0, and the residual network
    h' = h + ε tanh(W h + …), a cell of a few lines, nearly so for small ε. In h' = tanh(W h + …) it does nothing of the
    kind. ValueError if gamma is not finite, and from Network for blocks that are not square.

    Source: Chang, Chen, Haber & Chi, AntisymmetricRNN, ICLR 2019, arXiv:1902.09689, with γ = 0.01 or so.

        >>> import numpy as np, throughtime as tt
        >>> net = tt.Network("tanh", 3, 6, parametrise={"weight_hh": tt.parametrise.antisymmetric(gamma=0.01)}, seed=0)
        >>> net.parameters["weight_hh_l0.skew"].shape, np.linalg.eigvals(net.weights()["weight_hh_l0"]).real.round(9)
        ((15,), array([-0.01, -0.01, -0.01, -0.01, -0.01, -0.01]))
    """
    return Antisymmetric(arguments.real("gamma", gamma))


@words.explained
def symmetric() -> Parametrisation:
    """Every square block is W = Wᵀ: its eigenvalues are real, and `tanh` without input comes to rest or oscillates.

    Free are the N(N+1)/2 numbers on and below the diagonal of each of the G blocks, row by row: "weight_hh_l0.lower",
    (G*N(N+1)/2,). They begin as what the initialiser draws there. ValueError from Network for blocks that are not
    square.

    Source: Hopfield, PNAS 81 (1984) 3088.

        >>> import numpy as np, throughtime as tt
        >>> net = tt.Network("tanh", 3, 6, parametrise={"weight_hh": tt.parametrise.symmetric()}, seed=0)
        >>> w = net.weights()["weight_hh_l0"]
        >>> net.parameters["weight_hh_l0.lower"].shape, bool(np.array_equal(w, w.T))
        ((21,), True)
    """
    return Symmetric()
