"""Kinds of attention: how well an entry of a memory answers a query. One class for each kind.

A memory m (S, B, M) is read once; `look` (T, B, N) -> weights and contexts as often as one likes. After `begin`, `back`
takes the gradient of a look to its queries; what goes to the parameters and the memory adds up until it is `gathered`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.cpu import attending, dense

Array = np.ndarray
Pairs = list[tuple[Array, Array]]


class Dot:
    """score = q · m."""

    @staticmethod
    def shapes(queries: int, keys: int, size: int) -> dict[str, tuple[int, ...]]:
        return {}

    def __init__(self, parameters: dict[str, Array], m: Array, ends: Array) -> None:
        self.m, self.ends, self.panels = m, ends, attending.packed(m, ends)

    def begin(self) -> None:
        self.dm = np.zeros_like(self.m)

    def look(self, q: Array, q_ends: Array) -> tuple[Array, Array]:
        return attending.dot(q, self.panels, q_ends, self.ends)

    def back(self, g: Array, a: Array, q: Array, q_ends: Array) -> Array:
        return attending.dot_back(g, a, q, self.panels, q_ends, self.ends, self.dm)

    def gathered(self) -> tuple[dict[str, Array], Array]:
        return {}, self.dm


class General:
    """score = q · W m: the dot product of q W with m."""

    @staticmethod
    def shapes(queries: int, keys: int, size: int) -> dict[str, tuple[int, ...]]:
        return {"weight": (queries, keys)}

    def __init__(self, parameters: dict[str, Array], m: Array, ends: Array) -> None:
        self.weight, self.dot = parameters["weight"], Dot({}, m, ends)

    def begin(self) -> None:
        self.dot.begin()
        self.pairs: Pairs = []

    def look(self, q: Array, q_ends: Array) -> tuple[Array, Array]:
        return self.dot.look(self._turned(q), q_ends)

    def back(self, g: Array, a: Array, q: Array, q_ends: Array) -> Array:
        dp = _rows(self.dot.back(g, a, self._turned(q), q_ends))
        self.pairs.append((_rows(q), dp))
        return dense.forward(dp, self.weight, None).reshape(q.shape)

    def gathered(self) -> tuple[dict[str, Array], Array]:
        return {"weight": to_weights(self.pairs)}, self.dot.dm

    def _turned(self, q: Array) -> Array:
        return dense.to_inputs(_rows(q), self.weight).reshape(*q.shape[:2], -1)


class Additive:
    """score = v · tanh(W q + U m)."""

    @staticmethod
    def shapes(queries: int, keys: int, size: int) -> dict[str, tuple[int, ...]]:
        return {"query_weight": (size, queries), "key_weight": (size, keys), "score_weight": (size,)}

    def __init__(self, parameters: dict[str, Array], m: Array, ends: Array) -> None:
        self.w, self.u, self.v = (parameters[name] for name in ("query_weight", "key_weight", "score_weight"))
        self.m, self.ends, self.keys = m, ends, _through(m, self.u)
        self.panels, self.key_panels = attending.packed(m, ends), attending.packed(self.keys, ends)

    def begin(self) -> None:
        self.pairs: Pairs = []
        self.dm, self.dk = np.zeros_like(self.m), np.zeros_like(self.keys)
        self.dv = np.zeros((self.m.shape[1], len(self.v)), self.v.dtype)

    def look(self, q: Array, q_ends: Array) -> tuple[Array, Array]:
        return attending.additive(_through(q, self.w), self.key_panels, self.v, self.panels, q_ends, self.ends)

    def back(self, g: Array, a: Array, q: Array, q_ends: Array) -> Array:
        own = _through(q, self.w)
        to_q = _rows(
            attending.additive_back(
                g, a, own, self.keys, self.v, self.panels, q_ends, self.ends, self.dk, self.dv, self.dm
            )
        )
        self.pairs.append((to_q, _rows(q)))
        return dense.to_inputs(to_q, self.w).reshape(q.shape)

    def gathered(self) -> tuple[dict[str, Array], Array]:
        to_m = _rows(self.dk)
        parameters = {"query_weight": to_weights(self.pairs), "key_weight": dense.to_weights(to_m, _rows(self.m))[0]}
        dm = self.dm + dense.to_inputs(to_m, self.u).reshape(self.m.shape)
        return parameters | {"score_weight": self.dv.sum(axis=0)}, dm


SCORES: dict[str, Any] = {"dot": Dot, "general": General, "additive": Additive}


def to_weights(pairs: Pairs) -> Array:
    """Σ gᵀ x of all pairs (g, x) of rows: of one, or of many steps at once."""
    g, x = pairs[0] if len(pairs) == 1 else (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return dense.to_weights(g, x)[0]


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _through(x: Array, weight: Array) -> Array:
    return dense.forward(_rows(x), weight, None).reshape(*x.shape[:2], -1)
