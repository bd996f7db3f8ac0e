"""Loss and gradient over a plane in the space of parameters: valleys, and the cliffs of exploding gradients.

Dimensions: n, m points along the two directions.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from ...refuse import finite, numeric
from ...refuse.arguments import kind
from ...results import Array, Result, short
from ..public import of_networks


@dataclass(frozen=True, repr=False)
class LossSurface(Result):
    """Loss and its derivatives along two directions, on a grid: entry [i, j] is at first[i], second[j].

    Fields:
        first: (n,) offsets along the first direction, in units of that direction.
        second: (m,) offsets along the second.
        loss: (n, m) the loss, as the user's function returned it.
        gradient: (n, m, 2) its derivative by each of the two offsets.
        names: what the two directions are, in words.
        gradient_norm: (n, m) length of the gradient within the plane.
    """

    first: Array
    second: Array
    loss: Array
    gradient: Array
    names: tuple[str, str]
    picture: ClassVar = "loss_surface"
    dimensions: ClassVar = {
        "along_first": "first",
        "along_second": "second",
        "along_first along_second": "loss gradient_norm",
        "along_first along_second direction": "gradient",
    }

    @property
    def gradient_norm(self) -> Array:
        """(n, m) length of the gradient within the plane."""
        return np.hypot(self.gradient[..., 0], self.gradient[..., 1])

    def __repr__(self) -> str:
        norm = self.gradient_norm.ravel()
        i, j = np.unravel_index(int(np.argmax(np.nan_to_num(self.gradient_norm, posinf=0.0))), self.loss.shape)
        least, _, most = np.quantile(self.loss, (0.0, 0.5, 1.0)) if np.isfinite(self.loss).all() else [np.nan] * 3
        return "\n".join(
            [
                f"Loss over {self.first.size} × {self.second.size} points",
                f"  first:  {self.names[0]} = {short(self.first)}",
                f"  second: {self.names[1]} = {short(self.second)}",
                f"  loss     {least:.4g} to {most:.4g}",
                f"  gradient norm, quartiles {short(np.nanquantile(norm, (0.25, 0.5, 0.75)))}; largest "
                f"{self.gradient_norm[i, j]:.4g} at ({self.first[i]:.6g}, {self.second[j]:.6g})",
            ]
        )


@of_networks
def loss_surface(
    net: Any,
    x: Any,
    loss: Callable[[Any], Any],
    first: Any,
    second: Any,
    first_values: Any,
    second_values: Any,
    *,
    state: Any = None,
    lengths: Any = None,
) -> LossSurface:
    """Loss and gradient over the plane θ + a d_1 + b d_2 in the space of parameters.

        loss[i, j] = L(θ + a_i d_1 + b_j d_2),   gradient[i, j] = (⟨∇L, d_1⟩, ⟨∇L, d_2⟩)

    net : its present parameters are θ, and are not changed. x, state, lengths : as for net.unroll. loss : a function
    of a run that returns (L, dL/doutput), or (L, dL/doutput, dL/dfinal_state), either gradient None if it has none.
    first, second : the directions: a dict from names of parameters to arrays of their shapes (names left out do not
    move), or (name, index) for a single entry. first_values (n,), second_values (m,) : the offsets a and b. With an
    entry that is 0 in θ its offset is its value.

    Returns a `LossSurface`: .first (n,) and .second (m,), the offsets; .loss (n, m), .gradient (n, m, 2),
    .gradient_norm (n, m), .names. n·m networks are run there and back. inf and NaN of the loss are reported as they
    come. ValueError or TypeError for what does not fit, and for NaN in the parameters or in every sequence.

    Source: Pascanu, Mikolov & Bengio, ICML 2013, figure 6; Li et al., NeurIPS 2018 (random planes).

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 1, bias=False, seed=0)
    >>> net.parameters["weight_hh_l0"][...] = net.parameters["weight_ih_l0"][...] = 0.0
    >>> last = lambda run: (run.output[-1, 0], np.eye(3)[:, -1:])  # h_3 = w^3 h_0
    >>> directions = ("weight_hh_l0", (0, 0)), ("weight_ih_l0", (0, 0))
    >>> surface = loss_surface(net, np.ones((3, 1)), last, *directions, [1.0, 2.0], [0.0], state=[[1.0]])
    >>> surface.loss[:, 0], surface.gradient[:, 0, 0]
    (array([1., 8.]), array([ 3., 12.]))
    """
    if not hasattr(net, "unroll"):
        run = " Of a run pass `run.network`." if hasattr(net, "network") else ""
        raise TypeError(f"`net` is {kind(net)}; expected a network: `throughtime.Network(…)`.{run}")
    if not callable(loss):
        raise TypeError(f"`loss` is {kind(loss)}; expected a function of a run that returns (L, dL/doutput).")
    moved = deepcopy(net)
    origin = {name: value.astype(np.float64) for name, value in net.parameters.items()}
    one, name_one = _direction("first", first, origin)
    two, name_two = _direction("second", second, origin)
    a, b = _offsets("first_values", first_values), _offsets("second_values", second_values)
    height, slope = np.empty((a.size, b.size)), np.empty((a.size, b.size, 2))
    for i, j in np.ndindex(height.shape):
        for name in one.keys() | two.keys():
            moved.parameters[name][...] = origin[name] + a[i] * one.get(name, 0.0) + b[j] * two.get(name, 0.0)
        run = moved.unroll(x, state=state, lengths=lengths)
        if i == j == 0:
            finite.given(run, "A loss surface")
        height[i, j], gradients = _loss(loss, run)
        for axis, direction in enumerate((one, two)):
            slope[i, j, axis] = sum(float((gradients[name] * d).sum()) for name, d in direction.items())
    return LossSurface(a, b, height, slope, (name_one, name_two))


def _loss(loss: Callable[[Any], Any], run: Any) -> tuple[float, dict[str, Array]]:
    given = loss(run)
    height: Any = given[0] if isinstance(given, tuple) and len(given) in (2, 3) else None
    if not (isinstance(height, (Real, np.ndarray)) and getattr(height, "ndim", 0) == 0):
        raise TypeError(
            f"`loss` returned {type(given).__name__}; expected (L, dL/doutput), or (L, dL/doutput, dL/dfinal_state), L "
            "a number: for L = output.sum() `lambda run: (run.output.sum(), np.ones_like(run.output))`."
        )
    return float(height), run.backprop(*given[1:]).parameters


def _direction(which: str, given: Any, parameters: dict[str, Array]) -> tuple[dict[str, Array], str]:
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str):
        name, index = given
        direction = {name: np.zeros_like(parameters[name])} if name in parameters else {name: np.zeros(())}
        if name in parameters:
            try:
                direction[name][index] = 1.0
            except (IndexError, TypeError, ValueError) as error:
                raise ValueError(f"`{which}` is entry {index} of {name}, of shape {parameters[name].shape}.") from error
            if direction[name].sum() != 1.0:
                raise ValueError(f"`{which}` is entry {index} of {name}, more than one number: pass a dict of arrays.")
        shown = f"{name}[{', '.join(map(str, np.atleast_1d(index)))}]"
    elif isinstance(given, Mapping) and given:
        moving = {name: numeric.numbers(f"{which}[{name!r}]", value) for name, value in given.items()}
        direction = {name: value.astype(np.float64) for name, value in moving.items()}
        shown = f"direction in {', '.join(map(str, direction))}"
    else:
        raise TypeError(f"`{which}` is {kind(given)}; expected a dict from names to arrays, or (name, index).")
    for name, value in direction.items():
        if not np.isfinite(value).all():
            raise ValueError(f"`{which}[{name!r}]` holds NaN or inf; a direction has finite entries.")
        if name not in parameters:
            raise ValueError(f"`{which}` moves {name!r}, but this network has {', '.join(parameters)}.")
        if value.shape != parameters[name].shape:
            raise ValueError(f"`{which}[{name!r}]` has shape {value.shape}; {name} has {parameters[name].shape}.")
    return direction, shown


def _offsets(name: str, values: Any) -> Array:
    found = np.atleast_1d(numeric.numbers(name, values).astype(np.float64))
    if found.ndim != 1 or not found.size or not np.isfinite(found).all():
        raise ValueError(f"`{name}` has shape {found.shape}; expected a list of finite numbers.")
    return found
