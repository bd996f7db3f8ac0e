"""The parameters of a model in one vector with names, on either machine."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import engine
from ..network import parameters as named_parameters
from ..refuse import words
from . import machines, views

Array = Any  # of the machine


class Held(words.Sealed):
    """What a model holds; `Model` is one."""

    flat: Array
    parameters: views.Views
    shapes: dict[str, tuple[int, ...]]
    dtype: np.dtype[Any]
    device = "cpu"
    on_gpu = False  # whether it can go to the GPU

    def _hold(self, values: Mapping[str, Any], dtype: Any) -> None:
        """The first parameters, copied into a vector of the model's own."""
        self.dtype = np.dtype(dtype)
        self.shapes = {name: np.shape(value) for name, value in values.items()}
        flat = np.empty(views.size(self.shapes), self.dtype)
        for name, view in views.views(self.shapes, flat).items():
            view[...] = values[name]
        self._take(flat)

    def _take(self, flat: Array) -> None:
        """Look into `flat`, a part of a larger model's vector that holds the parameters already; for that model."""
        self.__dict__.update(flat=flat, parameters=views.views(self.shapes, flat))

    # ------------------------------------------------------------------------------------------------- parameters

    def named(self, vector: Array) -> dict[str, Array]:
        """The parts of `vector`, (P,), by the names of the parameters: views, not copies.

        TypeError and ValueError for what is no vector of this length.

        >>> import numpy as np, throughtime as tt
        >>> readout = tt.models.Readout(3, 2, seed=0)
        >>> {name: part.shape for name, part in readout.named(np.zeros(8)).items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        if self.device != "cpu" and self.engine.arrays.holds(vector):
            vector = self.engine.arrays.wrap(vector)
            return dict(views.views(self.shapes, views.fitting_there("vector", vector, self.shapes)))
        return dict(views.views(self.shapes, views.fitting("vector", vector, self.shapes)))

    @property
    def engine(self) -> Any:
        """The engine's module, with the operations on arrays of the machine that the model is on."""
        return engine.of(self.device)

    def to(self, device: str) -> Any:
        """The model on a device, "cpu" or "cuda": this one if it is there, or another with copies of the parameters.

        On the GPU go chains of networks, embeddings, readouts, dropouts, LayerNorm, Residual, `last` and `mean`:
        `flat`, the outputs of runs and their gradients are Numba device arrays, `predict` and `state_dict` give NumPy.
        RuntimeError with what is missing where there is no GPU, or no Numba CUDA package; ValueError with the name of
        the piece for a model with one that works on the CPU only.

        >>> import throughtime as tt
        >>> model = tt.models.Readout(3, 2)
        >>> model.to("cpu") is model
        True
        """
        there = machines.device_of(device)
        if there == self.device:
            return self
        self._held()
        if there == "cuda":
            machines.may_go(self)
        made = self._elsewhere(there)
        host = self.engine.arrays.to_host(self.flat)
        made._take(np.array(host) if there == "cpu" else made.engine.arrays.from_host(host))
        return made

    def _elsewhere(self, device: str) -> Any:
        """Another of this kind on a device, that has yet to `_take` its vector."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__getstate__(), device=device)
        return made

    def write(self, vector: Any) -> None:
        """Write all parameters, a vector (P,) as `flat`, in NumPy or on the model's device, into `flat`.

        TypeError and ValueError for what is no vector of this length.

        >>> import numpy as np, throughtime as tt
        >>> readout = tt.models.Readout(1, 1, seed=0)
        >>> readout.write(np.array([2.0, 3.0]))
        >>> readout.flat
        array([2., 3.])
        """
        if self.device == "cpu":
            self.flat[...] = views.fitting("vector", vector, self.shapes)
            return
        arrays = self.engine.arrays
        if arrays.holds(vector):
            arrays.move(self.flat, views.fitting_there("vector", arrays.wrap(vector), self.shapes))
        else:
            arrays.move(self.flat, arrays.from_host(views.fitting("vector", vector, self.shapes).astype(self.dtype)))
        arrays.changed(self.flat)

    def state_dict(self) -> dict[str, Array]:
        """Copies of the parameters in NumPy, by name; PyTorch takes them as torch.from_numpy of each."""
        host = np.array(self.engine.arrays.to_host(self.flat))
        return dict(views.views(self.shapes, host))

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Copy parameters from a mapping of arrays or tensors, such as `module.state_dict()` of PyTorch.

        All names have to be there and no others, in the right shapes; if anything is wrong, one ValueError names all of
        it and nothing is changed.
        """
        new = named_parameters.fitting(state_dict, self.shapes, self.dtype, "The state dict")
        vector = np.empty(views.size(self.shapes), self.dtype)  # of dot attention, empty
        for name, part in views.views(self.shapes, vector).items():
            part[...] = new[name]
        self.write(vector)

    def _held(self) -> None:
        """ValueError if a part no longer looks into the vector; where there are no parts, nothing."""

    def _told(self) -> str:
        """What every model's repr ends with."""
        where = "" if self.device == "cpu" else " on the GPU"
        return f'; dtype="{self.dtype}", {self.flat.size:,} parameters){where}'

    def __copy__(self) -> Any:
        """A model of its own: two cannot look into one vector."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        """Pickled, and copied deeply, by way of the CPU."""
        state = {name: value for name, value in self.__dict__.items() if name not in ("parameters", "_segments")}
        return state if self.device == "cpu" else state | {"flat": self.engine.arrays.to_host(self.flat)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._take(self.flat if self.device == "cpu" else self.engine.arrays.from_host(self.flat))


words.explain(Held)
