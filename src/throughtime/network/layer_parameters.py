"""The parameters of a network as an engine takes them: layer by layer, checked, on the network's machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..refuse import arguments, in_place, numeric, words


class LayerParameters(words.Sealed):
    """What a network holds; `Network` is one."""

    device: str
    networks: int
    stacked: bool
    bias: bool
    num_layers: int
    bidirectional: bool
    dtype: Any
    shapes: dict[str, tuple[int, ...]]
    parameters: dict[str, Any]
    engine: Any

    def layer(self, k: int, reverse: bool = False) -> tuple[Any, Any, Any, Any]:
        """W_ih, W_hh, b_ih, b_hh of layer k as they are now, C-contiguous; zeros for the biases of a network without.
        reverse : those of the direction that reads the sequence from its end. On the GPU each is a copy, with a leading
        axis K.

        For the engine. ValueError or TypeError if somebody has put something into `parameters` that does not fit.
        """
        own = self._layer(self._held(), k, reverse)
        if self.device == "cuda":
            return self._copied(own)
        w_ih, w_hh, b_ih, b_hh = (numeric.compact(p) for p in own)
        return w_ih, w_hh, b_ih, b_hh

    def copies(self) -> list[list[tuple[Any, Any, Any, Any]]]:
        """Copies of what `layer` gives, of every layer and direction: what a run keeps. They are looked at once."""
        held, directions = self._held(), (False, True)[: 1 + self.bidirectional]
        return [[self._copied(self._layer(held, k, d)) for d in directions] for k in range(self.num_layers)]

    def _copied(self, own: list[Any]) -> tuple[Any, Any, Any, Any]:
        w_ih, w_hh, b_ih, b_hh = (self.engine.arrays.copy(p) for p in own)
        if self.device == "cpu":
            return w_ih, w_hh, b_ih, b_hh
        w_ih, w_hh, b_ih, b_hh = (
            p.reshape((self.networks, *p.shape[self.stacked :])) for p in (w_ih, w_hh, b_ih, b_hh)
        )
        return w_ih, w_hh, b_ih, b_hh

    def _layer(self, held: Mapping[str, Any], k: int, reverse: bool) -> list[Any]:
        suffix = f"_l{k}_reverse" if reverse else f"_l{k}"
        try:
            found = [held[name + suffix] for name in ("weight_ih", "weight_hh")]
        except KeyError:
            ways = "two directions" if self.bidirectional else "one direction"
            raise ValueError(
                f"k={arguments.shown(k)}, reverse={arguments.shown(reverse)}: this network has layers 0 to "
                f"{self.num_layers - 1} in {ways}."
            ) from None
        if self.bias:
            return found + [held[name + suffix] for name in ("bias_ih", "bias_hh")]
        shape = self.held_shape("weight_hh" + suffix)[:-1]
        return found + [self.engine.arrays.zeros(shape, self.dtype) for _ in range(2)]

    def _held(self) -> Mapping[str, Any]:
        """The parameters as they are now, if they fit."""
        if self.device == "cpu":
            in_place.parameters(self.parameters, self.shapes, self.dtype)
            return self.parameters
        shapes = {name: self.held_shape(name) for name in self.shapes}
        return in_place.on_device(self.parameters, shapes, self.dtype, self.engine.arrays)

    def held_shape(self, name: str) -> tuple[int, ...]:
        """The shape of a parameter as it is held: of an ensemble on the GPU with the leading axis K."""
        try:
            shape = self.shapes[name]
        except (KeyError, TypeError):
            raise ValueError(f"`name` is {arguments.shown(name)}; expected one of {', '.join(self.shapes)}.") from None
        return (self.networks, *shape) if self.stacked else shape
