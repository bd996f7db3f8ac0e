"""Non-normality: what a matrix does for a while that its eigenvalues do not say.

Dimensions: S size of the matrix, T steps. All norms are spectral norms; growth is a factor, its logarithm in nats.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import LinAlgError, eigvalsh, schur
from scipy.optimize import minimize

from ...network import norms
from ...refuse import arguments
from ...results import Array, Result, short
from ..public import of_networks
from .pseudospectra import Resolvent, matrix_of

BORDER = 1e-9  # 1 − spectral radius below which an eigenvalue counts as on the circle
CLOSEST = 1e-7  # |z| − 1 there: σ_min of a defective eigenvalue is about its square, still above rounding


@dataclass(frozen=True, repr=False)
class NonNormality(Result):
    """Norms of the powers of a matrix, and the numbers that say how far its eigenvalues mislead.

    Fields:
        log_norm: (T+1,) ln‖A^t‖, t = 0 … T, nats.
        eigenvalues: (S,) complex, by descending modulus.
        norm: ‖A‖.
        henrici: √(‖A‖²_F − Σ|λ|²).
        henrici_relative: the same over ‖A‖_F: 0 for a normal matrix, at most 1.
        kreiss: sup over |z|>1 of (|z| − 1)‖(zI − A)⁻¹‖; inf if A^t grows for ever.
    """

    log_norm: Array
    eigenvalues: Array
    norm: float
    henrici: float
    henrici_relative: float
    kreiss: float
    picture: ClassVar = "transient_growth"
    dimensions: ClassVar = {
        "step": "log_norm",
        "eigenvalue": "eigenvalues",
    }

    @property
    def spectral_radius(self) -> float:
        """Largest modulus of an eigenvalue: the growth per step in the long run."""
        return float(np.abs(self.eigenvalues[0]))

    @property
    def peak(self) -> float:
        """Largest ‖A^t‖ among the steps computed."""
        return float(np.exp(min(self.log_norm.max(), 709.0)))

    @property
    def peak_step(self) -> int:
        """The t of that."""
        return int(self.log_norm.argmax())

    def __repr__(self) -> str:
        radius = self.spectral_radius
        slope = f"in the long run {np.log(radius):.4g} nats per step" if radius > 0.0 else "nilpotent"
        return "\n".join(
            [
                f"Non-normality of a matrix of size {self.eigenvalues.size}, powers up to {self.log_norm.size - 1}",
                f"  spectral radius  {self.spectral_radius:.6g} ({slope})",
                f"  norm             {self.norm:.6g}",
                f"  Henrici          {self.henrici:.6g}, {self.henrici_relative:.4g} of the Frobenius norm (0: normal)",
                f"  Kreiss constant  {self.kreiss:.6g} (the peak of ‖A^t‖ is at least this, at most e·S times)",
                f"  peak of ‖A^t‖    {self.peak:.6g} at t = {self.peak_step}",
                f"  ln‖A^t‖          {short(self.log_norm)} nats",
            ]
        )


@of_networks
def non_normality(matrix: Any, steps: int = 50, *, t: int | None = None, sequence: int = 0) -> NonNormality:
    """All of this file at once: powers, spectral radius, Henrici's departure from normality, Kreiss constant.

    matrix : (S, S), real or complex; or a run, and then `t` (1 … T) and `sequence` choose the Jacobian J_t. steps : the
    largest power. Returns a `NonNormality`. ValueError for a matrix that is not square or not finite, for t outside the
    run and for bidirectional networks. The Kreiss constant takes most of the time (S = 200: a few seconds).

    Source: Trefethen & Embree, Spectra and Pseudospectra, 2005.

    >>> report = non_normality([[0.9, 1.0], [0.0, 0.9]])
    >>> report.peak_step, round(report.peak, 5), round(report.kreiss, 4), round(report.henrici, 12)
    (9, 3.91257, 2.6, 1.0)
    """
    a = matrix_of(matrix, t, sequence)
    scaled, scale = _around_one(a)
    values, (frobenius, power) = np.linalg.eigvals(scaled).astype(np.complex128), norms.split(a.reshape(1, -1))
    departure, own = _departure(a)
    return NonNormality(
        log_norm=transient_growth(a, steps),
        eigenvalues=_times(values[np.argsort(-np.abs(values), kind="stable")], scale),
        norm=float(_times(np.linalg.norm(scaled, 2), scale)),
        henrici=float(_times(departure, own)),
        henrici_relative=float(np.ldexp(departure / frobenius[0], own - power[0])) if frobenius[0] > 0.0 else 0.0,
        kreiss=kreiss_constant(a),
    )


@of_networks
def spectral_radius(matrix: Any, *, t: int | None = None, sequence: int = 0) -> float:
    """ρ(A) = max |λ|: the rate of growth of A^t for t → ∞, and no bound on it before.

    matrix : A (S, S), or a run; then t : the step whose Jacobian is meant, sequence : which of a batch.
    Returns a factor per time step; its logarithm is in nats per time step.
    ValueError for a matrix that is not square or holds NaN or infinity, and for a run without its step.

    >>> round(spectral_radius([[0.0, 2.0], [-2.0, 0.0]]), 12)
    2.0
    """
    scaled, power = _around_one(matrix_of(matrix, t, sequence))
    return float(_times(np.abs(np.linalg.eigvals(scaled)).max(), power))


@of_networks
def henrici_departure(matrix: Any, *, t: int | None = None, sequence: int = 0) -> float:
    """Departure from normality √(‖A‖²_F − Σ|λ|²): 0 for a normal matrix, such as a symmetric or an orthogonal one.

    Taken from the Schur form A = Q(Λ + R)Qᴴ as ‖R‖_F, so that nothing cancels: of a normal matrix it is rounding, not
    its square root.
    matrix : A (S, S), or a run; then t : the step whose Jacobian is meant, sequence : which of a batch.
    ValueError for a matrix that is not square or holds NaN or infinity, and for a run without its step.

    Source: Henrici, Numerische Mathematik 4, 1962.

    >>> henrici_departure([[0.9, 1.0], [0.0, 0.9]])
    1.0
    """
    return float(_times(*_departure(matrix_of(matrix, t, sequence))))


def _departure(a: Array) -> tuple[float, int]:
    """Henrici's departure as m · 2^e."""
    a, power = _around_one(a)
    triangle = schur(a)[0]
    above, below = triangle.diagonal(1), triangle.diagonal(-1)
    # LAPACK's 2×2 blocks of a complex pair are [[a, b], [c, a]] with |λ|² = a² − bc, so they depart by (b + c)²
    return norms.norm([norms.norm(np.triu(triangle, 2)), norms.norm(above + below)]), power


def _times(x: Any, power: int) -> Any:
    """x · 2^power, inf where that is beyond the numbers."""
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(x.real, power) + 1j * np.ldexp(x.imag, power) if np.iscomplexobj(x) else np.ldexp(x, power)


def _around_one(a: Array) -> tuple[Array, int]:
    """A matrix by a power of 2 that brings its largest entry to about 1, and the power that it came from."""
    power = int(np.frexp(max(np.abs(a.real).max(), np.abs(a.imag).max()))[1])
    scaled = np.ldexp(a.real, -power)
    return scaled + 1j * np.ldexp(a.imag, -power) if a.dtype.kind == "c" else scaled, power


@of_networks
def transient_growth(matrix: Any, steps: int, *, t: int | None = None, sequence: int = 0) -> Array:
    """ln‖A^t‖ for t = 0 … steps, (steps+1,), in nats; −inf where the power is zero. Never over- or underflows.

    For J = A in every step this is the largest factor by which a gradient can grow in t steps.
    matrix : A (S, S), or a run; then t : the step whose Jacobian is meant, sequence : which of a batch.
    steps : powers wanted, at least 0. ValueError for a matrix that is not square or holds NaN or infinity, and for a
    run without its step.

    >>> transient_growth([[0.0, 3.0], [0.0, 0.0]], 3).round(6)
    array([0.      , 1.098612,     -inf,     -inf])
    """
    a, steps = matrix_of(matrix, t, sequence), arguments.step("steps", steps, 0, 10**7)
    a, exponent = _around_one(a)
    log_norm = np.full(steps + 1, -np.inf)
    power, scale = np.eye(len(a)), 0.0
    for k in range(steps + 1):
        if k:
            power, scale = a @ power, scale + exponent * np.log(2.0)
        largest = np.abs(power).max()
        if largest == 0.0:
            break
        power, scale = power / largest, scale + np.log(largest)
        log_norm[k] = scale + np.log(_largest_singular_value(power))
    return log_norm


def _largest_singular_value(a: Array) -> float:
    """As accurate as by an SVD, and several times faster: √ of the largest eigenvalue of the Gram matrix, by bisection
    (LAPACK's default there gives up on multiples of the identity)."""
    last = len(a) - 1
    try:
        return float(np.sqrt(eigvalsh(a.conj().T @ a, subset_by_index=[last, last], driver="evx")[0]))
    except LinAlgError:
        return float(np.linalg.norm(a, 2))


@of_networks
def kreiss_constant(matrix: Any, *, angles: int = 48, t: int | None = None, sequence: int = 0) -> float:
    """Kreiss constant of the powers of a matrix, found numerically.

        K(A) = sup_{|z|>1} (|z| − 1) ‖(zI − A)⁻¹‖,        K ≤ sup_t ‖A^t‖ ≤ e S K

    angles : of the grid of z on which the search starts, beside those of the eigenvalues; from the best of them a local
    search goes on to about 10 digits. A maximum narrower than the grid that belongs to no eigenvalue would be missed:
    the result is a lower bound then. 1 for every normal matrix of spectral radius at most 1, inf if the spectral radius
    exceeds 1, or is 1 with a Jordan block, or beyond the range of numbers. To ask about growth beyond ρ^t pass A/ρ.
    matrix : A (S, S), or a run; then t : the step whose Jacobian is meant, sequence : which of a batch.
    ValueError for a matrix that is not square or holds NaN or infinity, and for a run without its step.

    Source: Kreiss, BIT 2, 1962; Trefethen & Embree 2005, chapter 18.

    >>> round(kreiss_constant([[0.9, 1.0], [0.0, 0.9]]), 4)
    2.6
    """
    a = matrix_of(matrix, t, sequence)
    resolvent = Resolvent(a)
    gap = 1.0 - float(np.abs(resolvent.eigenvalues).max())
    if gap < -BORDER:
        return float("inf")
    inner = CLOSEST if gap < BORDER else 0.02 * gap
    outside = np.geomspace(inner, 10.0 * max(1.0, float(np.linalg.norm(a, 2))), 25)
    real = a.dtype.kind != "c"
    uniform = np.linspace(0.0, np.pi if real else 2.0 * np.pi, arguments.size("angles", angles), endpoint=real)
    order = np.argsort(-np.abs(resolvent.eigenvalues), kind="stable")[:angles]
    own = np.angle(resolvent.eigenvalues[order])
    grid = np.unique(np.concatenate([uniform, own[own >= 0.0] if real else own % (2.0 * np.pi)]))

    def log_value(log_distance: Any, angle: Any, tolerance: float = 1e-11) -> Array:
        distance = np.exp(log_distance)
        sigma = resolvent.smallest_singular_values((1.0 + distance) * np.exp(1j * np.asarray(angle)), tolerance)
        with np.errstate(divide="ignore"):
            return np.asarray(log_distance - np.log(sigma))

    values = log_value(np.log(outside), grid[:, None], 1e-3)
    if np.isposinf(values).any():
        return float("inf")  # beyond the range of numbers
    if gap < BORDER and values[:, 0].max() > values[:, np.searchsorted(outside, 100.0 * inner)].max() + 2.0:
        return float("inf")  # (|z| − 1)‖(zI − A)⁻¹‖ still grows as z comes to the circle: a Jordan block
    best = values.max(axis=1)
    rising = values.argmax(axis=1) == outside.size - 1  # to the limit 1 for |z| → ∞: nothing to search for
    tops = np.flatnonzero((best >= np.roll(best, 1)) & (best >= np.roll(best, -1)) & ~rising)
    found = 0.0  # ln 1, the limit for |z| → ∞
    for i in tops[np.argsort(-best[tops], kind="stable")][:4]:
        start = np.array([np.log(outside[values[i].argmax()]), grid[i]])
        simplex = start + np.array([[0.0, 0.0], [0.3, 0.0], [0.0, 1.0 / angles]])
        limits = [(np.log(inner) - 1.0, np.log(outside[-1])), (None, None)]
        options = {"initial_simplex": simplex, "xatol": 1e-6, "fatol": 1e-12, "maxiter": 300}
        result = minimize(
            lambda p: -min(float(log_value(p[0], p[1])), 1e3),
            start,
            method="Nelder-Mead",
            bounds=limits,
            options=options,
        )
        found = max(found, -float(result.fun), float(best[i]))
    with np.errstate(over="ignore"):
        return float(np.exp(found))
