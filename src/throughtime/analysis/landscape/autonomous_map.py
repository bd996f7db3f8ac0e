"""A network under constant input as a map of its full state onto the next: s → F(s), F^p, and their Jacobians.

Dimensions: B states at once, S state size, P states of a unit, N units, L layers, p steps.
"""

from typing import Any

import numpy as np

from ...network.each_layer import alike
from ...network.network import Network
from ...refuse import direction, numeric
from ...refuse.arguments import kind
from ...results import Array

# Layers, states of a unit, units; or of unlike layers for each its states of a unit and its units.
Layout = tuple[Any, ...]
CHUNK_BYTES = 16 * 2**20  # of the Jacobians formed at once


class AutonomousMap:
    """F^p of a network with one constant input x (I,), in float64 whatever the network computes in."""

    def __init__(self, net: Any, x: Any, period: int) -> None:
        if not hasattr(net, "unroll"):
            run = " Of a run pass `run.network`." if hasattr(net, "network") else ""
            raise TypeError(f"`net` is {kind(net)}; expected a network: `throughtime.Network(…)`.{run}")
        direction.one_way(net, "A fixed point")
        self.net = Network(
            list(net.cells), net.input_size, list(net.hidden_sizes), bias=net.bias, layer_norm=net.layer_norm,
            init=_parameters(net),
        )  # fmt: skip
        given = np.zeros(net.input_size) if x is None else x
        hint = "Fixed points belong to one constant input: a single vector, not a sequence."
        self.x = numeric.array("x", given, {"input_size": net.input_size}, np.dtype(np.float64), hint=hint)
        if not np.isfinite(self.x).all():
            raise ValueError("`x` holds NaN or inf: a map under such an input has no fixed points")
        self.period, self.size = period, int(net.state_size)
        each = tuple(zip(net.unit_states, net.hidden_sizes, strict=True))
        self.layout: Layout = (len(each), *each[0]) if alike(each) else each
        self.chunk = max(1, CHUNK_BYTES // (8 * self.size**2))

    def run(self, states: Array, steps: int) -> Any:
        """The network unrolled from these states (B, S) over `steps` steps."""
        inputs = np.broadcast_to(self.x, (steps, len(states), self.x.size))
        return self.net.unroll(inputs, state=states)

    def difference(self, states: Array) -> tuple[Array, Array]:
        """F^p(s) − s and its derivative J_p … J_1 − I: (B, S) and (B, S, S)."""
        values, slopes = np.empty(states.shape), np.empty((*states.shape, self.size))
        with np.errstate(all="ignore"):  # a start that runs away is told by its residual
            for a in range(0, len(states), self.chunk):
                part = states[a : a + self.chunk]
                run = self.run(part, self.period)
                product = run.jacobian(1)
                for t in range(2, self.period + 1):
                    product = run.jacobian(t) @ product
                values[a : a + len(part)] = run.states[-1] - part
                slopes[a : a + len(part)] = product - np.eye(self.size)
        return values, slopes

    def orbits(self, states: Array) -> Array:
        """(B, p, S): s, F(s), … F^(p−1)(s)."""
        return np.ascontiguousarray(self.run(states, self.period).states[:-1].swapaxes(0, 1))


def as_state(state: Array, layout: Layout) -> Any:
    """(S,) as `net.unroll` takes it for one sequence: h (L, N), or a tuple (h, c, …) of such; of unlike layers a list
    of what each takes."""
    if isinstance(layout[0], tuple):
        ends = np.cumsum([parts * units for parts, units in layout])[:-1]
        return [as_state(own, (1, *one)) for own, one in zip(np.split(state, ends), layout, strict=True)]
    layers, parts, units = layout
    blocks = state.reshape(layers, parts, units)
    split = [np.ascontiguousarray(blocks[:, j]) for j in range(parts)]
    return split[0] if parts == 1 else tuple(split)


def _parameters(net: Any) -> Any:
    found = {name: np.asarray(value, dtype=np.float64) for name, value in net.weights().items()}
    broken = [name for name, value in found.items() if not np.isfinite(value).all()]
    if broken:
        raise ValueError(f"the parameters {', '.join(broken)} hold NaN or inf: such a network has no fixed points")
    return lambda *_: found
