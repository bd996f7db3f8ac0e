"""Singular values of long products of Jacobians, by their logarithms: no window is too long for the range of numbers.

Dimensions: B sequences, S state size, K directions, n = stop - start factors.

The product P = J_n ... J_1 is never formed. A pass backwards gives directions Q_0 close to the right singular
vectors, a pass forwards P Q_0 = Q_n R, with R = D U kept apart as logarithms of the diagonal D and a unit triangular U
of moderate numbers. One-sided Jacobi (LAPACK's xGEJSV) then finds the singular values of D U to the relative accuracy
of U's entries, the smallest as well as the largest. Where ln D spans more than the range of numbers it works
on overlapping windows: rows e^60 apart do not feel each other.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import lapack

from .. import finite
from .arrays import Array, Result, short
from .jacobians import in_order
from .orthonormalise import logarithms
from .tangents import checked_matrices

CENTRE, MARGIN = 250.0, 60.0  # nats of a window, and beyond it on either side
NARROW_INTERVAL = 4  # steps between two QR decompositions of a matrix-free pass
MOST_SWEEPS = 40
# The factors in their order, or backwards and transposed, each as what it does to a frame (B, S, K).
Factors = Callable[[bool], Iterator[Callable[[Array], Array]]]


@dataclass(frozen=True, repr=False)
class ProductSingularValues(Result):
    """Natural logarithms of the singular values of ∂states[stop]/∂states[start]."""

    log_singular_values: Array  # (B, k), or (k,) of given matrices: descending, nats over the whole window
    start: int
    stop: int
    state_size: int
    sweeps: int  # passes back and forth
    converged: bool  # False: the leading k had not settled to 1e-9 after the last pass
    along_batch: ClassVar = {"log_singular_values": 0}

    @property
    def log_condition(self) -> Array:
        """ln σ_1 − ln σ_S, nats: the logarithm of the condition number; NaN unless all were asked for."""
        logs = self.log_singular_values
        if logs.shape[-1] < self.state_size:
            return np.full(logs.shape[:-1], np.nan)
        with np.errstate(invalid="ignore"):
            return np.asarray(logs[..., 0] - logs[..., -1])

    @property
    def rates(self) -> Array:
        """Logarithms over the length of the window, nats per step: finite-time Lyapunov exponents."""
        return np.asarray(self.log_singular_values / max(self.stop - self.start, 1))

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draw the logarithms against their rank: `throughtime.plots.product_singular_values`."""
        return self._draw("product_singular_values", ax, options)

    def __repr__(self) -> str:
        logs = self.log_singular_values
        first = logs if logs.ndim == 1 else logs[0]
        batch = "" if logs.ndim == 1 else f", {len(logs)} sequence(s), the first shown"
        settled = f"{self.sweeps} pass(es) back and forth{'' if self.converged else ', not settled'}"
        return "\n".join(
            [
                f"Singular values of the product of Jacobians from states[{self.start}] to states[{self.stop}]{batch}",
                f"  ln σ             {short(first)} nats ({first.size} of {self.state_size})",
                f"  ln condition     {short(self.log_condition)} nats",
                f"  found in         {settled}",
            ]
        )


def product_singular_values(run: Any, start: int, stop: int, k: int | None = None) -> ProductSingularValues:
    """Natural logarithms of the singular values of a long product of state Jacobians, for any length of the window.

        P = J_stop … J_{start+1} = ∂states[stop]/∂states[start],   ln σ_1 ≥ … ≥ ln σ_S

    run : from `net.unroll`; one direction. start, stop : 0 ≤ start ≤ stop ≤ T; P is the identity where they are equal.
    k : the leading ones only, matrix-free (products with J and Jᵀ) where 2k < S: passes back and forth over k + 8
    directions until ln σ changes by less than 1e-9. All by default, two passes over the dense Jacobians.
    Returns `ProductSingularValues`: .log_singular_values (B, k) in nats, −inf for exact zeros, NaN for a sequence
    with NaN in the window; .log_condition (B,), the natural logarithm of the condition number; .rates, nats per step.
    ValueError for windows out of range, k > S, bidirectional networks, NaN in every sequence.

    Source: Stewart, SIAM J. Matrix Anal. Appl. 18, 1997 (graded products); Drmač & Veselić, ibid. 29, 2008 (Jacobi).

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 2, bias=False, seed=0)
    >>> net.parameters["weight_hh_l0"][...] = [[2.0, 0.0], [0.0, 0.5]]
    >>> product_singular_values(net.unroll(np.zeros((5000, 1))), 0, 5000).log_singular_values.round(6)
    array([[ 3465.735903, -3465.735903]])
    """
    steps = len(run.states) - 1
    if getattr(run.network, "bidirectional", False):
        raise ValueError(
            "a bidirectional network has no Jacobian from one state to the next: its two directions run through time "
            "against each other; analyse a network with bidirectional=False"
        )
    for name, value in (("start", start), ("stop", stop)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value <= steps:
            raise ValueError(f"`{name}` is {value!r}, but the run has states 0 to {steps}: pass one of these times")
    if start > stop:
        raise ValueError(f"start={start} and stop={stop}: the product leads forwards, so pass start ≤ stop")
    finite.run(run, "A product of Jacobians", start, stop)
    batch, size = run.states.shape[1:]
    k = _leading(k, size)
    if 2 * (k + 8) < size:

        def move(a: int, back: bool, frame: Array) -> Array:
            b, frame = min(a + NARROW_INTERVAL, stop), frame.astype(run.network.dtype, copy=False)
            return np.asarray((run.vjp(frame, a, b) if back else run.jvp(frame, a, b)), dtype=np.float64)

        def factors(back: bool) -> Iterator[Callable[[Array], Array]]:
            pieces = range(start, stop, NARROW_INTERVAL)
            return (partial(move, a, back) for a in (reversed(pieces) if back else pieces))

        logs, sweeps, settled = _narrow(factors, batch, size, k)
    else:

        def factors(back: bool) -> Iterator[Callable[[Array], Array]]:
            return (partial(_times, jacobian, back) for jacobian in in_order(run, start, stop, back))

        logs, sweeps, settled = _whole(factors, stop - start, batch, size, k)
    return ProductSingularValues(logs, int(start), int(stop), size, sweeps, settled)


def product_from_jacobians(jacobians: Iterable[Any], k: int | None = None) -> ProductSingularValues:
    """Natural logarithms of the singular values of a product of given matrices J_n … J_1.

    jacobians : (n, S, S), or any iterable of (S, S) matrices, J_1 first; they are held in memory. k : leading ones, all
    by default. Returns `ProductSingularValues` with .log_singular_values (k,), nats. ValueError for matrices that are
    not square, change shape or hold NaN, k > S, an empty sequence. Source and method: see `product_singular_values`.

    >>> product_from_jacobians(np.tile([[1.0, 1.0], [0.0, 1.0]], (100, 1, 1))).log_singular_values.round(6)
    array([ 4.60527, -4.60527])
    """
    matrices = list(checked_matrices(jacobians, "A product of matrices"))
    if not matrices:
        raise ValueError("`jacobians` is empty: pass at least one (S, S) matrix")
    size = len(matrices[0])
    k = _leading(k, size)

    def factors(back: bool) -> Iterator[Callable[[Array], Array]]:
        return (partial(_times, matrix, back) for matrix in (reversed(matrices) if back else matrices))

    logs, sweeps, settled = _whole(factors, len(matrices), 1, size, k)
    return ProductSingularValues(logs[0], 0, len(matrices), size, sweeps, settled)


def _leading(k: Any, size: int) -> int:
    k = size if k is None else k
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= size:
        raise ValueError(f"k={k!r}, but the state has size {size}: pass k between 1 and {size}, or None for all")
    return int(k)


def _times(matrices: Array, back: bool, frame: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray((matrices.swapaxes(-1, -2) if back else matrices).astype(np.float64, copy=False) @ frame)


def _whole(factors: Factors, count: int, batch: int, size: int, k: int) -> tuple[Array, int, bool]:
    frame = np.repeat(np.eye(size)[None], batch, axis=0)
    if count > 1:  # of a single factor the triangle is as good a start as any
        frame = _directions(factors(True), _random(batch, size, size))
    _, logs, unit = _triangle(factors(False), frame)
    return np.array([graded_singular_values(*pair) for pair in zip(logs, unit, strict=True)])[:, :k], 1, True


def _narrow(factors: Factors, batch: int, size: int, k: int) -> tuple[Array, int, bool]:
    frame, before = _random(batch, size, k + 8), np.full((batch, k), np.nan)
    for sweep in range(1, MOST_SWEEPS + 1):
        frame = _directions(factors(True), frame)
        frame, logs, unit = _triangle(factors(False), frame)
        found = np.array([graded_singular_values(*pair) for pair in zip(logs, unit, strict=True)])[:, :k]
        with np.errstate(invalid="ignore"):
            change = np.abs(found - before)
        if sweep > 1 and not (change > 1e-9).any():
            return found, sweep, True
        before = found
    return before, MOST_SWEEPS, False


def _random(batch: int, size: int, columns: int) -> Array:
    return np.repeat(np.linalg.qr(np.random.default_rng(0).standard_normal((size, columns)))[0][None], batch, axis=0)


def _directions(factors: Iterator[Callable[[Array], Array]], frame: Array) -> Array:
    """The orthonormal frame (B, S, K) at the end of all factors."""
    for factor in factors:
        frame = _qr(factor(frame))[0]
    return frame


def _triangle(factors: Iterator[Callable[[Array], Array]], frame: Array) -> tuple[Array, Array, Array]:
    """The same, ln D (B, K) and U (B, K, K) of the triangle R = D U."""
    batch, _, columns = frame.shape
    logs, unit = np.zeros((batch, columns)), np.repeat(np.eye(columns)[None], batch, axis=0)
    above = np.triu(np.ones((columns, columns)), 1)
    for factor in factors:
        frame, r, gained = _qr(factor(frame))
        with np.errstate(all="ignore"):
            ratio = np.exp(np.minimum(logs[:, None, :] - logs[:, :, None], 600.0))
            step = np.where(np.isneginf(gained)[:, :, None], 0.0, r * np.exp(-gained)[:, :, None])
            unit = unit + np.nan_to_num(step * ratio * above) @ unit
            logs = logs + gained
    return frame, logs, unit


def _qr(a: Array) -> tuple[Array, Array, Array]:
    """QR with the larger rows first (small rows keep their accuracy), R with a positive diagonal, its logarithms."""
    usable: Array = np.asarray(np.isfinite(a).all(axis=(1, 2)))
    a = np.where(usable[:, None, None], a, 0.0)
    order = np.argsort(-np.abs(a).max(axis=2), axis=1, kind="stable")[:, :, None]
    q, r = np.linalg.qr(np.take_along_axis(a, order, axis=1))
    sign = np.where(np.diagonal(r, axis1=1, axis2=2) < 0.0, -1.0, 1.0)
    frame = np.empty_like(q)
    np.put_along_axis(frame, np.broadcast_to(order, q.shape), q * sign[:, None, :], axis=1)
    r = r * sign[:, :, None]
    eps = float(np.finfo(np.float64).eps)
    diagonal = np.diagonal(r, axis1=1, axis2=2)
    logs = np.array([logarithms(item, row, eps) for item, row in zip(a, diagonal, strict=True)])
    return frame, r, np.where(usable[:, None], logs, np.nan)


def graded_singular_values(logs: Array, unit: Array) -> Array:
    """ln of the singular values of diag(e^logs) U, U (K, K) unit upper triangular, descending; −inf where logs is.

    Where logs span more than a window, entries of U between rows further apart than the margin are left out: they are
    of the size of the ratio of the two singular values after a pass back and forth.

    >>> graded_singular_values(np.array([30.0, -30.0]), np.array([[1.0, 0.5], [0.0, 1.0]])).round(6)
    array([ 30.111572, -30.111572])
    """
    if np.isnan(logs).any():
        return np.full(logs.size, np.nan)
    alive: Array = np.flatnonzero(np.isfinite(logs))
    out = np.full(logs.size, -np.inf)
    logs, unit, found, low = logs[alive], unit[np.ix_(alive, alive)], [], 0
    while low < logs.size:
        near = np.flatnonzero(logs[low:] < logs[low] - CENTRE)
        high = low + int(near[0]) if near.size else logs.size
        larger = np.flatnonzero(logs[:low] > logs[low:high].max() + MARGIN)
        smaller = np.flatnonzero(logs[high:] < logs[low:high].min() - MARGIN)
        a = int(larger[-1]) + 1 if larger.size else 0
        b = high + int(smaller[0]) if smaller.size else logs.size
        middle = 0.5 * (logs[a:b].max() + logs[a:b].min())
        matrix = unit[a:b, a:b].T * np.exp(logs[a:b] - middle)
        found.append(np.sort(_jacobi(matrix))[::-1][low - a : high - a] + middle)
        low = high
    if found:
        out[: alive.size] = np.sort(np.concatenate(found))[::-1]
    return out


def _jacobi(matrix: Array) -> Array:
    """ln of the singular values of C diag(d), each to the relative accuracy of C's entries however different d are."""
    values, _, _, scale, _, info = lapack.dgejsv(matrix, joba=0, jobu=3, jobv=3, jobr=0, jobt=0, jobp=0)
    if info != 0:
        values, scale = np.linalg.svd(matrix, compute_uv=False), np.ones(2)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values) + np.log(scale[0] / scale[1]))
