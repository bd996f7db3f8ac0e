"""The bottleneck: from the state that an encoder ends with to the one that a decoder begins with, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..network.network import Network
from .fitting_pieces import is_bare

Array = np.ndarray


class Bottleneck:
    """Network by network, in their order: the states as they are, or of two directions, in one that reads in one.

        as many units      a state is the sum of those of both directions
        twice as many      it is both side by side, the forward direction first

    ValueError where states, layers or units fit in none of these ways.
    """

    def __init__(self, encoder: Any, decoder: Any) -> None:
        given, taken = networks_in(encoder), networks_in(decoder)
        self.names = list(given), list(taken)
        self.ways = [_way(one, other) for one, other in zip(given.values(), taken.values(), strict=False)]
        if len(given) != len(taken) or None in self.ways:
            shown = " and ".join(", ".join(map(_shown, each.values())) for each in (given, taken))
            raise ValueError(
                f"The states of `encoder` and `decoder` differ, counted as states x layers*directions x units of each "
                f"network: {shown}. Of a bidirectional encoder a decoder of one direction takes the sum of both, with "
                "as many units, or both side by side, with twice as many."
            )

    def forward(self, state: Any) -> Any:
        """The decoder's first state."""
        return self._each(state, *self.names, _narrowed)

    def back(self, gradient: Any) -> Any:
        """The gradient of the encoder's last state from that of the decoder's first."""
        return self._each(gradient, *self.names[::-1], _spread)

    def _each(self, state: Any, given: list[str], taken: list[str], function: Any) -> Any:
        parts = [state[name] for name in given] if len(given) > 1 else [state]
        found = [_every(function, part, way) for part, way in zip(parts, self.ways, strict=True)]
        return dict(zip(taken, found, strict=True)) if len(taken) > 1 else found[0]


def networks_in(piece: Any) -> dict[str, Network]:
    """The networks of a piece by name, in their order; that of a network itself is empty."""
    if isinstance(piece, Network):
        return {"": piece}
    found = dict[str, Network]()
    for number, inner in enumerate(own for own in getattr(piece, "pieces", ()) if not is_bare(own)):
        found |= {f"{number}.{name}".rstrip("."): net for name, net in networks_in(inner).items()}
    return found


def _every(function: Any, state: Any, way: str | None) -> Any:
    """`function` of every array of a state: h, (h, c), or a list of such of unlike layers."""
    if isinstance(state, (list, tuple)):
        return type(state)(_every(function, own, way) for own in state)
    return function(state, way)


def _shown(net: Network) -> str:
    """States of a unit, layers times directions, units; of unlike layers of each."""
    if len(set(net.hidden_sizes)) == len(set(net.unit_states)) == 1:
        return f"{net.unit_states[0]} x {net.num_layers * net.num_directions} x {net.hidden_sizes[0]}"
    each = zip(net.unit_states, net.hidden_sizes, strict=True)
    return f"[{', '.join(f'{states} x {net.num_directions} x {units}' for states, units in each)}]"


def _way(given: Network, taken: Network) -> str | None:
    if given.unit_states != taken.unit_states:
        return None
    if given.num_directions == taken.num_directions:
        return "as it is" if given.hidden_sizes == taken.hidden_sizes else None
    if taken.num_directions == 1:
        twice = tuple(2 * units for units in given.hidden_sizes)
        return {given.hidden_sizes: "sum", twice: "beside"}.get(taken.hidden_sizes)
    return None


def _narrowed(state: Array, way: str) -> Array:
    """(2 L, …, N) -> (L, …, N) or (L, …, 2 N)."""
    if way == "as it is":
        return state
    forward, reverse = state[::2], state[1::2]
    return forward + reverse if way == "sum" else np.concatenate([forward, reverse], axis=-1)


def _spread(gradient: Array, way: str) -> Array:
    if way == "as it is":
        return gradient
    half = gradient.shape[-1] // 2
    parts = (gradient, gradient) if way == "sum" else (gradient[..., :half], gradient[..., half:])
    return np.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])
