"""Orthogonal weights, from a skew matrix A = −Aᵀ by the exponential or the Cayley transform.

    exp    R = e^A,                   with A = V i diag(θ) Vᴴ (the Hermitian −iA has real eigenvalues θ):
           R = V diag(e^{iθ}) Vᴴ,     Ā = V (Ψ ∘ Vᴴ R̄ V) Vᴴ,   Ψ_jk = e^{−i(θ_j+θ_k)/2} sinc((θ_j − θ_k)/2)
    cayley R = (1 + A)⁻¹(1 − A),      Ā = −2 Xᵀ R̄ Xᵀ,           X = (1 + A)⁻¹ = (1 + R)/2

Ψ are the divided differences of the exponential (Daleckii & Krein), without cancellation where eigenvalues meet.
All of it is computed in float64.

Dimensions: G blocks, N units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.blas import single_blas
from ..refuse import arguments, words
from .form import Array, Parametrisation, Size, Values
from .skew import from_skew, half_of, lower, to_skew

METHODS = ("exp", "cayley")
STEEPEST = 1e8  # of tan(θ/2): a rotation nearer to π than this is one by π to the Cayley transform


@dataclass(frozen=True, eq=False, repr=False)
class Orthogonal(Parametrisation):
    name = "orthogonal"
    method: str
    negative: int

    def shapes(self, size: Size) -> dict[str, tuple[int, ...]]:
        if self.negative > size.rows:
            raise ValueError(
                f"`negative` of parametrise.orthogonal(…) is {arguments.shown(self.negative)}; the diagonal D has "
                f"{size.rows} entries."
            )
        return {"skew": (half_of(size),)}

    @single_blas
    def start(self, w: Array) -> Values:
        if not np.isfinite(w).all():
            raise ValueError("parametrise.orthogonal(…) cannot begin near weights that hold NaN or inf.")
        skew = [self._skew(_nearest_rotation(block * self._signs(len(block)))) for block in w.astype(np.float64)]
        return {"skew": np.stack(skew)[:, lower(w.shape[-1], -1)].ravel()}

    def _skew(self, rotation: Array) -> Array:
        """The A of which this rotation is made; in the plane of every pair of eigenvalues e^{±iθ} by itself."""
        from scipy.linalg import schur

        triangle, vectors = schur(rotation, output="real")
        angles, n, k, turned = np.zeros((len(rotation), len(rotation))), len(rotation), 0, list[int]()
        while k < n:
            if k + 1 < n and triangle[k + 1, k] != 0.0:
                sine = 0.5 * (triangle[k, k + 1] - triangle[k + 1, k])
                angles[k, k + 1] = self._rate(np.arctan2(sine, 0.5 * (triangle[k, k] + triangle[k + 1, k + 1])))
                k += 2
                continue
            if triangle[k, k] < 0.0:
                turned.append(k)
            k += 1
        for i, j in zip(turned[::2], turned[1::2], strict=False):  # −1 comes in pairs: a rotation by π
            angles[i, j] = self._rate(np.pi)
        return vectors @ (angles - angles.T) @ vectors.T

    def _rate(self, angle: float) -> float:
        if self.method == "exp":
            return angle
        rate = float(-np.tan(0.5 * angle))
        if not abs(rate) < STEEPEST:
            raise ValueError(
                'parametrise.orthogonal("cayley") makes no matrix with two eigenvalues −1, as the drawn weights have: '
                'take `negative=…` for a diagonal D with entries −1, or the method "exp".'
            )
        return rate

    def _signs(self, n: int) -> Array:
        """(N,) the diagonal D."""
        return np.where(np.arange(n) < n - self.negative, 1.0, -1.0)

    @single_blas
    def weight(self, size: Size, free: Values) -> tuple[Array, Any]:
        a = to_skew(free["skew"].astype(np.float64), size)
        if not np.isfinite(a).all():
            return np.full(size, np.nan), None
        if self.method == "exp":
            theta, v = np.linalg.eigh(-1j * a)
            rotation = ((v * np.exp(1j * theta)[:, None]) @ _adjoint(v)).real
            kept = (theta, v)
        else:
            one = np.eye(size.rows)
            rotation = np.linalg.solve(one + a, one - a)
            # Where A is large the solution has lost digits; a step of Newton's makes it orthogonal all the same.
            rotation = 0.5 * rotation @ (3.0 * one - rotation.swapaxes(1, 2) @ rotation)
            kept = 0.5 * (one + rotation)
        return rotation * self._signs(size.rows), kept

    @single_blas
    def pullback(self, free: Values, kept: Any, g: Array) -> Values:
        if kept is None:
            return {"skew": np.full((*g.shape[:-3], free["skew"].size), np.nan)}
        g = g.astype(np.float64) * self._signs(g.shape[-1])
        if self.method == "exp":
            theta, v = kept
            half = 0.5 * theta
            mean, difference = half[:, :, None] + half[:, None], half[:, :, None] - half[:, None]
            slopes = np.exp(-1j * mean) * np.sinc(difference / np.pi)
            by_a = (v @ (slopes * (_adjoint(v) @ g @ v)) @ _adjoint(v)).real
        else:
            by_a = -2.0 * (kept.swapaxes(1, 2) @ g @ kept.swapaxes(1, 2))
        return {"skew": from_skew(by_a)}


def _adjoint(v: Array) -> Array:
    return v.conj().swapaxes(-1, -2)


def _nearest_rotation(w: Array) -> Array:
    """The orthogonal matrix of determinant 1 that is nearest to w (Kabsch 1976)."""
    u, _, v = np.linalg.svd(w)
    if np.linalg.det(u @ v) < 0.0:
        u[:, -1] *= -1.0
    return u @ v


@words.explained
def orthogonal(method: str = "exp", *, negative: int = 0) -> Parametrisation:
    """Every square block is W = R·D with RᵀR = 1: no gradient grows or shrinks by the weights.

        "exp"     R = e^A                 every rotation, more than once
        "cayley"  R = (1 + A)⁻¹(1 − A)    every rotation without the eigenvalue −1, once

    A = −Aᵀ; free are its N(N−1)/2 numbers below the diagonal in each of the G blocks, row by row: "weight_hh_l0.skew",
    (G*N(N−1)/2,). They begin so that W is the orthogonal matrix nearest to what the initialiser draws (so with
    "orthogonal", and "identity", its own matrix, where the determinant is (−1)^negative; with "gaussian" uniform over
    all of this determinant). D is a fixed diagonal: the last `negative` entries are −1, the others 1; with D the Cayley
    transform reaches every orthogonal matrix nearly. Work is done in float64: ‖WᵀW − 1‖ is of the order N·2e-16, and of
    the rounding to float32 where the network has that.

    Each time that the parameters have changed, "exp" costs the eigenvalues of a Hermitian matrix (N = 256: 16 ms, and
    10 ms on the way back), "cayley" a solution of N equations (2 and 3 ms). ValueError for an unknown method, for more
    than N negative entries, and where a Cayley transform would have to turn by π.

    Source: Lezcano-Casado & Martínez-Rubio, expRNN, ICML 2019, arXiv:1901.08428; Helfrich, Willmott & Ye, scoRNN, ICML
    2018, arXiv:1707.09520, for the Cayley transform and D.

        >>> import numpy as np, throughtime as tt
        >>> way = {"weight_hh": tt.parametrise.orthogonal("cayley")}
        >>> net = tt.Network("tanh", 3, 16, init="orthogonal", parametrise=way, seed=0)
        >>> w = net.weights()["weight_hh_l0"]
        >>> net.parameters["weight_hh_l0.skew"].shape, bool(np.abs(w.T @ w - np.eye(16)).max() < 1e-14)
        ((120,), True)
    """
    return Orthogonal(arguments.known("method", method, METHODS), arguments.step("negative", negative, 0))
