"""Weights of few numbers: of low rank, or diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.blas import single_blas
from ..refuse import arguments, numeric, words
from .form import Array, Parametrisation, Size, Values, fitting, read_only


@dataclass(frozen=True, eq=False, repr=False)
class LowRank(Parametrisation):
    name, square = "low_rank", False
    rank: int
    fixed: Any

    def shapes(self, size: Size) -> dict[str, tuple[int, ...]]:
        if self.rank > min(size.rows, size.columns):
            raise ValueError(
                f"`rank` of parametrise.low_rank(…) is {arguments.shown(self.rank)}; a block of {size.rows} rows and "
                f"{size.columns} columns has no higher rank than {min(size.rows, size.columns)}."
            )
        if self.fixed is not None:
            fitting("fixed", self.fixed, size)
        return {"u": (size.blocks * size.rows, self.rank), "v": (size.blocks * size.columns, self.rank)}

    @single_blas
    def start(self, w: Array) -> Values:
        if not np.isfinite(w).all():
            raise ValueError("parametrise.low_rank(…) cannot begin near weights that hold NaN or inf.")
        if self.fixed is not None:
            w = w - fitting("fixed", self.fixed, Size(*w.shape))
        u, values, v = np.linalg.svd(w.astype(np.float64), full_matrices=False)
        root = np.sqrt(values[:, None, : self.rank])
        parts = u[:, :, : self.rank] * root, v.swapaxes(1, 2)[:, :, : self.rank] * root
        return {name: part.reshape(-1, self.rank) for name, part in zip("uv", parts, strict=True)}

    def _factors(self, free: Values, blocks: int) -> tuple[Array, Array]:
        u, v = (free[name].reshape(blocks, -1, self.rank) for name in "uv")
        return u, v

    @single_blas
    def weight(self, size: Size, free: Values) -> tuple[Array, Any]:
        u, v = self._factors(free, size.blocks)
        w = u @ v.swapaxes(1, 2)
        if self.fixed is not None:
            w += fitting("fixed", self.fixed, size)
        return w, None

    @single_blas
    def pullback(self, free: Values, kept: Any, g: Array) -> Values:
        u, v = self._factors(free, g.shape[-3])
        parts = g @ v, g.swapaxes(-1, -2) @ u
        return {name: p.reshape(*g.shape[:-3], -1, self.rank) for name, p in zip("uv", parts, strict=True)}


@dataclass(frozen=True, eq=False, repr=False)
class Diagonal(Parametrisation):
    name = "diagonal"

    def shapes(self, size: Size) -> dict[str, tuple[int, ...]]:
        return {"diagonal": (size.blocks * size.rows,)}

    def start(self, w: Array) -> Values:
        return {"diagonal": np.diagonal(w, axis1=-2, axis2=-1).ravel()}

    def weight(self, size: Size, free: Values) -> tuple[Array, Any]:
        w = np.zeros(size, free["diagonal"].dtype)
        w[:, range(size.rows), range(size.rows)] = free["diagonal"].reshape(size.blocks, -1)
        return w, None

    def pullback(self, free: Values, kept: Any, g: Array) -> Values:
        return {"diagonal": np.diagonal(g, axis1=-2, axis2=-1).reshape(*g.shape[:-3], -1)}

    def places(self, size: Size) -> Array | None:
        return np.tile(np.eye(size.rows, dtype=bool), (size.blocks, 1))


@words.explained
def low_rank(rank: int, *, fixed: Any = None) -> Parametrisation:
    """Every block of R rows and C columns is W = U Vᵀ, of the given rank, or W = U Vᵀ + F with a fixed F.

    Free are U and V of each of the G blocks: "weight_hh_l0.u", (G*R, rank), and ".v", (G*C, rank). They begin as the
    best approximation of the drawn weights, less F: their leading singular vectors, each times the root of its value.
    fixed : F, (R, C) for all blocks or (G*R, C); not trained. Other beginnings are an initialiser of your own, which
    may return these names in place of "weight_hh_l0".

    In networks of random and structured connectivity W = g χ + m nᵀ/N: F = g χ, U = m, V = n/N. ValueError from Network
    for a rank above min(R, C), and an F of another shape.

    Source: Mastrogiuseppe & Ostojic, Neuron 99 (2018) 609, arXiv:1711.09672.

        >>> import numpy as np, throughtime as tt
        >>> noise = 0.8 * np.random.default_rng(0).normal(size=(50, 50)) / 50**0.5
        >>> way = {"weight_hh": tt.parametrise.low_rank(1, fixed=noise)}
        >>> net = tt.Network("rate", 3, 50, parametrise=way, seed=0)
        >>> net.parameters["weight_hh_l0.v"].shape, np.linalg.matrix_rank(net.weights()["weight_hh_l0"] - noise)
        ((50, 1), np.int64(1))
    """
    found = None
    if fixed is not None:
        given = numeric.numbers("fixed", fixed)
        if given.ndim != 2 or not np.isfinite(given).all():
            raise ValueError(f"`fixed` has shape {given.shape}; expected a matrix of finite numbers.")
        found = read_only(given.astype(np.float64))
    return LowRank(arguments.size("rank", rank), found)


@words.explained
def diagonal() -> Parametrisation:
    """Every square block is W = diag(w): a unit hears, of all units, itself alone.

    Free are the N numbers of each of the G blocks: "weight_hh_l0.diagonal", (G*N,). They begin as the diagonal of what
    the initialiser draws, 1 with "identity". From 256 units on the loops take these weights alone, as of `sparse`.
    ValueError from Network for blocks that are not square.

    Source: Li, Li, Cook, Zhu & Gao, IndRNN, CVPR 2018, arXiv:1803.04831.

        >>> import numpy as np, throughtime as tt
        >>> net = tt.Network("relu", 3, 4, init="identity", parametrise={"weight_hh": tt.parametrise.diagonal()})
        >>> net.parameters["weight_hh_l0.diagonal"], bool((net.weights()["weight_hh_l0"] == np.eye(4)).all())
        (array([1., 1., 1., 1.]), True)
    """
    return Diagonal()
