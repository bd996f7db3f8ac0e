"""Kinds of attention: how well an entry of a memory answers a query. One class for each kind.

A memory m (S, B, M) is read once; `look` (T, B, N) -> weights and contexts as often as one likes. After `begin`, `back`
takes the gradient of a look to its queries; what goes to the parameters and the memory adds up until it is `gathered`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.cpu import attending, dense

Array = np.ndarray


class Dot:
    """score = q · m."""

    @staticmethod
    def shapes(queries: int, keys: int, size: int) -> dict[str, tuple[int, ...]]:
        return {}

    def __init__(self, parameters: dict[str, Array], m: Array, ends: Array) -> None:
        self.m, self.ends = m, ends

    def begin(self) -> None:
        self.dm: Any = 0

    def look(self, q: Array, q_ends: Array) -> tuple[Array, Array]:
        return attending.dot(q, self.m, q_ends, self.ends)

    def back(self, g: Array, a: Array, q: Array, q_ends: Array) -> Array:
        dq, dm = attending.dot_back(g, a, q, self.m, q_ends, self.ends)
        self.dm = self.dm + dm
        return dq

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
        self.dw: Any = 0

    def look(self, q: Array, q_ends: Array) -> tuple[Array, Array]:
        return self.dot.look(self._turned(q), q_ends)

    def back(self, g: Array, a: Array, q: Array, q_ends: Array) -> Array:
        dp = _rows(self.dot.back(g, a, self._turned(q), q_ends))
        self.dw = self.dw + dense.to_weights(_rows(q), dp)[0]
        return dense.forward(dp, self.weight, None).reshape(q.shape)

    def gathered(self) -> tuple[dict[str, Array], Array]:
        return {"weight": self.dw}, self.dot.dm

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

    def begin(self) -> None:
        self.dw: Any = 0
        self.dk: Any = 0
        self.dv: Any = 0
        self.dm: Any = 0

    def look(self, q: Array, q_ends: Array) -> tuple[Array, Array]:
        return attending.additive(_through(q, self.w), self.keys, self.v, self.m, q_ends, self.ends)

    def back(self, g: Array, a: Array, q: Array, q_ends: Array) -> Array:
        own = _through(q, self.w)
        found = attending.additive_back(g, a, own, self.keys, self.v, self.m, q_ends, self.ends)
        self.dk, self.dv, self.dm = self.dk + found[1], self.dv + found[2], self.dm + found[3]
        to_q = _rows(found[0])
        self.dw = self.dw + dense.to_weights(to_q, _rows(q))[0]
        return dense.to_inputs(to_q, self.w).reshape(q.shape)

    def gathered(self) -> tuple[dict[str, Array], Array]:
        to_m = _rows(self.dk)
        parameters = {"query_weight": self.dw, "key_weight": dense.to_weights(to_m, _rows(self.m))[0]}
        dm = self.dm + dense.to_inputs(to_m, self.u).reshape(self.m.shape)
        return parameters | {"score_weight": self.dv}, dm


SCORES: dict[str, Any] = {"dot": Dot, "general": General, "additive": Additive}


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _through(x: Array, weight: Array) -> Array:
    return dense.forward(_rows(x), weight, None).reshape(*x.shape[:2], -1)
