"""The layers of a run: what they hold, what they read and what they send.

Dimensions: T time steps, B sequences, I inputs, N units, S the state size of the whole network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.normalised import Normalised
from ..engine.stack import Stack
from ..refuse import arguments, words
from . import handed_out, parametrised
from .each_layer import one_or_all

Array = np.ndarray  # or of the machine that the run is on


@words.explain
class RunLayers(words.Sealed):
    """What a run has of its layers; `Unrolled` is one. Arrays are those of the run's machine."""

    network: Any
    stream: Any
    input: Array
    states: Array
    lengths: np.ndarray | None
    _stack: Stack
    _had_batch: bool
    _followed: dict[str, list[parametrised.Followed]]

    @property
    def device(self) -> str:
        """The machine, "cpu" or "cuda"."""
        return self._stack.device

    @property
    def engine(self) -> Any:
        """The engine's module, with the functions and array operations of the run's machine."""
        return self._stack.engine

    @property
    def steps(self) -> int:
        """T, the time steps."""
        return self._stack.steps

    @property
    def final_state(self) -> Array | tuple[Array, ...] | list[Any]:
        """h, or (h, c), each (L*D, B, N), or (L*D, N) for one sequence: the state of each sequence at its own end; of
        layers of unlike sizes or states a list of what each layer alone would have."""
        if self._stack.back_only:  # the sentence is that of the run
            raise AttributeError(name="final_state")
        with self._on():
            return self._as_state(self._stack.at_ends())

    def _as_state(self, flat: Array) -> Any:
        """(B, S) as h, or (h, c), in PyTorch's shapes; of unlike layers a list of what each has."""
        return handed_out.state(flat, self.network, self.engine.arrays, self._had_batch)

    @property
    def checkpoint(self) -> int | None:
        """The steps after which states were kept, of a run made with `checkpoint`; None of one that keeps all."""
        return self._stack.every or None

    @property
    def cell(self) -> Any:
        """The cell in the version of its code that this run was made with; a tuple of those of unlike layers."""
        return one_or_all(self.cells)

    @property
    def cells(self) -> tuple[Any, ...]:
        """Those of every layer."""
        return tuple(of_layer[0].cell for of_layer in self._layers)

    def columns(self, k: int, d: int = 0) -> slice:
        """Where the state of layer k, direction d, lies among the S numbers of a state.

        >>> import numpy as np, throughtime as tt
        >>> tt.Network("lstm", 2, 8, num_layers=2).unroll(np.ones((20, 2))).columns(1)
        slice(16, 32, None)
        """
        return self._stack.columns(*self._place(k, d))

    def _place(self, k: int, d: int = 0) -> tuple[int, int]:
        """The numbers of a layer and a direction, checked."""
        network = self.network
        return arguments.step("k", k, 0, network.num_layers - 1), arguments.step("d", d, 0, network.num_directions - 1)

    def sent(self, k: int, d: int = 0) -> Array:
        """(T+1, B, N): what layer k, direction d, sends, at the times of `states`; from 1 to T it is the input of the
        layer above, or the output.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 3, 2)))
        >>> bool(np.array_equal(run.sent(0)[1:], run.output))
        True
        """
        k, d = self._place(k, d)
        with self._on():
            return self.engine.arrays.read_only(self._stack.sent(k, d))

    @property
    def norms(self) -> Sequence[Normalised]:
        """What every layer reads as it was made of its input; empty without `layer_norm`."""
        return self._stack.norms

    def given(self, k: int) -> Array:
        """(T, B, I): what the weights W_ih of layer k read: the input, or what the layer below sends in all directions
        side by side; normalised where the network has `layer_norm`.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("gru", 2, 8, num_layers=2, seed=0).unroll(np.ones((20, 3, 2)))
        >>> bool(np.array_equal(run.given(1), run.sent(0)[1:]))
        True
        """
        k = self._place(k)[0]
        with self._on():
            return self.engine.arrays.read_only(self._stack.given(k, self.input))

    @property
    def _layers(self) -> list[list[Any]]:
        return self._stack.layers

    def _on(self) -> Any:
        """The context in which work of the run is queued."""
        return self.engine.arrays.on(self.stream)
