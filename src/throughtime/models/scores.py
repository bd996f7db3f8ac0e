"""Scores of attention: how well an entry of a memory answers a query, and the way back. One class for each kind.

`values` (B, T, S) of queries q (B, T, N) and a memory m (B, S, M); `back` takes their gradient to those of the
parameters, of q and of m.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.cpu import dense
from ..refuse import room

Array = np.ndarray
Back = tuple[dict[str, Array], Array, Array]


class Dot:
    """score = q · m."""

    @staticmethod
    def shapes(queries: int, keys: int, size: int) -> dict[str, tuple[int, ...]]:
        return {}

    def __init__(self, parameters: dict[str, Array], q: Array, m: Array) -> None:
        self.q, self.m = q, m
        self.values = np.stack([dense.forward(own, memory, None) for own, memory in zip(q, m, strict=True)])

    def back(self, de: Array) -> Back:
        dq = np.stack([dense.to_inputs(own, memory) for own, memory in zip(de, self.m, strict=True)])
        dm = np.stack([dense.to_weights(own, query)[0] for own, query in zip(de, self.q, strict=True)])
        return {}, dq, dm


class General:
    """score = q · W m: the dot product of q W with m."""

    @staticmethod
    def shapes(queries: int, keys: int, size: int) -> dict[str, tuple[int, ...]]:
        return {"weight": (queries, keys)}

    def __init__(self, parameters: dict[str, Array], q: Array, m: Array) -> None:
        self.weight, self.rows = parameters["weight"], q.reshape(-1, q.shape[2])
        self.dot = Dot({}, dense.to_inputs(self.rows, self.weight).reshape(*q.shape[:2], -1), m)
        self.values, self.shape = self.dot.values, q.shape

    def back(self, de: Array) -> Back:
        _, dp, dm = self.dot.back(de)
        dp = dp.reshape(-1, dp.shape[2])
        dq = dense.forward(dp, self.weight, None).reshape(self.shape)
        return {"weight": dense.to_weights(self.rows, dp)[0]}, dq, dm


class Additive:
    """score = v · tanh(W q + U m)."""

    @staticmethod
    def shapes(queries: int, keys: int, size: int) -> dict[str, tuple[int, ...]]:
        return {"query_weight": (size, queries), "key_weight": (size, keys), "score_weight": (size,)}

    def __init__(self, parameters: dict[str, Array], q: Array, m: Array) -> None:
        self.w, self.u, self.v = (parameters[name] for name in ("query_weight", "key_weight", "score_weight"))
        (batch, steps, _), entries, size = q.shape, m.shape[1], len(self.v)
        room.check("What additive attention keeps for the way back", batch * steps * entries * size, q.itemsize)
        self.q, self.m = q.reshape(-1, q.shape[2]), m.reshape(-1, m.shape[2])
        from_q = dense.forward(self.q, self.w, None).reshape(batch, steps, 1, size)
        from_m = dense.forward(self.m, self.u, None).reshape(batch, 1, entries, size)
        self.z = np.tanh(from_q + from_m)
        self.values = dense.forward(self.z.reshape(-1, size), self.v[None], None).reshape(batch, steps, entries)
        self.shapes_in: Any = (q.shape, m.shape)

    def back(self, de: Array) -> Back:
        size = len(self.v)
        dv = dense.to_weights(de.reshape(-1, 1), self.z.reshape(-1, size))[0][0]
        dz = de[..., None] * self.v * (1 - self.z * self.z)
        to_q, to_m = (np.ascontiguousarray(dz.sum(axis=axis)).reshape(-1, size) for axis in (2, 1))
        parameters = {
            "query_weight": dense.to_weights(to_q, self.q)[0],
            "key_weight": dense.to_weights(to_m, self.m)[0],
        }
        dq, dm = dense.to_inputs(to_q, self.w), dense.to_inputs(to_m, self.u)
        return parameters | {"score_weight": dv}, dq.reshape(self.shapes_in[0]), dm.reshape(self.shapes_in[1])


SCORES: dict[str, Any] = {"dot": Dot, "general": General, "additive": Additive}
