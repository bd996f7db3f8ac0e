"""Ginelli's method for covariant Lyapunov vectors.

Forwards Q_t R_t = J_t Q_{t-1}, backwards C_{t-1} ~ R_t^{-1} C_t with C upper triangular and columns of length one;
V_t = Q_t C_t. Of the way forwards only a frame every √n steps is kept, and each piece is run again on the way back:
memory for 2√n frames, twice the work.

Dimensions: S state size, k vectors, n steps that count, m times at which vectors are kept.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular, subspace_angles

from ...network import norms
from ...progress import progress_bar
from ...refuse import arguments, numeric
from ...results import Array
from ..jacobians.graded_product import pivoted


class NotFinite(ValueError):
    """A trajectory that left the numbers on its way."""


Segment = Callable[[int, int], Iterator[Array]]  # the Jacobians J_{a+1} ... J_b


def ginelli(
    segment: Segment,
    size: int,
    steps: int,
    k: Any,
    transient: Any,
    times: Any,
    split: Any,
    seed: Any,
    progress: bool,
    shifts: Any = 0.0,
) -> tuple[Array, Array, Array, Array, Array, int, int]:
    """Growth in each step (n, k), angles (n+1,), participation (k,), the times kept (m,), the vectors then (m, S, k),
    the directions that count as unstable, and the steps before and after.

    shifts : ln of what each Jacobian was divided by. The other arguments are those of `covariant_vectors`.
    """
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
        else np.atleast_1d(numeric.numbers("times", times))
    )
    if kept.dtype.kind not in "iu" or kept.ndim != 1 or (kept < 0).any() or (kept > count).any():
        raise ValueError(f"times={times!r}: pass whole numbers from 0 to {count}, the steps that count")
    with progress_bar(progress, 2 * steps, "covariant vectors") as bar:
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
            bar.update(b - a)
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
            bar.update(b - a)
    if transient == 0:
        c /= norms.of_rows(c.T)
        _note(frames[0], c, 0, kept, vectors, angles, shares, split)
    return rates, angles, shares / (count + 1), kept, vectors, split, transient


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
