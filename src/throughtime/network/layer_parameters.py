"""The parameters of a network as an engine takes them: layer by layer, checked, on the network's machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..cells.base import spec
from ..engine import memory
from ..engine.once import once
from ..refuse import arguments, in_place, numeric, words
from . import parametrised
from .parameters import NORM, kinds


class LayerParameters(words.Sealed):
    """What a network holds; `Network` is one."""

    cells: tuple[Any, ...]
    hidden_sizes: tuple[int, ...]
    device: str
    networks: int
    stacked: bool
    bias: bool
    num_layers: int
    layer_norm: bool
    bidirectional: bool
    dtype: Any
    shapes: dict[str, tuple[int, ...]]
    weight_shapes: dict[str, tuple[int, ...]]
    _assignment: parametrised.Assignment
    parameters: dict[str, Any]
    engine: Any

    def weights(self) -> dict[str, Any]:
        """The weights with which the cells compute, by PyTorch's names, and biases and all else beside them: those that
        follow from free parameters, read-only, and the arrays of `parameters` themselves.

        >>> import numpy as np, throughtime as tt
        >>> net = tt.Network("tanh", 3, 4, parametrise={"weight_hh": tt.parametrise.antisymmetric()}, seed=0)
        >>> w = net.weights()["weight_hh_l0"]
        >>> list(net.parameters)[:2], bool((w == -w.T).all())
        (['weight_ih_l0', 'weight_hh_l0.skew'], True)
        """
        return dict(self._weights())

    def layer(self, k: int, reverse: bool = False) -> tuple[Any, ...]:
        """W_ih, W_hh, b_ih, b_hh and the unit parameters of layer k as they are now, C-contiguous; zeros for the biases
        of a network without, (0, N) and (0,) for W_hh and b_hh of a cell that sends nothing. reverse : those of the
        direction that reads the sequence from its end. On the GPU each is a copy, with a leading axis K.

        For the engine. ValueError or TypeError if somebody has put something into `parameters` that does not fit.
        """
        if f"weight_ih_l{k}{'_reverse' if reverse else ''}" not in self.weight_shapes:
            ways = "two directions" if self.bidirectional else "one direction"
            raise ValueError(
                f"k={arguments.shown(k)}, reverse={arguments.shown(reverse)}: this network has layers 0 to "
                f"{self.num_layers - 1} in {ways}."
            )
        own = self._layer(self._weights(), self._layer_names[int(k)][bool(reverse)], int(k))
        return self._copied(own) if self.device == "cuda" else tuple(numeric.compact(p) for p in own)

    def copies(self, later: bool = False) -> tuple[list[list[tuple[Any, ...]]], list[list[Any]] | None]:
        """Copies of what `layer` gives, of every layer and direction: what a run keeps. They are looked at once.

        later: on the CPU the engine may copy large weights itself, as it packs them; then the weights and biases of a
        layer are still to be filled, and there beside, of every layer and direction, is what with, or None.
        """
        if self.device != "cpu":
            held = self._weights()
            return [
                [self._kept(self._layer(held, names, k)) for names in ways] for k, ways in enumerate(self._layer_names)
            ], None
        in_place.parameters(self.parameters, self.shapes, self.dtype)
        held = parametrised.weights(self, self.parameters) if self._assignment else self.parameters
        large = self._largest >= memory.SMALLEST
        copy = memory.copy if large else np.ndarray.copy
        source: list[list[Any]] | None = [] if large and later is True else None
        found: list[list[tuple[Any, ...]]] = []
        for k, ways in enumerate(self._layer_names):
            of_layer, theirs = [], []
            for names in ways:
                values = [held[name] if name in held else self._absent(name, k) for name in names]
                first = 0
                if source is not None:
                    # of any other kind the loops would be compiled once more
                    if all(type(value) is np.ndarray and value.flags.carray for value in values[:4]):
                        first = 4
                    theirs.append(tuple(values[:first]) or None)
                own = [memory.empty(value.shape, value.dtype) for value in values[:first]]
                for value in values[first:]:
                    own.append(copy(value) if type(value) is np.ndarray else np.array(value, order="C"))
                of_layer.append(tuple(own))
            found.append(of_layer)
            if source is not None:
                source.append(theirs)
        return found, source

    @once
    def _largest(self) -> int:
        """Bytes of the largest array of weights."""
        return max(map(math.prod, self.weight_shapes.values())) * int(self.dtype.itemsize)

    @once
    def _layer_names(self) -> list[list[tuple[str, ...]]]:
        """Of every layer and direction the names of its arrays in the order in which engines take them, those that it
        does not have among them."""
        ways = ("", "_reverse")[: 1 + self.bidirectional]
        return [
            [tuple(f"{kind}_l{k}{way}" for kind in kinds(cell)) for way in ways] for k, cell in enumerate(self.cells)
        ]

    def norms(self) -> list[tuple[Any, Any]]:
        """Copies of w and b of the normalisations of what the layers read; none without them."""
        if not self.layer_norm:
            return []
        held = self._weights()
        weights, biases = ([held[f"{kind}_l{k}"].copy() for k in range(self.num_layers)] for kind in NORM)
        return list(zip(weights, biases, strict=True))

    def _copied(self, own: list[Any]) -> tuple[Any, ...]:
        copies = map(self.engine.arrays.copy, own)
        return tuple(p.reshape((self.networks, *p.shape[self.stacked :])) for p in copies)

    def _kept(self, own: list[Any]) -> tuple[Any, ...]:
        """What runs on the device share, which nobody else is given."""
        kept = self.engine.arrays.kept
        return tuple(kept(p, (self.networks, *p.shape[self.stacked :])) for p in own)

    def _layer(self, held: Mapping[str, Any], names: tuple[str, ...], k: int) -> list[Any]:
        return [held[name] if name in held else self._absent(name, k) for name in names]

    def _absent(self, name: str, k: int) -> Any:
        """Zeros for what layer k does not have."""
        units, record = self.hidden_sizes[k], spec(self.cells[k])
        absent = {"weight_hh": (0, units), "bias_ih": (record.gates * units,), "bias_hh": (record.parts * units,)}
        shape = absent[name.partition("_l")[0]]
        return self.engine.arrays.zeros((self.networks, *shape) if self.stacked else shape, self.dtype)

    def _held(self) -> Mapping[str, Any]:
        """The parameters as they are now, if they fit."""
        if self.device == "cpu":
            in_place.parameters(self.parameters, self.shapes, self.dtype)
            return self.parameters
        shapes = {name: self.held_shape(name) for name in self.shapes}
        return in_place.on_device(self.parameters, shapes, self.dtype, self.engine.arrays)

    def _weights(self) -> Mapping[str, Any]:
        """What the cells compute with."""
        held = self._held()
        return parametrised.weights(self, held) if self._assignment else held

    def followed(self) -> dict[str, list[parametrised.Followed]]:
        """The weights that follow from free parameters as these are now, with what the way back to them needs."""
        return parametrised.followed(self, self._held()) if self._assignment else {}

    def patterns(self) -> list[list[Any]] | None:
        """Of every layer and direction where its recurrent weights are, None where everywhere; for the CPU's engine."""
        if not self._assignment or self.device != "cpu":
            return None
        ways = ("", "_reverse")[: 1 + self.bidirectional]
        return [[parametrised.pattern(self, f"weight_hh_l{k}{way}") for way in ways] for k in range(self.num_layers)]

    def weights_behind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names of the weights that are these parameters or follow from them."""
        return tuple(dict.fromkeys(name.partition(".")[0] for name in names)) if self._assignment else names

    def held_shape(self, name: str) -> tuple[int, ...]:
        """The shape of a parameter, or of weights, as it is held: of an ensemble on the GPU with the leading axis K."""
        try:
            shape = self.shapes[name] if name in self.shapes else self.weight_shapes[name]
        except (KeyError, TypeError):
            raise ValueError(f"`name` is {arguments.shown(name)}; expected one of {', '.join(self.shapes)}.") from None
        return (self.networks, *shape) if self.stacked else shape
