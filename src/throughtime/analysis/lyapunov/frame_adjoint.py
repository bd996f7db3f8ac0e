"""A frame of tangent vectors at every step of a run, with its way back through every QR.

    forward   A_t = J_t Q_{t−1} = Q_t R_t,   λ_i = 1/n Σ_t ln R_ii(t)
    back      Ā_t = R_t⁻¹ (Q̄_t + sym(diag(c_t) − Q̄_tᵀ Q_t) Q_t),   Q̄_{t−1} = J_tᵀ Ā_t

Vectors lie in rows. That L depends on R by the logarithms of its diagonal makes R̄ Rᵀ the diagonal c_t = dL/dλ / n: no
division by small R_ii but the one of the triangular solve. sym(M) is symmetric with the lower triangle of M.

Dimensions: B sequences, S state size, K tangent vectors, n steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine import lapack
from ...results import Array
from .measure import random_frame
from .orthonormalise import orthonormalise


class Frames:
    """Orthonormal columns carried along a run from states[start], with a QR after every `interval` steps.

    columns    (n+1, B, K, S): those with which each step begins, then the last
    exponents  (B, K) nats per step, NaN for a sequence of which no step counts
    """

    def __init__(self, run: Any, k: int, start: int, discard: int, interval: int, seed: Any) -> None:
        steps, (batch, size) = run.steps - start, run.states.shape[1:]
        self.run, self.start, self.steps = run, start, steps
        lengths = np.full(batch, run.steps) if run.lengths is None else np.asarray(run.lengths)
        self.counted = np.clip(lengths - start - discard, 0, steps - discard)  # (B,) steps that do
        self.ends = {i for i in range(steps) if (i + 1) % interval == 0 or i + 1 in (discard, steps)}
        self.columns = np.empty((steps + 1, batch, k, size))
        self.columns[0] = random_frame(batch, size, k, seed, np.float64).swapaxes(1, 2)
        self.discard = discard
        self.r: dict[int, Array] = {}  # (B, K, K) of the QR after step i
        total = np.zeros((batch, k))
        for i in range(steps):
            moved = run.jvp_rows(self.columns[i], start + i, start + i + 1).astype(np.float64)
            if i not in self.ends:
                self.columns[i + 1] = moved
                continue
            q, logs = orthonormalise(moved.swapaxes(1, 2))
            self._refuse_lost_rank(logs, start + i + 1)
            self.columns[i + 1] = q.swapaxes(1, 2)
            self.r[i] = np.triu(self.columns[i + 1] @ moved.swapaxes(1, 2))
            if i >= discard:
                total += logs  # 0 after a sequence's end
        with np.errstate(invalid="ignore", divide="ignore"):
            self.exponents = np.where(self.counted[:, None] > 0, total / self.counted[:, None], np.nan)

    def back(self, grad_exponents: Array) -> Array:
        """The cotangents Ā_t (n, B, K, S) of J_t Q_{t−1} at every step, from dL/dλ (B, K)."""
        each = np.where(self.counted[:, None] > 0, grad_exponents / np.maximum(self.counted, 1)[:, None], 0.0)
        found, bar = np.empty_like(self.columns[1:]), np.zeros_like(self.columns[0])
        for i in reversed(range(self.steps)):
            if i in self.ends:
                q = self.columns[i + 1]
                lower = -np.tril(bar @ q.swapaxes(1, 2))
                if i >= self.discard:
                    lower += each[:, :, None] * np.eye(q.shape[1])
                bar = bar + (lower + np.tril(lower, -1).swapaxes(1, 2)) @ q
                for b, r in enumerate(self.r[i]):  # in columns R⁻¹ bar; BLAS sees both transposed
                    bar[b] = lapack.divided(r, bar[b])
            found[i] = bar
            if i:
                at = self.start + i
                dtype = self.run.network.dtype
                bar = self.run.vjp(bar.swapaxes(1, 2).astype(dtype), at, at + 1).swapaxes(1, 2).astype(np.float64)
        return found

    def _refuse_lost_rank(self, logs: Array, t: int) -> None:
        lost = np.argwhere(np.isneginf(logs))
        if len(lost):
            b, i = (int(number) for number in lost[0])
            instead = f"ask for k={i} or fewer" if i else "it is 0, and there are none"
            raise ValueError(
                f"The Jacobian of step {t} of sequence {b} takes {logs.shape[1]} tangent vectors to fewer directions: "
                f"an exponent is −inf and has no gradient; {instead}."
            )
