"""Weights of which it is given where they are, or which sign they have: masked, sparse, Dale's law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..refuse import numeric, words
from .form import Array, Parametrisation, Size, Values, fitting, read_only, zeros_and_ones


@dataclass(frozen=True, eq=False, repr=False)
class _Patterned(Parametrisation):
    """Weights that are 0 but where a pattern is True."""

    square = False
    pattern: Array

    def places(self, size: Size) -> Array | None:
        return fitting("pattern", self.pattern, size).reshape(-1, size.columns)


@dataclass(frozen=True, eq=False, repr=False)
class Masked(_Patterned):
    name = "masked"

    def shapes(self, size: Size) -> dict[str, tuple[int, ...]]:
        fitting("pattern", self.pattern, size)
        return {"full": (size.blocks * size.rows, size.columns)}

    def start(self, w: Array) -> Values:
        return {"full": w.reshape(-1, w.shape[-1])}

    def weight(self, size: Size, free: Values) -> tuple[Array, Any]:
        return np.where(fitting("pattern", self.pattern, size), size.split(free["full"]), 0), None

    def pullback(self, free: Values, kept: Any, g: Array) -> Values:
        own = np.where(fitting("pattern", self.pattern, Size(*g.shape[-3:])), g, 0)
        return {"full": own.reshape(*g.shape[:-3], *free["full"].shape)}


@dataclass(frozen=True, eq=False, repr=False)
class Sparse(_Patterned):
    name = "sparse"

    def shapes(self, size: Size) -> dict[str, tuple[int, ...]]:
        return {"values": (int(np.count_nonzero(fitting("pattern", self.pattern, size))),)}

    def start(self, w: Array) -> Values:
        return {"values": w[fitting("pattern", self.pattern, Size(*w.shape))]}

    def weight(self, size: Size, free: Values) -> tuple[Array, Any]:
        w = np.zeros(size, free["values"].dtype)
        w[fitting("pattern", self.pattern, size)] = free["values"]
        return w, None

    def pullback(self, free: Values, kept: Any, g: Array) -> Values:
        return {"values": g[..., fitting("pattern", self.pattern, Size(*g.shape[-3:]))]}


@dataclass(frozen=True, eq=False, repr=False)
class Dale(Parametrisation):
    name, square = "dale", False
    signs: Array
    pattern: Any

    def shapes(self, size: Size) -> dict[str, tuple[int, ...]]:
        if self.signs.size != size.columns:
            raise ValueError(
                f"`signs` of parametrise.dale(…) has {self.signs.size} entries; expected one for each column of the "
                f"weights, that is for each of the {size.columns} units that send."
            )
        self._where(size)
        return {"full": (size.blocks * size.rows, size.columns)}

    def _where(self, size: Size) -> Any:
        """True where there are connections."""
        return True if self.pattern is None else fitting("pattern", self.pattern, size)

    def places(self, size: Size) -> Array | None:
        return None if self.pattern is None else fitting("pattern", self.pattern, size).reshape(-1, size.columns)

    def start(self, w: Array) -> Values:
        return {"full": w.reshape(-1, w.shape[-1])}

    def weight(self, size: Size, free: Values) -> tuple[Array, Any]:
        w = np.abs(size.split(free["full"])) * self.signs
        return np.where(self._where(size), w, 0.0), None

    def pullback(self, free: Values, kept: Any, g: Array) -> Values:
        size = Size(*g.shape[-3:])
        own = np.where(self._where(size), g * np.sign(size.split(free["full"])) * self.signs, 0.0)
        return {"full": own.reshape(*g.shape[:-3], *free["full"].shape)}


@words.explained
def masked(pattern: Any) -> Parametrisation:
    """W = V ∘ M with a given M of 0 and 1: weights outside of the pattern are 0 and stay 0.

    Free is V, all of it: "weight_hh_l0.full", (G*R, C) as the weights; outside of the pattern its gradient is 0. It
    begins as what the initialiser draws. pattern : M, (R, C) for every one of the G blocks, or (G*R, C) for all of
    them; a SciPy sparse matrix will do. `sparse` holds the weights of the pattern alone. ValueError for other numbers
    than 0 and 1, and from Network for another shape.

        >>> import numpy as np, throughtime as tt
        >>> ring = np.roll(np.eye(5), 1, axis=1)
        >>> net = tt.Network("tanh", 3, 5, parametrise={"weight_hh": tt.parametrise.masked(ring)}, seed=0)
        >>> grads = net.unroll(np.ones((20, 3))).backprop(np.ones((20, 5)))
        >>> net.weights()["weight_hh_l0"][0].round(2), (grads.parameters["weight_hh_l0.full"] != 0).sum(axis=1)
        (array([0.  , 0.32, 0.  , 0.  , 0.  ]), array([1, 1, 1, 1, 1]))
    """
    return Masked(zeros_and_ones("pattern", pattern))


@words.explained
def sparse(pattern: Any) -> Parametrisation:
    """W with weights only where a given pattern has 1: free are these weights and no others.

    "weight_hh_l0.values", (n,), has the n of them, row by row, as in the `data` of a CSR matrix. They begin as what the
    initialiser draws there. pattern : 0 and 1, (R, C) for every one of the G blocks, or (G*R, C) for all of them; a
    SciPy sparse matrix will do. ValueError for other numbers than 0 and 1, and from Network for another shape.

    On the CPU loops take these weights alone, of this and of all parametrisations with a pattern, where that is faster:
    from 256 units on, up to a density of 10 %, or 5 % with fewer sequences than a vector has numbers; for cells without
    a stage, several signals or parameters of units. States and gradients of states have the same bits, the gradients
    of the weights are other sums of the same terms. A pass forward and back of `tanh` with N = 2000 and 32 sequences
    took 7 times less at 1 %, 3 times at 5 % (float64, one thread, beside other work). What is infinite goes only where
    there is a weight.

        >>> import numpy as np, throughtime as tt
        >>> pattern = np.random.default_rng(0).random((100, 100)) < 0.05
        >>> net = tt.Network("tanh", 3, 100, parametrise={"weight_hh": tt.parametrise.sparse(pattern)}, seed=0)
        >>> net.parameters["weight_hh_l0.values"].shape == (pattern.sum(),)
        True
        >>> np.array_equal(net.weights()["weight_hh_l0"] != 0, pattern)
        True
    """
    return Sparse(zeros_and_ones("pattern", pattern))


@words.explained
def dale(signs: Any, *, pattern: Any = None) -> Parametrisation:
    """W = |V| diag(signs): all weights that a unit sends have one sign, those of an excitatory or an inhibitory cell.

    Free is V: "weight_hh_l0.full", (G*R, C) as the weights. It begins as what the initialiser draws, so that |W| is
    that; balance of excitation and inhibition is the initialiser's matter. signs : (C,), 1 or −1 for every unit that
    sends. pattern : 0 and 1, as of `masked`, where connections are missing as well, those of a unit to itself for
    instance. ValueError for other numbers, and from Network for another shape.

    Source: Song, Yang & Wang, PLoS Comput. Biol. 12 (2016) e1004792, who take [V]₊ in place of |V|.

        >>> import numpy as np, throughtime as tt
        >>> signs = np.where(np.arange(10) < 8, 1, -1)
        >>> way = tt.parametrise.dale(signs, pattern=1 - np.eye(10))
        >>> w = tt.Network("rate", 3, 10, parametrise={"weight_hh": way}, seed=0).weights()["weight_hh_l0"]
        >>> np.sign(w.sum(axis=0)).astype(int), bool(w.diagonal().any())
        (array([ 1,  1,  1,  1,  1,  1,  1,  1, -1, -1]), False)
    """
    found = numeric.numbers("signs", signs)
    if found.ndim != 1 or not (np.abs(found) == 1).all():
        raise ValueError(f"`signs` has shape {found.shape}; expected a vector of 1 and −1, one for each unit.")
    there = None if pattern is None else zeros_and_ones("pattern", pattern)
    return Dale(read_only(found.astype(np.float64)), there)
