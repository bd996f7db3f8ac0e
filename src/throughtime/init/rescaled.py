"""W_hh of another initialiser with few weights kept, or with the spectral radius asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..engine.blas import single_blas
from ..refuse import arguments, words
from .draws import Initialiser, Layout
from .layer_parts import Values, layer_parts, told_cells
from .named import drawn, initialiser


@dataclass(frozen=True)
class _SpectralRadius:
    radius: float
    base: Initialiser

    def __call__(self, network: Layout, rng: np.random.Generator) -> Values:
        values = drawn(self.base, network, rng)
        for name, block in _blocks(values, network, "spectral_radius"):
            found = _largest_eigenvalue(block) if np.isfinite(block).all() else np.nan
            if not 0.0 < found < np.inf:
                raise ValueError(
                    f"A block of {name} from the `base` of init=spectral_radius(…) has the spectral radius {found:g}, "
                    "which no factor makes another; choose a `base` with more weights."
                )
            block *= self.radius / found
        return values


@dataclass(frozen=True)
class _Sparse:
    incoming: int | None
    density: float | None
    base: Initialiser

    def __call__(self, network: Layout, rng: np.random.Generator) -> Values:
        values = drawn(self.base, network, rng)
        for _, block in _blocks(values, network, "sparse"):
            n = len(block)
            kept = max(1, round((self.density or 0.0) * n)) if self.incoming is None else self.incoming
            if kept > n:
                raise ValueError(
                    f"`incoming` of init=sparse(…) is {arguments.shown(kept)}, but a unit of this network has the "
                    f"weights of {n} units; expected at most hidden_size={n}."
                )
            np.put_along_axis(block, np.argsort(rng.random((n, n)), axis=1)[:, kept:], 0.0, axis=1)
        return values


def _blocks(values: Values, network: Layout, asked: str) -> Iterator[tuple[str, np.ndarray]]:
    """Each square block of W_hh, one for each gate of each layer and direction, or for each signal and the part that it
    feeds: views, written in place. ValueError if there is none at all."""
    parts = layer_parts(network)
    if not any("weight_hh" in part.shapes for part in parts):
        raise ValueError(f"init={asked}(…) is about W_hh, and {told_cells(parts)} has none: its units hear no others.")
    for part in parts:
        if "weight_hh" in part.shapes:
            name, n = "weight_hh" + part.end, part.hidden_size
            yield from ((name, block) for block in values[name].reshape(-1, n, n))


@single_blas
def _largest_eigenvalue(block: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(block)).max())


@words.explained
def spectral_radius(radius: float, base: Initialiser | str = "gaussian") -> Initialiser:
    """Every gate block of the W_hh of `base`, rescaled to have `radius` as its largest |eigenvalue|; the rest as it is.

    radius : ≥ 0. Of a reservoir mostly a little below 1 (Jaeger 2001): from there on a tanh network without input may
    keep for ever what it began with. It costs the eigenvalues of each block, some seconds for 2000 units. ValueError
    if radius < 0 or is not finite, and from Network for a `base` whose W_hh has none but eigenvalues 0.

        >>> import numpy as np, throughtime as tt
        >>> net = tt.Network("tanh", 3, 50, init=tt.init.spectral_radius(0.9), seed=0)
        >>> round(float(abs(np.linalg.eigvals(net.parameters["weight_hh_l0"])).max()), 9)
        0.9
    """
    return _SpectralRadius(arguments.real("radius", radius, low=0.0), initialiser(base, name="base"))


@words.explained
def sparse(
    incoming: int | None = None, base: Initialiser | str = "gaussian", *, density: float | None = None
) -> Initialiser:
    """W_hh of `base` with `incoming` weights of each unit and gate kept, at random places, and 0 elsewhere.

    incoming : 1 ≤ incoming ≤ N units that a unit hears, exactly so many in every row of every gate block; or
    density : 0 < density ≤ 1, that part of the N (rounded, at least one). All else is as `base` has it, the kept
    weights too: with gaussian(gain) the spectral radius is near gain·√(incoming/N); `spectral_radius` around sets it.
    TypeError unless one of the two is given; ValueError if it is out of its range, for `incoming` > N from Network.

    Source: Martens (2010), Deep learning via Hessian-free optimization, which keeps 15.

        >>> import throughtime as tt
        >>> net = tt.Network("tanh", 3, 40, init=tt.init.sparse(15), seed=0)
        >>> set((net.parameters["weight_hh_l0"] != 0).sum(axis=1).tolist())
        {15}
    """
    if (incoming is None) == (density is None):
        raise TypeError(
            "`sparse` takes `incoming`, the weights of a unit, or `density`, the part of them: one of both."
        )
    if incoming is not None:
        return _Sparse(arguments.size("incoming", incoming), None, initialiser(base, name="base"))
    part = arguments.real("density", density, low=0.0)
    if not 0.0 < part <= 1.0:
        raise ValueError(f"`density` is {part:g}; expected a part of the weights, more than 0 and at most 1.")
    return _Sparse(None, part, initialiser(base, name="base"))
