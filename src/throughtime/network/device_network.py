"""A network whose parameters lie on the GPU, made by `network.to("cuda")`; or several of one shape, run as one."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..refuse import arguments, in_place, words
from ..refuse.called import called
from . import parameters
from .network import Network

if TYPE_CHECKING:
    from .device_run import DeviceRun


@called("a network")
class DeviceNetwork(words.Sealed):
    """A copy of a network on the GPU; what it is and does is what `Network` is and does, with device arrays.

    Made by `network.to("cuda")`, and back by `.to("cpu")`. Its attributes are those of the network, and

        parameters  dict name -> Numba device array, which CuPy (`cupy.asarray`) and PyTorch (`torch.as_tensor(a,
                    device="cuda")`) take without a copy; change them in place, and the next unroll uses what it finds
        networks    K. Of an ensemble, `ensemble.to("cuda")`, every parameter has a leading axis K, and the batch of a
                    run holds the K networks' sequences one network after another; `axes` are the ensemble's.

    >>> import throughtime as tt
    >>> net = tt.Network("gru", 3, 16, dtype="float32", seed=0).to("cuda")      # doctest: +SKIP
    >>> net.unroll(x).backprop(g).parameters["weight_hh_l0"]                    # doctest: +SKIP
    """

    device = "cuda"
    _sealed_by = "parameters"

    @property
    def engine(self) -> Any:
        """The engine's module, with the functions and array operations of the machine that the network is on."""
        from ..engine.cuda import run as gpu

        return gpu

    def _unset(self, name: str) -> str:
        return "" if name == "parameters" else self._host._unset(name)

    def __init__(self, members: Sequence[Network], axes: Mapping[str, list] | None = None) -> None:
        from ..engine.cuda import device

        device.require()
        first = members[0]
        self._host, self.networks = first, len(members)
        self.axes, self.stacked = axes, axes is not None
        self.cell, self.shapes = first.cell, first.shapes
        for network in members:
            in_place.parameters(network.parameters, network.shapes, network.dtype)
        self.parameters = {name: device.to_device(self._joined(members, name)) for name in first.shapes}

    def _joined(self, members: Sequence[Network], name: str) -> np.ndarray:
        arrays = [network.parameters[name] for network in members]
        return np.stack(arrays) if self.stacked else np.asarray(arrays[0])

    def __getattr__(self, name: str) -> Any:  # input_size, hidden_size, dtype, ...
        found = None if name.startswith("_") else getattr(self._host, name, None)
        if found is None or callable(found):  # never a method: it would work on the parameters of the CPU's original
            raise AttributeError(f'A network on the GPU has no `{name}`; the network of `.to("cpu")` may have it.')
        return found

    def __copy__(self) -> DeviceNetwork:
        """Another of the same arrays, as a copy of a `Network` is."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, and copied deeply, by way of the CPU."""
        return DeviceNetwork, (self._on_cpu(), self.axes)

    def layer(self, k: int, reverse: bool = False) -> tuple[Any, Any, Any, Any]:
        """Copies of W_ih, W_hh, b_ih, b_hh of layer k, with the leading axis K; zeros where there are no biases."""
        from ..engine.cuda import arrays

        suffix = f"_l{k}_reverse" if reverse else f"_l{k}"
        found = []
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            name = kind + suffix
            if name in self.shapes:
                held = self._checked(name)
                found.append(arrays.compact(held).reshape((self.networks, *self.shapes[name])))
            else:
                rows = self.shapes["weight_hh" + suffix][0]
                found.append(arrays.zeros((self.networks, rows), self.dtype))
        return found[0], found[1], found[2], found[3]

    def _checked(self, name: str) -> Any:
        from ..engine.cuda import device

        shape = (self.networks, *self.shapes[name]) if self.stacked else self.shapes[name]
        held = self.parameters.get(name)
        here = f'`network.parameters["{name}"]`'
        if not device.on_device(held):
            kind = type(held).__name__
            raise TypeError(f"{here} is {kind}; a network on the GPU needs a device array of shape {shape}.")
        found = device.wrap(held)
        if tuple(found.shape) != shape or found.dtype != self.dtype:
            raise ValueError(f"{here} is {found.dtype} {tuple(found.shape)}; expected {self.dtype} {shape}.")
        return found

    def unroll(self, x: Any, state: Any = None, lengths: Any = None) -> DeviceRun:
        """As `Network.unroll`. x is a NumPy array, which is copied to the device, or anything there: an object with
        `__cuda_array_interface__` (CuPy, PyTorch, Numba) or DLPack, of the network's dtype, which is not copied if it
        is C-contiguous, and must not change while the run is in use. Work is queued on the stream that x names, or on
        the default one."""
        from .device_run import DeviceRun

        return DeviceRun(self, x, state, lengths)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the parameters in NumPy."""
        from ..engine.cuda import device

        return {name: device.to_host(self._checked(name)) for name in self.shapes}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Copy parameters from a mapping, as `Network.load_state_dict`; of an ensemble each with its leading axis."""
        from ..engine.cuda import device

        shapes = {name: self._checked(name).shape for name in self.shapes}
        new = parameters.fitting(state_dict, {n: tuple(s) for n, s in shapes.items()}, self.dtype, "The state dict")
        self.parameters = {name: device.to_device(value) for name, value in new.items()}

    def on_host_side(self) -> Any:
        """The same with parameters in NumPy, for what only looks at them."""
        seen = copy.copy(self)
        seen.parameters = self.state_dict()
        return seen

    def to(self, where: str) -> Any:
        """`"cpu"`: a `Network` with copies of the parameters (of an ensemble a list of them); `"cuda"`: itself."""
        if arguments.device(where) == "cuda":
            return self
        made = self._on_cpu()
        return made if self.stacked else made[0]

    def save(self, path: str | os.PathLike[str]) -> None:
        """As `Network.save`: the parameters as they are on the device. ValueError for an ensemble, which is many files.

        >>> net.save("net.tt")                                                      # doctest: +SKIP
        """
        if self.stacked:
            raise ValueError(
                f"A file holds one network, and these are {self.networks}: save each of them, "
                '`for k, own in enumerate(networks.to("cpu")): own.save(f"{k}.tt")`.'
            )
        self.to("cpu").save(path)

    def _on_cpu(self) -> list[Network]:
        host = self.state_dict()
        each = [
            {name: value[k] if self.stacked else value for name, value in host.items()} for k in range(self.networks)
        ]
        return [self._host_network(own) for own in each]

    def _host_network(self, own: dict[str, np.ndarray]) -> Network:
        names = ("num_layers", "bidirectional", "bias", "batch_first", "dtype")
        options = {name: getattr(self._host, name) for name in names}
        return Network(self.cell, self._host.input_size, self._host.hidden_size, init=lambda *_: own, **options)

    def __repr__(self) -> str:
        count = f"{self.networks} of " if self.stacked else ""
        return f"{count}{self._host!r} on the GPU"
