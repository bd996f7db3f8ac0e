"""Levenberg's method for many starts at once: r(s) = 0, or where there is no root near, a minimum of q = ½‖r‖².

No matrix stops the others: a start whose equations cannot be solved takes no step, and is lost.

Dimensions: B starts, S unknowns and equations.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...results import Array

STATIONARY = 1e-9  # ‖Aᵀr‖ / (‖r‖ max(1, ‖A‖)) below which a point counts as a minimum of q
NEARLY = 1e-6  # the same for points that are still moving when the iterations are used up
LARGEST = 1e15  # damping at which no step is left to take

Function = Callable[[Array], tuple[Array, Array]]  # (B, S) -> r (B, S), A = dr/ds (B, S, S)


class Solved(NamedTuple):
    """Where the starts have gone."""

    points: Array  # (B, S)
    residual: Array  # (B,) largest |r_i|
    root: Array  # (B,) bool: the residual is within the tolerance
    minimum: Array  # (B,) bool: no root, and the gradient of q is zero


def levenberg(function: Function, starts: Array, tolerance: float, iterations: int, bound: float = np.inf) -> Solved:
    """(AᵀA + μI) δ = −Aᵀr; μ falls fivefold after a step that lowers q and grows fourfold after one that does not.

    μ is absolute: of A = J − I the identity sets the scale, and relative to ‖A‖ it would vanish at a saddle-node's
    ghost, where A itself does. A root: max|r| ≤ tolerance·(1 + max|s|). A start whose residual is not finite is given
    up. No step leaves max|s| ≤ bound: a gate that is saturated far out makes everything fixed there, to floating point.
    """
    with np.errstate(all="ignore"):  # what overflows is no better than what it came from, and not taken
        points = np.array(starts, dtype=np.float64)
        r, a = function(points)
        usable = np.isfinite(r).all(axis=1) & np.isfinite(a).all(axis=(1, 2))
        damping = np.full(len(points), 1e-2)
        root, minimum, steepness = _judge(points, r, a, tolerance)
        for _ in range(iterations):
            active = np.flatnonzero(usable & ~root & ~(minimum & (steepness <= STATIONARY)) & (damping < LARGEST))
            if not active.size:
                break
            trial = points[active] - _damped(a[active], r[active], damping[active])
            new_r, new_a = function(trial)
            better = np.linalg.norm(new_r, axis=1) < np.linalg.norm(r[active], axis=1)  # False for NaN
            better &= np.isfinite(new_a).all(axis=(1, 2)) & (np.abs(trial).max(axis=1) <= bound)
            taken = active[better]
            points[taken], r[taken], a[taken] = trial[better], new_r[better], new_a[better]
            damping[active] = np.where(better, np.maximum(damping[active] / 5.0, 1e-15), damping[active] * 4.0)
            root[active], minimum[active], steepness[active] = _judge(points[active], r[active], a[active], tolerance)
        residual = np.where(usable, np.abs(r).max(axis=1, initial=0.0), np.inf)
    return Solved(points, residual, root & usable, minimum & usable)


def _damped(a: Array, r: Array, damping: Array) -> Array:
    """(B, S): (AᵀA + μI)⁻¹ Aᵀr, from the normal equations, or where those are singular or overflow, by the SVD of A."""
    transposed = a.swapaxes(1, 2)
    normal = transposed @ a + damping[:, None, None] * np.eye(a.shape[-1])
    solved = each(np.linalg.solve, normal, transposed @ r[:, :, None])[:, :, 0]
    for i in np.flatnonzero(~np.isfinite(solved).all(axis=1)):
        u, sigma, v = (part[0] for part in decomposed(a[i : i + 1]))
        solved[i] = v.T @ ((u.T @ r[i]) / (sigma + damping[i] / sigma))  # σ/(σ² + μ); 0 for σ = 0
    return solved


def each(function: Callable[..., Array], *matrices: Array) -> Array:
    """A function of LAPACK on stacks of matrices; one that it refuses gives NaN, and does not stop the others."""
    try:
        return function(*matrices)
    except np.linalg.LinAlgError:
        found = [_or_none(function, *(stack[i] for stack in matrices)) for i in range(len(matrices[0]))]
        shape = next((part.shape for part in found if part is not None), matrices[-1].shape[1:])
        return np.array([np.full(shape, np.nan) if part is None else part for part in found])


def _or_none(function: Callable[..., Array], *matrices: Array) -> Array | None:
    try:
        return function(*matrices)
    except np.linalg.LinAlgError:
        return None


def decomposed(a: Array) -> tuple[Array, Array, Array]:
    """U, σ, Vᵀ of a stack of matrices (B, S, S), NaN for those without."""
    size = a.shape[-1]

    def packed(matrices: Array) -> Array:
        u, sigma, v = np.linalg.svd(matrices)
        return np.concatenate([u, v, sigma[..., None, :]], axis=-2)

    found = each(packed, a) if len(a) else np.empty((0, 2 * size + 1, size))
    if found.shape[-2] != 2 * size + 1:  # none of them has one
        found = np.full((len(a), 2 * size + 1, size), np.nan)
    return found[:, :size], found[:, -1], found[:, size:-1]


def _judge(points: Array, r: Array, a: Array, tolerance: float) -> tuple[Array, Array, Array]:
    """Is it a root, is it a minimum of q and no root, and the relative gradient of q."""
    largest = np.abs(r).max(axis=1, initial=0.0)
    root = largest <= tolerance * (1.0 + np.abs(points).max(axis=1, initial=0.0))
    gradient = np.linalg.norm((a.swapaxes(1, 2) @ r[:, :, None])[:, :, 0], axis=1)
    size = np.linalg.norm(r, axis=1) * np.maximum(1.0, np.linalg.norm(a, axis=(1, 2)))
    steepness = gradient / np.maximum(size, 1e-300)
    return root, ~root & (steepness <= NEARLY), steepness


def correction(a: Array, r: Array) -> Array:
    """(B, S): Newton's step A⁺r, in the directions that A does not lose to rounding."""
    u, sigma, v = decomposed(a)
    kept = sigma > 1e-12 * sigma.max(axis=1, keepdims=True, initial=0.0)
    along = (u.swapaxes(1, 2) @ r[:, :, None])[:, :, 0] / np.where(kept, sigma, np.inf)
    return np.asarray((v.swapaxes(1, 2) @ along[:, :, None])[:, :, 0])


def polish(function: Function, points: Array, steps: int = 3) -> tuple[Array, Array, Array]:
    """Newton steps taken where they lower the residual: the points, r and A = dr/ds there.

    The last digits: Levenberg's normal equations square the condition of A, these do not.
    """
    with np.errstate(all="ignore"):
        r, a = function(points)
        for _ in range(steps):
            trial = points - correction(a, r)
            new_r, new_a = function(trial)
            better = np.abs(new_r).max(axis=1, initial=0.0) < np.abs(r).max(axis=1, initial=0.0)
            better &= np.isfinite(new_a).all(axis=(1, 2))
            points = np.where(better[:, None], trial, points)
            r, a = np.where(better[:, None], new_r, r), np.where(better[:, None, None], new_a, a)
    return points, r, a
