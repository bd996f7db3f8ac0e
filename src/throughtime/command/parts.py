"""The parts of a cell's machine code, each called as programs call it: what is compiled once is kept for them.

Sizes do not matter, for the loops are compiled for all of them; kinds do, and those of small arrays are those of large.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..analysis import fixed_points, gradient_norms, lyapunov_spectrum
from ..analysis.lyapunov.interval import SINGLE
from ..network.network import Network
from ..network.unrolled import Unrolled

STEPS, BATCH, INPUTS, UNITS = 12, 2, 2, 3
WIDE, K = SINGLE + 8, 2  # units whose frames are decomposed as wide ones are; tangent vectors of a narrow frame


def forward(cell: str, dtype: str) -> None:
    """A run step by step, and by pieces of time where that can be."""
    for method in methods(cell):
        _run(cell, dtype, method)


def backward(cell: str, dtype: str) -> None:
    """All gradients of such runs, and what a model that stands above asks for."""
    for method in methods(cell):
        run = _run(cell, dtype, method)
        run.backprop(np.ones_like(run.output))


def tangents(cell: str, dtype: str) -> None:
    """Perturbations forward and back, and Jacobians."""
    for method in methods(cell):
        run = _run(cell, dtype, method)
        v = np.ones((BATCH, run.states.shape[-1]), dtype)
        run.jvp(v, 0, STEPS)
        run.vjp(v, 0, STEPS)
        run.jacobian(1)


def analyses(cell: str, dtype: str) -> None:
    """Exponents of narrow frames, orthonormalised at every step or not, and of wide ones; fixed points; gradients."""
    run = _run(cell, dtype)
    gradient_norms(run, np.ones_like(run.output))
    fixed_points(run.network, np.zeros(INPUTS), starts=2, seed=0)
    x = _input(dtype)
    for interval in (1, 2):
        lyapunov_spectrum(run.network, x, k=K, interval=interval, seed=0)
    lyapunov_spectrum(Network(cell, INPUTS, WIDE, seed=0, dtype=dtype), x, seed=0)


PARTS: dict[str, Callable[[str, str], None]] = {part.__name__: part for part in (forward, backward, tangents, analyses)}


def methods(cell: str) -> tuple[str, ...]:
    """The ways in which a run of a cell can go."""
    try:
        Network(cell, 1, 1, seed=0).unroll(np.zeros((0, 1)), method="scan")
    except ValueError:
        return ("loop",)
    return ("loop", "scan")


def _input(dtype: str) -> Any:
    return np.random.default_rng(0).normal(size=(STEPS, BATCH, INPUTS)).astype(dtype)


def _run(cell: str, dtype: str, method: str = "loop") -> Unrolled:
    return Network(cell, INPUTS, UNITS, seed=0, dtype=dtype).unroll(_input(dtype), method=method)
