"""Pseudospectra: how far a matrix is from having z as an eigenvalue, for every z of a part of the complex plane.

Dimensions: S size of the matrix, (Y, X) points of the grid.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import get_lapack_funcs, schur

from ...network import norms
from ...refuse import arguments, direction, finite, room
from ...results import Array, Result
from ..public import of_networks

DENSE = 24  # sizes up to which one SVD is faster than some ten triangular solves called from Python
LANCZOS = 80  # steps at most; ten are usual, and more are needed only where many singular values meet
BELOW = 1e-6  # σ_min beside σ_max from which an SVD has lost digits that substitution keeps
_invert = get_lapack_funcs("trtri", dtype=np.complex128)
TOLERANCE = 1e-11  # relative, of the smallest singular value by Lanczos
LARGEST = 1e306  # of the numbers that |zI − A| may hold


def matrix_of(source: Any, t: int | None, sequence: int) -> Array:
    """A square matrix (S, S) of finite numbers: `source` itself, or of an unrolled network J_t of one sequence."""
    if hasattr(source, "jacobian") and hasattr(source, "states"):
        direction.one_way(source.network, "A Jacobian")
        if t is None:
            raise ValueError("a run has a Jacobian for every step: pass t= as well, from 1 to the number of steps")
        batch = source.states.shape[1]
        sequence = arguments.step("sequence", sequence, -batch, batch - 1)
        matrix, name = source.jacobian(t)[sequence], f"the Jacobian of step {t}"
        finite.run(source, f"The Jacobian of step {t}", t - 1, t, sequence)
    else:
        if t is not None:
            raise ValueError(
                f"`t` is {arguments.kind(t)} and chooses a step of a run, but a matrix was given: pass the "
                "run, or leave `t` out"
            )
        matrix, name = np.asarray(source), "the matrix"
    if matrix.dtype.kind not in "fiubc":
        raise TypeError(f"{name} has dtype {matrix.dtype}, but numbers are needed: a matrix (S, S), or a run and t=")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(
            f"{name} has shape {matrix.shape}, but its powers and eigenvalues need a square one, (S, S); the recurrent "
            'matrix of a one-gate network is net.parameters["weight_hh_l0"], a gated one has run.jacobian(t)[0]'
        )
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} holds NaN or inf, and such a matrix has no eigenvalues and no powers")
    return matrix.astype(np.complex128 if matrix.dtype.kind == "c" else np.float64)


class Resolvent:
    """σ_min(zI − A) = 1/‖(zI − A)⁻¹‖ at any z, from one Schur form of A: S² instead of S³ operations a point."""

    def __init__(self, matrix: Array) -> None:
        self.triangle = np.asfortranarray(schur(matrix, output="complex")[0])
        self.eigenvalues = self.triangle.diagonal().copy()
        self._solve = get_lapack_funcs("trtrs", (self.triangle,))
        rng = np.random.default_rng(0)  # any start will do; a fixed one gives the same bits every time
        start = rng.standard_normal((2, len(matrix)))
        self._start = (start[0] + 1j * start[1]) / np.linalg.norm(start)

    def smallest_singular_values(self, z: Any, tolerance: float = TOLERANCE) -> Array:
        """σ_min(zI − A) for every z of an array, in its shape, to a relative tolerance; never below the truth."""
        z = np.asarray(z, dtype=np.complex128)
        size, flat = len(self.triangle), z.ravel()
        if size <= DENSE:
            shifted = flat[:, None, None] * np.eye(size) - self.triangle
            return _of_dense(shifted).reshape(z.shape)
        shifted = -self.triangle
        found, largest = np.empty(flat.size), np.abs(shifted).max()
        for i, point in enumerate(flat):
            np.fill_diagonal(shifted, point - self.eigenvalues)
            scale = max(largest, abs(point))
            if 1e-100 < scale < 1e100:
                found[i] = self._smallest(shifted, tolerance)
            elif scale > 0.0:  # 1/σ² has to be a number
                found[i] = scale * self._smallest(np.asfortranarray(shifted / scale), tolerance)
            else:
                found[i] = 0.0
        return found.reshape(z.shape)

    def _smallest(self, triangle: Array, tolerance: float) -> float:
        """By Lanczos on (RᴴR)⁻¹, two triangular solves a step, with full reorthogonalisation (steps are few)."""
        if not np.abs(triangle.diagonal()).min() > 0.0:
            return 0.0
        size = len(triangle)
        basis = np.empty((min(LANCZOS, size) + 1, size), dtype=np.complex128)
        alpha: list[float] = []
        beta: list[float] = []
        largest = 0.0
        basis[0] = self._start
        for k in range(len(basis) - 1):
            w = self._solve(triangle, self._solve(triangle, basis[k], lower=0, trans=2)[0], lower=0)[0]
            if not np.isfinite(w).all():
                return 0.0  # closer to an eigenvalue than floating point can tell
            alpha.append(float(np.vdot(basis[k], w).real))
            for _ in range(2):
                w = w - basis[: k + 1].T @ (basis[: k + 1].conj() @ w)
            ritz = np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1)
            values, vectors = np.linalg.eigh(ritz)
            largest, rest = values[-1], norms.norm(w)
            # the error of a Ritz value is at most residual²/gap: the residual itself may be much larger
            gap = values[-1] - values[-2] if k else values[-1]
            residual = rest * abs(vectors[-1, -1])
            if rest == 0.0 or (k > 1 and residual * min(1.0, residual / max(gap, 1e-300)) <= tolerance * largest):
                break
            beta.append(rest)
            basis[k + 1] = w / rest
        return float(1.0 / np.sqrt(largest))


def _of_dense(triangles: Array) -> Array:
    """σ_min of upper triangular matrices (n, S, S): by SVD, and where that is below its rounding from the inverse."""
    values = np.linalg.svd(triangles, compute_uv=False)
    found = values[:, -1]
    for i in np.flatnonzero(found < BELOW * values[:, 0]):
        if (triangles[i].diagonal() == 0.0).any():
            found[i] = 0.0
            continue
        size = np.abs(triangles[i].diagonal()).max()
        inverse, _ = _invert(triangles[i] / size)
        usable = np.isfinite(inverse).all()
        largest = np.abs(inverse).max() if usable else np.inf
        found[i] = size / largest / np.linalg.norm(inverse / largest, 2) if usable else 0.0
    return found


@dataclass(frozen=True, repr=False)
class Pseudospectrum(Result):
    """σ_min(zI − A) on a grid: z is in the ε-pseudospectrum where it is at most ε.

    Fields:
        real: (X,) real parts of the grid.
        imag: (Y,) imaginary parts.
        sigma_min: (Y, X) smallest singular value of zI − A, a factor per time step.
        eigenvalues: (S,) complex.
    """

    real: Array
    imag: Array
    sigma_min: Array
    eigenvalues: Array
    picture: ClassVar = "pseudospectrum"
    dimensions: ClassVar = {
        "along_real": "real",
        "along_imag": "imag",
        "along_imag along_real": "sigma_min",
        "eigenvalue": "eigenvalues",
    }

    def radius(self, epsilon: float) -> float:
        """Largest |z| on the grid with σ_min(zI − A) ≤ epsilon: the ε-pseudospectral radius up to a grid spacing."""
        epsilon = arguments.real("epsilon", epsilon, 0.0)
        inside = np.abs(self.real + 1j * self.imag[:, None])[self.sigma_min <= epsilon]
        return float(max(inside.max(initial=0.0), np.abs(self.eigenvalues).max()))

    def __repr__(self) -> str:
        largest = np.abs(self.eigenvalues).max()
        levels = [f"  ε = {e:<7g}radius {self.radius(e):.4g}" for e in (1e-3, 1e-2, 1e-1)]
        return "\n".join(
            [
                f"Pseudospectrum of a matrix of size {self.eigenvalues.size}, {self.imag.size} × {self.real.size}",
                f"  spectral radius  {largest:.4g}",
                f"  σ_min            {self.sigma_min.min():.4g} to {self.sigma_min.max():.4g} on the grid",
                *levels,
            ]
        )


@of_networks
def pseudospectrum(
    matrix: Any, *, points: int = 60, half_width: float | None = None, t: int | None = None, sequence: int = 0
) -> Pseudospectrum:
    """Pseudospectra of a matrix, or of the Jacobian of one step of an unrolled network, on a square around 0.

        Λ_ε(A) = {z : σ_min(zI − A) ≤ ε} = eigenvalues of all A + E with ‖E‖ ≤ ε

    matrix : (S, S), real or complex; or a run, and then `t` (1 … T) and `sequence` choose J_t. points : per side of the
    grid. half_width : of the square; by default a quarter more than the larger of 1, the spectral radius, and half the
    norm. Returns a `Pseudospectrum`: .real, .imag, .sigma_min (Y, X), .eigenvalues, .radius(ε). ValueError for a
    matrix that is not square or not finite, for t outside the run and for bidirectional networks. One Schur form, then
    about 20 triangular solves a point.

    Source: Trefethen & Embree, Spectra and Pseudospectra, 2005, chapters 2 and 39.

    >>> result = pseudospectrum(np.diag([0.5, -0.5]), points=21, half_width=1.0)
    >>> bool(np.isclose(result.sigma_min[10, 10], 0.5))  # at z = 0: the distance to the nearer eigenvalue
    True
    """
    a = matrix_of(matrix, t, sequence)
    points = arguments.size("points", points)
    room.check(f"A grid of `points`={points} by {points}", points**2, 64)
    if np.abs(a).max() > LARGEST / len(a):
        raise ValueError(
            f"`matrix` has numbers up to {np.abs(a).max():.3g}, and zI − A larger ones: scale it down first."
        )
    resolvent = Resolvent(a)
    if half_width is None:
        half_width = 1.25 * max(1.0, np.abs(resolvent.eigenvalues).max(), 0.5 * np.linalg.norm(a, 2))
    width = arguments.real("half_width", half_width, 1e-300)
    if width > LARGEST:
        raise ValueError(f"`half_width` is {width:.3g}; expected a number of at most {LARGEST:g}.")
    side = np.linspace(-1.0, 1.0, points) * width
    if a.dtype.kind == "c":
        sigma = resolvent.smallest_singular_values(side + 1j * side[:, None])
    else:  # conjugate z give the same value
        half = side[: (points + 1) // 2]
        lower = resolvent.smallest_singular_values(side + 1j * half[:, None])
        sigma = np.concatenate([lower, lower[: points // 2][::-1]])
    return Pseudospectrum(real=side, imag=side, sigma_min=sigma, eigenvalues=resolvent.eigenvalues)
