"""Spectra of single-step Jacobians: eigenvalues and singular values of ∂states[t]/∂states[t−1].

Dimensions: B sequences, S state size, n time steps (axis absent for a single t).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...refuse import arguments, direction
from ...results import Array, Result, short
from ..public import of_networks
from .jacobians_in_order import in_order


@dataclass(frozen=True, repr=False)
class JacobianSpectrum(Result):
    """Spectra of the Jacobians at one step, or at several (then with n in front).

    Fields:
        eigenvalues: (B, S) complex, by descending modulus.
        singular_values: (B, S) descending.
        t: the step, 1 … T, or (n,).
    """

    eigenvalues: Array
    singular_values: Array
    t: Array
    along_batch: ClassVar = {"eigenvalues": -2, "singular_values": -2}
    picture: ClassVar = {"eigenvalues": "eigenvalues", "singular_values": "singular_values"}
    dimensions: ClassVar = {
        "kept sequence direction": "eigenvalues singular_values",
        "kept": "t",
        "kept sequence": "norm spectral_radius",
    }

    @property
    def spectral_radius(self) -> Array:
        """Largest modulus of an eigenvalue, (B,): the growth per step if this Jacobian were repeated for ever."""
        return np.asarray(np.abs(self.eigenvalues).max(axis=-1, initial=0.0))

    @property
    def norm(self) -> Array:
        """Largest singular value, (B,): the most a perturbation can grow in this step."""
        return np.asarray(self.singular_values.max(axis=-1, initial=0.0))

    def __repr__(self) -> str:
        shape = self.eigenvalues.shape
        steps = f"steps {short(self.t)}" if self.t.ndim else f"step {int(self.t)}"
        return "\n".join(
            [
                f"Jacobian spectrum: {steps}, {shape[-2]} sequence(s), state size {shape[-1]}",
                f"  spectral radius  {short(self.spectral_radius)}",
                f"  norm             {short(self.norm)}",
                f"  singular values  {short(self.singular_values[(0,) * (len(shape) - 1)])} (first Jacobian)",
            ]
        )


@of_networks(on_gpu=True)
def jacobian_spectrum(run: Any, t: int | Sequence[int]) -> JacobianSpectrum:
    """Eigenvalues and singular values of the state Jacobian of an unrolled network.

        J_t = ∂states[t]/∂states[t−1],   t = 1 … T, the full state, rows = outputs

    run : from `net.unroll`. t : a step, or a sequence of n steps (which puts n in front of every shape).
    Returns a `JacobianSpectrum`: .eigenvalues (B, S) complex, by descending modulus; .singular_values (B, S)
    descending; dimensionless factors per step. A Jacobian with NaN or inf gives NaN. ValueError for t outside 1 … T
    and for bidirectional networks.

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 2, bias=False, seed=0)
    >>> net.parameters["weight_hh_l0"][...] = [[0.0, 2.0], [-2.0, 0.0]]
    >>> spectrum = jacobian_spectrum(net.unroll(np.zeros((3, 1))), 1)
    >>> spectrum.spectral_radius.round(12), spectrum.singular_values.round(12)
    (array([2.]), array([[2., 2.]]))
    """
    direction.one_way(run.network, "A Jacobian")
    last = len(run.states) - 1
    steps = np.asarray(t)
    if steps.size and steps.dtype.kind not in "iu":
        raise TypeError(
            f"`t` is {arguments.kind(t)}, but it must be a step or a sequence of steps: whole numbers from 1 to {last}"
        )
    if steps.ndim > 1:
        raise ValueError(f"`t` has shape {steps.shape}, but it must be one step or a one-dimensional sequence of steps")
    wrong = steps[(steps < 1) | (steps > last)]
    if wrong.size:
        raise ValueError(
            f"t={int(wrong.flat[0])}, but the run has Jacobians for "
            f"t = 1 … {last}: J_t leads from states[t−1] to states[t]"
        )
    chosen = steps.ravel()
    neighbours = np.split(chosen, np.flatnonzero(np.diff(chosen) != 1) + 1) if chosen.size else []
    pairs = [_spectra(j) for part in neighbours for j in in_order(run, int(part[0]) - 1, int(part[-1]))]
    if not pairs:
        empty = np.zeros((0, *run.states.shape[1:]))
        return JacobianSpectrum(empty.astype(np.complex128), empty, steps.astype(np.int64))
    eigenvalues = np.array([pair[0] for pair in pairs])
    singular_values = np.array([pair[1] for pair in pairs])
    if steps.ndim == 0:
        eigenvalues, singular_values = eigenvalues[0], singular_values[0]
    return JacobianSpectrum(eigenvalues=eigenvalues, singular_values=singular_values, t=steps)


def _spectra(jacobians: Array) -> tuple[Array, Array]:
    batch, size, _ = jacobians.shape
    precision = jacobians.dtype
    eigenvalues = np.full((batch, size), np.nan, dtype=np.result_type(precision, np.complex64))
    singular_values = np.full((batch, size), np.nan, dtype=precision)
    usable = np.isfinite(jacobians).all(axis=(1, 2))
    if usable.any():
        values = np.linalg.eigvals(jacobians[usable])
        order = np.argsort(-np.abs(values), axis=1, kind="stable")
        eigenvalues[usable] = np.take_along_axis(values, order, axis=1)
        singular_values[usable] = np.linalg.svd(jacobians[usable], compute_uv=False)
    return eigenvalues, singular_values
