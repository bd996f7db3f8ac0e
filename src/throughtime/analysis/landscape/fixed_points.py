"""Fixed points, slow points and cycles of a network under constant input, on the full state.

Dimensions: S state size, M points found, K slow points, p period.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...refuse import arguments, numeric
from ...results import Array, Result, short
from ..public import of_networks
from .autonomous_map import AutonomousMap, as_state
from .levenberg import correction, decomposed, each, levenberg, polish
from .search_starts import drawn, living_box

LARGEST_RUN = 2**27  # numbers of a run that are held at once
NEUTRAL = 1e-7  # ||λ| − 1| up to which a direction is neither stable nor unstable: rounding in defective eigenvalues


@dataclass(frozen=True, repr=False)
class FixedPoints(Result):
    """What the searches found: stable points first, then by the number of unstable directions and the norm.

    Fields (M points found, S state size, p period, K slow points):
        points: (M, S) fixed points, in the layout of run.states; of a cycle, one of its points.
        orbits: (M, p, S) all points of the cycle; for p = 1 the same again.
        residual: (M,) largest |F^p(s) − s|.
        error: (M,) ‖F^p(s) − s‖ / σ_min(J − I): to first order, the most that the point can be off; inf where J − I is
            singular and the residual is not 0, NaN where there is no telling.
        eigenvalues: (M, S) complex, of J_p … J_1 at the point, by descending modulus; factors per p steps.
        hits: (M,) how many starts came here.
        slow_points: (K, S) minima of q(s) = ½‖F^p(s) − s‖² that are no fixed points, slowest first.
        slow_speed: (K,) ‖F^p(s) − s‖ there, per p steps.
        slow_eigenvalues: (K, S) complex, as `eigenvalues`.
        period, starts: p, and how many starts there were.
        lost: the starts that reached neither a fixed point (a cycle, were it of a shorter period) nor a slow point:
            whose search ran away, met numbers that are not finite or equations that have no solution, or did not
            arrive within the iterations and the bound.
        layout: (layers, states of a unit, units); of unlike layers (states of a unit, units) of each.
        spectral_radius, unstable_directions, neutral_directions, stable: (M,) by the moduli of the eigenvalues.
        index: (M,) +1 or −1, the sign of det(I − J); over all points of a network whose states stay in a box, they sum
            to 1: what the sum says is missing, more starts may find.
    """

    points: Array
    orbits: Array
    residual: Array
    error: Array
    eigenvalues: Array
    hits: Array
    slow_points: Array
    slow_speed: Array
    slow_eigenvalues: Array
    period: int
    starts: int
    lost: int
    layout: tuple[Any, ...]
    picture: ClassVar = {"points": "fixed_points", "eigenvalues": "eigenvalues"}
    dimensions: ClassVar = {
        "point state": "points",
        "point phase state": "orbits",
        "point": "residual error hits index neutral_directions spectral_radius stable unstable_directions",
        "point eigenvalue": "eigenvalues",
        "slow_point state": "slow_points",
        "slow_point": "slow_speed",
        "slow_point eigenvalue": "slow_eigenvalues",
    }

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

    @property
    def index(self) -> Array:
        """(M,) sign det(I − J): −1 for an odd number of real eigenvalues above 1, 0 where one is 1 to within 1e-7.

        Lefschetz: a map of a ball into itself whose fixed points are all simple has indices that sum to 1. So has a
        network whose states are bounded, when no point is missing; of cycles, with the points of shorter periods. One
        point that is missing, or an odd number of them, makes the sum another; an even number may escape it.
        """
        away = 1.0 - self.eigenvalues
        real = (self.eigenvalues.imag == 0.0) & (self.eigenvalues.real > 1.0)
        simple = (np.abs(away) > NEUTRAL).all(axis=1)
        return np.asarray(np.where(simple, 1 - 2 * (real.sum(axis=1) % 2), 0))

    def state(self, index: int) -> Any:
        """Point `index` as `net.unroll(x, state=…)` takes it for one sequence: h (L, N), or a tuple (h, c); of unlike
        layers a list of what each takes."""
        index = arguments.step("index", index, -len(self.points), len(self.points) - 1)
        return as_state(self.points[index], self.layout)

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


@of_networks
def fixed_points(
    net: Any,
    x: Any = None,
    *,
    period: int = 1,
    starts: Any = 512,
    seed: Any = 0,
    tolerance: float = 1e-11,
    distinct: float = 1e-5,
    iterations: int = 300,
    warmup: int | None = None,
    bound: float | None = None,
) -> FixedPoints:
    """Points that a network does not leave under a constant input, points that it hardly leaves, and cycles.

        F(s) = s;    F^p(s) = s and F^d(s) ≠ s for all d < p;    slow points: minima of q(s) = ½‖F^p(s) − s‖² > 0

    Levenberg's method with the analytic Jacobian from many starts at once, in float64 on the full state (an LSTM's h
    and c, all layers), then Newton for the last digits. Unlike running the network this finds unstable points too.

    net : a network of one direction, any cell. x (I,) : the constant input, zero by default. seed : of the starts.
    period : p of the cycles; p = 1 are fixed points. starts : their number, or an array (n, S) of states in the layout
    of run.states. By default the first is zero, half are random, in boxes between [−1, 1] and the one that the network
    maps into itself (measured, whatever the cell; up to a million where it can grow without bound), and half lie on
    trajectories from such, after up to `warmup` steps (by default 100 to 2000, as slowly as the network moves).
    tolerance : a point is fixed if max|F^p(s) − s| ≤ tolerance·(1 + max|s|), and Newton's step there is no longer than
    `distinct`. distinct : points nearer than this, times (1 + max|s|), count as one; so do those of one cycle.
    iterations : of every search, at most. bound : the searches stay where max|s| ≤ bound, by default three times the
    largest of the starts, of that box and 1: far out, where an update gate is saturated, every state of a GRU is fixed
    to floating point.
    A search proves no completeness: `hits` tells how well covered the result is, and `index.sum()`, 1 for bounded
    states, whether a single point is missing. Of a trained network, mixtures of states that it visits make good starts,
    `weights @ states` with weights that sum to 1 (analysis/flip_flop.py). Points of a continuum (a line
    attractor) come out as many, with a neutral direction each. F^p of a chaotic network is steep as e^(λp): at λp of
    about 20 and above a search for cycles finds little, and counts its starts as lost.

    Returns a `FixedPoints`: .points (M, S), .orbits, .residual, .error, .eigenvalues, .stable, .hits, .slow_points,
    .lost and more. TypeError for what is no network; ValueError for a bidirectional one, an x that is no vector of I
    finite numbers, starts of the wrong shape or not finite, NaN in the parameters, no period, or no starts.

    Source: Sussillo & Barak, Neural Computation 25, 2013 (q and slow points); Levenberg 1944.

    >>> import throughtime as tt
    >>> net = tt.Network("tanh", 1, 1, bias=False)
    >>> net.parameters["weight_hh_l0"][...] = 2.0
    >>> found = fixed_points(net, starts=16)
    >>> np.sort(found.points[:, 0]).round(6) + 0.0, found.unstable_directions  # of h = tanh(2h)
    (array([-0.957504,  0.      ,  0.957504]), array([0, 0, 1]))
    """
    iterations = arguments.size("iterations", iterations)
    tolerance, distinct = (arguments.real(n, v, 0.0) for n, v in (("tolerance", tolerance), ("distinct", distinct)))
    flow = AutonomousMap(net, x, arguments.size("period", period))
    period = arguments.step("period", period, 1, max(1, LARGEST_RUN // flow.size))
    rng = arguments.generator(seed)
    box = living_box(flow, rng)
    begin = _starts(flow, starts, warmup, box, rng)
    far = 3.0 * max(np.abs(begin).max(), box.max())
    bound = far if bound is None else arguments.real("bound", bound, 0.0)
    parts = [
        levenberg(flow.difference, begin[a : a + flow.chunk], tolerance, iterations, bound)
        for a in range(0, len(begin), flow.chunk)
    ]
    reached, residual, root, minimum = (np.concatenate([part[i] for part in parts]) for i in range(4))
    by_residual = np.argsort(residual, kind="stable")
    with np.errstate(all="ignore"):  # what is steep may overflow; it is lost
        candidates, hits = _apart(flow, reached[by_residual[root[by_residual]]], distinct)
        points, r, slope = polish(flow.difference, candidates)
        certain = np.abs(correction(slope, r)).max(axis=1, initial=0.0) <= distinct * (1.0 + _largest(points))
        lost = int((~root & ~minimum).sum() + hits[~certain].sum())
        proper = certain & ~_shorter(flow, points, distinct)
        points, r, slope, hits = points[proper], r[proper], slope[proper], hits[proper]
        values = _eigenvalues(slope)
        order = np.lexsort((np.linalg.norm(points, axis=1).round(9), (np.abs(values) > 1.0 + NEUTRAL).sum(axis=1)))
        slow, _ = _apart(flow, reached[by_residual[minimum[by_residual]]], distinct)
        slow_r, slow_slope = flow.difference(slow)
        length = np.linalg.norm(r, axis=1)
        error = np.where(length > 0.0, length / decomposed(slope)[1][:, -1], 0.0)
        return FixedPoints(
            points=points[order],
            orbits=flow.orbits(points[order]),
            residual=_largest(r)[order],
            error=error[order],
            eigenvalues=values[order],
            hits=hits[order],
            slow_points=slow,
            slow_speed=np.linalg.norm(slow_r, axis=1),
            slow_eigenvalues=_eigenvalues(slow_slope),
            period=period,
            starts=len(begin),
            lost=lost,
            layout=flow.layout,
        )


def _largest(vectors: Array) -> Array:
    return np.asarray(np.abs(vectors).max(axis=1, initial=0.0))


def _starts(flow: AutonomousMap, starts: Any, warmup: int | None, box: Array, rng: np.random.Generator) -> Array:
    warmup = None if warmup is None else arguments.step("warmup", warmup, 1, 10**6)
    if np.ndim(starts) == 0:
        return drawn(flow, arguments.step("starts", starts, 1, LARGEST_RUN // flow.size), warmup, box, rng)
    hint = "Starts are states in the layout of run.states, or the number of them."
    given = numeric.array("starts", starts, {"starts": None, "state_size": flow.size}, np.dtype(np.float64), hint=hint)
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
    values = each(np.linalg.eigvals, slope + np.eye(slope.shape[-1])).astype(np.complex128).reshape(slope.shape[:2])
    return np.take_along_axis(values, np.argsort(-np.abs(values), axis=1, kind="stable"), axis=1)
