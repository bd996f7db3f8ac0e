"""Singular values of long products of Jacobians, by their logarithms: no window is too long for the range of numbers.

Dimensions: B sequences, S state size, K directions, n = stop - start factors.

The product P = J_n ... J_1 is never formed. A pass backwards gives directions L_0 close to the right singular
vectors, a pass forwards P L_0 = L_n diag(e^logs) U, kept apart as logarithms and moderate numbers, with its rank
(`graded_product.py`). One-sided Jacobi (LAPACK's xGEJSV) then finds its singular values to the relative accuracy
of U's entries, the smallest as well as the largest.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...refuse import arguments, direction, finite
from ...results import Array, Result, short
from ..lyapunov.given_matrices import checked_matrices
from ..public import of_networks, public
from .graded_product import Triangle
from .jacobians_in_order import in_order
from .leading_singular_values import MORE, Factors, leading, turned

KEPT = 1 << 26  # bytes of Jacobians that are kept between the passes


@dataclass(frozen=True, repr=False)
class ProductSingularValues(Result):
    """Natural logarithms of the singular values of ∂states[stop]/∂states[start].

    Fields:
        log_singular_values: (B, k), or (k,) of given matrices: descending, nats over the whole window.
        steps: (B,), or () of given matrices: factors that each sequence takes in the window, none beyond its end.
        start: the state that the product begins at.
        stop: the state that it ends at.
        state_size: S, the number of singular values that there are.
        sweeps: passes back and forth.
        converged: False: the leading k had not settled to 1e-9 after the last pass.
    """

    log_singular_values: Array
    steps: Array
    start: int
    stop: int
    state_size: int
    sweeps: int
    converged: bool
    along_batch: ClassVar = {"log_singular_values": 0, "steps": 0}
    picture: ClassVar = "product_singular_values"
    dimensions: ClassVar = {
        "sequence direction": "log_singular_values rates",
        "sequence": "log_condition steps",
    }

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
        """Logarithms over the steps that each sequence takes, nats per step: finite-time Lyapunov exponents."""
        return np.asarray(self.log_singular_values / np.maximum(np.asarray(self.steps), 1)[..., None])

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


@of_networks(on_gpu=True)
def product_singular_values(run: Any, start: int, stop: int, k: int | None = None) -> ProductSingularValues:
    """Natural logarithms of the singular values of a long product of state Jacobians, for any length of the window.

        P = J_stop … J_{start+1} = ∂states[stop]/∂states[start],   ln σ_1 ≥ … ≥ ln σ_S

    run : from `net.unroll`; one direction. start, stop : 0 ≤ start ≤ stop ≤ T; P is the identity where they are equal.
    k : the leading ones only, in passes back and forth over k + 8 directions until less than 1e-9 is to come (1e-5
    where Jacobians in float32 are too large to be formed), or all at once where that costs less. All by default, two
    passes over the dense Jacobians.
    Returns `ProductSingularValues`: .log_singular_values (B, k) in nats, −inf for directions that a singular factor
    loses, to the rounding of its entries; NaN for a sequence with NaN in the window; .log_condition (B,), the natural
    logarithm of the condition number; .steps (B,), what each sequence takes in the window; .rates, nats per own step.
    ValueError for windows out of range, k > S, bidirectional networks, NaN in every sequence.

    Source: Demmel et al., Linear Algebra Appl. 299, 1999 (elimination); Stewart, SIAM J. Matrix Anal. Appl. 18, 1997
    (graded products); Drmač & Veselić, ibid. 29, 2008 (Jacobi).

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 2, bias=False, seed=0)
    >>> net.parameters["weight_hh_l0"][...] = [[2.0, 0.0], [0.0, 0.5]]
    >>> product_singular_values(net.unroll(np.zeros((5000, 1))), 0, 5000).log_singular_values.round(6)
    array([[ 3465.735903, -3465.735903]])
    """
    steps = len(run.states) - 1
    direction.one_way(run.network, "A product of Jacobians")
    for name, value in (("start", start), ("stop", stop)):
        arguments.step(name, value, 0, steps, f"the run has states 0 to {steps}: pass one of these times")
    if start > stop:
        raise ValueError(f"start={start} and stop={stop}: the product leads forwards, so pass start ≤ stop")
    finite.run(run, "A product of Jacobians", start, stop)
    batch, size = run.states.shape[1:]
    k, count = _checked_k(k, size), stop - start
    factors = _factors(run, start, stop)
    found = leading(run, factors, start, stop, k) if 2 * (k + MORE) < size else None
    logs, sweeps, settled = found or (_whole(factors, count, batch, size)[:, :k], 1, True)
    own = np.full(batch, count) if run.lengths is None else np.clip(np.asarray(run.lengths) - start, 0, count)
    return ProductSingularValues(logs, own, int(start), int(stop), size, sweeps, settled)


def _factors(run: Any, start: int, stop: int) -> Factors:
    batch, size = run.states.shape[1:]
    if 8 * (stop - start) * batch * size * size <= KEPT:
        kept = [jacobians.astype(np.float64, copy=False) for jacobians in in_order(run, start, stop)]
        return lambda back: iter(kept[::-1] if back else kept)
    return lambda back: (j.astype(np.float64, copy=False) for j in in_order(run, start, stop, back))


@public
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
    k = _checked_k(k, size)
    logs = _whole(lambda back: (m[None] for m in (reversed(matrices) if back else matrices)), len(matrices), 1, size)
    return ProductSingularValues(logs[0, :k], np.asarray(len(matrices)), 0, len(matrices), size, 1, True)


def _checked_k(k: Any, size: int) -> int:
    if k is not None and not arguments.within(k, 1, size):
        raise ValueError(
            f"`k` is {arguments.kind(k)}, but the state has size {size}: pass k between 1 and {size}, or None for all"
        )
    return size if k is None else int(k)


def _whole(factors: Factors, count: int, batch: int, size: int) -> Array:
    """ln of all singular values (B, S) of the product."""
    if count < 2:  # of a single factor pivots do better than any frame
        triangle = Triangle(np.repeat(np.eye(size)[None], batch, axis=0))
        triangle.through(factors(False), pivot=True)
        return triangle.singular_values()
    first = turned(factors(True), np.repeat(np.eye(size)[None], batch, axis=0))
    triangle = Triangle(first)
    triangle.through(factors(False))
    return triangle.singular_values(first)
