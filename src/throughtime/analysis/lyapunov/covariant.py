"""Covariant Lyapunov vectors: the directions that the Jacobians map onto each other, each growing at its own exponent.

Dimensions: S state size, k vectors, n steps that count, m times at which vectors are kept.

Ginelli's method: forwards Q_t R_t = J_t Q_{t-1}, backwards C_{t-1} ~ R_t^{-1} C_t with C upper triangular and columns
of length one; V_t = Q_t C_t. Of the way forwards only a frame every √n steps is kept, and each piece is run again on
the way back: memory for 2√n frames, twice the work.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import solve_triangular, subspace_angles

from ...network import norms
from ...refuse import arguments, checks, finite
from ...results import Array, Result, short
from ..jacobians.graded import pivoted
from ..jacobians.of_steps import in_order
from ..public import of_networks, public
from ..statistics import batch_means_error
from .measure import progress_bar
from .spectrum import trajectory
from .trajectory import checked_matrices


class NotFinite(ValueError):
    """A trajectory that left the numbers on its way."""


Segment = Callable[[int, int], Iterator[Array]]  # the Jacobians J_{a+1} ... J_b


@dataclass(frozen=True, repr=False)
class CovariantVectors(Result):
    """Covariant Lyapunov vectors along a trajectory. Time 0 is the first that counts, n the last.

    Shapes are for one sequence; a batch of B > 1 sequences has B in front of every one but that of `times`.

    Fields:
        exponents: (k,) mean growth of each vector, nats per step.
        standard_error: (k,) by batch means.
        local_rates: (n, k) growth in each step.
        angles: (n+1,) smallest angle between the unstable and the stable directions, radians; NaN without either.
        participation: (k,) mean over time of (Σv²)²/Σv⁴: 1 for one unit, S for all alike.
        times: (m,) times of the vectors kept.
        vectors: (m, S, k) columns of length one.
        split: how many directions count as unstable: a number, or (B,).
        transient: steps before and after, in which the vectors turn.
    """

    exponents: Array
    standard_error: Array
    local_rates: Array
    angles: Array
    participation: Array
    times: Array
    vectors: Array
    split: Any
    transient: int
    picture: ClassVar = "covariant_angles"
    dimensions: ClassVar = {
        "sequence exponent": "exponents standard_error participation",
        "sequence step exponent": "local_rates",
        "sequence time": "angles",
        "time_kept": "times",
        "sequence time_kept state exponent": "vectors",
        "sequence": "split",
    }

    def __repr__(self) -> str:
        several = self.exponents.ndim > 1
        batch = f"; {len(self.exponents)} sequences, the first shown" if several else ""
        first = (lambda values: values[0]) if several else (lambda values: values)
        known = first(self.angles)[np.isfinite(first(self.angles))]
        angles = "none: one side is empty"
        if known.size:
            angles = f"{known.min():.3g} smallest, {np.median(known):.3g} median"
        return "\n".join(
            [
                f"Covariant Lyapunov vectors: {self.exponents.shape[-1]} of a state of {self.vectors.shape[-2]}, "
                f"{self.local_rates.shape[-2]} steps, {self.transient} before and after{batch}",
                f"  exponents        {short(first(self.exponents))} nats per step",
                f"  standard error   {short(first(self.standard_error), digits=2)}",
                f"  unstable         {first(self.split)} direction(s)",
                f"  angle to stable  {angles} (radians)",
                f"  participation    {short(first(self.participation))} units",
                f"  kept             vectors at {self.times.size} times",
            ]
        )


@of_networks
def covariant_vectors(
    net: Any,
    x: Any = None,
    *,
    k: int | None = None,
    steps: int | None = None,
    warmup: int | None = None,
    transient: int | None = None,
    times: Any = None,
    split: int | None = None,
    seed: Any = None,
    state: Any = None,
    lengths: Any = None,
    progress: bool = False,
) -> CovariantVectors:
    """Covariant Lyapunov vectors of a network along its trajectories, on its full state.

        J_t v_i(t−1) = e^(r_i(t)) v_i(t),   ‖v_i‖ = 1,   λ_i = ⟨r_i⟩

    net, x, warmup, seed, state, progress : as for `lyapunov_spectrum`, but no `lengths`. k : leading vectors, all by
    default. steps : all the steps of the frame, default 1000 for x=None, else all that remain; of these `transient`
    (default a fifth) at the start align Q, as many at the end align C, and n = steps − 2·transient count. times : at
    which to keep vectors, 0 … n; default eight spread over the run. split : directions that count as unstable for the
    angles; default the positive exponents. Returns `CovariantVectors`: .exponents, .local_rates (nats per time step
    both), .angles (radians), .participation, .vectors, with B in front for B > 1 sequences, which are taken one after
    the other; NaN for one that is not finite. Vectors of nearly equal exponents are ill-determined: they align at the
    rate of the difference. ValueError with a sentence for bidirectional networks, runs that are too short, singular
    Jacobians, NaN in the parameters or in every sequence.

    Source: Ginelli et al., Phys. Rev. Lett. 99, 130601, 2007.

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 2, bias=False, seed=0)
    >>> net.parameters["weight_hh_l0"][...] = [[1.5, 1.0], [0.0, 0.5]]
    >>> found = covariant_vectors(net, steps=200, seed=0)
    >>> found.exponents.round(6), round(float(found.angles[0] / np.pi), 6)
    (array([ 0.405465, -0.693147]), 0.25)
    """
    if lengths is not None:
        raise ValueError(
            "covariant vectors of sequences of different lengths do not fit one array: pass each alone, "
            "covariant_vectors(net, x[:lengths[b], b])"
        )
    tangent, steps, warmup = trajectory(net, x, steps, warmup, seed, state, "A set of covariant vectors")
    finite.trajectory(net, tangent.inputs, tangent.state, "Covariant Lyapunov vectors")
    tangent.skip(warmup)
    found: list[Any] = []
    for b in range(tangent.batch):
        inputs = None if tangent.inputs is None else tangent.inputs[warmup : warmup + steps, b : b + 1]
        segment = _segments(net, inputs, _sequence(tangent.state, b))
        try:
            found.append(_ginelli(segment, tangent.state_size, steps, k, transient, times, split, seed, progress))
        except NotFinite as error:
            found.append(error)
    return found[0] if len(found) == 1 and not isinstance(found[0], NotFinite) else _stacked(found)


def _sequence(state: Any, b: int) -> Any:
    """Sequence b alone of a state as net.unroll takes it."""
    if isinstance(state, tuple):
        return tuple(part[:, b : b + 1] for part in state)
    return None if state is None else state[:, b : b + 1]


def _segments(net: Any, inputs: Array | None, state: Any) -> Segment:
    """The Jacobians of one sequence, piece by piece: each is run from the state that the one before it reached."""
    at = {0: state}

    def segment(a: int, b: int) -> Iterator[Array]:
        piece = np.zeros((b - a, 1, net.input_size), net.dtype) if inputs is None else inputs[a:b]
        run = net.unroll(piece.swapaxes(0, 1) if net.batch_first else piece, state=at[a])
        at[b] = run.final_state
        for jacobian in in_order(run, 0, b - a):
            yield jacobian[0].astype(np.float64, copy=False)

    return segment


def _stacked(found: list[Any]) -> CovariantVectors:
    """The results of several sequences as one, NaN where one is not finite; its error if none is."""
    good = [item for item in found if not isinstance(item, NotFinite)]
    if not good:
        raise found[0]
    values: dict[str, Any] = {"times": good[0].times, "transient": good[0].transient}
    for field in fields(CovariantVectors):
        if field.name not in values:
            shape, dtype = np.shape(getattr(good[0], field.name)), np.asarray(getattr(good[0], field.name)).dtype
            none = np.full(shape, np.nan) if dtype.kind == "f" else np.zeros(shape, dtype)
            parts = [none if isinstance(item, NotFinite) else getattr(item, field.name) for item in found]
            values[field.name] = np.array(parts)
    return CovariantVectors(**values)


@public
def covariant_from_jacobians(
    jacobians: Iterable[Any],
    k: int | None = None,
    *,
    transient: int | None = None,
    times: Any = None,
    split: int | None = None,
    seed: Any = None,
    progress: bool = False,
) -> CovariantVectors:
    """Covariant Lyapunov vectors of a product of given matrices … J_2 J_1, held in memory.

    jacobians : (T, S, S), J_1 first, rows = outputs. k, transient, times, split, seed, progress and the result : as of
    `covariant_vectors`; vectors at time t stand between matrix transient + t and the next. ValueError for matrices not
    square, of changing shape, singular or with NaN.

    >>> cat_map = np.tile([[2.0, 1.0], [1.0, 1.0]], (100, 1, 1))
    >>> found = covariant_from_jacobians(cat_map, seed=0)
    >>> np.abs(found.vectors[0]).round(6)
    array([[0.850651, 0.525731],
           [0.525731, 0.850651]])
    """
    matrices = list(checked_matrices(jacobians, "Covariant Lyapunov vectors"))
    if not matrices:
        raise ValueError("`jacobians` is empty: pass at least one (S, S) matrix")

    scaled, shifts = zip(*map(norms.within_range, matrices), strict=True)

    def segment(a: int, b: int) -> Iterator[Array]:
        return iter(scaled[a:b])

    found = segment, len(matrices[0]), len(matrices), k, transient, times, split, seed, progress
    return _ginelli(*found, shifts=np.array(shifts))


def _ginelli(
    segment: Segment,
    size: int,
    steps: int,
    k: Any,
    transient: Any,
    times: Any,
    split: Any,
    seed: Any,
    progress: bool,
    shifts: Any = 0.0,  # ln of what each Jacobian was divided by
) -> CovariantVectors:
    k = size if k is None else k
    if not arguments.within(k, 1, size):
        raise ValueError(f"k={k!r}, but the state has size {size}: pass k between 1 and {size}")
    k = int(k)
    transient = steps // 5 if transient is None else int(transient)
    count = steps - 2 * transient
    if transient < 0 or count < 1:
        raise ValueError(
            f"transient={transient} before and after leaves {count} of "
            f"{steps} steps: pass more steps or a smaller `transient`"
        )
    kept = (
        np.unique(np.linspace(0, count, 8).astype(int))
        if times is None
        else np.atleast_1d(checks.numbers("times", times))
    )
    if kept.dtype.kind not in "iu" or kept.ndim != 1 or (kept < 0).any() or (kept > count).any():
        raise ValueError(f"times={times!r}: pass whole numbers from 0 to {count}, the steps that count")
    bar = progress_bar(2 * steps, "covariant vectors") if progress else None
    length = max(1, int(np.sqrt(steps)))
    edges = [*range(0, steps, length), steps]
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((k, size)).T)[0]
    shifts = np.broadcast_to(shifts, steps)
    frames, growth = {0: q}, np.zeros(k)
    for a, b in pairwise(edges):
        for t, jacobian in enumerate(segment(a, b), a):
            q, r = _qr(jacobian, q)
            if transient <= t < transient + count:
                growth += np.log(np.diagonal(r)) + shifts[t]
        frames[b] = q
        _tick(bar, b - a)
    split = int(np.sum(growth > 0.0)) if split is None else int(split)
    rng = np.random.default_rng(seed)
    c: Array = np.triu(rng.standard_normal((k, k)))
    c[np.diag_indices(k)] += 2.0
    rates, angles, shares = np.zeros((count, k)), np.full(count + 1, np.nan), np.zeros(k)
    vectors = np.zeros((kept.size, size, k))
    for a, b in zip(edges[-2::-1], edges[:0:-1], strict=True):
        stack = [(frames[a], np.eye(k))]
        for jacobian in segment(a, b):
            stack.append(_qr(jacobian, stack[-1][0]))
        for t in range(b, a, -1):  # C at time t; R of the step to it
            c /= norms.of_rows(c.T)
            if transient <= t <= transient + count:
                _note(stack[t - a][0], c, t - transient, kept, vectors, angles, shares, split)
            c = solve_triangular(stack[t - a][1], c)
            if transient < t <= transient + count:
                rates[t - transient - 1] = shifts[t - 1] - np.log(norms.of_rows(c.T))
        _tick(bar, b - a)
    if transient == 0:
        c /= norms.of_rows(c.T)
        _note(frames[0], c, 0, kept, vectors, angles, shares, split)
    if bar is not None:
        bar.close()
    error, shares = batch_means_error(rates), shares / (count + 1)
    return CovariantVectors(rates.mean(axis=0), error, rates, angles, shares, kept, vectors, split, transient)


def _qr(jacobian: Array, q: Array) -> tuple[Array, Array]:
    """QR decomposition of J Q with a positive diagonal."""
    moved = jacobian @ q
    if not np.isfinite(moved).all():
        raise NotFinite(
            "the states or Jacobians grew beyond the range of numbers, and covariant vectors need a finite run: take "
            "fewer steps, or smaller weights"
        )
    order = np.argsort(-np.abs(moved).max(axis=1), kind="stable")  # so that small rows keep their accuracy
    sorted_q, r = np.linalg.qr(moved[order])
    q_next = np.empty_like(sorted_q)
    q_next[order] = sorted_q
    diagonal = np.diagonal(r)
    if np.abs(diagonal).min() <= 1e-5 * np.abs(jacobian).max():
        left = pivoted(moved, np.abs(jacobian) @ np.abs(q), np.zeros(q.shape[1]))[1]
        if len(left) < q.shape[1]:
            raise ValueError(
                "a Jacobian is singular (an exponent of −inf): ask for the k leading vectors of finite growth; here at "
                f"most k={len(left)} of {q.shape[1]} are left"
            )
    sign = np.where(diagonal < 0.0, -1.0, 1.0)
    return q_next * sign, r * sign[:, None]


def _note(q: Array, c: Array, t: int, kept: Array, vectors: Array, angles: Array, shares: Array, split: int) -> None:
    """What is wanted of the vectors V = Q C at time t."""
    found = q @ c
    shares += 1.0 / (found**4).sum(axis=0)
    vectors[kept == t] = found
    if 0 < split < c.shape[1]:
        angles[t] = subspace_angles(c[:, :split], c[:, split:])[-1]


def _tick(bar: Any, steps: int) -> None:
    if bar is not None:
        bar.update(steps)
