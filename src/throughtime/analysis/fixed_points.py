"""Fixed points, slow points and cycles of a network under constant input, on the full state.

Dimensions: S state size, M points found, K slow points, p period.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import arguments, checks
from .arrays import Array, Result, short
from .autonomous import AutonomousMap, as_state
from .newton import levenberg, polish

NEUTRAL = 1e-7  # ||λ| − 1| up to which a direction is neither stable nor unstable: rounding in defective eigenvalues


@dataclass(frozen=True, repr=False)
class FixedPoints(Result):
    """What the searches found: stable points first, then by the number of unstable directions and the norm."""

    points: Array  # (M, S) fixed points; of a cycle, one of its points
    orbits: Array  # (M, p, S) all points of the cycle; for p = 1 the same again
    residual: Array  # (M,) largest |F^p(s) − s|
    error: Array  # (M,) ‖F^p(s) − s‖ / σ_min(J − I): to first order, the most that the point can be off
    eigenvalues: Array  # (M, S) complex, of J_p … J_1 at the point, by descending modulus; factors per p steps
    hits: Array  # (M,) how many starts came here
    slow_points: Array  # (K, S) minima of q(s) = ½‖F^p(s) − s‖² that are no fixed points, slowest first
    slow_speed: Array  # (K,) ‖F^p(s) − s‖ there, per p steps
    slow_eigenvalues: Array  # (K, S) complex, as `eigenvalues`
    period: int
    starts: int
    lost: int  # starts that reached neither within the iterations and the bound
    layout: tuple[int, int, int]  # layers, states of a unit, units

    @property
    def spectral_radius(self) -> Array:
        """(M,) largest modulus of an eigenvalue."""
        return np.asarray(np.abs(self.eigenvalues).max(axis=1, initial=0.0))

    @property
    def unstable_directions(self) -> Array:
        """(M,) how many eigenvalues are outside the unit circle."""
        return np.asarray((np.abs(self.eigenvalues) > 1.0 + NEUTRAL).sum(axis=1))

    @property
    def neutral_directions(self) -> Array:
        """(M,) how many are on it, within 1e-7: a bifurcation, or a point of a continuum such as a line attractor."""
        return np.asarray((np.abs(np.abs(self.eigenvalues) - 1.0) <= NEUTRAL).sum(axis=1))

    @property
    def stable(self) -> Array:
        """(M,) bool: all eigenvalues inside the unit circle."""
        return np.asarray(self.spectral_radius < 1.0 - NEUTRAL)

    def state(self, index: int) -> Any:
        """Point `index` as `net.unroll(x, state=…)` takes it for one sequence: h (L, N), or a tuple (h, c)."""
        index = arguments.step("index", index, -len(self.points), len(self.points) - 1)
        found = as_state(self.points[index][None], self.layout)
        return tuple(part[:, 0] for part in found) if isinstance(found, tuple) else found[:, 0]

    def plot(self, ax: Any = None, kind: str = "points", **options: Any) -> Any:
        """Draw the points, or with kind="eigenvalues" their eigenvalues: `plots.fixed_points`, `plots.eigenvalues`."""
        if kind not in ("points", "eigenvalues"):
            raise ValueError(f'kind={kind!r}: pass "points" or "eigenvalues"')
        return self._draw("fixed_points" if kind == "points" else kind, ax, options)

    def __repr__(self) -> str:
        name = "fixed points" if self.period == 1 else f"cycles of period {self.period}"
        lines = [
            f"{len(self.points)} {name} ({int(self.stable.sum())} stable), {len(self.slow_points)} slow points, of "
            f"{self.starts} starts; {self.lost} reached neither",
            "   #  unstable  largest |λ|   residual     error   hits  norm",
        ]
        for i in range(min(len(self.points), 12)):
            lines.append(
                f"{i:4d}{self.unstable_directions[i]:10d}{self.spectral_radius[i]:13.5g}{self.residual[i]:11.1e}"
                f"{self.error[i]:10.1e}{self.hits[i]:7d}  {np.linalg.norm(self.points[i]):.5g}"
            )
        if len(self.points) > 12:
            lines.append(f"  … and {len(self.points) - 12} more")
        if len(self.slow_points):
            lines.append(f"  slow points move by {short(self.slow_speed)}")
        return "\n".join(lines)


def fixed_points(
    net: Any,
    x: Any = None,
    *,
    period: int = 1,
    starts: Any = 256,
    seed: Any = 0,
    tolerance: float = 1e-11,
    distinct: float = 1e-5,
    iterations: int = 300,
    warmup: int = 100,
    bound: float | None = None,
) -> FixedPoints:
    """Points that a network does not leave under a constant input, points that it hardly leaves, and cycles.

        F(s) = s;    F^p(s) = s and F^d(s) ≠ s for all d < p;    slow points: minima of q(s) = ½‖F^p(s) − s‖² > 0

    Levenberg's method with the analytic Jacobian from many starts at once, in float64 on the full state (an LSTM's h
    and c, all layers), then Newton for the last digits. Unlike running the network this finds unstable points too.

    net : a network of one direction, any cell. x (I,) : the constant input, zero by default. period : p of the cycles;
    p = 1 are fixed points. starts : their number, or an array (n, S) of states in the layout of run.states; by default
    half are random and half lie on trajectories of up to `warmup` steps, and the first is zero. tolerance : a point is
    fixed if max|F^p(s) − s| ≤ tolerance·(1 + max|s|). distinct : points nearer than this, times (1 + max|s|), count as
    one; so do those of one cycle. bound : the searches stay where max|s| ≤ bound, by default three times the largest of
    the starts and 1: far out, where an update gate is saturated, every state of a GRU is fixed to floating point.
    A search proves no completeness: `hits` tells how well covered the result is. Points of a continuum (a line
    attractor) come out as many, with a neutral direction each. F^p of a chaotic network is steep as e^(λp): at λp of
    about 20 and above a search for cycles finds little.

    Returns a `FixedPoints`. ValueError for a bidirectional network, an x that is no vector of I finite numbers, starts
    of the wrong shape or not finite, NaN in the parameters, a period or number of starts below 1.

    Source: Sussillo & Barak, Neural Computation 25, 2013 (q and slow points); Levenberg 1944.

    >>> import throughtime as tt
    >>> net = tt.Network("tanh", 1, 1, bias=False)
    >>> net.parameters["weight_hh_l0"][...] = 2.0
    >>> found = fixed_points(net, starts=16)
    >>> np.sort(found.points[:, 0]).round(6) + 0.0, found.unstable_directions  # of h = tanh(2h)
    (array([-0.957504,  0.      ,  0.957504]), array([0, 0, 1]))
    """
    period, iterations = arguments.size("period", period), arguments.size("iterations", iterations)
    tolerance, distinct = (arguments.real(n, v, 0.0) for n, v in (("tolerance", tolerance), ("distinct", distinct)))
    flow = AutonomousMap(net, x, period)
    begin = _starts(flow, starts, arguments.size("warmup", warmup), seed)
    bound = 3.0 * max(1.0, np.abs(begin).max()) if bound is None else arguments.real("bound", bound, 0.0)
    parts = [
        levenberg(flow.difference, begin[a : a + flow.chunk], tolerance, iterations, bound)
        for a in range(0, len(begin), flow.chunk)
    ]
    reached, residual, root, minimum = (np.concatenate([part[i] for part in parts]) for i in range(4))
    by_residual = np.argsort(residual, kind="stable")
    roots = by_residual[root[by_residual]]
    candidates, hits = _apart(flow, reached[roots], distinct)
    points, rest, slope = polish(flow.difference, candidates)
    proper = ~_shorter(flow, points, distinct)
    points, rest, slope, hits = points[proper], rest[proper], slope[proper], hits[proper]
    values = _eigenvalues(slope)
    order = np.lexsort((np.linalg.norm(points, axis=1).round(9), (np.abs(values) > 1.0 + NEUTRAL).sum(axis=1)))
    slowest = by_residual[minimum[by_residual]]
    slow, _ = _apart(flow, reached[slowest], distinct)
    slow_r, slow_slope = flow.difference(slow)
    with np.errstate(divide="ignore", invalid="ignore"):
        weakest = np.linalg.svd(slope, compute_uv=False)[:, -1]
        error = np.where(rest > 0.0, np.linalg.norm(flow.difference(points)[0], axis=1) / weakest, 0.0)
    return FixedPoints(
        points=points[order],
        orbits=flow.orbits(points[order]),
        residual=rest[order],
        error=error[order],
        eigenvalues=values[order],
        hits=hits[order],
        slow_points=slow,
        slow_speed=np.linalg.norm(slow_r, axis=1),
        slow_eigenvalues=_eigenvalues(slow_slope),
        period=period,
        starts=len(begin),
        lost=int((~root & ~minimum).sum()),
        layout=flow.layout,
    )


def _starts(flow: AutonomousMap, starts: Any, warmup: int, seed: Any) -> Array:
    if np.ndim(starts) == 0:
        return flow.starts(arguments.size("starts", starts), warmup, seed)
    hint = "Starts are states in the layout of run.states, or the number of them."
    given = checks.array("starts", starts, {"starts": None, "state_size": flow.size}, np.dtype(np.float64), hint=hint)
    if not len(given) or not np.isfinite(given).all():
        raise ValueError("`starts` is empty or holds NaN or inf: pass finite states, or their number")
    return given


def _apart(flow: AutonomousMap, states: Array, distinct: float) -> tuple[Array, Array]:
    """One of each group of states that lie together, or on one cycle, and the sizes of the groups."""
    kept, hits = [], []
    left = states
    while len(left):
        orbit = flow.orbits(left[:1])[0]
        near = np.abs(left[:, None] - orbit).max(axis=2).min(axis=1) <= distinct * (1.0 + np.abs(orbit).max())
        near[0] = True
        kept.append(left[0])
        hits.append(int(near.sum()))
        left = left[~near]
    return np.array(kept).reshape(-1, flow.size), np.array(hits, dtype=np.int64)


def _shorter(flow: AutonomousMap, points: Array, distinct: float) -> Array:
    """Which points return after a proper divisor of the period already."""
    orbits, found = flow.orbits(points), np.zeros(len(points), dtype=bool)
    for d in range(1, flow.period):
        if flow.period % d == 0:
            moved = np.abs(orbits[:, d] - orbits[:, 0]).max(axis=1)
            found |= moved <= distinct * (1.0 + np.abs(points).max(axis=1))
    return found


def _eigenvalues(slope: Array) -> Array:
    values = np.linalg.eigvals(slope + np.eye(slope.shape[-1])).astype(np.complex128)
    return np.take_along_axis(values, np.argsort(-np.abs(values), axis=1, kind="stable"), axis=1)
